"""What `tune` measured and advises, as text or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

from rich.console import Group
from rich.table import Table
from rich.text import Text

from runnerkit.tuning.advice import Advice
from runnerkit.tuning.measured import Measured
from runnerkit.units import format_bytes, format_duration

SCHEMA_VERSION = 1
UNKNOWN = "unknown"


def tune_text(host: str, measured: Measured, advice: tuple[Advice, ...]) -> Group:
    """The screen, made for 80 columns: what was measured, then each key with its reason."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(min_width=8, no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _facts(measured):
        facts.add_row(f"  {name}", Text(value))
    keys = Table.grid(padding=(0, 2))
    keys.add_column(no_wrap=True)
    keys.add_column(overflow="fold")
    for item in advice:
        keys.add_row(_mark(item), Text(item.reason, style="dim"))
    pending = [item for item in advice if item.changes]
    last = f"  runnerkit tune {host} --apply" if pending else "  it is set as it should be"
    return Group(Text(host, style="bold"), facts, Text(), keys, Text(), Text(last, style="cyan"))


def _mark(item: Advice) -> Text:
    if item.advised is None:
        return Text.assemble(("  ? ", "magenta"), f"{item.key} {item.now}")
    if not item.changes:
        return Text.assemble(("  ✓ ", "green"), f"{item.key} {item.now}")
    line = Text.assemble(("  → ", "yellow"), f"{item.key} {item.now} → ")
    return line.append(item.advised, style="bold")


def _facts(measured: Measured) -> Iterator[tuple[str, str]]:
    yield "cores", f"{measured.cpus:g}" if measured.cpus else UNKNOWN
    yield "memory", _memory(measured)
    disk = measured.disk
    if disk is None:
        yield "disk", UNKNOWN
    else:
        shared = ", shared with the system" if measured.shared_with_root else ""
        free = f"{format_bytes(disk.available)} of {format_bytes(disk.total)} free"
        yield "disk", f"{disk.mount} ({disk.kind}), {free}{shared}"
    if use := measured.probed.use:
        parts = {"layers": use.layers, "mounts": use.mounts, "other": use.others}
        yield "cache", ", ".join(f"{name} {format_bytes(size)}" for name, size in parts.items())
    yield "builds", _history(measured)
    yield "evicted", _evicted(measured)
    yield "stages", _stages(measured)


def _memory(measured: Measured) -> str:
    if measured.memory is None:
        return UNKNOWN
    text = format_bytes(measured.memory)
    if measured.probed.memory_peak is not None:
        peak = format_bytes(measured.probed.memory_peak)
        text += f"; dind had up to {peak}, page cache included"
    if measured.probed.oom_kills:
        text += f"; {measured.probed.oom_kills} processes were killed for lack of it"
    return text


def _history(measured: Measured) -> str:
    history = measured.probed.history
    if history is None:
        return "this engine keeps no history of builds, or there were none"
    return f"of the last {history.builds}, the cache answered {history.hit_rate:.0%} of the steps"


def _evicted(measured: Measured) -> str:
    evictions = measured.probed.evictions
    if evictions is None:
        return "unknown: the janitor has not looked at the cache yet"
    parts = {
        "GC: layers": evictions.layers,
        "GC: cache mounts": evictions.mounts,
        "janitor:": evictions.janitor,
    }
    told = [
        f"{name} {format_bytes(item.bytes)}, some unused for only {_span(item.unused_seconds)}"
        for name, item in parts.items()
        if item is not None
    ]
    return "; ".join(told) or f"nothing, looked at for {_span(measured.observed_seconds)}"


def _span(seconds: int) -> str:
    return format_duration(max(60, seconds // 60 * 60))


def _stages(measured: Measured) -> str:
    if not measured.probed.stages:
        return "none were counted yet"
    span = _span(measured.observed_seconds)
    most = f"at most {measured.most_stages} at once" if measured.most_stages else "none ran"
    return f"{most}, looked at for {span}"


def tune_json(host: str, measured: Measured, advice: tuple[Advice, ...]) -> str:
    """The same for programs. Sizes in bytes; null is unknown."""
    probed, disk, use = measured.probed, measured.disk, measured.probed.use
    history = probed.history
    record = {
        "schema_version": SCHEMA_VERSION,
        "host": host,
        "measured": {
            "cpus": measured.cpus,
            "memory_bytes": measured.memory,
            "memory_peak_bytes": probed.memory_peak,
            "oom_kills": probed.oom_kills,
            "disk": disk and {"mount": disk.mount, "kind": disk.kind, "bytes": disk.total,
                              "free_bytes": disk.available,
                              "shared_with_root": measured.shared_with_root},
            "cache_bytes": use and {"layers": use.layers, "mounts": use.mounts,
                                    "other": use.others},
            "history": history and {"builds": history.builds, "steps": history.steps,
                                    "cached_steps": history.cached},
            "evictions": probed.evictions and asdict(probed.evictions),
            "stages_seen": {str(n): count for n, count in sorted(probed.stages.items())},
        },
        "advice": [
            {"key": item.key, "now": item.now, "advised": item.advised, "reason": item.reason}
            for item in advice
        ],
    }  # fmt: skip
    return json.dumps(record, indent=2)
