"""Commands that move between generations: upgrade, rollback, history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

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
from runnerkit.errors import ConfigError

if TYPE_CHECKING:
    from runnerkit.change.progress import Progress
    from runnerkit.config.effective import HostConfig
    from runnerkit.moves import Move

# What a command needs is imported in it: `--help` must not wait for paramiko.
# ruff: noqa: PLC0415


def upgrade(
    host: HostArgument,
    config: ConfigOption = None,
    to_dind: Annotated[
        str | None, typer.Option(metavar="IMAGE", help="Instead of docker.image.")
    ] = None,
    to_runner: Annotated[
        str | None, typer.Option(metavar="IMAGE", help="Instead of runner.image.")
    ] = None,
    yes: YesOption = False,
    force: ForceOption = False,
    lock_wait: LockWaitOption = None,
    accept_new_host_key: AcceptOption = False,
) -> None:
    """Run the newest images of their tags, or other ones; goes back by itself when that fails."""
    from runnerkit.moves import plan_upgrade

    loaded, access = load(config, accept_new_host_key)
    chosen = _with_images(one(loaded, host), to_dind, to_runner)
    with changing_one(chosen, access, "upgrade", lock_wait) as (change, progress):
        _go(plan_upgrade(change), progress, f"Upgrade {host}?", yes=yes, force=force)
    for key, image in (("docker.image", to_dind), ("runner.image", to_runner)):
        if image:
            typer.echo(f"set hosts.{host}.{key}: {image}, or the next `up` undoes it", err=True)


def rollback(
    host: HostArgument,
    config: ConfigOption = None,
    to: Annotated[
        int | None, typer.Option(metavar="N", help="The generation; without it the one before.")
    ] = None,
    yes: YesOption = False,
    force: ForceOption = False,
    lock_wait: LockWaitOption = None,
    accept_new_host_key: AcceptOption = False,
) -> None:
    """Put an earlier generation in force again: its files, its images, its secret."""
    from runnerkit.moves import plan_rollback

    loaded, access = load(config, accept_new_host_key)
    with changing_one(one(loaded, host), access, "rollback", lock_wait) as (change, progress):
        _go(plan_rollback(change, to), progress, f"Roll {host} back?", yes=yes, force=force)
    typer.echo(f"the configuration stays as it is; see `runnerkit plan {host}`", err=True)


def history(
    host: HostArgument,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    accept_new_host_key: AcceptOption = False,
) -> None:
    """Show who changed a host, when, how it went, and the generations to go back to."""
    from runnerkit.moves import generations_of, history_of
    from runnerkit.paths import stack_paths
    from runnerkit.report.history import history_json, history_text
    from runnerkit.report.screens import show
    from runnerkit.roads import reach

    loaded, access = load(config, accept_new_host_key)
    chosen = one(loaded, host)
    paths = stack_paths(chosen.stack, chosen.docker.data)
    with reach(chosen, access) as transport:
        changes, kept = history_of(transport, paths), generations_of(transport, paths)
    if as_json:
        typer.echo(history_json(host, changes, kept))
    else:
        show(history_text(host, changes, kept))


def _go(move: Move, progress: Progress, question: str, *, yes: bool, force: bool) -> None:
    from runnerkit.lifecycle import carry_out_move
    from runnerkit.report.screens import plan_text, show, stdout_console
    from runnerkit.report.status import health_text

    console = stdout_console()
    console.print(plan_text(move.plan))
    for warning in move.told.warnings:
        typer.echo(f"  note: {warning}")
    confirm(question, yes=yes)
    report = carry_out_move(
        move, progress, lambda rest: console.print(plan_text(rest)), force=force
    )
    if report is None:
        typer.echo(f"{move.plan.host}: it runs the newest already; nothing was restarted")
        return
    show(health_text([report]))
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def _with_images(host: HostConfig, dind: str | None, runner: str | None) -> HostConfig:
    from runnerkit.config.image_ref import check_image_ref

    for option, image in (("--to-dind", dind), ("--to-runner", runner)):
        try:
            check_image_ref(image or "unused")
        except ValueError as error:
            raise ConfigError(f"{option} {error}") from None
    docker = host.docker.model_copy(update={"image": dind or host.docker.image})
    drone = host.runner.model_copy(update={"image": runner or host.runner.image})
    return host.model_copy(update={"docker": docker, "runner": drone})
