"""Commands that look into a host: logs, docker."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Annotated, Literal

import typer

from runnerkit.commands.shared import (
    AcceptOption,
    ConfigOption,
    HostArgument,
    load,
    one,
    wait_for_interrupt,
)
from runnerkit.errors import RunnerkitError

# What a command needs is imported in it: `--help` must not wait for paramiko.
# ruff: noqa: PLC0415


def logs(
    host: HostArgument,
    service: Annotated[
        Literal["dind", "runner", "janitor", "mirror"], typer.Argument(help="Whose log.")
    ] = "runner",
    config: ConfigOption = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows.")] = False,
    tail: Annotated[int, typer.Option(help="Lines from the end.", min=0)] = 100,
    accept_new_host_key: AcceptOption = False,
) -> None:
    """Show the log of the runner, of its Docker daemon, or of the janitor."""
    from runnerkit.paths import stack_paths
    from runnerkit.roads import reach

    loaded, access = load(config, accept_new_host_key)
    chosen = one(loaded, host)
    project = stack_paths(chosen.stack, chosen.docker.data).project
    argv = ["docker", "logs", "--tail", str(tail), *(["--follow"] if follow else [])]
    argv.append(f"{project}-{service}-1")

    def show(chunk: bytes) -> None:
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()

    with reach(chosen, access) as transport:
        code = transport.follow(argv, show)
    if code:
        raise RunnerkitError(
            f"{host}: no log of {service} could be read", hint=f"runnerkit status {host}"
        )


def docker(
    context: typer.Context,
    host: HostArgument,
    config: ConfigOption = None,
    shell_env: Annotated[
        bool, typer.Option("--shell-env", help="Print DOCKER_HOST and hold the tunnel open.")
    ] = False,
    accept_new_host_key: AcceptOption = False,
) -> None:
    """Run your own docker CLI against the runner's daemon: `runnerkit docker HOST -- ps`."""
    from runnerkit.engine.asking import dial_argv
    from runnerkit.engine.own_docker import own_docker
    from runnerkit.paths import stack_paths
    from runnerkit.roads import reach

    loaded, access = load(config, accept_new_host_key)
    chosen = one(loaded, host)
    socket = stack_paths(chosen.stack, chosen.docker.data).docker_socket
    argv = dial_argv(str(socket))
    with (
        tempfile.TemporaryDirectory(prefix="runnerkit-") as folder,
        reach(chosen, access) as transport,
        transport.forward(argv, Path(folder) / "docker.sock") as local,
    ):
        if not shell_env:
            raise typer.Exit(own_docker(context.args, local))
        typer.echo(f"export DOCKER_HOST=unix://{local}")
        sys.stdout.flush()
        wait_for_interrupt()
