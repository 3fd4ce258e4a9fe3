"""The shell programs of the comparison. POSIX sh, and constants."""

from __future__ import annotations

from importlib.resources import files


def script(name: str) -> str:
    """The text of `name`.sh, after what all of them share."""
    folder = files(__name__)
    return "\n".join(folder.joinpath(f"{part}.sh").read_text("utf-8") for part in ("shared", name))
