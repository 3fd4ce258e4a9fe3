"""Becoming root with sudo, in one round trip, whether it wants a password or not.

The program's standard input is preceded by the password (when there is one) and by a marker
line. sudo takes the password if it wants one; what it leaves, a small loop throws away up to the
marker. The loop then writes the marker to stderr, so that sudo's words and the program's can be
told apart, and becomes the program.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from runnerkit.errors import HostError
from runnerkit.secret import Secret

_LOOP = (
    'while IFS= read -r l && [ "$l" != "$0" ]; do :; done; unset l; '
    'printf "%s\\n" "$0" >&2; exec "$@"'
)
_WANTS_PASSWORD = ("a password is required", "a terminal is required", "no password was provided")
_WRONG_PASSWORD = ("try again", "incorrect password")
_NO_RIGHT = ("not in the sudoers file", "may not run sudo", "not allowed to execute")
_WANTS_TTY = ("must have a tty", "no tty present")


@dataclass(frozen=True)
class Wrapped:
    """A command line through sudo, and what its standard input must begin with."""

    argv: tuple[str, ...]
    preamble: bytes
    marker: bytes


def wrap(argv: Sequence[str], password: Secret | None) -> Wrapped:
    """Make `argv` run as root. Raises HostError for a password that is no single line."""
    marker = secrets.token_hex(16)
    lines = marker + "\n"
    how = ["-n"]
    if password is not None:
        text = password.reveal()
        if not text or any(char in text for char in "\0\r\n"):
            raise HostError(
                "the sudo password is empty or has more than one line",
                hint="check the secret that holds the sudo password",
            )
        lines = f"{text}\n{lines}"
        how = ["-S", "-p", ""]
    return Wrapped(
        argv=("env", "LC_ALL=C", "sudo", *how, "--", "sh", "-c", _LOOP, marker, *argv),
        preamble=lines.encode("utf-8", "surrogateescape"),
        marker=marker.encode() + b"\n",
    )


class MarkerFilter:
    """Splits a stderr at the marker: before it sudo speaks, after it the program."""

    def __init__(self, marker: bytes) -> None:
        self._marker = marker
        self._held = b""
        self.started = not marker

    def feed(self, data: bytes) -> bytes:
        """Return the part of `data` that the program wrote."""
        if self.started:
            return data
        self._held += data
        before, found, after = self._held.partition(self._marker)
        if not found:
            return b""
        self.started, self._held = True, before
        return after

    @property
    def before(self) -> bytes:
        """What came before the marker: sudo's own words."""
        return self._held


def wants_password(said: bytes) -> bool:
    """Whether sudo refused only because it got no password."""
    return any(sign in said.decode(errors="replace") for sign in _WANTS_PASSWORD)


def refusal(host: str, code: int, said: bytes, password: Secret | None) -> HostError:
    """Explain why sudo started nothing, from its exit code and its words."""
    text = said.decode(errors="replace").strip()
    if password is not None:
        text = text.replace(password.reveal(), "********")
    if code == 127 or "sudo: not found" in text:
        return HostError(
            f"{host}: sudo is not installed", hint="log in as root, or install sudo on the host"
        )
    signs = (
        (_WRONG_PASSWORD, "sudo did not accept the password", "check the sudo password"),
        (
            _NO_RIGHT,
            "the login may not use sudo to become root",
            "give it the right in /etc/sudoers.d, or log in as root",
        ),
        (
            _WANTS_TTY,
            "sudo insists on a terminal",
            "remove `Defaults requiretty` from the host's sudoers, or log in as root",
        ),
        (
            _WANTS_PASSWORD,
            "sudo wants a password and none is known",
            "configure a sudo password, run in a terminal to be asked, or allow NOPASSWD",
        ),
    )
    for marks, message, hint in signs:
        if any(mark in text for mark in marks):
            return HostError(f"{host}: {message}", hint=hint)
    last = text.splitlines()[-1] if text else f"it ended with exit code {code}"
    return HostError(
        f"{host}: sudo does not start programs: {last}", hint="see `sudo -l` on the host"
    )
