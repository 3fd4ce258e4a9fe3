"""The shell programs that change hosts. POSIX sh, and constants.

What differs from host to host reaches them as arguments or on standard input, so nothing that a
person wrote is ever part of a shell program, and no secret is ever an argument.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def script(*names: str) -> str:
    """The text of `names`.sh as one program: functions first, then what uses them."""
    folder = files(__name__)
    return "\n".join(folder.joinpath(f"{name}.sh").read_text("utf-8") for name in names)
