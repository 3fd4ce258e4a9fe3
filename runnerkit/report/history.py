"""The history of a host as text or JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from runnerkit.change.generations import Generation
from runnerkit.change.journal import Ended
from runnerkit.config.image_ref import brief
from runnerkit.report.screens import SCHEMA_VERSION


def history_text(host: str, changes: Sequence[Ended], kept: Sequence[Generation]) -> Group:
    """Changes, the newest last, then the generations that `rollback --to` knows."""
    if not changes and not kept:
        return Group(Text(f"{host}: nothing was changed here yet"))
    lines: list[RenderableType] = []
    for change in changes:
        moved = f"{change.before} → {change.after}" if change.before != change.after else ""
        style = "" if change.result == "done" else "yellow"
        words = (_when(change.at), change.owner.command, "by", change.owner.who, moved)
        lines.append(Text(f"  {' '.join(filter(None, words))}  ").append(change.result, style))
        if change.steps:
            steps = Text("; ".join(change.steps), style="dim")
            lines.append(Padding(steps, (0, 0, 0, 6)))
    sets = Table.grid(padding=(0, 2))
    current = kept[-1].number if kept else None
    for item in kept:
        origin = f"as {item.manifest.restored_from}" if item.manifest.restored_from else ""
        sets.add_row(
            f"{'→' if item.number == current else ' '} {item.number}",
            _when(item.manifest.written_at), " ".join(map(brief, item.images.values())), origin,
        )  # fmt: skip
    title = Text(f"{host}: changes (UTC)", style="bold")
    return Group(title, *lines, Text(f"{host}: generations kept", style="bold"), sets)


def history_json(host: str, changes: Sequence[Ended], kept: Sequence[Generation]) -> str:
    """The same for programs; times are Unix seconds."""
    record = {
        "schema_version": SCHEMA_VERSION,
        "host": host,
        "changes": [asdict(change) for change in changes],
        "generations": [
            {
                "generation": item.number,
                "written_at": item.manifest.written_at,
                "restored_from": item.manifest.restored_from,
                "images": dict(item.images),
            }
            for item in kept
        ],
    }
    return json.dumps(record, indent=2)


def _when(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
