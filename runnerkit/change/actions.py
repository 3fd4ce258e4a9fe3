"""Everything that a plan may do to a host, one frozen value each, with why and in which words."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runnerkit.cache.pruning import Pruning
from runnerkit.change.export_file import ExportHead
from runnerkit.change.journal import Begun
from runnerkit.change.manifest import Manifest
from runnerkit.change.packages import Installation
from runnerkit.config.image_ref import brief
from runnerkit.desired.state import ManagedFile, ServiceName
from runnerkit.facts.host import RemoteFile
from runnerkit.paths import StackPaths
from runnerkit.units import counted


def listed(names: Sequence[str]) -> str:
    """The names as a person would say them: `a, b and c`."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


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
        return f"pull {brief(self.ref)}"


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
    """Make the files a generation: all of them land together, and the manifest says which.

    `images` are those that the files name, `keep` is how many generations stay.
    """

    paths: StackPaths
    files: tuple[ManagedFile, ...]
    images: tuple[str, ...]
    keep: int
    reason: str

    @property
    def title(self) -> str:
        """One line for the plan."""
        return f"write {self.paths.directory}/manifest.json"


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
    """`docker compose up` of these services, until they are healthy.

    None means all that the files name, whatever they were when the files were made.
    """

    paths: StackPaths
    services: tuple[ServiceName, ...]
    timeout_seconds: int
    reason: str

    @property
    def title(self) -> str:
        """One line for the plan."""
        return f"start {listed(self.services)}" if self.services else "start the services"


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


@dataclass(frozen=True)
class ClearUp:
    """Remove what a change left that was begun and never ended."""

    paths: StackPaths
    begun: Begun
    reason: str
    title: str = "clear up after an interrupted change"


@dataclass(frozen=True)
class RestoreFiles:
    """Make a new generation of an earlier one's files, its images' tags included."""

    paths: StackPaths
    manifest: Manifest
    keep: int
    reason: str

    @property
    def title(self) -> str:
        """One line for the plan."""
        return f"restore the files of generation {self.manifest.generation}"


@dataclass(frozen=True)
class StopServices:
    """`docker compose down`: containers and networks go, files and data stay."""

    paths: StackPaths
    reason: str
    title: str = "stop the services"


@dataclass(frozen=True)
class MoveData:
    """Bring the data-root to another place: a rename, or a checked copy that leaves the old one."""

    paths: StackPaths
    old: str
    reason: str

    @property
    def title(self) -> str:
        """One line for the plan."""
        return f"move the data from {self.old} to {self.paths.data}"


@dataclass(frozen=True)
class HaltServices:
    """`docker compose stop`: containers stay, to be started again soon.

    Without `services` all that the files name.
    """

    paths: StackPaths
    reason: str
    services: tuple[ServiceName, ...] = ()

    @property
    def title(self) -> str:
        """One line for the plan."""
        return f"halt {listed(self.services)}" if self.services else "halt the services"


@dataclass(frozen=True)
class ExportData:
    """Copy the data-root of halted services to a file of this machine."""

    paths: StackPaths
    file: Path
    head: ExportHead
    reason: str

    @property
    def title(self) -> str:
        """One line for the plan."""
        return f"copy {self.paths.data} to {self.file}"


@dataclass(frozen=True)
class UnpackData:
    """Unpack an export beside the data-root, which goes on being used."""

    paths: StackPaths
    file: Path
    head: ExportHead
    reason: str

    @property
    def title(self) -> str:
        """One line for the plan."""
        return f"unpack {self.file} beside {self.paths.data}"


@dataclass(frozen=True)
class SwapData:
    """Put what was unpacked in place of the data-root of halted services, and keep that one."""

    paths: StackPaths
    reason: str

    @property
    def title(self) -> str:
        """One line for the plan."""
        return f"put the unpacked data in place of {self.paths.data}"


@dataclass(frozen=True)
class RestoreData:
    """Take a SwapData back, as far as it came; what was unpacked is deleted."""

    paths: StackPaths
    reason: str
    title: str = "put the former data back"


@dataclass(frozen=True)
class RemoveService:
    """Remove one service's container; its data stays."""

    paths: StackPaths
    service: ServiceName
    reason: str

    @property
    def title(self) -> str:
        """One line for the plan."""
        return f"remove {self.service}"


@dataclass(frozen=True)
class PruneCache:
    """Delete images and records of the build cache from the runner's daemon, none but these."""

    paths: StackPaths
    pruning: Pruning
    reason: str

    @property
    def title(self) -> str:
        """One line for the plan."""
        counts = {
            "image": len(self.pruning.images), "cache record": len(self.pruning.records),
        }  # fmt: skip
        parts = [counted(number, noun) for noun, number in counts.items() if number]
        return f"delete {listed(parts)}"


@dataclass(frozen=True)
class Purge:
    """Delete directories for good."""

    places: tuple[str, ...]
    reason: str

    @property
    def title(self) -> str:
        """One line for the plan."""
        return f"delete {' '.join(self.places)}"


Action = (
    ClearUp
    | InstallDocker
    | StartDocker
    | LoadImages
    | PullImage
    | MakeDirectory
    | WriteFile
    | WriteManifest
    | RestoreFiles
    | Drain
    | StartServices
    | StopServices
    | RemoveService
    | PreloadImage
    | MoveData
    | HaltServices
    | ExportData
    | UnpackData
    | SwapData
    | RestoreData
    | PruneCache
    | Purge
)
