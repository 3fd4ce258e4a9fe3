"""Being told how far a change has come."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told what is going on. `update` counts bytes; a total of 0 is unknown."""

    def begin(self, host: str, title: str) -> None:
        """A step has begun."""

    def update(self, host: str, done: int, total: int) -> None:
        """So many bytes have gone through."""

    def detail(self, host: str, text: str) -> None:
        """A word on what is going on."""

    def end(self, host: str, ok: bool) -> None:
        """The step is over."""
