"""Commands that change hosts, or show what would change: plan, up, down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from runnerkit.commands.shared import (
    AcceptOption,
    ConfigOption,
    ForceOption,
    HostArgument,
    HostsArgument,
    JsonOption,
    LockWaitOption,
    YesOption,
    changing_one,
    confirm,
    load,
    one,
    owner,
    seconds,
    select,
    show_error,
)
from runnerkit.errors import ExitCode

if TYPE_CHECKING:
    from runnerkit.change.plan import Plan
    from runnerkit.config.effective import HostConfig
    from runnerkit.health.model import HealthReport
    from runnerkit.roads import Changing

# What a command needs is imported in it: `--help` must not wait for paramiko.
# ruff: noqa: PLC0415


def plan(
    hosts: HostsArgument = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit 3 when changes are pending.")
    ] = False,
    accept_new_host_key: AcceptOption = False,
) -> None:
    """Show what `up` would change. Changes nothing."""
    from runnerkit.report.screens import plan_json, plan_text, stdout_console
    from runnerkit.roads import on_each, survey, worst

    loaded, access = load(config, accept_new_host_key)

    def look(chosen: HostConfig) -> Plan:
        with survey(chosen, access) as found:
            return found.plan

    plans, errors = on_each(select(loaded, hosts), look)
    if as_json:
        typer.echo(plan_json(plans.values(), errors))
    else:
        console = stdout_console()
        for item in plans.values():
            console.print(plan_text(item))
    codes = [show_error(error) for error in errors.values()]
    codes += [ExitCode.ERROR for item in plans.values() if item.blockers]
    if not codes and exit_code and any(item.actions for item in plans.values()):
        raise typer.Exit(ExitCode.CHANGES_PENDING)
    raise typer.Exit(worst(codes))


def up(
    hosts: HostsArgument = None,
    config: ConfigOption = None,
    yes: YesOption = False,
    force: ForceOption = False,
    move_data: Annotated[
        bool, typer.Option("--move-data", help="Where docker.data changed, take the data along.")
    ] = False,
    lock_wait: LockWaitOption = None,
    accept_new_host_key: AcceptOption = False,
) -> None:
    """Make the hosts what the configuration says: plan, ask, execute, wait until healthy."""
    from contextlib import ExitStack

    from runnerkit.lifecycle import carry_out
    from runnerkit.report.progress import progress_for_terminal
    from runnerkit.report.screens import plan_text, show, stdout_console
    from runnerkit.report.status import health_text
    from runnerkit.roads import changing, on_each, worst

    loaded, access = load(config, accept_new_host_key)
    selected = select(loaded, hosts)
    patience = seconds(lock_wait, "--lock-wait") or 0
    console = stdout_console()
    progress = progress_for_terminal()
    with ExitStack() as connections:

        def begin(chosen: HostConfig) -> Changing:
            me = owner("up")
            return connections.enter_context(
                changing(chosen, access, me, progress, lock_wait=patience, move_data=move_data)
            )

        found, errors = on_each(selected, begin)
        for item in found.values():
            console.print(plan_text(item.survey.plan))
        codes = [show_error(error) for error in errors.values()]
        codes += [ExitCode.ERROR for item in found.values() if item.survey.plan.blockers]
        pending = {n: f for n, f in found.items() if f.survey.plan.actions}
        if pending:
            confirm(f"Change {', '.join(pending)}?", yes=yes)

        def announce(rest: Plan) -> None:
            console.print(plan_text(rest))

        def change(chosen: HostConfig) -> HealthReport:
            return carry_out(pending[chosen.name], progress, announce, force=force)

        reports, failures = on_each([f.survey.host for f in pending.values()], change)
    show(health_text(reports.values()))
    codes += [show_error(error) for error in failures.values()]
    codes += [report.exit_code for report in reports.values()]
    raise typer.Exit(worst(codes))


def down(
    host: HostArgument,
    config: ConfigOption = None,
    purge: Annotated[
        bool, typer.Option("--purge", help="Also delete the stack's files, images and caches.")
    ] = False,
    yes: YesOption = False,
    force: ForceOption = False,
    lock_wait: LockWaitOption = None,
    accept_new_host_key: AcceptOption = False,
) -> None:
    """Drain and stop the runner and its daemon; with --purge also delete their data."""
    from runnerkit.change.service_plans import purge_places
    from runnerkit.roads import take_down

    loaded, access = load(config, accept_new_host_key)
    with changing_one(one(loaded, host), access, "down", lock_wait) as (change, _):
        places = purge_places(change.survey.desired, change.survey.facts)
        question = f"Stop the runner on {host}?"
        if purge:
            typer.echo("\n".join([f"{host}: for good go", *(f"  {place}" for place in places)]))
            question = f"Stop the runner on {host} and delete all of this?"
        confirm(question, yes=yes)
        take_down(change, purge=places if purge else (), force=force)
    typer.echo(f"{host}: stopped" + (", data deleted" if purge else "; data kept"))
