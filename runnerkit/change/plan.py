"""The difference between what should be and what is, as a list of actions a person can read.

Order matters and is decided here: what takes long and disturbs nobody first (packages, images),
then draining, then the files, and only then the services.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from runnerkit.change.actions import (
    Action,
    ClearUp,
    Drain,
    InstallDocker,
    LoadImages,
    MakeDirectory,
    MoveData,
    PreloadImage,
    PullImage,
    RemoveService,
    StartDocker,
    StartServices,
    StopServices,
    WriteFile,
    WriteManifest,
)
from runnerkit.change.compatibility import OTHER_IMAGE, changed_images, gate
from runnerkit.change.data_root import data_blockers, data_notes, data_to_move
from runnerkit.change.journal import interrupted
from runnerkit.change.manifest import manifest_is_current
from runnerkit.change.outdated import halts, outdated
from runnerkit.change.packages import Blocker, Installation, docker_installation, host_blockers
from runnerkit.config.image_ref import brief, familiar
from runnerkit.desired.hardening import Weakness, isolation_weaknesses
from runnerkit.desired.state import (
    DIND,
    MIRROR,
    RUNNER,
    DesiredState,
    ManagedFile,
    ServiceName,
)
from runnerkit.facts.daemon import DaemonFacts
from runnerkit.facts.host import HostFacts, RemoteFile, find_container
from runnerkit.paths import DIGEST_LABEL

DIRECTORY_MODE = 0o750
SPACE_TO_BEGIN = 2 << 30
ONE_AFTER_THE_OTHER = Blocker(
    "docker.data and an image change at once: there would be no way back",
    "move the data with the present images first, then change them",
)


@dataclass(frozen=True)
class Plan:
    """What `up` would do on one host, in order. `blockers` say why it will not begin.

    `notes` are what to know before saying yes.
    `weaknesses` are what the configuration leaves less tight than it could be.
    """

    host: str
    actions: tuple[Action, ...]
    blockers: tuple[Blocker, ...] = ()
    notes: tuple[str, ...] = ()
    weaknesses: tuple[Weakness, ...] = ()


def diff(desired: DesiredState, facts: HostFacts, *, move_data: bool = False) -> Plan:
    """The plan that turns `facts` into `desired`; no actions when they agree.

    Data in another place than the desired one is moved only with `move_data`.
    """
    blockers = [*host_refusals(desired, facts)]
    installation = docker_installation(facts, desired.docker_source, desired.docker_repository)
    blockers += data_blockers(desired, facts, move=move_data)
    told = gate(desired, facts, move_data=move_data)
    blockers += [Blocker(refusal, OTHER_IMAGE) for refusal in told.refusals]
    if move_data and data_to_move(desired, facts) and changed_images(desired, facts):
        blockers.append(ONE_AFTER_THE_OTHER)
    if blockers:
        return Plan(desired.host, (), tuple(blockers))
    actions: list[Action] = [*clear_up(desired, facts)]
    if isinstance(installation, Installation):
        actions.append(InstallDocker(installation, _install_reason(facts)))
    if not isinstance(facts.outer, DaemonFacts):
        actions.append(StartDocker("the engine does not answer"))
    actions += _images(desired, facts)
    draining, starting = _services(desired, facts)
    actions += draining
    if old := data_to_move(desired, facts):
        reason = "docker.data changed"
        actions += [StopServices(desired.paths, reason), MoveData(desired.paths, old, reason)]
        everything = tuple(desired.services)
        starting = (StartServices(desired.paths, everything, desired.health_seconds, reason),)
    actions += _files(desired, facts)
    actions += starting
    actions += _preload(desired, facts)
    notes = (
        *(() if _is_set_up(facts) else data_notes(facts)),
        *told.warnings,
        *_pin_notes(desired, facts),
    )
    return Plan(desired.host, tuple(actions), notes=notes, weaknesses=desired.weaknesses)


def host_refusals(desired: DesiredState, facts: HostFacts) -> tuple[Blocker, ...]:
    """Why nothing can be done on this host, whatever is to be done."""
    found = host_blockers(facts.system, 0 if _is_set_up(facts) else SPACE_TO_BEGIN)
    docker = docker_installation(facts, desired.docker_source, desired.docker_repository)
    return (*found, docker) if isinstance(docker, Blocker) else found


def with_patience(plan: Plan, seconds: int) -> Plan:
    """The same plan with this much patience for running stages, none for those who force it."""
    return replace(
        plan,
        actions=tuple(
            replace(action, timeout_seconds=seconds) if isinstance(action, Drain) else action
            for action in plan.actions
        ),
    )


def file_problem(wanted: ManagedFile, found: RemoteFile | None) -> str | None:
    """Why `found` is not `wanted`; None when it is."""
    if found is None:
        return "missing"
    if found.sha256 != wanted.sha256:
        return "changed"
    if found.mode != wanted.mode:
        return f"mode {found.mode:04o} should be {wanted.mode:04o}"
    if found.owner != "root:root":
        return f"owner {found.owner} should be root:root"
    return None


def service_problem(desired: DesiredState, facts: HostFacts, service: ServiceName) -> str | None:
    """Why the container of `service` must be made or started; None when it need not."""
    container = find_container(facts, service)
    if container is None:
        return f"{service} has no container"
    image = desired.images[service]
    if container.labels.get(DIGEST_LABEL) != desired.services[service]:
        if container.image != image:
            return _other_image(service, brief(container.image), brief(image))
        return f"the configuration of {service} changed"
    if "@" in image and _image_id(facts, image) not in (None, container.image_id):
        return f"{service} does not run the image of its digest"
    if container.state != "running":
        return f"{service} is {container.state}"
    if service == RUNNER and facts.system.draining == container.id:
        return "runner is draining"
    if container.isolation and any(isolation_weaknesses(service, container.isolation)):
        return f"{service} is walled off less than it should be"
    return outdated({file.name: file.sha256 for file in desired.files}, facts, container)


def _other_image(service: ServiceName, before: str, after: str) -> str:
    tag, _, old = before.partition("@")
    if tag != after.partition("@")[0]:
        return f"{service} goes from {before} to {after}"
    new = after.partition("@")[2]
    if not new:
        return f"{service} is no longer pinned"
    return f"{service} is pinned to {new}" + (f", not {old} any more" if old else "")


def write_manifest(desired: DesiredState, reason: str) -> WriteManifest:
    """The action that makes the desired files the next generation."""
    images = tuple(dict.fromkeys(desired.images.values()))
    return WriteManifest(desired.paths, desired.files, images, desired.keep_generations, reason)


def _is_set_up(facts: HostFacts) -> bool:
    return find_container(facts, DIND) is not None


def _install_reason(facts: HostFacts) -> str:
    return "Docker is too old" if facts.system.docker_cli else "Docker is not installed"


def _image_id(facts: HostFacts, ref: str) -> str | None:
    return facts.outer.images.get(familiar(ref)) if isinstance(facts.outer, DaemonFacts) else None


def _pin_notes(desired: DesiredState, facts: HostFacts) -> Iterator[str]:
    for ref in desired.unpinned:
        if _image_id(facts, ref) is None:
            yield f"{ref} is pinned to its digest as soon as it is on the host"
        else:
            yield (
                f"{ref} cannot be pinned: it came from an archive or a build, not from a "
                "registry, so it has no digest"
            )


def _images(desired: DesiredState, facts: HostFacts) -> Iterator[Action]:
    present = facts.outer.images if isinstance(facts.outer, DaemonFacts) else {}
    missing = _missing(desired.images.values(), present)
    if missing and desired.load_from is not None:
        yield LoadImages(desired.load_from, missing, "not on the host")
        return
    for ref in missing:
        yield PullImage(ref, "not on the host")


def _files(desired: DesiredState, facts: HostFacts) -> Iterator[Action]:
    system, directory = facts.system, str(desired.paths.directory)
    if system.directory_mode != DIRECTORY_MODE:
        reason = "missing" if system.directory_mode is None else f"mode {system.directory_mode:04o}"
        yield MakeDirectory(directory, DIRECTORY_MODE, reason)
    changed = False
    for file in desired.files:
        found = system.file(file.name)
        if problem := file_problem(file, found):
            changed = True
            yield WriteFile(directory, file, found, problem)
    if changed or not manifest_is_current(system.file("manifest.json"), desired.files):
        yield write_manifest(desired, "records these files")


def _services(
    desired: DesiredState, facts: HostFacts
) -> tuple[tuple[Action, ...], tuple[Action, ...]]:
    """What comes before the files are switched, and what comes after."""
    problems = {name: service_problem(desired, facts, name) for name in desired.services}
    needed = tuple(name for name in desired.services if problems[name])
    removing = _leftover(desired, facts)
    if not needed:
        return (), removing
    reason = "; ".join(text for text in problems.values() if text)
    disturbs_builds = bool({DIND, RUNNER} & set(needed))
    draining = drain_action(desired, facts, reason) if disturbs_builds else ()
    if draining:
        # A drained runner has to be started again, whatever else is needed.
        needed = tuple(desired.services)
    start = StartServices(desired.paths, needed, desired.health_seconds, reason)
    return draining, (*halts(desired, facts), start, *removing)


def _leftover(desired: DesiredState, facts: HostFacts) -> tuple[RemoveService, ...]:
    """The mirror that is no longer wanted."""
    if MIRROR in desired.services or find_container(facts, MIRROR) is None:
        return ()
    return (RemoveService(desired.paths, MIRROR, "registry.mirror is off"),)


def clear_up(desired: DesiredState, facts: HostFacts) -> tuple[ClearUp, ...]:
    """What comes before everything else where a change was begun and never ended."""
    begun = interrupted(facts.system)
    if begun is None:
        return ()
    reason = f"{begun.owner} was interrupted at `{begun.step}`"
    return (ClearUp(desired.paths, begun, reason),)


def drain_action(desired: DesiredState, facts: HostFacts, reason: str) -> tuple[Drain, ...]:
    """What must come before anything that stops the runner or its daemon; () for none to drain."""
    runner = find_container(facts, RUNNER)
    if runner is None or runner.state not in ("running", "restarting", "paused"):
        return ()
    return (Drain(desired.paths, runner.id, desired.drain_seconds, reason),)


def _preload(desired: DesiredState, facts: HostFacts) -> Iterator[Action]:
    present = facts.inner.images if isinstance(facts.inner, DaemonFacts) else {}
    missing = _missing(desired.preload, present)
    if missing and desired.load_from is not None:
        yield LoadImages(desired.load_from, missing, "not in dind", into=desired.paths)
        return
    for ref in missing:
        yield PreloadImage(desired.paths, ref, "not in dind")


def _missing(refs: Iterable[str], present: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(ref for ref in dict.fromkeys(refs) if familiar(ref) not in present)
