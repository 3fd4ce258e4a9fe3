"""What a local run of a pipeline shows: lines as they come, and a table at the end."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from runnerkit.pipeline.execute import RunResult, StepResult
from runnerkit.pipeline.planned import PlannedStep
from runnerkit.report.screens import SCHEMA_VERSION

_COLOURS = ("cyan", "magenta", "blue", "yellow", "green")
_MARKS = {
    "success": ("✓", "green"),
    "failure": ("✗", "bold red"),
    "ignored": ("!", "yellow"),
    "skipped": ("-", "dim"),
    "cancelled": ("✗", "yellow"),
    "service": ("·", "dim"),
}


class Lines:
    """Prints the output of all steps, each line behind the name of its step."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = Lock()

    def began(self, step: PlannedStep) -> None:
        """Nothing: the first line says so."""

    def line(self, step: PlannedStep, text: str) -> None:
        """One line of one step."""
        shown = Text(f"{step.name} | ", style=_COLOURS[step.number % len(_COLOURS)])
        shown.append(_printable(text), style="default")
        with self._lock:
            self._console.print(shown, soft_wrap=True, highlight=False)

    def ended(self, result: StepResult) -> None:
        """Nothing: the table says so."""


def _printable(text: str) -> str:
    """Without what would move the cursor: a progress bar shows its last state."""
    last = text.rpartition("\r")[2]
    return "".join(
        char for char in Text.from_ansi(last).plain if char.isprintable() or char == "\t"
    )


def run_text(result: RunResult, place: str) -> Group:
    """What became of each step, in how many seconds, and how much a build had in its cache."""
    verdict, style = ("success", "bold green") if result.ok else ("failure", "bold red")
    head = Text(f"{result.pipeline} on {place}: ", style="bold")
    head.append(f"{verdict} in {result.seconds:.1f} s", style=style)
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
    table.add_column(width=1)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for step in result.steps:
        mark, colour = _MARKS[step.status]
        seconds = "" if step.status == "skipped" else f"{step.seconds:.1f} s"
        table.add_row(Text(mark, style=colour), step.name, seconds, _remark(step))
    return Group(head, table)


def _remark(step: StepResult) -> str:
    parts = []
    if step.cache.total:
        parts.append(f"{step.cache.cached} of {step.cache.total} from cache")
    if step.status == "service":
        parts.append(f"service, {step.reason}" if step.reason else "service")
    elif step.status in ("failure", "ignored", "skipped"):
        prefix = "failure ignored: " if step.status == "ignored" else ""
        parts.append(f"{prefix}{step.reason}")
    return ", ".join(parts)


def run_json(
    results: Sequence[RunResult], place: str, commit: str, passed_over: Mapping[str, str]
) -> str:
    """The same for programs."""
    pipelines: list[dict[str, Any]] = [
        {
            "name": result.pipeline,
            "status": "success" if result.ok else "failure",
            "seconds": round(result.seconds, 3),
            "steps": [_step_json(step) for step in result.steps],
        }
        for result in results
    ]
    pipelines += [
        {"name": name, "status": "skipped", "reason": reason}
        for name, reason in passed_over.items()
    ]
    content = {
        "schema_version": SCHEMA_VERSION,
        "place": place,
        "commit": commit,
        "pipelines": pipelines,
    }
    return json.dumps(content, indent=2)


def _step_json(step: StepResult) -> dict[str, Any]:
    built = {"cached": step.cache.cached, "total": step.cache.total} if step.cache.total else None
    return {
        "name": step.name,
        "kind": step.kind,
        "status": step.status,
        "seconds": round(step.seconds, 3),
        "exit_code": step.code,
        "build_cache": built,
        "reason": step.reason,
    }
