"""Files that come with runnerkit and are not code."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def compose_file() -> bytes:
    """compose/compose.yml, byte for byte: from inside the wheel, or from the source tree."""
    packaged = files("runnerkit").joinpath("compose", "compose.yml")
    if packaged.is_file():
        return packaged.read_bytes()
    return (Path(__file__).parent.parent.parent / "compose" / "compose.yml").read_bytes()
