"""Pulling images at once: registries and disks take turns in being waited for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from runnerkit.engine.port import DockerPort
from runnerkit.reach.transport import Transport

MOST_AT_ONCE = 3


def pull_images(
    transport: Transport,
    socket: str | None,
    refs: Sequence[str],
    on_progress: Callable[[int, int], None],
) -> None:
    """Let a daemon pull `refs`: the host's own, or the one behind `socket` there.

    `on_progress` gets the bytes of all of them together, those that are done and those that are
    known of. Raises ActionError for the first that fails, once all have ended.
    """
    seen: dict[str, tuple[int, int]] = {}
    lock = Lock()

    def one(ref: str) -> None:
        def told(done: int, total: int) -> None:
            with lock:
                seen[ref] = done, total
                sums = [sum(column) for column in zip(*seen.values(), strict=True)]
                on_progress(sums[0], sums[1])

        port = DockerPort(transport, socket)
        try:
            port.pull(ref, told)
        finally:
            port.close()

    with ThreadPoolExecutor(MOST_AT_ONCE) as pool:
        work = [pool.submit(one, ref) for ref in refs]
    for pull in work:
        pull.result()
