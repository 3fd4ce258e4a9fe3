"""Proof by trial: a throw-away engine of the same image, with the same policy scaled down.

It lies beside the stack, with a data-root, a socket and a network of its own, and is removed
whatever happens. Nothing of the runner's own daemon is touched.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar

from runnerkit.cache.rules import THREE_SIZES
from runnerkit.cache.summary import cache_bytes
from runnerkit.change.packages import version_tuple
from runnerkit.change.progress import Progress
from runnerkit.change.remote import last_lines
from runnerkit.change.scripts import script
from runnerkit.collect.cache_probe import collect_gc
from runnerkit.desired.gc_policy import CacheLimits, gc_policy
from runnerkit.engine.look import look_inner
from runnerkit.engine.port import DockerPort
from runnerkit.errors import ActionError, HostError
from runnerkit.facts.cache import MOUNT, CacheRecord, GcFacts
from runnerkit.facts.daemon import DaemonUnavailable
from runnerkit.paths import SOCKETS, StackPaths
from runnerkit.reach.transport import Transport

MIB = 1 << 20
BUILDS = 10
LAYER_MIB = 8
MOUNT_MIB = 6
MAX_BYTES = 40 * MIB
START_SECONDS = 60.0
# An engine looks a second after a build, but not twice within a minute.
GC_SECONDS = 180.0
POLL_SECONDS = 0.5

T = TypeVar("T")


@dataclass(frozen=True)
class Trial:
    """What a throw-away engine did. Sizes in bytes.

    `ceiling_obeyed` and `mounts_kept` are of the fill beyond `max_bytes`; `free_space_obeyed` is
    of a start with less free space than wanted, None on engines that cannot look at that.
    """

    engine: str
    gc: GcFacts
    max_bytes: int
    filled_bytes: int
    left_bytes: int
    evicted: tuple[CacheRecord, ...]
    seconds: float
    ceiling_obeyed: bool
    mounts_kept: bool
    free_space_obeyed: bool | None = None

    @property
    def passed(self) -> bool:
        """Whether the engine did all that it was told."""
        parts = (self.ceiling_obeyed, self.mounts_kept, self.free_space_obeyed is not False)
        return all(parts) and not self.gc.errors


class TrialEngine:
    """A throw-away engine on one host."""

    def __init__(
        self,
        transport: Transport,
        paths: StackPaths,
        progress: Progress,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._transport = transport
        self._progress = progress
        self._clock = clock
        self._sleep = sleep
        self._container = f"{paths.project}-trial"
        folder = SOCKETS / f"{paths.stack}.trial"
        self._folder = str(folder)
        # Only the socket of it is asked for.
        self._paths = replace(paths, stack=f"{paths.stack}.trial")
        self._port = DockerPort(transport, str(folder / "docker.sock"))

    def run(self, image: str, limits: CacheLimits) -> Trial:
        """The whole trial. `limits` are the stack's: its ages hold, its sizes are scaled down.

        Raises ActionError when the engine cannot be started or filled.
        """
        small = replace(limits, max_bytes=MAX_BYTES, min_free_bytes=0)
        try:
            engine = self._step("start a throw-away engine", lambda: self._begin(image, small))
            trial = self._step("fill it, and wait for its GC", lambda: self._ceiling(engine))
            if version_tuple(engine) < THREE_SIZES:
                return trial
            obeyed = self._step("ask for more free space", lambda: self._free_space(small))
            return replace(trial, free_space_obeyed=obeyed)
        finally:
            self._port.close()
            with suppress(HostError):
                self._run("trial_end", self._container, self._folder)

    def _begin(self, image: str, limits: CacheLimits) -> str:
        content = _daemon_json(limits)
        self._run("trial_begin", image, self._container, self._folder, stdin=content)
        return self._answered()

    def _ceiling(self, engine: str) -> Trial:
        began = self._clock()
        numbers = (BUILDS, LAYER_MIB * 1024, MOUNT_MIB * 1024)
        self._run("trial_fill", self._container, *map(str, numbers))
        seen: dict[str, CacheRecord] = {}
        most, left = 0, self._records()
        while True:
            seen |= {record.id: record for record in left}
            most = max(most, cache_bytes(left))
            # The engine may have begun while it was still being filled.
            obeyed = cache_bytes(left) <= MAX_BYTES < cache_bytes(tuple(seen.values()))
            if obeyed or self._clock() - began > GC_SECONDS:
                break
            self._sleep(POLL_SECONDS)
            left = self._records()
        kept = {record.id for record in left}
        return Trial(
            engine=engine,
            gc=collect_gc(self._transport, self._paths, self._container, "0"),
            max_bytes=MAX_BYTES,
            filled_bytes=most,
            left_bytes=cache_bytes(left),
            evicted=tuple(record for record in seen.values() if record.id not in kept),
            seconds=self._clock() - began,
            ceiling_obeyed=obeyed,
            mounts_kept=any(record.type == MOUNT for record in left),
        )

    def _free_space(self, limits: CacheLimits) -> bool:
        """Whether the engine empties a cache when the disk cannot have what it should keep free."""
        wanted = replace(limits, max_bytes=1 << 50, min_free_bytes=1 << 50)
        self._run("trial_again", self._container, self._folder, stdin=_daemon_json(wanted))
        self._port.close()
        self._answered()
        deadline = self._clock() + GC_SECONDS
        while self._clock() < deadline:
            if not cache_bytes(self._records()):
                return True
            self._sleep(POLL_SECONDS)
        return False

    def _answered(self) -> str:
        deadline = self._clock() + START_SECONDS
        while True:
            facts = look_inner(self._transport, str(self._paths.docker_socket)).daemon
            if not isinstance(facts, DaemonUnavailable):
                return facts.version
            if self._clock() > deadline:
                log = self._transport.run(["docker", "logs", "--tail", "3", self._container])
                raise ActionError(
                    f"{self._transport.name}: the throw-away engine did not start: "
                    f"{last_lines(log.stdout + log.stderr)}",
                    hint="an engine that refuses its daemon.json says so in the line above",
                )
            self._sleep(POLL_SECONDS)

    def _records(self) -> tuple[CacheRecord, ...]:
        return self._port.usage().records

    def _run(self, name: str, *arguments: str, stdin: bytes = b"") -> None:
        done = self._transport.run(["sh", "-c", script(name), "sh", *arguments], stdin)
        if done.code:
            raise ActionError(
                f"{self._transport.name}: the trial failed: {last_lines(done.stderr)}",
                hint="the host's engine must be able to run privileged containers",
            )

    def _step(self, title: str, work: Callable[[], T]) -> T:
        host = self._transport.name
        self._progress.begin(host, title)
        try:
            result = work()
        except BaseException:
            self._progress.end(host, ok=False)
            raise
        self._progress.end(host, ok=True)
        return result


def _daemon_json(limits: CacheLimits) -> bytes:
    options = {"builder": {"gc": gc_policy(limits)}, "features": {"buildkit": True}}
    return json.dumps(options).encode()
