"""Looking at hosts: once, or again and again over connections that stay open."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from threading import Event, Thread

from runnerkit.config.effective import HostConfig
from runnerkit.errors import RunnerkitError, UnreachableError
from runnerkit.facts.host import HostFacts
from runnerkit.health.model import HealthReport, unreachable
from runnerkit.roads import Access, Survey, survey

CLOSING_SECONDS = 2.0


@dataclass(frozen=True)
class Look:
    """What one look at a host gave.

    `facts` and `changes`, the number of changes that `up` would make, are None for a host that
    could not be asked; its report says why. `seconds` is how long it took.
    """

    host: HostConfig
    report: HealthReport
    facts: HostFacts | None
    changes: int | None
    seconds: float


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
            report = unreachable(self.host.name, error.message, error.hint)
            return Look(self.host, report, None, None, time.monotonic() - began)
        except RunnerkitError:
            self.close()
            raise
        report, changes = found.report(), len(found.plan.actions)
        return Look(self.host, report, found.facts, changes, time.monotonic() - began)

    def _survey(self) -> Survey:
        if self._found is not None:
            return self._found.again(ask_server=True)
        return self._open.enter_context(survey(self.host, self._access, ask_server=True))

    def close(self) -> None:
        """Close the connection, also under a look that is under way in another thread."""
        self._found = None
        self._open.close()


def look_at(host: HostConfig, access: Access, *, check_updates: bool = False) -> Look:
    """Look once. Raises RunnerkitError, but for a host that does not answer."""
    with closing(Watched(host, access, check_updates=check_updates)) as watched:
        return watched.look()


OnLook = Callable[[str, Look | RunnerkitError], None]


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
            seen: Look | RunnerkitError
            try:
                seen = watched.look()
            except RunnerkitError as error:
                seen = error
            if not self._ended.is_set():
                self._on_look(watched.host.name, seen)
            self._ended.wait(self._every)
