"""Quoting for a remote shell: the one place where argv becomes a command line."""

from __future__ import annotations

import shlex
from collections.abc import Sequence


def quote(argv: Sequence[str]) -> str:
    r"""Return a POSIX-sh command line that starts exactly `argv`.

    Every word arrives as it is, whatever it holds: spaces, quotes, `$`, newlines, undecodable
    bytes (as `os.fsdecode` gives them). Raises ValueError for an empty argv and for a NUL,
    which no program can be given.
    """
    if not argv:
        raise ValueError("a command needs at least a program name")
    for word in argv:
        if "\0" in word:
            raise ValueError("a word of a command holds a NUL character, which cannot be passed on")
    return shlex.join(argv)
