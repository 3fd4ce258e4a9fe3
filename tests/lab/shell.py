"""Programs started from Python: one way to run them, one way to tell what they said."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

BEGAN = time.monotonic()


class LabError(Exception):
    """The lab cannot do what it was asked; the message says why."""


class CommandError(LabError):
    """A program failed; carries what it wrote."""

    def __init__(self, argv: Sequence[str], code: int, output: str) -> None:
        last = "\n".join(output.strip().splitlines()[-30:])
        super().__init__(f"{shlex.join(argv)} exited {code}:\n{last}")
        self.code = code


def say(text: str) -> None:
    """Narrate on stderr, with the seconds since this process began."""
    sys.stderr.write(f"[{time.monotonic() - BEGAN:6.1f} s] {text}\n")
    sys.stderr.flush()


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    check: bool = True,
) -> str:
    """Run a program to its end and return its stdout; raises CommandError unless it exits 0.

    With check=False a failure returns "" instead.
    """
    words = [os.fspath(word) for word in argv]
    done = subprocess.run(
        words,
        input=stdin,
        capture_output=True,
        env=None if env is None else os.environ | dict(env),
        cwd=cwd,
        check=False,
    )
    if done.returncode == 0:
        return done.stdout.decode(errors="replace")
    if not check:
        return ""
    output = done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")
    raise CommandError(words, done.returncode, output)


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll until the condition holds; LabError names `what` when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)
