"""The status of hosts, redrawn in place on a terminal; a line for each change in a pipe.

Every call may come from any thread.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Lock

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from runnerkit.health.model import HealthReport
from runnerkit.report.status import brief_text, health_text, troubles

STALE_ROUNDS = 3


class Lines:
    """For pipes: a brief line with the time whenever a host's status or troubles change."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = Lock()
        self._told: dict[str, tuple[str, tuple[str, ...]]] = {}

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def show(self, report: HealthReport) -> None:
        """Print the host's line unless it is the same as before."""
        with self._lock:
            now = (report.status, troubles(report))
            if self._told.get(report.host) == now:
                return
            self._told[report.host] = now
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S%z")
            self._console.print(Text(f"{stamp}  "), brief_text([report]), sep="", end="")
            self._console.file.flush()

    def tick(self) -> None:
        """Nothing: lines stay."""

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Nothing is in the way."""
        yield


class Screen:
    """For terminals: the alternate screen, with as much of each host as fits."""

    def __init__(self, console: Console, hosts: Iterable[str], every: float) -> None:
        self._console = console
        self._every = every
        self._lock = Lock()
        self._seen: dict[str, tuple[HealthReport, float] | None] = dict.fromkeys(hosts)
        self._live = Live(console=console, screen=True, auto_refresh=False, transient=True)

    def __enter__(self) -> Screen:
        self._live.start()
        self.tick()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._live.stop()

    def show(self, report: HealthReport) -> None:
        """Put the newest report in place of the host's last one."""
        with self._lock:
            self._seen[report.host] = (report, time.monotonic())
            self._draw()

    def tick(self) -> None:
        """Redraw, for the clock and for a terminal whose size changed."""
        with self._lock:
            self._draw()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Give the terminal back for a question, and go on afterwards."""
        with self._lock:
            self._live.stop()
            try:
                yield
            finally:
                self._live.start()
                self._draw()

    def _draw(self) -> None:
        if self._live.is_started:
            self._live.update(self.content(), refresh=True)

    def content(self) -> RenderableType:
        """What is drawn: the most detailed view that does not run off the screen."""
        reports = [seen[0] for seen in self._seen.values() if seen]
        head = self._head()
        full = Group(head, health_text(reports))
        lines = self._console.render_lines(full, self._console.options, pad=False)
        return full if len(lines) <= self._console.height else Group(head, brief_text(reports))

    def _head(self) -> Text:
        now = time.monotonic()
        parts = [time.strftime("%H:%M:%S"), f"every {self._every:g} s", "Ctrl-C ends"]
        waiting = [name for name, seen in self._seen.items() if seen is None]
        if waiting:
            parts.append(f"asking {', '.join(waiting)}")
        for name, seen in self._seen.items():
            if seen and now - seen[1] > STALE_ROUNDS * self._every:
                parts.append(f"{name}: seen {now - seen[1]:.0f} s ago")
        return Text("  ".join(parts) + "\n", style="dim")
