"""Carrying out a plan: the only module that changes a host."""

from __future__ import annotations

import hashlib
import io
import tarfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from runnerkit.cache.pruning import batches
from runnerkit.change.actions import (
    Action,
    ClearUp,
    Drain,
    ExportData,
    HaltServices,
    InstallDocker,
    LoadImages,
    MakeDirectory,
    MoveData,
    PreloadImage,
    PruneCache,
    PullImage,
    Purge,
    RemoveService,
    RestoreData,
    RestoreFiles,
    StartDocker,
    StartServices,
    StopServices,
    SwapData,
    UnpackData,
    WriteManifest,
)
from runnerkit.change.archives import choose_archives
from runnerkit.change.copying import export_data, unpack_data
from runnerkit.change.draining import drain
from runnerkit.change.groups import grouped, title_of, told
from runnerkit.change.journal import Begun, Ended, Owner
from runnerkit.change.manifest import next_manifest, restored_manifest
from runnerkit.change.plan import Plan
from runnerkit.change.progress import Progress
from runnerkit.change.pulling import pull_images
from runnerkit.change.remote import Remote, last_lines
from runnerkit.desired.state import ManagedFile
from runnerkit.engine.port import DockerPort
from runnerkit.errors import (
    ActionError,
    ConnectionLostError,
    LockedError,
    RunnerkitError,
    UnreachableError,
)
from runnerkit.paths import MANIFEST, StackPaths
from runnerkit.secret import Secret, mask
from runnerkit.units import Duration

WAIT_FOR_DOCKER_SECONDS = 60
DONE = "done"
TIMED_OUT = 124


