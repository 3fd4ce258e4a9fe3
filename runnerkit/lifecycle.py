"""The roads that have a way back: upgrade and rollback. And what came before: history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from runnerkit.change.actions import Drain
from runnerkit.change.compatibility import Compatibility, compatibility, tag_version
from runnerkit.change.draining import StillRunningError
from runnerkit.change.generations import Generation, generation_before, read_generations
from runnerkit.change.journal import Ended, read_history
from runnerkit.change.packages import version_tuple
from runnerkit.change.plan import Plan
from runnerkit.change.progress import Progress
from runnerkit.change.scripts import script
from runnerkit.change.upgrade import (
    IDLE_SECONDS,
    fetch_for,
    fetch_plan,
    is_idle,
    restore_plan,
    switch_plan,
)
from runnerkit.desired.state import DIND
from runnerkit.errors import ActionError, HostError
from runnerkit.health.model import HealthReport, Status
from runnerkit.paths import StackPaths
from runnerkit.reach.transport import Transport
from runnerkit.roads import Changing, Survey, refuse_if_blocked, wait_until_well

HISTORY = "history.jsonl"
# Without these no build runs. What else is wrong was wrong before, and going back mends nothing.
ESSENTIAL = frozenset({"dind", "dind-api", "runner", "polling"})


@dataclass(frozen=True)
class Move:
    """A change of what runs, before it begins: what would be done, and what to know of it."""

    change: Changing
    fetch: Plan
    image: str
    switch: Callable[[Survey], Plan]
    way_back: Generation
    told: Compatibility

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


def plan_upgrade(change: Changing) -> Move:
    """The way to the images of the configuration. Raises HostError where there is none."""
    found = change.survey
    refuse_if_blocked(found.plan)
    image = found.desired.images[DIND]
    told = compatibility(found.facts.inner, tag_version(image), found.desired)
    _refuse(found, told)
    return Move(
        change=change,
        fetch=fetch_plan(found.desired, found.facts),
        image=image,
        switch=lambda later: switch_plan(later.desired, later.facts),
        way_back=_kept(change, change.generation),
        told=told,
    )


def plan_rollback(change: Changing, number: int | None) -> Move:
    """The way back to generation `number`, without one to that before the present one."""
    found = change.survey
    refuse_if_blocked(found.plan)
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
    told = compatibility(found.facts.inner, tag_version(goal.images[DIND]), found.desired)
    _refuse(found, told)
    return Move(
        change=change,
        fetch=fetch_for(goal, found.desired, found.facts),
        image=goal.images[DIND],
        switch=lambda later: restore_plan(goal, later.desired, later.facts, "asked for"),
        way_back=_kept(change, change.generation),
        told=told,
    )


def carry_out_move(move: Move, progress: Progress, *, force: bool = False) -> HealthReport | None:
    """Fetch, ask the image for its version, drain, switch, verify; on failure all the way back.

    None when the newest runs already. Raises ActionError when it failed, with what failed and
    whether the host is well again; HostError when the image turns out not to fit, with nothing
    changed.
    """
    executor = move.change.executor
    executor.execute(move.fetch)
    version = version_tuple(executor.engine_version(move.image))
    found = move.change.survey.again(ask_server=False)
    _refuse(found, compatibility(found.facts.inner, version, found.desired))
    switch = move.switch(found)
    refuse_if_blocked(switch)
    if not switch.actions:
        return None
    try:
        executor.execute(switch, force=force)
        report = wait_until_well(found, progress)
        insist(report)
    except StillRunningError:  # nothing was switched, and waiting can go on
        raise
    except ActionError as failure:
        raise _went_back(move, failure, progress) from None
    return report


def _went_back(move: Move, failure: ActionError, progress: Progress) -> ActionError:
    """Return to the generation before; the error that tells how that went."""
    found = move.change.survey.again(ask_server=False)
    number = move.way_back.number
    plan = restore_plan(move.way_back, found.desired, found.facts, "what came after it failed")
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
            hint="choose another image, or give it an empty folder with docker.data",
        )
