"""The command line: one program, its commands, and what becomes of their errors."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from runnerkit import __version__
from runnerkit.commands import (
    bench,
    cache,
    change,
    configure,
    export,
    generations,
    look,
    metrics,
    pipeline,
    service,
    status,
    tune,
)
from runnerkit.commands.shared import show_error
from runnerkit.errors import ExitCode, RunnerkitError

# Groups of commands in `--help`, in this order.
SET_UP, LOOK, RUN, OTHER = "Set up", "Look", "Run", "Beside the hosts"


class _Commands(TyperGroup):
    """The commands below headings. Plain text: rich would double the time that `--help` takes."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one section a heading, every command's line whole."""
        del ctx
        widest = max(len(name) for name in self.commands)
        for heading in (SET_UP, LOOK, RUN, OTHER):
            rows = [
                (f"{name:<{widest}}", command.short_help)
                for name, command in self.commands.items()
                if getattr(command, "rich_help_panel", None) == heading
            ]
            with formatter.section(heading):
                formatter.write_dl(rows)


app = typer.Typer(
    name="runnerkit",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Provision and look after Drone runners that own a persistent Docker daemon.",
    epilog="Exit codes: 0 ok, 1 error, 2 usage or configuration, 3 changes pending, "
    "4 unhealthy, 5 unreachable, 6 locked.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"runnerkit {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    del version


def _command(
    function: Callable[..., None],
    heading: str,
    short_help: str,
    name: str | None = None,
    **more: Any,
) -> None:
    app.command(name, rich_help_panel=heading, short_help=short_help, **more)(function)


_THROUGH = {"allow_extra_args": True, "ignore_unknown_options": True}

_command(configure.init, SET_UP, "Write runnerkit.yml, or add a host to it.")
_command(configure.show_config, SET_UP, "Show every setting, and where it comes from.", "config")
_command(configure.render, SET_UP, "Write a host's files here, to read or use by hand.")
_command(change.plan, SET_UP, "Show what `up` would change.")
_command(change.up, SET_UP, "Make hosts what the configuration says.")
_command(change.down, SET_UP, "Stop a host's runner; with --purge delete its data too.")
_command(status.status, LOOK, "Show whether hosts are well, and why builds wait.")
_command(metrics.metrics, LOOK, "The same for Prometheus: text, textfile or exporter.")
_command(look.logs, LOOK, "Show the log of runner, dind or janitor.")
_command(
    look.docker, LOOK, "Your own docker CLI on the runner's daemon.", context_settings=_THROUGH
)
_command(generations.history, LOOK, "Show who changed a host, when, and how it went.")
_command(tune.tune, RUN, "Advise capacity and cache limits from what is measured.")
_command(service.drain, RUN, "Take no new builds, and wait for the running ones.")
_command(service.resume, RUN, "Take builds again.")
_command(generations.upgrade, RUN, "Run newer images; goes back when they do not work.")
_command(generations.rollback, RUN, "Put an earlier generation in force again.")
_command(service.unlock, RUN, "End the lock of a command that is dead.")
_command(bench.bench, OTHER, "Compare builds on a runner with other ways to build.")
_command(export.export, OTHER, "Write a configuration for Ansible.")
app.add_typer(
    cache.app,
    name="cache",
    rich_help_panel=RUN,
    short_help="What builds leave behind: what takes the space, and what GC does.",
)
app.add_typer(
    pipeline.app,
    rich_help_panel=OTHER,
    short_help="Check and run a repository's own build.",
)


def main() -> NoReturn:
    """Entry point of the `runnerkit` program."""
    try:
        app(standalone_mode=True)
    except RunnerkitError as error:
        sys.exit(show_error(error))
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    sys.exit(ExitCode.OK)


if __name__ == "__main__":
    main()
