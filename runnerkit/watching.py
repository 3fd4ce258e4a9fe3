"""Looking at hosts: once, or again and again over connections that stay open."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from threading import Event, Lock, Thread

from runnerkit.config.effective import HostConfig
from runnerkit.errors import RunnerkitError, UnreachableError
from runnerkit.health.look import Look
from runnerkit.health.model import unreachable
from runnerkit.roads import Access, Survey, survey

CLOSING_SECONDS = 2.0


class Watched:
    """One host, looked at over one connection for as long as that lasts, then over a new one."""

    def __init__(self, host: HostConfig, access: Access, *, check_updates: bool = False) -> None:
        self.host = host
        self._access = access
        self._check_updates = check_updates
        self._open = ExitStack()
        self._found: Survey | None = None

    def look(self) -> Look:
        """Collect and judge now. A host that does not answer has a report that says so.

        Raises RunnerkitError for what is wrong otherwise. After any error the next look
        connects anew.
        """
        began = time.monotonic()
        try:
            found = self._found = self._survey()
        except UnreachableError as error:
            self.close()
            return _unseen(self.host, error, time.monotonic() - began)
        except BaseException:
            self.close()
            raise
        report, changes = found.report(), len(found.plan.actions)
        spent = time.monotonic() - began
        return Look(self.host, report, found.facts, changes, spent, time.time())

    def look_anyway(self) -> Look:
        """Like `look`, but whatever goes wrong is a report of a host that cannot be used."""
        began = time.monotonic()
        try:
            return self.look()
        except RunnerkitError as error:
            return _unseen(self.host, error, time.monotonic() - began)

    def _survey(self) -> Survey:
        if self._found is not None:
            return self._found.again(ask_server=True)
        return self._open.enter_context(
            survey(self.host, self._access, ask_server=True, check_updates=self._check_updates)
        )

    def close(self) -> None:
        """Close the connection, also under a look that is under way in another thread."""
        self._found = None
        self._open.close()


def _unseen(host: HostConfig, error: RunnerkitError, seconds: float) -> Look:
    report = unreachable(host.name, error.message, error.hint)
    return Look(host, report, None, None, seconds, time.time())


def look_at(host: HostConfig, access: Access, *, check_updates: bool = False) -> Look:
    """Look once. Raises RunnerkitError, but for a host that does not answer."""
    with closing(Watched(host, access, check_updates=check_updates)) as watched:
        return watched.look()


class Fleet:
    """Hosts looked at together on demand, over connections that stay open in between."""

    def __init__(self, hosts: Iterable[HostConfig], access: Access) -> None:
        self._watched = tuple(Watched(host, access) for host in hosts)
        self._lock = Lock()
        self._going_on: Future[tuple[Look, ...]] | None = None

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_: object) -> None:
        for watched in self._watched:
            watched.close()

    def look(self) -> tuple[Look, ...]:
        """Look at all hosts at once. Who calls while that goes on gets the same looks."""
        with self._lock:
            mine = self._going_on is None
            future = self._going_on = self._going_on or Future()
        if mine:
            try:
                with ThreadPoolExecutor(max_workers=max(1, len(self._watched))) as pool:
                    future.set_result(tuple(pool.map(Watched.look_anyway, self._watched)))
            except BaseException as error:
                future.set_exception(error)
                raise
            finally:
                with self._lock:
                    self._going_on = None
        return future.result()


OnLook = Callable[[Look], None]


class Watch:
    """Looks at each host every so many seconds, each in a thread of its own.

    A slow or dead host delays only itself. `on_look` is called from those threads.
    """

    def __init__(
        self, hosts: Iterable[HostConfig], access: Access, every: float, on_look: OnLook
    ) -> None:
        self._watched = tuple(Watched(host, access) for host in hosts)
        self._every = every
        self._on_look = on_look
        self._ended = Event()
        self._threads = [
            Thread(target=self._rounds, args=(watched,), daemon=True) for watched in self._watched
        ]

    def __enter__(self) -> Watch:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for watched in self._watched:
            watched.close()
        deadline = time.monotonic() + CLOSING_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _rounds(self, watched: Watched) -> None:
        while not self._ended.is_set():
            seen = watched.look_anyway()
            if not self._ended.is_set():
                self._on_look(seen)
            self._ended.wait(self._every)
