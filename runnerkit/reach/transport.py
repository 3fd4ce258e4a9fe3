"""What the rest of runnerkit knows about reaching a host. The only way in is `connect`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from runnerkit.secret import Secret
from runnerkit.target import LocalTarget, Target

AskHostKey = Callable[[str], bool]
AskPassword = Callable[[str], Secret]


@dataclass(frozen=True)
class Completed:
    """What a program on the host left behind. A non-zero `code` is a value, not an exception.

    A program that a signal ended has the code a shell gives it: 128 + the signal's number.
    """

    code: int
    stdout: bytes
    stderr: bytes


class ByteStream(Protocol):
    """Both directions of a program's standard streams, shaped like a connected socket.

    When the connection to the host ends, reading and writing raise ConnectionLostError (which
    is here an OSError, too); when only the program ends, `recv` gives b"" and `sendall` raises
    BrokenPipeError. As with a socket, files from `makefile` stay usable after `close`.
    """

    def sendall(self, data: bytes) -> None:
        """Send all of `data`; raises TimeoutError, BrokenPipeError, ConnectionLostError."""

    def recv(self, size: int) -> bytes:
        """Return 1 to `size` bytes, or b"" at the end."""

    def makefile(self, mode: str, buffering: int = -1) -> IO[Any]:
        """Return a buffered binary file over the stream."""

    def settimeout(self, seconds: float | None) -> None:
        """Limit each later read and write; None waits for ever."""

    def close_write(self) -> None:
        """Tell the program that no more input comes; reading goes on."""

    def explain(self) -> str:
        """Return the last line the program wrote to stderr, or "" (waits briefly for its end)."""

    def close(self) -> None:
        """End the stream. Calling it twice is harmless."""


class Transport(Protocol):
    """One login on one host; every call uses the same connection and may come from any thread.

    Programs run as root, through sudo where the login is not root's and `sudo` is on. argv is
    data: it is quoted by `shell.quote`, never interpreted by a shell on the way (the login
    shell must be a POSIX one). Every call may raise ConnectionLostError when the host goes away
    and HostError when sudo refuses.
    """

    name: str

    def run(
        self,
        argv: Sequence[str],
        stdin: bytes | Iterable[bytes] = b"",
        *,
        timeout: float | None = None,
    ) -> Completed:
        """Run to the end, feeding `stdin` while both outputs are read.

        A program may stop reading early. After `timeout` seconds the program's streams are
        closed and HostError is raised. What iterating `stdin` raises is raised here.
        """

    def follow(
        self,
        argv: Sequence[str],
        on_output: Callable[[bytes], None],
        on_error: Callable[[bytes], None] | None = None,
    ) -> int:
        """Run without input, handing on stdout and stderr as they come; returns the exit code.

        `on_output` gets both, or only stdout where `on_error` is given. They are never called
        twice at once; what they raise ends the program's streams.
        """

    def stream(self, argv: Sequence[str]) -> ByteStream:
        """Start a program and give its standard streams as one socket-like object."""

    def forward(self, argv: Sequence[str], path: Path) -> AbstractContextManager[Path]:
        """Listen on the local unix socket `path` (0600); each connection gets its own argv.

        A missing directory is made 0700 and, like the socket, is gone at the end.
        """

    def close(self) -> None:
        """Close the connection. Calling it twice is harmless."""


@dataclass(frozen=True)
class Login:
    """How to get into a host. `name` is the host's name in the configuration.

    `known_hosts` replaces all known-hosts files, for jump hosts as well. `connect_timeout` is in
    seconds and holds for the TCP connection and for the server's greeting, each.
    """

    name: str
    target: Target
    identity: Path | None = None
    known_hosts: Path | None = None
    sudo: bool = False
    sudo_password: Secret | None = field(default=None, repr=False)
    connect_timeout: float = 5.0
    accept_new_host_key: bool = False


def connect(
    login: Login,
    *,
    ask_host_key: AskHostKey | None = None,
    ask_password: AskPassword | None = None,
) -> Transport:
    """Open the connection to one host.

    `ask_host_key` gets a sentence with the fingerprint of a key not yet known and says whether
    to trust it for good; without it, and without `accept_new_host_key`, such a host is refused.
    `ask_password` gets a prompt, at most once, when sudo wants a password and none is configured.
    Raises UnreachableError.
    """
    if isinstance(login.target, LocalTarget):
        from runnerkit.reach.local import LocalTransport  # noqa: PLC0415 - it is built on this module

        return LocalTransport(login, ask_password)
    from runnerkit.reach.ssh import open_ssh  # noqa: PLC0415 - fabric takes 0.13 s to import

    return open_ssh(login, login.target, ask_host_key, ask_password)
