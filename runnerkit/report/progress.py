"""Steps with their seconds on a terminal's stderr; silence everywhere else."""

from __future__ import annotations

import sys
import time
from threading import Lock
from typing import TextIO

from runnerkit.change.progress import Progress


class Silent:
    """For pipes and scripts."""

    def begin(self, host: str, title: str) -> None:
        """Nothing."""

    def update(self, host: str, done: int, total: int) -> None:
        """Nothing."""

    def detail(self, host: str, text: str) -> None:
        """Nothing."""

    def end(self, host: str, ok: bool) -> None:
        """Nothing."""


class Ticks:
    """One line a step when it ends, and what is going on now redrawn below in place."""

    REDRAW_SECONDS = 0.1

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._lock = Lock()
        self._steps: dict[str, tuple[str, float]] = {}
        self._notes: dict[str, str] = {}
        self._drawn = 0.0

    def begin(self, host: str, title: str) -> None:
        """A step has begun."""
        with self._lock:
            self._steps[host] = (title, time.monotonic())
            self._notes.pop(host, None)
            self._redraw(force=True)

    def update(self, host: str, done: int, total: int) -> None:
        """So many bytes have gone through."""
        amount = f"{done / 1e6:.0f} MB" + (f" of {total / 1e6:.0f} MB" if total else "")
        self.detail(host, amount)

    def detail(self, host: str, text: str) -> None:
        """A word on what is going on."""
        with self._lock:
            self._notes[host] = text
            self._redraw()

    def end(self, host: str, ok: bool) -> None:
        """The step is over."""
        with self._lock:
            title, since = self._steps.pop(host)
            self._notes.pop(host, None)
            mark = "✓" if ok else "✗"
            self._out.write(f"\r\x1b[K{mark} {host}: {title}  {time.monotonic() - since:.1f} s\n")
            self._redraw(force=True)

    def _redraw(self, *, force: bool = False) -> None:
        now = time.monotonic()
        if not force and now - self._drawn < self.REDRAW_SECONDS:
            return
        self._drawn = now
        parts = [
            f"{host}: {title} {now - since:.0f} s {self._notes.get(host, '')}".rstrip()
            for host, (title, since) in self._steps.items()
        ]
        printable = "".join(char for char in "  ".join(parts) if char.isprintable())
        self._out.write("\r\x1b[K" + printable[:78])
        self._out.flush()


def progress_for_terminal() -> Progress:
    """Ticks when stderr is a terminal."""
    return Ticks(sys.stderr) if sys.stderr.isatty() else Silent()
