"""Plans and errors as text or JSON, and where they are printed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.text import Text

from runnerkit.change.actions import Action, WriteFile
from runnerkit.change.plan import Plan
from runnerkit.errors import RunnerkitError

SCHEMA_VERSION = 1
COLUMNS, WIDEST = 80, 120


def plan_text(plan: Plan) -> Group:
    """A plan as a person reads it: one line an action, its reason, and the diff of files."""
    lines: list[Any] = []
    if plan.blockers:
        lines.append(Text(f"{plan.host}: refused", style="bold red"))
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
    lines += [Text(f"  note: {note}", style="yellow") for note in plan.notes]
    for weakness in plan.weaknesses:
        # Advice belongs to a change; what lets somebody in is told every time.
        if weakness.risk or plan.actions:
            style = "yellow" if weakness.risk else "dim"
            lines.append(Text(f"  {'risk' if weakness.risk else 'note'}: {weakness}", style=style))
            lines.append(Text(f"    hint: {weakness.hint}", style="cyan"))
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
            "notes": list(plan.notes),
            "blockers": [{"message": b.message, "hint": b.hint} for b in plan.blockers],
            "weaknesses": [asdict(weakness) for weakness in plan.weaknesses],
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


def screen_console() -> Console:
    """Where screens go: as wide as the terminal, 80 columns elsewhere."""
    wide = min(Console().width, WIDEST) if sys.stdout.isatty() else COLUMNS
    return Console(highlight=False, width=wide)


def show(screen: RenderableType) -> None:
    """Print a screen; in a pipe without colour and without blanks at the ends of lines."""
    console = screen_console()
    if console.is_terminal:
        console.print(screen)
        return
    with console.capture() as captured:
        console.print(screen)
    for line in captured.get().splitlines():
        console.file.write(line.rstrip() + "\n")
    console.file.flush()