class Executor:
    """Does a plan's actions on one host, in order, and stops at the first that fails.

    Before each action the journal on the host names it, so that whoever comes after a crash can
    tell how far it came; the end of the plan is a line in the host's history. `generation` is the
    one in force, 0 where there is none. No error shows `secrets`, whatever programs say.
    """

    freed_bytes: int
    """What deleting records of the build cache gave back so far, as the engine counts it."""

    def __init__(
        self,
        remote: Remote,
        owner: Owner,
        paths: StackPaths,
        generation: int,
        progress: Progress,
        *,
        secrets: tuple[Secret, ...] = (),
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._remote = remote
        self._host = remote.host
        self._owner = owner
        self._directory = str(paths.directory)
        self._generation = generation
        self._progress = progress
        self._secrets = secrets
        self._clock = clock
        self._sleep = sleep
        self.freed_bytes = 0
        self._settle()

    def execute(self, plan: Plan, *, force: bool = False) -> None:
        """Carry out `plan`; `force` ends builds that still run when a drain's time is over.

        Raises ActionError naming the action; what came before it has been done.
        """
        self.begin(plan, force=force)
        self.end()

    def begin(self, plan: Plan, *, force: bool = False) -> None:
        """Like execute, but the change is not over: another plan follows, or `end`."""
        groups = grouped(plan.actions)
        since = int(self._clock())
        for number, group in enumerate(groups, start=1):
            title = title_of(group)
            self._progress.begin(self._host, title)
            try:
                self._note(Begun(self._owner, since, title, number, len(groups)))
                self._perform(group, force=force)
            except ConnectionLostError as error:
                self._progress.end(self._host, ok=False)
                raise self._broken_off(error, title) from None
            except BaseException as error:
                self._progress.end(self._host, ok=False)
                if _is_reported(error):
                    self._record(self._owner, self._before, f"failed: {title}", self._steps)
                    self._settle()
                raise
            self._progress.end(self._host, ok=True)
            self._steps += (told(group),)
        self._begun |= bool(groups)
        self._changed |= any(not isinstance(action, PullImage) for action in plan.actions)

    def end(self, result: str = DONE) -> None:
        """End the change: a line in the history, none for one that only pulled or did nothing."""
        if self._changed:
            self._record(self._owner, self._before, result, self._steps)
        elif self._begun:
            self._remote.script("forget_journal", self._directory, doing="end the journal")
        self._settle()

    def _broken_off(self, error: ConnectionLostError, title: str) -> ConnectionLostError:
        return ConnectionLostError(
            f"{error.message} during `{title}`",
            hint=f"once {self._host} answers again, the same command goes on from there",
        )

    def _settle(self) -> None:
        self._before, self._begun, self._changed = self._generation, False, False
        self._steps: tuple[str, ...] = ()

    def engine_version(self, image: str) -> str:
        """The version of the Docker daemon in an image that the host has. Raises ActionError."""
        doing = f"start dockerd of {image} to ask its version"
        return self._remote.script("engine_version", image, doing=doing).decode().strip()

    def _note(self, begun: Begun) -> None:
        line = begun.to_line()
        self._remote.script("journal", self._directory, line, doing="write the journal")

    def _record(self, owner: Owner, before: int, result: str, steps: tuple[str, ...] = ()) -> None:
        ended = Ended(owner, int(self._clock()), before, self._generation, result, steps)
        # A history that cannot be written must not hide what it would have told.
        with suppress(RunnerkitError):
            line = ended.to_line()
            self._remote.script("record", self._directory, line, doing="write the history")

    def _clear_up(self, begun: Begun) -> None:
        self._remote.script(["generations", "clear_up"], self._directory, doing="clear up")
        self._record(begun.owner, self._generation, f"interrupted: {begun.step}")

    def _perform(  # noqa: C901, PLR0912 - one arm for each action
        self, group: Sequence[Action], *, force: bool
    ) -> None:
        remote = self._remote
        match group[-1]:
            case InstallDocker(installation=what):
                self._install(what.packages, what.repository)
            case StartDocker():
                remote.script("start_docker", str(WAIT_FOR_DOCKER_SECONDS), doing="start docker")
            case LoadImages() as load:
                self._load(load)
            case PullImage():
                self._pull(None, group)
            case PreloadImage(paths=paths):
                self._pull(str(paths.docker_socket), group)
            case MakeDirectory(path=path, mode=mode):
                remote.script("make_directory", path, f"{mode:04o}", doing=f"make {path}")
            case WriteManifest() as write:
                self._write(write)
            case RestoreFiles() as restore:
                self._restore(restore)
            case Drain() as what:
                drain(
                    remote, what, self._progress,
                    force=force, clock=self._clock, sleep=self._sleep,
                )  # fmt: skip
            case StartServices() as start:
                self._start(start)
            case StopServices(paths=paths):
                remote.script("stop_stack", str(paths.directory), doing="stop the stack")
            case MoveData() as move:
                self._move(move)
            case HaltServices(paths=paths, services=services) as halt:
                directory = str(paths.directory)
                remote.script("halt_services", directory, *services, doing=halt.title)
            case ExportData(paths=paths, file=file, head=head):
                export_data(remote, paths, file, head, self._progress)
            case UnpackData(paths=paths, file=file, head=head):
                unpack_data(remote, paths, file, head, self._progress)
            case SwapData(paths=paths) as swap:
                directory, data = str(paths.directory), str(paths.data)
                remote.script("swap_data", directory, data, doing=swap.title)
            case RestoreData(paths=paths) as back:
                remote.script("restore_data", str(paths.data), doing=back.title)
            case RemoveService(paths=paths, service=service):
                doing = f"remove {service}"
                remote.script("remove_service", str(paths.directory), service, doing=doing)
            case ClearUp(begun=begun):
                self._clear_up(begun)
            case PruneCache() as prune:
                self._prune(prune)
            case Purge(places=places):
                remote.script("purge", *places, doing="delete the stack's data")

    def _install(self, packages: Sequence[str], repository: str | None) -> None:
        arguments = [repository, *packages] if repository else list(packages)
        name = "install_from_repository" if repository else "install"
        tail: list[bytes] = []

        def on_output(chunk: bytes) -> None:
            tail.append(chunk)
            del tail[:-50]
            lines = chunk.decode(errors="replace").strip().splitlines()
            if lines:
                self._progress.detail(self._host, lines[-1])

        if self._remote.follow(name, *arguments, on_output=on_output):
            raise ActionError(
                f"{self._host}: installing {' '.join(packages)} failed: "
                f"{last_lines(b''.join(tail))}",
                hint="see whether `apt-get update` works on the host",
            )

    def _start(self, start: StartServices) -> None:
        directory, sockets = str(start.paths.directory), str(start.paths.sockets)
        completed = self._remote.attempt(
            "start_services", directory, sockets, str(start.timeout_seconds), *start.services
        )
        if completed.code == 0:
            return
        logs = self._remote.attempt("why_not_healthy", directory, *start.services).stdout
        said = "".join(f"\n  {line}" for line in logs.decode(errors="replace").splitlines())
        why = last_lines(completed.stderr or completed.stdout)
        if completed.code == TIMED_OUT:
            why = f"not within {Duration(start.timeout_seconds)} (docker.health_timeout)"
        told = mask(f"{why}{said}", self._secrets)
        raise ActionError(
            f"{self._host}: the services did not become healthy: {told}",
            hint=f"`runnerkit logs {self._host} dind` shows more",
        )

    def _move(self, move: MoveData) -> None:
        said: list[bytes] = []

        def on_output(chunk: bytes) -> None:
            said.append(chunk)
            del said[:-50]
            numbers = chunk.decode(errors="replace").split()[-2:]
            if len(numbers) == 2 and all(text.isdigit() for text in numbers):
                self._progress.update(self._host, int(numbers[0]), int(numbers[1]))

        places = (str(move.paths.directory), move.old, str(move.paths.data))
        if self._remote.follow("move_data", *places, on_output=on_output):
            raise ActionError(
                f"{self._host}: the data could not be moved: {last_lines(b''.join(said), 1)}",
                hint=f"everything is still in {move.old}; set docker.data back and run "
                f"`runnerkit up {self._host}`, or mend it and repeat the move",
            )

    def _prune(self, prune: PruneCache) -> None:
        port = DockerPort(self._remote.transport, str(prune.paths.docker_socket))
        try:
            for image in prune.pruning.images:
                self._progress.detail(self._host, next(iter(image.names), image.id))
                port.remove_image(image.id)
            for ids in batches(prune.pruning):
                self.freed_bytes += port.prune_records(ids)
        finally:
            port.close()

    def _pull(self, socket: str | None, group: Sequence[Action]) -> None:
        refs = [item.ref for item in group if isinstance(item, PullImage | PreloadImage)]

        def on_progress(done: int, total: int) -> None:
            self._progress.update(self._host, done, total)

        pull_images(self._remote.transport, socket, refs, on_progress)

    def _load(self, load: LoadImages) -> None:
        archives = choose_archives(load.directory, load.refs)
        total = sum(archive.stat().st_size for archive in archives)
        sent = 0

        def on_progress(done: int, _: int) -> None:
            self._progress.update(self._host, sent + done, total)

        socket = str(load.into.docker_socket) if load.into else None
        port = DockerPort(self._remote.transport, socket)
        try:
            for archive in archives:
                port.load(archive, on_progress)
                sent += archive.stat().st_size
        finally:
            port.close()

    def _write(self, write: WriteManifest) -> None:
        manifest = next_manifest(self._generation, write.files, int(self._clock()))
        record = ManagedFile(MANIFEST, manifest.to_bytes(), 0o644)
        archive = _archive([*write.files, record])
        directory = str(write.paths.directory)
        self._remote.script(
            ["generations", "write_files"],
            directory, str(manifest.generation), str(write.keep),
            hashlib.sha256(archive).hexdigest(), *write.images,
            stdin=archive, doing=f"write to {directory}",
        )  # fmt: skip
        self._generation = manifest.generation

    def _restore(self, restore: RestoreFiles) -> None:
        manifest = restored_manifest(restore.manifest, self._generation, int(self._clock()))
        self._remote.script(
            ["generations", "restore_files"],
            self._directory, str(restore.manifest.generation),
            str(manifest.generation), str(restore.keep),
            stdin=manifest.to_bytes(), doing=restore.title,
        )  # fmt: skip
        self._generation = manifest.generation


def _is_reported(error: BaseException) -> bool:
    """Whether the host itself said that an action failed; anything else may be half done."""
    return isinstance(error, RunnerkitError) and not isinstance(
        error, UnreachableError | LockedError
    )


def _archive(files: Iterable[ManagedFile]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for file in files:
            member = tarfile.TarInfo(file.name)
            member.size, member.mode = len(file.content), file.mode
            archive.addfile(member, io.BytesIO(file.content))
    return buffer.getvalue()
