"""Building the same project again and again on one host, in every way."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runnerkit.bench.scripts import script
from runnerkit.bench.stats import Samples, interleaved
from runnerkit.bench.strategies import Strategy
from runnerkit.errors import ConfigError, HostError
from runnerkit.paths import StackPaths
from runnerkit.reach.transport import Transport

HOST_SOCKET = "/var/run/docker.sock"
TAG = "runnerkit-bench:latest"
# Never what a person edits, and often large.
LEFT_OUT = frozenset({".git"})


@dataclass(frozen=True)
class Project:
    """What is built: a directory with a Dockerfile, and the file whose change starts a build."""

    context: Path
    dockerfile: Path
    changed: str


def find_project(context: Path, dockerfile: Path | None, changed: str | None) -> Project:
    """The project in `context`; without `changed` the file that was modified last counts.

    Raises ConfigError when there is no Dockerfile, or nothing that could change.
    """
    found = dockerfile or context / "Dockerfile"
    if not found.is_file():
        raise ConfigError(f"there is no {found}", hint="name it with --context or --dockerfile")
    if changed is not None:
        if not (context / changed).is_file():
            raise ConfigError(
                f"{changed} is no file in {context}", hint="--change names a path below --context"
            )
        return Project(context, found, changed)
    sources = [path for path in _files(context) if path.name not in ("Dockerfile", ".dockerignore")]
    if not sources:
        raise ConfigError(f"{context} holds nothing to change", hint="name a file with --change")
    newest = max(sources, key=lambda path: (path.stat().st_mtime, str(path)))
    return Project(context, found, str(newest.relative_to(context)))


@dataclass(frozen=True)
class Bench:
    """A host made ready for builds; `registry` is the repository for caches, None for none."""

    transport: Transport
    paths: StackPaths
    folder: str
    changed: str
    image: str
    registry: str | None

    def seconds(self, strategy: Strategy) -> float:
        """Build once. Raises HostError with the last lines of a build that failed."""
        changed = self.changed if strategy.changed else ""
        options = self._cache_options() if strategy.registry else ()
        if strategy.daemon == "new":
            arguments: tuple[str, ...] = (self.folder, self.image, changed, TAG)
            answer = self._run("time_new_daemon", *arguments, *options)
        else:
            runner = strategy.daemon == "runner"
            socket = str(self.paths.docker_socket) if runner else HOST_SOCKET
            dockerfile = "Dockerfile" if strategy.mounts else "Dockerfile.plain"
            answer = self._run("time_build", socket, self.folder, dockerfile, changed, TAG)
        return int(answer) / 1000

    def compare(
        self, strategies: Sequence[Strategy], rounds: int, on_build: Callable[[str], None]
    ) -> dict[str, Samples]:
        """Build once in every way that keeps caches to fill them; then measure `rounds` of all."""

        def build(strategy: Strategy) -> Callable[[], float]:
            def once() -> float:
                on_build(strategy.title)
                return self.seconds(strategy)

            return once

        work = {strategy.name: build(strategy) for strategy in strategies}
        for strategy in strategies:
            if strategy.keeps:
                work[strategy.name]()
        return interleaved(work, rounds)

    def _cache_options(self) -> tuple[str, ...]:
        place = f"type=registry,ref={self.registry}"
        return (f"--cache-from={place}", f"--cache-to={place},mode=max")

    def _run(self, name: str, *arguments: str) -> str:
        return _run(self.transport, name, *arguments)


@contextmanager
def prepared(
    transport: Transport,
    paths: StackPaths,
    project: Project,
    image: str,
    daemon_options: dict[str, Any],
    registry: str | None = None,
) -> Iterator[Bench]:
    """Send the project to the host, and clear everything away at the end.

    `image` and `daemon_options` are those of the runner's daemon; new daemons get the same.
    """
    # Only images in containerd's store can take a cache from a registry and give it back whole.
    options = daemon_options | {"features": {"buildkit": True, "containerd-snapshotter": True}}
    archive = _archive(project, json.dumps(options).encode())
    sockets = (str(paths.docker_socket), HOST_SOCKET)
    folder = _run(transport, "prepare", *sockets, stdin=archive)
    try:
        yield Bench(transport, paths, folder, project.changed, image, registry)
    finally:
        _run(transport, "clear_up", folder, *sockets)


def _run(transport: Transport, name: str, *arguments: str, stdin: bytes = b"") -> str:
    completed = transport.run(["sh", "-c", script(name), "sh", *arguments], stdin)
    if completed.code:
        said = completed.stderr.decode(errors="replace").strip().splitlines()[-3:]
        raise HostError(
            f"{transport.name}: {' | '.join(said) or 'a build failed without a word'}",
            hint="the host needs docker's buildx plugin, and the project must build as it is",
        )
    return completed.stdout.decode().strip()


def _files(context: Path) -> Iterator[Path]:
    for path in sorted(context.iterdir()):
        if path.name in LEFT_OUT:
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _files(path)
        elif path.is_file():
            yield path


def _archive(project: Project, daemon_json: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(
            project.context,
            "context",
            filter=lambda member: None if Path(member.name).name in LEFT_OUT else member,
        )
        archive.add(project.dockerfile.resolve(), "Dockerfile")
        member = tarfile.TarInfo("daemon.json")
        member.size, member.mode = len(daemon_json), 0o644
        archive.addfile(member, io.BytesIO(daemon_json))
    return buffer.getvalue()
