"""Carrying out a plan: the only module that changes a host.

Scripts are constants; what differs reaches them as arguments or on standard input, so nothing
that a person wrote is ever part of a shell program, and no secret is ever an argument.
"""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Callable, Iterable, Sequence

from runnerkit.change.archives import choose_archives
from runnerkit.change.manifest import next_manifest, read_manifest
from runnerkit.change.plan import (
    Action,
    Drain,
    InstallDocker,
    LoadImages,
    MakeDirectory,
    Plan,
    PreloadImage,
    PullImage,
    StartDocker,
    StartServices,
    WriteFile,
    WriteManifest,
)
from runnerkit.change.progress import Progress
from runnerkit.desired.state import ManagedFile
from runnerkit.engine.port import DockerPort
from runnerkit.errors import ActionError
from runnerkit.facts.host import RemoteFile
from runnerkit.paths import MANIFEST
from runnerkit.reach.transport import Completed, Transport

WAIT_FOR_DOCKER_SECONDS = 60

INSTALL = """
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -q -y --no-install-recommends -- "$@"
"""

# Arguments: repository URL, then the packages.
INSTALL_FROM_REPOSITORY = """
set -eu
export DEBIAN_FRONTEND=noninteractive
repository=$1
shift
apt-get update -q
apt-get install -q -y --no-install-recommends ca-certificates curl
install -d -m 0755 /etc/apt/keyrings
curl -fsSL "$repository/gpg" -o /etc/apt/keyrings/docker.asc
codename=$(. /etc/os-release && printf %s "$VERSION_CODENAME")
printf 'deb [arch=%s signed-by=/etc/apt/keyrings/docker.asc] %s %s stable\\n' \
    "$(dpkg --print-architecture)" "$repository" "$codename" >/etc/apt/sources.list.d/docker.list
apt-get update -q
apt-get install -q -y --no-install-recommends -- "$@"
"""

# Argument: seconds to wait for the engine's first answer.
START_DOCKER = """
set -eu
if [ -d /run/systemd/system ]; then
    systemctl enable --now docker
else
    service docker start
fi
deadline=$(($(date +%s) + $1))
until docker version --format '{{.Server.Version}}' >/dev/null 2>&1; do
    if [ "$(date +%s)" -ge "$deadline" ]; then
        docker version --format '{{.Server.Version}}'
        exit 1
    fi
    sleep 0.2
done
"""

# Argument: the directory. Standard input: a tar archive of the files with their modes.
# The files of the generation before are kept beside, for going back by hand.
WRITE_FILES = """
set -eu
umask 077
directory=$1
incoming=$directory/.incoming
rm -rf -- "$incoming"
mkdir -- "$incoming"
tar -C "$incoming" --no-same-owner -xpf -
sync
if [ -f "$directory/manifest.json" ]; then
    generation=$(sed -n 's/.*"generation": \\([0-9]*\\).*/\\1/p' "$directory/manifest.json")
    kept=$directory/generations/${generation:-0}
    if [ ! -d "$kept" ]; then
        mkdir -p -- "$kept"
        for name in compose.yml .env daemon.json runner.env manifest.json; do
            if [ -f "$directory/$name" ]; then cp -p -- "$directory/$name" "$kept/"; fi
        done
    fi
fi
for file in "$incoming"/* "$incoming"/.[!.]*; do
    if [ -f "$file" ]; then mv -f -- "$file" "$directory/"; fi
done
rmdir -- "$incoming"
sync
"""

# Arguments: socket directory, container id. The marker comes first: a runner that got the signal
# twice would kill its builds, so a lost signal is the smaller harm.
DRAIN = """
set -eu
marker=$1/draining
if [ "$(cat "$marker" 2>/dev/null)" != "$2" ]; then
    mkdir -p -- "$1"
    printf %s "$2" >"$marker"
    # One that only keeps restarting cannot be signalled, and has nothing to finish.
    docker kill --signal TERM "$2" >/dev/null 2>&1 || docker stop "$2" >/dev/null
fi
docker inspect --format '{{.State.Running}}' "$2" 2>/dev/null || echo gone
"""

