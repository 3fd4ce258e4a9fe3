"""The roads that change what runs, with a way back: up, upgrade and rollback."""

from __future__ import annotations

from collections.abc import Callable

from runnerkit.change.compatibility import changed_images, compatibility
from runnerkit.change.draining import StillRunningError
from runnerkit.change.generations import Generation
from runnerkit.change.packages import version_tuple
from runnerkit.change.plan import Plan, with_patience
from runnerkit.change.progress import Progress
from runnerkit.change.upgrade import IDLE_SECONDS, is_idle, restore_plan
from runnerkit.errors import ActionError, HostError
from runnerkit.health.model import HealthReport, Status
from runnerkit.moves import Move, plan_up, refuse_misfit
from runnerkit.roads import Changing, Survey, refuse_if_blocked, wait_until_well

# Without these no build runs. What else is wrong was wrong before, and going back mends nothing.
ESSENTIAL = frozenset({"dind", "dind-api", "runner", "polling"})

Announce = Callable[[Plan], None]


def carry_out(
    change: Changing, progress: Progress, announce: Announce, *, force: bool = False
) -> HealthReport:
    """Execute the plan of `up`, then look again until the host is well; returns the last report.

    A change of images goes the way of an upgrade: fetched first, and back by itself when what
    they run does not get healthy. Raises ActionError when an action fails.
    """
    found = change.survey
    refuse_if_blocked(found.plan)
    if changed_images(found.desired, found.facts) or found.desired.unpinned:
        report = carry_out_move(plan_up(change), progress, announce, force=force)
        return report or wait_until_well(found, progress)
    change.executor.execute(_patient(found.plan, force), force=force)
    return wait_until_well(found, progress)


def carry_out_move(
    move: Move, progress: Progress, announce: Announce, *, force: bool = False
) -> HealthReport | None:
    """Fetch, ask the image for its version, drain, switch, verify; on failure all the way back.

    Where the fetched images make more of the plan than it told before, `announce` gets the rest.
    None when the newest runs already. Raises ActionError when it failed, with what failed and
    whether the host is well again; HostError when the image turns out not to fit, with nothing
    changed.
    """
    executor = move.change.executor
    executor.begin(move.fetch)
    try:
        found, switch = _fetched(move)
    except (HostError, ActionError) as error:
        executor.end(f"failed: {error.message}")
        raise
    if not switch.actions:
        executor.end()
        return None
    if _steps(switch) - _steps(move.plan):
        announce(switch)
    try:
        executor.execute(_patient(switch, force), force=force)
        report = wait_until_well(found, progress)
        if move.way_back is None:
            return report
        insist(report)
    except StillRunningError:  # nothing was switched, and waiting can go on
        raise
    except ActionError as failure:
        if move.way_back is None:
            raise
        raise _went_back(move, move.way_back, failure, progress) from None
    return report


def _steps(plan: Plan) -> set[tuple[str, str]]:
    return {(action.title, action.reason) for action in plan.actions}


def _fetched(move: Move) -> tuple[Survey, Plan]:
    """The host with the new images on it, and what to do with them."""
    before = move.change.survey
    version = version_tuple(move.change.executor.engine_version(move.image)) if move.image else ()
    found = before.again(ask_server=False, move_pins=move.move_pins)
    if move.image:
        refuse_misfit(found, compatibility(found.facts.inner, version, found.desired))
    switch = move.switch(found)
    refuse_if_blocked(switch)
    return found, switch


def _went_back(
    move: Move, way_back: Generation, failure: ActionError, progress: Progress
) -> ActionError:
    """Return to the generation before; the error that tells how that went."""
    found = move.change.survey.again(ask_server=False)
    number = way_back.number
    plan = restore_plan(way_back, found.desired, found.facts, "what came after it failed")
    if is_idle(found.facts):
        # What never became healthy may ignore a signal, too; there is nothing to wait for.
        plan = with_patience(plan, IDLE_SECONDS)
    try:
        move.change.executor.execute(plan, force=is_idle(found.facts))
        insist(wait_until_well(found, progress))
    except ActionError as again:
        return ActionError(
            f"{failure.message}\ngoing back to generation {number} failed, too: {again.message}",
            hint=again.hint,
        )
    return ActionError(
        f"{failure.message}\nwent back to generation {number}, which is healthy",
        hint=f"runnerkit history {found.host.name}",
    )


def _patient(plan: Plan, force: bool) -> Plan:
    return with_patience(plan, 0) if force else plan


def insist(report: HealthReport) -> None:
    """Raise ActionError for a runner or a daemon that did not come up."""
    broken = [
        f"{check.id} {check.summary}"
        for check in report.checks
        if check.id in ESSENTIAL and check.status in (Status.FAIL, Status.WARN)
    ]
    if broken:
        raise ActionError(f"{report.host}: it did not become healthy: {'; '.join(broken)}")
