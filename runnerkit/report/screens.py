"""Plans and reports as text or JSON. The only module that knows about colour."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from runnerkit.change.actions import Action, WriteFile
from runnerkit.change.plan import Plan
from runnerkit.errors import RunnerkitError
from runnerkit.health.model import HealthReport, Status

SCHEMA_VERSION = 1

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


def plan_text(plan: Plan) -> Group:
    """A plan as a person reads it: one line an action, its reason, and the diff of files."""
    lines: list[Any] = []
    if plan.blockers:
        lines.append(Text(f"{plan.host}: cannot be set up", style="bold red"))
        for blocker in plan.blockers:
            lines.append(Text(f"  {blocker.message}"))
            lines.append(Text(f"  hint: {blocker.hint}", style="cyan"))
    elif not plan.actions:
        lines.append(Text(f"{plan.host}: nothing to do", style="green"))
    else:
        count = len(plan.actions)
        noun = "change" if count == 1 else "changes"
        lines.append(Text(f"{plan.host}: {count} {noun}", style="bold"))
        for number, action in enumerate(plan.actions, start=1):
            lines += _action_text(number, action)
    return Group(*lines)


def _action_text(number: int, action: Action) -> Iterable[Text]:
    line = Text(f"  {number:2}. {action.title}")
    line.append(f"  ({action.reason})", style="dim")
    yield line
    if not isinstance(action, WriteFile):
        return
    if action.file.secret:
        yield Text("        content not shown: it holds secrets", style="dim")
    elif action.before is None:
        count = action.file.content.count(b"\n")
        yield Text(f"        new, {count} lines; `runnerkit render` writes it here", style="dim")
    else:
        for text in action.diff()[2:]:
            style = {"+": "green", "-": "red", "@": "cyan"}.get(text[:1], "dim")
            yield Text(f"        {text}", style=style)


def plan_json(plans: Iterable[Plan], errors: Mapping[str, RunnerkitError]) -> str:
    """Plans for programs; `errors` are the hosts that have none."""
    hosts: list[dict[str, Any]] = [
        {
            "name": plan.host,
            "actions": [_action_json(action) for action in plan.actions],
            "blockers": [{"message": b.message, "hint": b.hint} for b in plan.blockers],
        }
        for plan in plans
    ]
    hosts += [
        {"name": name, "error": error.message, "hint": error.hint or ""}
        for name, error in errors.items()
    ]
    return json.dumps({"schema_version": SCHEMA_VERSION, "hosts": hosts}, indent=2)


def _action_json(action: Action) -> dict[str, Any]:
    record: dict[str, Any] = {
        "action": type(action).__name__,
        "title": action.title,
        "reason": action.reason,
    }
    if isinstance(action, WriteFile) and not action.file.secret:
        record["diff"] = list(action.diff())
    return record


def health_text(reports: Iterable[HealthReport]) -> Group:
    """The status screen, made for 80 columns."""
    return Group(*(_host_text(report) for report in reports))


def _host_text(report: HealthReport) -> Group:
    title = Text(f"{report.host}  ", style="bold")
    title.append(report.status, style=_HOST_STYLES[report.status])
    table = Table.grid(padding=(0, 1), expand=False)
    table.add_column(min_width=7, no_wrap=True, style="dim")
    table.add_column(width=1)
    table.add_column(min_width=10, no_wrap=True)
    table.add_column(overflow="fold")
    for group, checks in report.groups.items():
        for number, check in enumerate(checks):
            mark, style = _MARKS[check.status]
            details = Text(check.summary)
            if check.status in (Status.FAIL, Status.WARN, Status.UNKNOWN):
                if check.evidence:
                    details.append(f"\n{check.evidence}", style="dim")
                if check.hint:
                    details.append(f"\nhint: {check.hint}", style="cyan")
            name = f" {group}" if number == 0 else ""
            table.add_row(name, Text(mark, style=style), check.id, details)
    return Group(title, table)


def health_json(reports: Iterable[HealthReport]) -> str:
    """The status for programs; the shape is versioned by `schema_version`."""
    hosts = [
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
    return json.dumps({"schema_version": SCHEMA_VERSION, "hosts": hosts}, indent=2)


def error_text(error: RunnerkitError) -> Group:
    """An expected failure: what happened, every problem, and what to try next."""
    lines = [Text.assemble(("error: ", "bold red"), error.message)]
    for problem in getattr(error, "problems", ()):
        lines.append(Text(f"  {problem}"))
        if problem.hint:
            lines.append(Text(f"    hint: {problem.hint}", style="cyan"))
    if error.hint:
        lines.append(Text(f"hint: {error.hint}", style="cyan"))
    return Group(*lines)


def stdout_console() -> Console:
    """Where answers go: no colour and no wrapping tricks in a pipe."""
    return Console(highlight=False, soft_wrap=True)


def stderr_console() -> Console:
    """Where progress, questions and errors go."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def status_svg(reports: Iterable[HealthReport]) -> str:
    """A picture of the status screen."""
    import io  # noqa: PLC0415 - only pictures need it

    console = Console(record=True, width=80, file=io.StringIO(), force_terminal=True)
    console.print(health_text(reports))
    return console.export_svg(title="runnerkit status")
