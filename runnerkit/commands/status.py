"""The status command: one screen, a live one, one line a host, a picture, or why builds wait."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runnerkit.commands.shared import (
    AcceptOption,
    ConfigOption,
    HostsArgument,
    JsonOption,
    accounts,
    load,
    seconds,
    select,
    show_error,
)
from runnerkit.errors import ConfigError, ExitCode, RunnerkitError

if TYPE_CHECKING:
    from runnerkit.config.effective import HostConfig
    from runnerkit.health.look import Look
    from runnerkit.health.model import HealthReport
    from runnerkit.roads import Access

# What a command needs is imported in it: `--help` must not wait for paramiko.
# ruff: noqa: PLC0415

WATCH_SECONDS = 5


def status(
    hosts: HostsArgument = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Every check with what was measured.")
    ] = False,
    brief: Annotated[bool, typer.Option("--brief", help="One line a host.")] = False,
    queue: Annotated[
        bool, typer.Option("--queue", help="Why builds wait; needs `token:` in the configuration.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Stay, and redraw until Ctrl-C.")
    ] = False,
    every: Annotated[
        str | None, typer.Option("--every", metavar="DURATION", help="With --watch; 5s if not set.")
    ] = None,
    check_updates: Annotated[
        bool, typer.Option("--check-updates", help="Also ask registries for newer images.")
    ] = False,
    svg: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", help="Write a picture of the screen.")
    ] = None,
    accept_new_host_key: AcceptOption = False,
) -> None:
    """Show whether the hosts are well, and what to do when not.

    Exit code 4: a host is not well; 5: one does not answer. With --watch that of the last look.
    """
    _only_one({"--json": as_json, "--brief": brief, "--verbose": verbose, "--watch": watch})
    # Nothing is dropped silently: these are of no use to a screen that stays, or to a queue.
    for name, given in (("--queue", queue), ("--watch", watch)):
        for other, also in (("--check-updates", check_updates), ("--svg", svg is not None)):
            _only_one({name: given, other: also})
    _only_one({"--queue": queue, "--brief": brief, "--verbose": verbose, "--watch": watch})
    pause = seconds(every, "--every")
    if pause is not None and not (watch and pause):
        raise ConfigError("--every is for --watch, and at least 1s", hint="e.g. -w --every 10s")
    loaded, access = load(config, accept_new_host_key)
    chosen = select(loaded, hosts)
    if watch:
        raise typer.Exit(_watch(chosen, access, pause or WATCH_SECONDS))
    if queue:
        raise typer.Exit(_queue(chosen, access, as_json=as_json))
    raise typer.Exit(
        once(
            chosen,
            lambda host: _look(host, access, check_updates=check_updates),
            _form(as_json=as_json, brief=brief, verbose=verbose),
            svg,
        )
    )


def _only_one(given: Mapping[str, bool]) -> None:
    """Refuse two forms at once. Raises ConfigError."""
    names = [name for name, is_given in given.items() if is_given]
    if len(names) > 1:
        raise ConfigError(f"{' and '.join(names)} cannot be combined", hint="choose one")


def _look(host: HostConfig, access: Access, *, check_updates: bool) -> HealthReport:
    from runnerkit.watching import look_at

    return look_at(host, access, check_updates=check_updates).report


class Form:
    """How reports are printed: each as it comes, or all in the order of the configuration."""

    def __init__(
        self,
        one: Callable[[HealthReport], None] = lambda _: None,
        end: Callable[[Sequence[HealthReport]], None] = lambda _: None,
    ) -> None:
        self.one = one
        self.end = end


def _form(*, as_json: bool, brief: bool, verbose: bool) -> Form:
    from runnerkit.report.screens import show, stdout_console
    from runnerkit.report.status import brief_text, health_json, health_text

    if as_json:
        return Form(end=lambda reports: typer.echo(health_json(reports)))
    if brief:
        return Form(end=lambda reports: stdout_console().print(brief_text(reports)))
    return Form(one=lambda report: show(health_text([report], verbose=verbose)))


def once(
    hosts: Sequence[HostConfig],
    look: Callable[[HostConfig], HealthReport],
    form: Form,
    svg: Path | None,
) -> ExitCode:
    """Look at all hosts at once; a dead one does not hold up what the others tell."""
    from runnerkit.report.files import write_text
    from runnerkit.report.status import status_svg
    from runnerkit.roads import as_done, worst

    reports: dict[str, HealthReport] = {}
    codes = []
    for name, found in as_done(hosts, look):
        if isinstance(found, RunnerkitError):
            codes.append(show_error(found))
            continue
        reports[name] = found
        form.one(found)
    ordered = [reports[host.name] for host in hosts if host.name in reports]
    form.end(ordered)
    if svg is not None:
        write_text(svg, status_svg(ordered))
    return worst([*codes, *(report.exit_code for report in ordered)])


def _queue(hosts: Sequence[HostConfig], access: Access, *, as_json: bool) -> ExitCode:
    """Why each waiting build waits, by server."""
    from runnerkit.collect.drone_api import fetch_queue
    from runnerkit.health.pending import explain, offer_of
    from runnerkit.report.queue import queue_json, queue_text
    from runnerkit.report.screens import show
    from runnerkit.report.status import health_json
    from runnerkit.roads import on_each, worst
    from runnerkit.watching import Watched

    # The tokens first: a wrong one is told before any host is asked.
    found = [
        (account.url, fetch_queue(account), members) for account, members in accounts(hosts, access)
    ]

    def look(host: HostConfig) -> Look:
        with closing(Watched(host, access)) as watched:
            return watched.look_anyway()

    looks, _ = on_each(hosts, look)
    shown = []
    for url, queue, members in found:
        offers = [
            offer_of(host, looks[host.name].report, _arch(looks[host.name])) for host in members
        ]
        shown.append((url, queue, explain(queue, offers)))
    reports = [looks[host.name].report for host in hosts]
    if as_json:
        queues = [queue_json(*each) for each in shown]
        typer.echo(health_json(reports, queues=queues))
    else:
        for each in shown:
            show(queue_text(*each, now=time.time()))
    return worst(report.exit_code for report in reports)


def _arch(look: Look) -> str | None:
    return look.facts.system.arch or None if look.facts else None


def _watch(hosts: Sequence[HostConfig], access: Access, every: float) -> ExitCode:
    """Stay until Ctrl-C; then leave the last state on the screen."""
    from runnerkit.report.live import Lines, Screen
    from runnerkit.report.screens import screen_console, stdout_console
    from runnerkit.report.status import health_text
    from runnerkit.roads import worst
    from runnerkit.watching import Watch

    last: dict[str, HealthReport] = {}
    on_terminal = sys.stdout.isatty()
    console = screen_console() if on_terminal else stdout_console()
    view = Screen(console, [host.name for host in hosts], every) if on_terminal else Lines(console)

    def seen(look: Look) -> None:
        last[look.host.name] = look.report
        view.show(look.report)

    try:
        with view, Watch(hosts, access.asking(view.aside), every, seen):
            while True:
                time.sleep(1)
                view.tick()
    except KeyboardInterrupt:
        ordered = [last[host.name] for host in hosts if host.name in last]
    if on_terminal:
        console.print(health_text(ordered))
    return worst(report.exit_code for report in ordered)
