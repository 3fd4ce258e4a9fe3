"""Where `up`, `upgrade` and `rollback` lead, and the way back, before anything is changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from runnerkit.change.compatibility import (
    OTHER_IMAGE,
    Compatibility,
    changed_images,
    compatibility,
    tag_version,
)
from runnerkit.change.generations import Generation, generation_before, read_generations
from runnerkit.change.journal import Ended, read_history
from runnerkit.change.plan import Plan, host_refusals
from runnerkit.change.scripts import script
from runnerkit.change.upgrade import fetch_for, fetch_plan, fetching, restore_plan, switch_plan
from runnerkit.desired.state import DIND
from runnerkit.errors import HostError
from runnerkit.paths import StackPaths
from runnerkit.reach.transport import Transport
from runnerkit.roads import Changing, Survey, refuse, refuse_if_blocked

HISTORY = "history.jsonl"


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


def plan_up(change: Changing) -> Move:
    """What `up` has to do, in the order of an upgrade. Its plan has no blockers."""
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
    refuse_misfit(found, told)
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
    refuse_misfit(found, told)
    return Move(
        change=change,
        fetch=fetch_for(goal, found.desired, found.facts),
        switch=lambda later: restore_plan(goal, later.desired, later.facts, "asked for"),
        way_back=way_back,
        told=told,
        image=goal.images[DIND],
    )


def refuse_misfit(found: Survey, told: Compatibility) -> None:
    """Raise HostError where an image does not fit the data, or the runner."""
    if told.refusals:
        raise HostError(
            f"{found.host.name}: {told.refusals[0]}; nothing was changed",
            hint=OTHER_IMAGE,
        )


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