# Arguments: the stack's directory, socket directory, seconds, then the services.
START_SERVICES = """
set -eu
cd -- "$1"
rm -f -- "$2/draining"
seconds=$3
shift 3
exec docker compose up --detach --no-build --wait --wait-timeout "$seconds" -- "$@"
"""

# Arguments: the stack's directory.
STOP_STACK = """
set -eu
cd -- "$1"
exec docker compose down --remove-orphans
"""

# Arguments: what to delete.
PURGE = """
set -eu
rm -rf -- "$@"
"""


class Executor:
    """Does a plan's actions on one host, in order, and stops at the first that fails."""

    def __init__(
        self,
        host: str,
        transport: Transport,
        progress: Progress,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._host = host
        self._transport = transport
        self._progress = progress
        self._clock = clock
        self._sleep = sleep

    def execute(self, plan: Plan, *, manifest: RemoteFile | None, force: bool = False) -> None:
        """Carry out `plan`. `manifest` is the one on the host; `force` drains without waiting.

        Raises ActionError naming the action; what came before it has been done.
        """
        for group in _grouped(plan.actions):
            title = group[0].title if len(group) == 1 else f"write {len(group)} files"
            self._progress.begin(self._host, title)
            try:
                self._perform(group, manifest, force=force)
            except BaseException:
                self._progress.end(self._host, ok=False)
                raise
            self._progress.end(self._host, ok=True)

    def drain(self, drain: Drain, *, force: bool = False) -> None:
        """Signal the runner once and wait until it has finished its stages.

        Raises ActionError after the timeout; the runner goes on draining. With `force` it is
        killed instead, and its builds with it.
        """
        sockets = str(drain.paths.sockets)
        deadline = self._clock() + drain.timeout_seconds
        while True:
            answer = self._script(DRAIN, sockets, drain.container, doing="drain the runner")
            if answer.stdout.strip() != b"true":
                return
            if force:
                self._run(["docker", "kill", drain.container], doing="stop the runner")
                return
            if self._clock() >= deadline:
                raise ActionError(
                    f"{self._host}: the runner still has stages running after "
                    f"{drain.timeout_seconds} s; nothing was killed, and it takes no new ones",
                    hint=f"run the same command again to go on waiting, or add --force to end "
                    f"them; `runnerkit docker {self._host} -- ps` shows what runs",
                )
            self._progress.detail(self._host, "waiting for running stages")
            self._sleep(1.0)

    def stop(self, directory: str) -> None:
        """Remove the stack's containers; files and data stay."""
        self._script(STOP_STACK, directory, doing="stop the stack")

    def purge(self, places: Sequence[str]) -> None:
        """Delete directories for good."""
        self._script(PURGE, *places, doing="delete the stack's data")

    def _perform(
        self, group: Sequence[Action], manifest: RemoteFile | None, *, force: bool
    ) -> None:
        match group[0]:
            case InstallDocker(installation=what):
                self._install(what.packages, what.repository)
            case StartDocker():
                self._script(START_DOCKER, str(WAIT_FOR_DOCKER_SECONDS), doing="start docker")
            case LoadImages() as load:
                self._load(load)
            case PullImage(ref=ref):
                self._pull(DockerPort(self._transport), ref)
            case MakeDirectory(path=path, mode=mode):
                self._run(["mkdir", "-p", "--", path], doing=f"make {path}")
                self._run(["chmod", f"{mode:04o}", "--", path], doing=f"set the mode of {path}")
                self._run(["chown", "root:root", "--", path], doing=f"set the owner of {path}")
            case WriteFile(directory=directory) | WriteManifest(directory=directory):
                self._write(directory, _contents(group, manifest, int(self._clock())))
            case Drain() as drain:
                self.drain(drain, force=force)
            case StartServices() as start:
                self._start(start)
            case PreloadImage(paths=paths, ref=ref):
                self._pull(DockerPort(self._transport, str(paths.docker_socket)), ref)

    def _install(self, packages: Sequence[str], repository: str | None) -> None:
        arguments = [repository, *packages] if repository else list(packages)
        script = INSTALL_FROM_REPOSITORY if repository else INSTALL
        tail: list[bytes] = []

        def on_output(chunk: bytes) -> None:
            tail.append(chunk)
            del tail[:-50]
            lines = chunk.decode(errors="replace").strip().splitlines()
            if lines:
                self._progress.detail(self._host, lines[-1])

        code = self._transport.follow(["sh", "-c", script, "sh", *arguments], on_output)
        if code:
            raise ActionError(
                f"{self._host}: installing {' '.join(packages)} failed: "
                f"{_last_lines(b''.join(tail))}",
                hint="see whether `apt-get update` works on the host",
            )

    def _start(self, start: StartServices) -> None:
        completed = self._shell(
            START_SERVICES,
            str(start.paths.directory),
            str(start.paths.sockets),
            str(start.timeout_seconds),
            *start.services,
        )
        if completed.code:
            raise ActionError(
                f"{self._host}: the services did not become healthy: "
                f"{_last_lines(completed.stderr or completed.stdout)}",
                hint=f"`runnerkit logs {self._host} {start.services[0]}` shows what they said",
            )

    def _pull(self, port: DockerPort, ref: str) -> None:
        try:
            port.pull(ref, lambda done, total: self._progress.update(self._host, done, total))
        finally:
            port.close()

    def _load(self, load: LoadImages) -> None:
        archives = choose_archives(load.directory, load.refs)
        total = sum(archive.stat().st_size for archive in archives)
        sent = 0

        def on_progress(done: int, _: int) -> None:
            self._progress.update(self._host, sent + done, total)

        port = DockerPort(self._transport, str(load.into.docker_socket) if load.into else None)
        try:
            for archive in archives:
                port.load(archive, on_progress)
                sent += archive.stat().st_size
        finally:
            port.close()

    def _write(self, directory: str, files: Iterable[ManagedFile]) -> None:
        self._script(WRITE_FILES, directory, stdin=_archive(files), doing=f"write to {directory}")

    def _script(self, script: str, *arguments: str, stdin: bytes = b"", doing: str) -> Completed:
        return self._checked(self._shell(script, *arguments, stdin=stdin), doing)

    def _shell(self, script: str, *arguments: str, stdin: bytes = b"") -> Completed:
        return self._transport.run(["sh", "-c", script, "sh", *arguments], stdin)

    def _run(self, argv: Sequence[str], *, doing: str) -> Completed:
        return self._checked(self._transport.run(argv), doing)

    def _checked(self, completed: Completed, doing: str) -> Completed:
        if completed.code:
            raise ActionError(
                f"{self._host}: could not {doing}: {_last_lines(completed.stderr)}",
                hint="mend what the message names, then run the same command again",
            )
        return completed


def _grouped(actions: Iterable[Action]) -> list[list[Action]]:
    """Neighbouring file actions as one: they travel in one archive and land together."""
    groups: list[list[Action]] = []
    for action in actions:
        files = isinstance(action, WriteFile | WriteManifest)
        if files and groups and isinstance(groups[-1][0], WriteFile):
            groups[-1].append(action)
        else:
            groups.append([action])
    return groups


def _contents(
    group: Iterable[Action], manifest: RemoteFile | None, now: int
) -> Iterable[ManagedFile]:
    for action in group:
        match action:
            case WriteFile(file=file):
                yield file
            case WriteManifest(files=files):
                content = next_manifest(read_manifest(manifest), files, now).to_bytes()
                yield ManagedFile(MANIFEST, content, 0o644)


def _archive(files: Iterable[ManagedFile]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for file in files:
            member = tarfile.TarInfo(file.name)
            member.size, member.mode = len(file.content), file.mode
            archive.addfile(member, io.BytesIO(file.content))
    return buffer.getvalue()


def _last_lines(output: bytes, count: int = 3) -> str:
    lines = [line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-count:]) or "it said nothing"
