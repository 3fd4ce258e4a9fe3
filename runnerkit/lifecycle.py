"""The roads that change what runs, with a way back: up, upgrade and rollback. And the history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from runnerkit.change.actions import Drain
from runnerkit.change.compatibility import (
    OTHER_IMAGE,
    Compatibility,
    changed_images,
    compatibility,
    tag_version,
)
from runnerkit.change.draining import StillRunningError
from runnerkit.change.generations import Generation, generation_before, read_generations
from runnerkit.change.journal import Ended, read_history
from runnerkit.change.packages import version_tuple
from runnerkit.change.plan import Plan, host_refusals
from runnerkit.change.progress import Progress
from runnerkit.change.scripts import script
from runnerkit.change.upgrade import (
    IDLE_SECONDS,
    fetch_for,
    fetch_plan,
    fetching,
    is_idle,
    restore_plan,
    switch_plan,
)
from runnerkit.desired.state import DIND
from runnerkit.errors import ActionError, HostError
from runnerkit.health.model import HealthReport, Status
from runnerkit.paths import StackPaths
from runnerkit.reach.transport import Transport
from runnerkit.roads import Changing, Survey, refuse, refuse_if_blocked, wait_until_well

HISTORY = "history.jsonl"
# Without these no build runs. What else is wrong was wrong before, and going back mends nothing.
ESSENTIAL = frozenset({"dind", "dind-api", "runner", "polling"})


Announce = Callable[[Plan], None]


@dataclass(frozen=True)
class Move:
    """A change of what runs, before it begins: what would be done, and what to know of it."""

    change: Changing
    fetch: Plan
    switch: Callable[[Survey], Plan]
    way_back: Generation | None
    """None where there is nothing to go back to, or nothing that runs changes."""
    told: Compatibility = field(default_factory=Compatibility)
    image: str | None = None
    """The daemon's, to be asked for its version before it is switched to."""
    move_pins: bool = False

    @property
    def plan(self) -> Plan:
        """All of it, as far as it can be told before the images are there."""
        switch = self.switch(self.change.survey)
        return replace(switch, actions=(*self.fetch.actions, *switch.actions))


def generations_of(transport: Transport, paths: StackPaths) -> tuple[Generation, ...]:
    """The generations that the host keeps, oldest first."""
    argv = ["sh", "-c", script("list_generations"), "sh", str(paths.directory)]
    return read_generations(transport.run(argv).stdout.decode(errors="replace"))


def history_of(transport: Transport, paths: StackPaths) -> tuple[Ended, ...]:
    """Every change of the stack that ended, oldest first."""
    completed = transport.run(["cat", "--", str(paths.directory / HISTORY)])
    return read_history(completed.stdout.decode(errors="replace"))


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
        report = carry_out_move(_plan_up(change), progress, announce, force=force)
        return report or wait_until_well(found, progress)
    change.executor.execute(_patient(found.plan, force), force=force)
    return wait_until_well(found, progress)


def _plan_up(change: Changing) -> Move:
    found = change.survey
    changed = changed_images(found.desired, found.facts)
    kept = generations_of(found.transport, found.desired.paths) if changed else ()
    return Move(
        change=change,
        fetch=fetching(found.plan),
        switch=lambda later: later.plan,
        way_back=next((item for item in kept if item.number == change.generation), None),
        image=found.desired.images[DIND] if DIND in changed else None,
    )


def plan_upgrade(change: Changing) -> Move:
    """The way to the images of the configuration. Raises HostError where there is none."""
    found = change.survey
    image = found.desired.config.docker.image
    told = compatibility(found.facts.inner, tag_version(image), found.desired)
    _refuse(found, told)
    refuse_if_blocked(found.plan)
    return Move(
        change=change,
        fetch=fetch_plan(found.desired, found.facts),
        switch=lambda later: switch_plan(later.desired, later.facts),
        way_back=_kept(change, change.generation),
        told=told,
        image=image,
        move_pins=True,
    )


def plan_rollback(change: Changing, number: int | None) -> Move:
    """The way back to generation `number`, without one to that before the present one.

    What stands against the configuration as it is now does not count: its files are not used.
    """
    found = change.survey
    refuse(found.host.name, host_refusals(found.desired, found.facts))
    if number is None:
        kept = generations_of(found.transport, found.desired.paths)
        goal = generation_before(kept, change.generation)
        if goal is None:
            raise HostError(
                f"{found.host.name}: no generation before {change.generation} is kept",
                hint=f"runnerkit history {found.host.name}",
            )
    else:
        goal = _kept(change, number)
    if goal.number == change.generation:
        raise HostError(f"{found.host.name}: generation {goal.number} is in force already")
    way_back = _kept(change, change.generation)
    if goal.data != way_back.data:
        raise HostError(
            f"{found.host.name}: generation {goal.number} has its images and caches in "
            f"{goal.data}, but they are in {way_back.data} now",
            hint="set docker.data and docker.image to what they were, "
            f"then `runnerkit up {found.host.name} --move-data`",
        )
    told = compatibility(found.facts.inner, tag_version(goal.images[DIND]), found.desired)
    _refuse(found, told)
    return Move(
        change=change,
        fetch=fetch_for(goal, found.desired, found.facts),
        switch=lambda later: restore_plan(goal, later.desired, later.facts, "asked for"),
        way_back=way_back,
        told=told,
        image=goal.images[DIND],
    )


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
        _refuse(found, compatibility(found.facts.inner, version, found.desired))
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
        plan = _patience(plan, IDLE_SECONDS)
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
    return _patience(plan, 0) if force else plan


def _patience(plan: Plan, seconds: int) -> Plan:
    return replace(
        plan,
        actions=tuple(
            replace(action, timeout_seconds=seconds) if isinstance(action, Drain) else action
            for action in plan.actions
        ),
    )


def insist(report: HealthReport) -> None:
    """Raise ActionError for a runner or a daemon that did not come up."""
    broken = [
        f"{check.id} {check.summary}"
        for check in report.checks
        if check.id in ESSENTIAL and check.status in (Status.FAIL, Status.WARN)
    ]
    if broken:
        raise ActionError(f"{report.host}: it did not become healthy: {'; '.join(broken)}")


def _kept(change: Changing, number: int) -> Generation:
    found = change.survey
    kept = generations_of(found.transport, found.desired.paths)
    for generation in kept:
        if generation.number == number:
            return generation
    numbers = ", ".join(str(item.number) for item in kept) or "none"
    if number == change.generation:
        raise HostError(
            f"{found.host.name}: there would be no way back: the files in force are not kept "
            f"as a generation ({numbers})",
            hint=f"runnerkit up {found.host.name}",
        )
    raise HostError(
        f"{found.host.name}: generation {number} is not kept; these are: {numbers}",
        hint=f"runnerkit history {found.host.name}",
    )


def _refuse(found: Survey, told: Compatibility) -> None:
    if told.refusals:
        raise HostError(
            f"{found.host.name}: {told.refusals[0]}; nothing was changed",
            hint=OTHER_IMAGE,
        )
