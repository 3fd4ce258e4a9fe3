"""The difference between what should be and what is, as a list of actions a person can read.

Order matters and is decided here: what takes long and disturbs nobody first (packages, images),
then the files, then draining, and only then the services.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from runnerkit.change.manifest import manifest_is_current
from runnerkit.change.packages import Blocker, Installation, docker_installation, host_blockers
from runnerkit.config.image_ref import familiar
from runnerkit.desired.state import DIND, RUNNER, DesiredState, ManagedFile, ServiceName
from runnerkit.facts.daemon import ContainerFacts, DaemonFacts
from runnerkit.facts.host import HostFacts, RemoteFile
from runnerkit.paths import DIGEST_LABEL, StackPaths

DIRECTORY_MODE = 0o750
SPACE_TO_BEGIN = 2 << 30


@dataclass(frozen=True)
class InstallDocker:
    """Install packages with apt."""

    installation: Installation
    reason: str

    @property
    def title(self) -> str:
        """One line for the plan."""
        origin = self.installation.repository
        names = " ".join(self.installation.packages)
        return f"install {names}" + (f" from {origin}" if origin else "")


@dataclass(frozen=True)
class StartDocker:
    """Start the host's Docker service, now and at boot."""

    reason: str
    title: str = "start the docker service"


@dataclass(frozen=True)
class LoadImages:
    """Send image archives from this machine to the host's engine, or into the runner's daemon.

    `into` is the stack whose daemon gets them, None for the host's own engine.
    """

    directory: Path
    refs: tuple[str, ...]
    reason: str
    into: StackPaths | None = None

    @property
    def title(self) -> str:
        """One line for the plan."""
        where = " into dind" if self.into else ""
        return f"load {' '.join(self.refs)} from {self.directory}{where}"


@dataclass(frozen=True)
class PullImage:
    """Let the host's engine pull an image."""

    ref: str
    reason: str

    @property
    def title(self) -> str:
        """One line for the plan."""
        return f"pull {self.ref}"


@dataclass(frozen=True)
class MakeDirectory:
    """Make the stack's directory, root's alone."""

    path: str
    mode: int
    reason: str

    @property
    def title(self) -> str:
        """One line for the plan."""
        return f"directory {self.path} {self.mode:04o}"


@dataclass(frozen=True)
class WriteFile:
    """Put one file in place, whole or not at all."""

    directory: str
    file: ManagedFile
    before: RemoteFile | None
    reason: str

    @property
    def title(self) -> str:
        """One line for the plan."""
        return f"write {self.directory}/{self.file.name}"

    def diff(self) -> tuple[str, ...]:
        """Unified diff without line ends; a secret file shows nothing of itself."""
        if self.file.secret:
            return ()
        old = self.before.content if self.before and self.before.content is not None else b""
        return tuple(
            difflib.unified_diff(
                old.decode(errors="replace").splitlines(),
                self.file.content.decode(errors="replace").splitlines(),
                "on the host" if self.before else "(none)",
                "new",
                n=1,
                lineterm="",
            )
        )


@dataclass(frozen=True)
class WriteManifest:
    """Record what was written, by which version, as which generation."""

    directory: str
    files: tuple[ManagedFile, ...]
    reason: str

    @property
    def title(self) -> str:
        """One line for the plan."""
        return f"write {self.directory}/manifest.json"


@dataclass(frozen=True)
class Drain:
    """End the runner's polling and wait until its running stages are done. Kills nothing."""

    paths: StackPaths
    container: str
    timeout_seconds: int
    reason: str
    title: str = "drain the runner"


@dataclass(frozen=True)
class StartServices:
    """`docker compose up` of these services, until they are healthy."""

    paths: StackPaths
    services: tuple[ServiceName, ...]
    timeout_seconds: int
    reason: str

    @property
    def title(self) -> str:
        """One line for the plan."""
        return f"start {' and '.join(self.services)}"


@dataclass(frozen=True)
class PreloadImage:
    """Pull an image into the runner's own daemon, so that the first pipeline need not."""

    paths: StackPaths
    ref: str
    reason: str

    @property
    def title(self) -> str:
        """One line for the plan."""
        return f"preload {self.ref} into dind"


Action = (
    InstallDocker
    | StartDocker
    | LoadImages
    | PullImage
    | MakeDirectory
    | WriteFile
    | WriteManifest
    | Drain
    | StartServices
    | PreloadImage
)


@dataclass(frozen=True)
class Plan:
    """What `up` would do on one host, in order. `blockers` say why it will not begin."""

    host: str
    actions: tuple[Action, ...]
    blockers: tuple[Blocker, ...] = ()


def diff(desired: DesiredState, facts: HostFacts) -> Plan:
    """The plan that turns `facts` into `desired`; no actions when they agree."""
    blockers = list(host_blockers(facts.system, 0 if _is_set_up(facts) else SPACE_TO_BEGIN))
    installation = docker_installation(facts, desired.docker_source)
    if isinstance(installation, Blocker):
        blockers.append(installation)
    if blockers:
        return Plan(desired.host, (), tuple(blockers))
    actions: list[Action] = []
    if isinstance(installation, Installation):
        actions.append(InstallDocker(installation, _install_reason(facts)))
    if not isinstance(facts.outer, DaemonFacts):
        actions.append(StartDocker("the engine does not answer"))
    actions += _images(desired, facts)
    actions += _files(desired, facts)
    actions += _services(desired, facts)
    actions += _preload(desired, facts)
    return Plan(desired.host, tuple(actions))


def find_container(facts: HostFacts, service: str) -> ContainerFacts | None:
    """The stack's container for `service`, if the engine has one."""
    if not isinstance(facts.outer, DaemonFacts):
        return None
    return next((item for item in facts.outer.containers if item.service == service), None)


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
    if container.labels.get(DIGEST_LABEL) != desired.services[service]:
        return f"the configuration of {service} changed"
    if container.state != "running":
        return f"{service} is {container.state}"
    if service == RUNNER and facts.system.draining == container.id:
        return "runner is draining"
    return None


def _is_set_up(facts: HostFacts) -> bool:
    return find_container(facts, DIND) is not None


def _install_reason(facts: HostFacts) -> str:
    return "Docker is too old" if facts.system.docker_cli else "Docker is not installed"


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
        yield WriteManifest(directory, desired.files, "records these files")


def _services(desired: DesiredState, facts: HostFacts) -> Iterator[Action]:
    problems = {name: service_problem(desired, facts, name) for name in (DIND, RUNNER)}
    needed = tuple(name for name in (DIND, RUNNER) if problems[name])
    if not needed:
        return
    reason = "; ".join(text for text in problems.values() if text)
    runner = find_container(facts, RUNNER)
    if runner is not None and runner.state in ("running", "restarting", "paused"):
        yield Drain(desired.paths, runner.id, desired.drain_seconds, reason)
        needed = (DIND, RUNNER)  # a drained runner has to be started again, whatever else is needed
    yield StartServices(desired.paths, needed, desired.health_seconds, reason)


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
