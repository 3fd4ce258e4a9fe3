"""The command line: one program, its commands, and what becomes of their errors."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_group

from runnerkit import __version__
from runnerkit.commands.shared import show_error
from runnerkit.errors import ExitCode, RunnerkitError

# Groups of commands in `--help`, in this order.
SET_UP, LOOK, RUN, OTHER = "Set up", "Look", "Run", "Beside the hosts"


@dataclass(frozen=True)
class Entry:
    """A command: what `--help` says of it, and `module.name` of its function or group."""

    heading: str
    short_help: str
    place: str
    settings: Mapping[str, Any] = field(default_factory=dict)


_THROUGH = {"allow_extra_args": True, "ignore_unknown_options": True}

COMMANDS = {
    "init": Entry(SET_UP, "Write runnerkit.yml, or add a host to it.", "configure.init"),
    "config": Entry(
        SET_UP, "Show every setting, and where it comes from.", "configure.show_config"
    ),
    "render": Entry(
        SET_UP, "Write a host's files here, to read or use by hand.", "configure.render"
    ),
    "plan": Entry(SET_UP, "Show what `up` would change.", "change.plan"),
    "up": Entry(SET_UP, "Make hosts what the configuration says.", "change.up"),
    "down": Entry(SET_UP, "Stop a host's runner; with --purge delete its data too.", "change.down"),
    "status": Entry(LOOK, "Show whether hosts are well, and why builds wait.", "status.status"),
    "metrics": Entry(
        LOOK, "The same for Prometheus: text, textfile or exporter.", "metrics.metrics"
    ),
    "logs": Entry(LOOK, "Show the log of runner, dind or janitor.", "look.logs"),
    "docker": Entry(LOOK, "Your own docker CLI on the runner's daemon.", "look.docker", _THROUGH),
    "history": Entry(
        LOOK, "Show who changed a host, when, and how it went.", "generations.history"
    ),
    "cache": Entry(
        RUN, "What builds leave behind: what takes the space, and what GC does.", "cache.app"
    ),
    "tune": Entry(RUN, "Advise capacity and cache limits from what is measured.", "tune.tune"),
    "drain": Entry(RUN, "Take no new builds, and wait for the running ones.", "service.drain"),
    "resume": Entry(RUN, "Take builds again.", "service.resume"),
    "upgrade": Entry(
        RUN, "Run newer images; goes back when they do not work.", "generations.upgrade"
    ),
    "rollback": Entry(RUN, "Put an earlier generation in force again.", "generations.rollback"),
    "unlock": Entry(RUN, "End the lock of a command that is dead.", "service.unlock"),
    "pipeline": Entry(OTHER, "Check and run a repository's own build.", "pipeline.app"),
    "bench": Entry(OTHER, "Compare builds on a runner with other ways to build.", "bench.bench"),
    "export": Entry(OTHER, "Write a configuration for Ansible.", "export.export"),
}


@cache
def _made(name: str) -> Any:
    entry = COMMANDS[name]
    module, _, attribute = entry.place.partition(".")
    found = getattr(import_module(f"runnerkit.commands.{module}"), attribute)
    parent = typer.Typer(rich_markup_mode=None)
    if isinstance(found, typer.Typer):
        parent.add_typer(found, name=name, short_help=entry.short_help)
    else:
        settings = dict(entry.settings)
        parent.command(name, short_help=entry.short_help, context_settings=settings)(found)
    return get_group(parent).commands[name]


class _MadeWhenNeeded(Mapping[str, Any]):
    """Every command by its name.

    Making all of them takes longer than everything else that `--help` does.
    """

    def __getitem__(self, name: str) -> Any:
        return _made(name)

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class _Commands(TyperGroup):
    """The commands below headings. Plain text: rich would double the time that `--help` takes."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings | {"commands": None})
        self.commands: Any = _MadeWhenNeeded()

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one section a heading, every command's line whole."""
        del ctx
        widest = max(len(name) for name in COMMANDS)
        for heading in (SET_UP, LOOK, RUN, OTHER):
            rows = [
                (f"{name:<{widest}}", entry.short_help)
                for name, entry in COMMANDS.items()
                if entry.heading == heading
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
