"""The command line: one program, its commands, and what becomes of their errors."""

from __future__ import annotations

import logging
import sys
from typing import Annotated, NoReturn

import typer

from runnerkit import __version__
from runnerkit.commands import change, configure, generations, look, pipeline, service
from runnerkit.commands.shared import show_error
from runnerkit.errors import ExitCode, RunnerkitError

app = typer.Typer(
    name="runnerkit",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="Provision and look after Drone runners that own a persistent Docker daemon.",
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


app.command()(configure.init)
app.command()(configure.render)
app.command()(change.plan)
app.command()(change.up)
app.command()(look.status)
app.command()(look.logs)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(
    look.docker
)
app.command()(service.drain)
app.command()(service.resume)
app.command()(generations.upgrade)
app.command()(generations.rollback)
app.command()(generations.history)
app.command()(service.unlock)
app.command()(change.down)
app.command("config")(configure.show_config)
app.add_typer(pipeline.app)


def main() -> NoReturn:
    """Entry point of the `runnerkit` program."""
    logging.getLogger("paramiko").addHandler(logging.NullHandler())
    try:
        app(standalone_mode=True)
    except RunnerkitError as error:
        sys.exit(show_error(error))
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    sys.exit(ExitCode.OK)


if __name__ == "__main__":
    main()
