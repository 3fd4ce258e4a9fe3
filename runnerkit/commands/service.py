"""Commands that take a runner out of service and back, and free its host's lock."""

from __future__ import annotations

from typing import Annotated

import typer

from runnerkit.commands.shared import (
    AcceptOption,
    ConfigOption,
    HostArgument,
    LockWaitOption,
    YesOption,
    changing_one,
    confirm,
    load,
    one,
    seconds,
)
from runnerkit.errors import HostError

# What a command needs is imported in it: `--help` must not wait for paramiko.
# ruff: noqa: PLC0415


def drain(
    host: HostArgument,
    config: ConfigOption = None,
    timeout: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Instead of runner.drain_timeout."),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="End builds that still run then; without --timeout at once."),
    ] = False,
    lock_wait: LockWaitOption = None,
    accept_new_host_key: AcceptOption = False,
) -> None:
    """Let the runner take no new builds, and wait until its running stages are done."""
    from runnerkit.change.service_plans import drain_plan
    from runnerkit.desired.state import RUNNER
    from runnerkit.facts.host import find_container

    loaded, access = load(config, accept_new_host_key)
    patience = seconds(timeout, "--timeout")
    if force and patience is None:
        patience = 0
    with changing_one(one(loaded, host), access, "drain", lock_wait) as (change, _):
        found = change.survey
        if find_container(found.facts, RUNNER) is None:
            raise HostError(f"{host}: there is no runner", hint=f"runnerkit up {host}")
        plan = drain_plan(found.desired, found.facts, patience)
        change.executor.execute(plan, force=force)
    typer.echo(f"{host}: drained; it takes no builds until `runnerkit resume {host}`")


def resume(
    host: HostArgument,
    config: ConfigOption = None,
    lock_wait: LockWaitOption = None,
    accept_new_host_key: AcceptOption = False,
) -> None:
    """Let a drained runner take builds again, with the files that lie on its host."""
    from runnerkit.change.service_plans import resume_plan
    from runnerkit.desired.state import DIND
    from runnerkit.facts.host import find_container
    from runnerkit.report.screens import show
    from runnerkit.report.status import health_text
    from runnerkit.roads import wait_until_well

    loaded, access = load(config, accept_new_host_key)
    with changing_one(one(loaded, host), access, "resume", lock_wait) as (change, progress):
        found = change.survey
        if find_container(found.facts, DIND) is None:
            raise HostError(f"{host}: it is not set up", hint=f"runnerkit up {host}")
        plan = resume_plan(found.desired, found.facts)
        change.executor.execute(plan)
        if not plan.actions:
            typer.echo(f"{host}: it takes builds already")
            return
        report = wait_until_well(found, progress)
    show(health_text([report]))
    raise typer.Exit(report.exit_code)


def unlock(
    host: HostArgument,
    config: ConfigOption = None,
    yes: YesOption = False,
    accept_new_host_key: AcceptOption = False,
) -> None:
    """End the lock of a command that is dead but whose connection never ended."""
    from runnerkit.change.lock import break_lock
    from runnerkit.roads import reach

    loaded, access = load(config, accept_new_host_key)
    confirm(f"Let nobody go on changing {host} who is changing it now?", yes=yes)
    with reach(one(loaded, host), access) as transport:
        ended = break_lock(transport)
    if ended is None:
        typer.echo(f"{host}: nobody holds its lock")
    else:
        typer.echo(f"{host}: ended the lock of {ended}; next: runnerkit up {host}")
