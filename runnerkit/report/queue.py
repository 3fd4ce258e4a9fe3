"""Why builds wait, as a screen and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from runnerkit.facts.queue import RUNNING, Build, Queue
from runnerkit.health.pending import Step, Verdict, trust_hint
from runnerkit.units import Duration

_MARKS = {Step.BUSY: ("…", "yellow"), Step.REFUSED: ("!", "yellow"), Step.FREE: ("✓", "green")}


def queue_text(server: str, queue: Queue, verdicts: Iterable[Verdict], now: float) -> Group:
    """One server's queue: each waiting pipeline with every host's answer. `now` is Unix time."""
    found = tuple(verdicts)
    running = sum(1 for stage in queue.stages if stage.status == RUNNING)
    title = Text(f"{server}  ", style="bold")
    title.append(f"{len(found)} waiting, {running} running", style="bold yellow" if found else "")
    lines: list[Any] = [title]
    if not queue.whole:
        note = f"{queue.login} is no system admin there: only builds of its own repositories"
        lines.append(Text(f" {note} are shown", style="yellow"))
    for build in queue.refused:
        lines += _refused(build)
    for verdict in found:
        lines.append(_stage_line(verdict, now))
        lines.append(_answers(verdict))
    return Group(*lines)


def _refused(build: Build) -> tuple[Text, Table]:
    line = Text.assemble(" ", (f"{build.repo} #{build.number}", "bold"), "  never queued")
    if build.event:
        line.append(f"  {build.event}", style="dim")
    table = Table.grid(padding=(0, 1))
    table.add_column(min_width=3)
    table.add_column(overflow="fold")
    table.add_row(Text("  ✗", style="red"), build.error)
    table.add_row("", Text(f"hint: {trust_hint(build)}", style="cyan"))
    return line, table


def _stage_line(verdict: Verdict, now: float) -> Text:
    stage, build = verdict.stage, verdict.build
    name = f"{build.repo} #{build.number}" if build else f"build {stage.build_id}"
    line = Text.assemble(" ", (name, "bold"), f"  {stage.name}")
    if build and build.event:
        line.append(f"  {build.event}", style="dim")
    if stage.created:
        line.append(f"  for {Duration(max(0, int(now - stage.created)))}", style="dim")
    return line


def _answers(verdict: Verdict) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(min_width=3)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    if verdict.held:
        table.add_row(Text("  …", style="yellow"), "waits", verdict.held)
        return table
    for answer in verdict.answers:
        mark, style = _MARKS.get(answer.step, ("✗", "red"))
        table.add_row(Text(f"  {mark}", style=style), answer.host, answer.reason)
    if verdict.hint:
        table.add_row("", "", Text(f"hint: {verdict.hint}", style="cyan"))
    return table


def queue_json(server: str, queue: Queue, verdicts: Iterable[Verdict]) -> Mapping[str, Any]:
    """The same for programs."""
    return {
        "server": server,
        "login": queue.login,
        "whole": queue.whole,
        "running": sum(1 for stage in queue.stages if stage.status == RUNNING),
        "waiting": [_verdict_json(verdict) for verdict in verdicts],
        "refused": [
            {
                "repo": build.repo,
                "build": build.number,
                "error": build.error,
                "hint": trust_hint(build),
            }
            for build in queue.refused
        ],
    }


def _verdict_json(verdict: Verdict) -> Mapping[str, Any]:
    build = verdict.build
    return {
        "repo": build.repo if build else "",
        "build": build.number if build else None,
        "stage": verdict.stage.name,
        "created": verdict.stage.created,
        "held": verdict.held,
        "hosts": [
            {
                "name": answer.host,
                "step": answer.step.name.lower(),
                "reason": answer.reason,
                "hint": answer.hint,
            }
            for answer in verdict.answers
        ],
        "hint": verdict.hint,
    }
