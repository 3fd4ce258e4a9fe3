"""Plans of `upgrade` and `rollback`: fetch first, then drain and switch, in one go."""

from __future__ import annotations

from dataclasses import replace
from itertools import takewhile

from runnerkit.change.actions import (
    Action,
    ClearUp,
    HaltServices,
    InstallDocker,
    LoadImages,
    MakeDirectory,
    PullImage,
    RestoreFiles,
    StartDocker,
    StartServices,
    WriteFile,
)
from runnerkit.change.generations import Generation
from runnerkit.change.plan import (
    Plan,
    clear_up,
    diff,
    drain_action,
    write_manifest,
)
from runnerkit.change.stages import running_steps
from runnerkit.config.image_ref import familiar
from runnerkit.desired.state import DesiredState, ServiceName
from runnerkit.facts.daemon import DaemonFacts
from runnerkit.facts.host import HostFacts, find_container

# A runner without a stage ends within ten seconds of the signal; one that does not is no runner.
IDLE_SECONDS = 30
_FETCHING = (ClearUp, InstallDocker, StartDocker, LoadImages, PullImage)


def fetching(plan: Plan) -> Plan:
    """The beginning of a plan, up to where the images are on the host."""
    until = takewhile(lambda action: isinstance(action, _FETCHING), plan.actions)
    return replace(plan, actions=tuple(until))


def fetch_plan(desired: DesiredState, facts: HostFacts) -> Plan:
    """Bring the images of `desired` to the host as the registry has them now."""
    refs = desired.tags
    if desired.load_from is not None:
        load = LoadImages(desired.load_from, refs, "what the archives hold now")
        return Plan(desired.host, (*clear_up(desired, facts), load))
    pulls = (PullImage(ref, "what its tag means now") for ref in refs)
    return Plan(desired.host, (*clear_up(desired, facts), *pulls))


def switch_plan(desired: DesiredState, facts: HostFacts) -> Plan:
    """Drain, make a new generation and start; no actions when the newest of everything runs."""
    changes = diff(desired, facts)
    if changes.blockers:
        return changes
    moved = [name for name in desired.services if _tag_moved(desired, facts, name)]
    services = [action for action in changes.actions if isinstance(action, StartServices)]
    halts = [action for action in changes.actions if isinstance(action, HaltServices)]
    files = [a for a in changes.actions if isinstance(a, MakeDirectory | WriteFile)]
    if not moved and not services and not files:
        return Plan(desired.host, ())
    reason = "; ".join(
        [*(f"{name} runs an older image" for name in moved), *(item.reason for item in services)]
    )
    actions: list[Action] = [
        *drain_action(desired, facts, reason or "its files change"),
        *files,
        write_manifest(desired, "so that there is a way back"),
        *halts,
        StartServices(desired.paths, (), desired.health_seconds, reason),
    ]
    return Plan(desired.host, tuple(actions))


def fetch_for(generation: Generation, desired: DesiredState, facts: HostFacts) -> Plan:
    """Bring back what a generation ran, where the host no longer has it."""
    present = facts.outer.images if isinstance(facts.outer, DaemonFacts) else {}
    missing = tuple(
        ref
        for ref in dict.fromkeys(generation.images.values())
        if generation.image_ids.get(ref) not in present.values() and familiar(ref) not in present
    )
    actions: list[Action] = [*clear_up(desired, facts)]
    if missing and desired.load_from is not None:
        actions.append(LoadImages(desired.load_from, missing, "not on the host"))
    elif missing:
        actions += [PullImage(ref, "not on the host") for ref in missing]
    return Plan(desired.host, tuple(actions))


def restore_plan(
    generation: Generation, desired: DesiredState, facts: HostFacts, reason: str
) -> Plan:
    """Drain, put an earlier generation's files in force again and start."""
    actions: list[Action] = [
        *drain_action(desired, facts, reason),
        RestoreFiles(desired.paths, generation.manifest, desired.keep_generations, reason),
        StartServices(desired.paths, (), desired.health_seconds, reason),
    ]
    return Plan(desired.host, tuple(actions))


def is_idle(facts: HostFacts) -> bool:
    """Whether no step runs in the runner's daemon, as far as it answers."""
    return isinstance(facts.inner, DaemonFacts) and not running_steps(facts.inner.containers)


def _tag_moved(desired: DesiredState, facts: HostFacts, service: ServiceName) -> bool:
    """Whether `service` runs what its reference meant before; of another one `diff` tells."""
    container = find_container(facts, service)
    present = facts.outer.images if isinstance(facts.outer, DaemonFacts) else {}
    ref = desired.images[service]
    wanted = present.get(familiar(ref))
    if container is None or wanted is None or container.image != ref:
        return False
    return container.image_id != wanted
