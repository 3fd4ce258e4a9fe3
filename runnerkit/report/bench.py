"""The comparison of builds as a table, as JSON and as a picture."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from xml.sax.saxutils import escape

from rich.table import Table

from runnerkit.bench.stats import Samples
from runnerkit.bench.strategies import STRATEGIES, times_slower

SCHEMA_VERSION = 1


def bench_table(found: dict[str, Samples]) -> Table:
    """One row a way to build: the median, the spread, and how it compares with the runner."""
    table = Table(box=None, pad_edge=False)
    table.add_column("Build with")
    for heading in ("median", "from", "to", "x runner"):
        table.add_column(heading, justify="right")
    for strategy in STRATEGIES:
        if strategy.name in found:
            samples = found[strategy.name]
            seconds = (f"{value:.2f} s" for value in (samples.median, samples.low, samples.high))
            table.add_row(strategy.title, *seconds, f"{times_slower(found, strategy):.1f}")
    return table


def bench_json(host: str, found: Mapping[str, Samples]) -> str:
    """Every measurement, in seconds, by the strategy's name."""
    seconds = {name: list(samples.values) for name, samples in found.items()}
    record = {"schema_version": SCHEMA_VERSION, "host": host, "seconds": seconds}
    return json.dumps(record, indent=2)


def bars_svg(title: str, bars: Iterable[tuple[str, float]]) -> str:
    """Horizontal bars with seconds behind them, the longest as wide as there is room."""
    rows = list(bars)
    longest = max(seconds for _, seconds in rows)
    left, room, step, top = 250, 400, 30, 50
    height = top + step * len(rows) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="740" height="{height}"'
        ' font-family="sans-serif" font-size="14">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="10" y="25" font-weight="bold">{escape(title)}</text>',
    ]
    for number, (name, seconds) in enumerate(rows):
        y, width = top + step * number, max(1.0, seconds / longest * room)
        parts += [
            f'<text x="{left - 10}" y="{y + 15}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{left}" y="{y}" width="{width:.1f}" height="20" fill="#2a7ae2"/>',
            f'<text x="{left + width + 8:.1f}" y="{y + 15}">{seconds:.2f} s</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"
