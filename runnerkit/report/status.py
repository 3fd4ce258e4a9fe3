"""The health of hosts as a screen, as lines and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from runnerkit.health.model import Check, HealthReport, Status

SCHEMA_VERSION = 1
PICTURE_COLUMNS = 80

_MARKS = {
    Status.OK: ("✓", "green"),
    Status.WARN: ("!", "yellow"),
    Status.FAIL: ("✗", "bold red"),
    Status.SKIP: ("-", "dim"),
    Status.UNKNOWN: ("?", "magenta"),
}
_HOST_STYLES = {
    "healthy": "bold green",
    "degraded": "bold yellow",
    "unhealthy": "bold red",
    "unreachable": "bold red",
}
_QUIET = (Status.OK, Status.SKIP)


def health_text(reports: Iterable[HealthReport], *, verbose: bool = False) -> Group:
    """The status screen, made for 80 columns.

    A group's good checks share a line and everything else has lines of its own, with what was
    measured and what to do; `verbose` gives every check its lines.
    """
    return Group(*(_host_text(report, verbose=verbose) for report in reports))


def _host_text(report: HealthReport, *, verbose: bool) -> Group:
    title = Text(f"{report.host}  ", style="bold")
    title.append(report.status, style=_HOST_STYLES[report.status])
    table = Table.grid(padding=(0, 1), expand=False)
    table.add_column(min_width=7, no_wrap=True, style="dim")
    table.add_column(width=1)
    table.add_column(overflow="fold")
    for group, checks in report.groups.items():
        name = f" {group}"
        for mark, text in _rows(checks, verbose=verbose):
            table.add_row(name, mark, text)
            name = ""
    return Group(title, table)


def _rows(checks: Iterable[Check], *, verbose: bool) -> Iterable[tuple[Text, Text]]:
    shown = tuple(checks)
    if not verbose:
        good = [check.id for check in shown if check.status is Status.OK]
        if good:
            yield _mark(Status.OK), Text("  ".join(good))
        shown = tuple(check for check in shown if check.status not in _QUIET)
    for check in shown:
        yield _mark(check.status), _details(check)


def _mark(status: Status) -> Text:
    mark, style = _MARKS[status]
    return Text(mark, style=style)


def _details(check: Check) -> Text:
    loud = check.status not in _QUIET
    text = Text.assemble((check.id, "bold" if loud else ""), "  ", check.summary)
    if check.evidence:
        text.append(f"\n{check.evidence}" if loud else f"  ({check.evidence})", style="dim")
    if check.hint:
        text.append(f"\nhint: {check.hint}", style="cyan")
    return text


def brief_text(reports: Iterable[HealthReport]) -> Group:
    """One line a host: its name, its status, and the checks that are not well."""
    listed = tuple(reports)
    width = max((len(report.host) for report in listed), default=0)
    return Group(*(_brief_line(report, width) for report in listed))


def _brief_line(report: HealthReport, width: int) -> Text:
    line = Text(f"{report.host:<{width}}  ", no_wrap=True, overflow="ellipsis")
    line.append(report.status, style=_HOST_STYLES[report.status])
    if ids := troubles(report):
        line.append(f"  {', '.join(ids)}")
    return line


def troubles(report: HealthReport) -> tuple[str, ...]:
    """The ids of the checks that are not well, failures first; the status says it all without."""
    if report.status == "unreachable":
        return ()
    order = (Status.FAIL, Status.WARN, Status.UNKNOWN)
    return tuple(check.id for status in order for check in report.checks if check.status is status)


def health_json(reports: Iterable[HealthReport], **more: Any) -> str:
    """The status for programs; the shape is versioned by `schema_version`."""
    hosts: list[Mapping[str, Any]] = [
        {
            "name": report.host,
            "status": report.status,
            "checks": [
                {
                    "id": check.id,
                    "group": check.group.value,
                    "status": check.status.value,
                    "summary": check.summary,
                    "evidence": check.evidence,
                    "hint": check.hint,
                }
                for check in report.checks
            ],
        }
        for report in reports
    ]
    return json.dumps({"schema_version": SCHEMA_VERSION, "hosts": hosts, **more}, indent=2)


def status_svg(reports: Iterable[HealthReport], *, verbose: bool = False) -> str:
    """A picture of the status screen."""
    import io  # noqa: PLC0415 - only pictures need it

    console = Console(record=True, width=PICTURE_COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(health_text(reports, verbose=verbose))
    return console.export_svg(title="runnerkit status")
