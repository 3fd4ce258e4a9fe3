"""Commands about what builds leave behind: `runnerkit cache …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from runnerkit.commands.shared import (
    AcceptOption,
    ConfigOption,
    ForceOption,
    HostArgument,
    JsonOption,
    LockWaitOption,
    YesOption,
    changing_one,
    confirm,
    load,
    one,
)
from runnerkit.errors import ConfigError, ExitCode

# What a command needs is imported in it: `--help` must not wait for paramiko.
# ruff: noqa: PLC0415

app = typer.Typer(
    no_args_is_help=True,
    help="Look into a runner's cache, foresee GC, free space, take all of it along.",
)


@app.command()
def show(
    host: HostArgument,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    top: Annotated[int, typer.Option(help="How many of the biggest records.", min=0)] = 8,
    accept_new_host_key: AcceptOption = False,
) -> None:
    """Show what takes the space, against the limits and the disk."""
    from runnerkit.cache_roads import cache_survey, summary_of
    from runnerkit.report.cache_screens import summary_json, summary_text
    from runnerkit.report.screens import stdout_console

    loaded, access = load(config, accept_new_host_key)
    with cache_survey(one(loaded, host), access) as found:
        result = summary_of(found, top)
    if as_json:
        typer.echo(summary_json(result))
    else:
        stdout_console().print(summary_text(result, found.now))


@app.command()
def simulate(
    host: HostArgument,
    config: ConfigOption = None,
    max_: Annotated[
        str | None, typer.Option("--max", help="Another ceiling, e.g. 40GB or 50%.")
    ] = None,
    min_free: Annotated[str | None, typer.Option(help="Other free space, e.g. 15GB.")] = None,
    keep_mounts: Annotated[str | None, typer.Option(help="Another age, e.g. 60d.")] = None,
    keep_layers: Annotated[str | None, typer.Option(help="Another age, e.g. 14d.")] = None,
    as_json: JsonOption = False,
    accept_new_host_key: AcceptOption = False,
) -> None:
    """Foresee what the next GC takes, under the rules in force or under others. Changes nothing."""
    from runnerkit.cache_roads import cache_survey, simulation_of
    from runnerkit.config.proposal import proposed
    from runnerkit.desired.settings import cache_limits
    from runnerkit.facts.host import traits_of
    from runnerkit.report.cache_screens import simulation_json, simulation_text
    from runnerkit.report.screens import stdout_console

    loaded, access = load(config, accept_new_host_key)
    chosen = one(loaded, host)
    given = {
        "max": max_, "min_free": min_free, "keep_mounts": keep_mounts, "keep_layers": keep_layers,
    }  # fmt: skip
    other = proposed(chosen, {key: value for key, value in given.items() if value is not None})
    with cache_survey(chosen, access) as seen:
        limits = None if other is None else cache_limits(other, traits_of(seen.found.facts))
        result = simulation_of(seen, limits)
    if as_json:
        typer.echo(simulation_json(result.host, result))
    else:
        stdout_console().print(simulation_text(result, seen.now))


@app.command()
def prune(
    host: HostArgument,
    config: ConfigOption = None,
    mounts: Annotated[bool, typer.Option("--mounts", help="Cache mounts.")] = False,
    layers: Annotated[bool, typer.Option("--layers", help="Layers, sources and the like.")] = False,
    images: Annotated[
        bool, typer.Option("--images", help="Images that no container uses.")
    ] = False,
    older_than: Annotated[
        str, typer.Option(help="Only what is unused for so long (images: made so long ago).")
    ] = "0s",
    yes: YesOption = False,
    lock_wait: LockWaitOption = None,
    accept_new_host_key: AcceptOption = False,
) -> None:
    """Name what goes, ask, delete it, and say how much space came back."""
    from runnerkit.cache.pruning import Choice
    from runnerkit.cache_roads import carry_out_pruning, look_into, pruning_of
    from runnerkit.report.cache_screens import freed_text, pruning_text
    from runnerkit.report.screens import stdout_console
    from runnerkit.units import Duration

    if not (mounts or layers or images):
        raise ConfigError(
            "nothing is chosen", hint=f"runnerkit cache prune {host} --mounts, --layers or --images"
        )
    try:
        age = int(Duration.parse(older_than))
    except ValueError as error:
        raise ConfigError(f"--older-than {error}", hint="e.g. --older-than 14d") from None
    loaded, access = load(config, accept_new_host_key)
    choice = Choice(mounts=mounts, layers=layers, images=images, unused_seconds=age)
    with changing_one(one(loaded, host), access, "cache prune", lock_wait) as (change, _):
        seen = look_into(change.survey)
        pruning = pruning_of(seen, choice)
        stdout_console().print(pruning_text(host, choice, pruning, seen.now))
        if not pruning:
            return
        confirm(f"Delete this on {host}?", yes=yes)
        freed = carry_out_pruning(change, seen, choice, pruning)
    stdout_console().print(freed_text(host, freed))


@app.command()
def verify(
    host: HostArgument,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    lock_wait: LockWaitOption = None,
    accept_new_host_key: AcceptOption = False,
) -> None:
    """Prove by trial what the engine evicts, on a throw-away one of the same image; 1-2 minutes."""
    from runnerkit import cache_roads
    from runnerkit.report.cache_screens import trial_json, trial_text
    from runnerkit.report.screens import stdout_console

    loaded, access = load(config, accept_new_host_key)
    with changing_one(one(loaded, host), access, "cache verify", lock_wait) as (change, progress):
        trial = cache_roads.verify(change, progress)
    if as_json:
        typer.echo(trial_json(host, trial))
    else:
        stdout_console().print(trial_text(host, trial))
    if not trial.passed:
        raise typer.Exit(ExitCode.UNHEALTHY)


@app.command("export")
def export_(
    host: HostArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file on this machine.")],
    config: ConfigOption = None,
    force: ForceOption = False,
    lock_wait: LockWaitOption = None,
    accept_new_host_key: AcceptOption = False,
) -> None:
    """Copy images and caches to a file here; halts the runner meanwhile."""
    from runnerkit.change.copying import check_writable
    from runnerkit.data_roads import carry_out_export
    from runnerkit.report.screens import show
    from runnerkit.report.status import health_text
    from runnerkit.units import format_bytes

    loaded, access = load(config, accept_new_host_key)
    check_writable(file)
    chosen = one(loaded, host)
    with changing_one(chosen, access, "cache export", lock_wait) as (change, progress):
        report = carry_out_export(change, file, progress, force=force)
    typer.echo(f"{host}: exported {format_bytes(file.stat().st_size)} to {file}")
    if report.exit_code is not ExitCode.OK:
        show(health_text([report]))
    raise typer.Exit(report.exit_code)


@app.command("import")
def import_(
    host: HostArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `cache export` wrote.")],
    config: ConfigOption = None,
    yes: YesOption = False,
    force: ForceOption = False,
    lock_wait: LockWaitOption = None,
    accept_new_host_key: AcceptOption = False,
) -> None:
    """Replace images and caches by exported ones, after asking."""
    from runnerkit.change.copying import open_export
    from runnerkit.data_roads import carry_out_import, plan_import
    from runnerkit.report.screens import show
    from runnerkit.report.status import health_text
    from runnerkit.units import format_bytes

    loaded, access = load(config, accept_new_host_key)
    open_export(file)
    chosen = one(loaded, host)
    with changing_one(chosen, access, "cache import", lock_wait) as (change, progress):
        what = plan_import(change, file)
        typer.echo(f"{file}: {what.head.told}")
        confirm(
            f"Replace {format_bytes(what.replaced_bytes)} of images and caches in "
            f"{change.survey.desired.paths.data} on {host}?",
            yes=yes,
        )
        report = carry_out_import(what, progress, force=force)
    typer.echo(f"{host}: imported {format_bytes(what.head.data_bytes)} from {file}")
    if report.exit_code is not ExitCode.OK:
        show(health_text([report]))
    raise typer.Exit(report.exit_code)
