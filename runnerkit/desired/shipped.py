"""Files that come with runnerkit and are not code."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from runnerkit.paths import COMPOSE_FILE, JANITOR_FILE


@dataclass(frozen=True)
class Shipped:
    """The files of compose/, byte for byte."""

    compose: bytes
    janitor: bytes


def shipped_files() -> Shipped:
    """The files of compose/: from inside the wheel, or from the source tree."""
    return Shipped(compose=_read(COMPOSE_FILE), janitor=_read(JANITOR_FILE))


def _read(name: str) -> bytes:
    packaged = files("runnerkit").joinpath("compose", name)
    if packaged.is_file():
        return packaged.read_bytes()
    return (Path(__file__).parent.parent.parent / "compose" / name).read_bytes()
