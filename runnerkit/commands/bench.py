"""Measuring builds on a runner: bench."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from runnerkit.commands.shared import (
    AcceptOption,
    ConfigOption,
    HostArgument,
    JsonOption,
    load,
    one,
)

# What a command needs is imported in it: `--help` must not wait for paramiko.
# ruff: noqa: PLC0415


def bench(
    host: HostArgument,
    config: ConfigOption = None,
    context: Annotated[
        Path | None, typer.Option(help="Your project; a small Go program without it.")
    ] = None,
    dockerfile: Annotated[Path | None, typer.Option(help="Instead of the context's own.")] = None,
    change: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Source that gets an empty line for each build."),
    ] = None,
    registry: Annotated[
        str | None,
        typer.Option(metavar="REPOSITORY", help="Also with the cache there, e.g. lan:5000/bench."),
    ] = None,
    rounds: Annotated[int, typer.Option(help="Measurements of each.", min=1)] = 7,
    as_json: JsonOption = False,
    accept_new_host_key: AcceptOption = False,
) -> None:
    """Build a project on a runner in every way, one line changed each time, and compare.

    Takes minutes and all of the host: choose a time without builds. Leaves nothing behind.
    """
    from importlib.resources import as_file, files

    from runnerkit.bench.run import find_project, prepared
    from runnerkit.bench.strategies import REGISTRY, STRATEGIES
    from runnerkit.desired.settings import daemon_options
    from runnerkit.facts.host import traits_of
    from runnerkit.report.bench import bench_json, bench_table
    from runnerkit.report.progress import progress_for_terminal
    from runnerkit.report.screens import stdout_console
    from runnerkit.roads import survey

    loaded, access = load(config, accept_new_host_key)
    chosen, progress = one(loaded, host), progress_for_terminal()
    strategies = [item for item in STRATEGIES if registry or item is not REGISTRY]
    with (
        as_file(files("runnerkit.bench").joinpath("project")) as own,
        survey(chosen, access) as found,
    ):
        project = find_project(context or own, dockerfile, change)
        options = daemon_options(chosen, traits_of(found.facts))
        image, paths = str(chosen.docker.image), found.desired.paths
        with prepared(found.transport, paths, project, image, options, registry) as ready:
            progress.begin(host, "build in every way")
            measured = ready.compare(
                strategies, rounds, lambda title: progress.detail(host, f"with {title}")
            )
            progress.end(host, ok=True)
    if as_json:
        typer.echo(bench_json(host, measured))
    else:
        stdout_console().print(bench_table(measured))
