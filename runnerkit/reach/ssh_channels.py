"""Programs over an SSH connection: each has a channel of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol

from runnerkit.errors import ConnectionLostError, HostError
from runnerkit.reach.programs import CHUNK, ProgramTransport
from runnerkit.reach.streams import Endpoint
from runnerkit.reach.transport import AskPassword, Login
from runnerkit.shell import quote

KEEPALIVE_SECONDS = 15
LOST_AFTER_SECONDS = 45
SESSION_SECONDS = 30.0
FIRST_SESSION_SECONDS = 3.0


class Channel(Endpoint, Protocol):
    """What is used of an SSH channel."""

    def recv_stderr(self, size: int, /) -> bytes:
        """Return the next bytes of stderr, b"" at the end."""

    def shutdown_write(self) -> None:
        """Send the end of stdin."""

    def recv_exit_status(self) -> int:
        """Wait for the exit code, -1 when there is none."""


class SocketChannel:
    """A channel that fails as a socket does.

    When a connection ends while something is being sent, paramiko raises EOFError (packet.py,
    write_all); reads send too, as they acknowledge what they took.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def send(self, data: bytes, /) -> int:
        """See Endpoint.send."""
        with _broken_pipe():
            return self._channel.send(data)

    def recv(self, size: int, /) -> bytes:
        """See Endpoint.recv."""
        try:
            return self._channel.recv(size)
        except EOFError:
            return b""

    def recv_stderr(self, size: int, /) -> bytes:
        """See Channel.recv_stderr."""
        try:
            return self._channel.recv_stderr(size)
        except EOFError:
            return b""

    def settimeout(self, seconds: float | None, /) -> None:
        """See Endpoint.settimeout."""
        self._channel.settimeout(seconds)

    def shutdown(self, how: int, /) -> None:
        """See Endpoint.shutdown."""
        with _broken_pipe():
            self._channel.shutdown(how)

    def shutdown_write(self) -> None:
        """See Channel.shutdown_write."""
        with _broken_pipe():
            self._channel.shutdown_write()

    def recv_exit_status(self) -> int:
        """See Channel.recv_exit_status."""
        return self._channel.recv_exit_status()

    def close(self) -> None:
        """See Endpoint.close."""
        with suppress(EOFError):
            self._channel.close()


@contextmanager
def _broken_pipe() -> Iterator[None]:
    try:
        yield
    except EOFError:
        raise BrokenPipeError("the connection ended") from None


class SessionRefusedError(Exception):
    """The server opens no further channel at the moment."""


class Wire(Protocol):
    """An open SSH connection."""

    def open_channel(self, command: bytes) -> Channel:
        """Start a command; raises SessionRefusedError, ConnectionError."""

    def is_alive(self) -> bool:
        """Whether the connection still stands, as far as is known."""

    def reason(self) -> str:
        """Why the connection ended, as far as is known; empty when it is not."""

    def knock(self) -> None:
        """Wait for a sign of life, or for the end of the connection."""

    def close(self) -> None:
        """Close the connection, waking everybody who waits for it."""


class SshTransport(ProgramTransport):
    """A Transport over one SSH connection."""

    def __init__(
        self, login: Login, wire: Wire, ask_password: AskPassword | None, *, is_root: bool
    ) -> None:
        super().__init__(login, ask_password, is_root=is_root)
        self._wire = wire
        self._closed = threading.Event()
        self._silent = False
        self._released = threading.Condition()
        self._had_one = False
        threading.Thread(target=self._keep_alive, daemon=True).start()

    def close(self) -> None:
        """Close all channels and connections."""
        self._closed.set()
        self._wire.close()

    def connected(self) -> bool:
        """Whether the connection still stands."""
        return self._wire.is_alive()

    def lost(self) -> ConnectionLostError:
        """Return the error to raise for a connection that ended."""
        if self._closed.is_set():
            return ConnectionLostError(f"{self.name}: the connection was already closed")
        reason = self._reason()
        return ConnectionLostError(
            f"{self.name}: the connection was lost{reason and f' ({reason})'}",
            hint="see whether the host is up, then repeat",
        )

    def _reason(self) -> str:
        if self._silent:
            return f"the host gave no sign of life for {LOST_AFTER_SECONDS} s"
        return self._wire.reason()

    def _keep_alive(self) -> None:
        """Ask for a sign of life now and then, and give up on a server that sends none."""
        while not self._closed.wait(KEEPALIVE_SECONDS) and self._wire.is_alive():
            deadline = threading.Timer(LOST_AFTER_SECONDS, self._give_up)
            deadline.daemon = True
            deadline.start()
            self._wire.knock()
            deadline.cancel()

    def _give_up(self) -> None:
        self._silent = True
        self._wire.close()

    def _start(self, argv: Sequence[str]) -> ChannelProgram:
        # Without the exit the shell might become the program, and a signal would leave no code.
        command = f"{quote(argv)}; exit $?".encode("utf-8", "surrogateescape")
        began = time.monotonic()
        while True:
            try:
                channel = self._wire.open_channel(command)
            except SessionRefusedError as error:
                self._wait_for_session(began, str(error))
            except OSError as error:
                # A host whose power is cut says nothing at all, for as long as TCP hopes for it.
                if not self.connected() or isinstance(error, TimeoutError):
                    raise self.lost() from None
                raise HostError(
                    f"{self.name}: the server does not start programs: {error}",
                    hint="see whether the login has a shell",
                ) from None
            else:
                self._had_one = True
                return ChannelProgram(self, channel)

    def _wait_for_session(self, began: float, reason: str) -> None:
        """Wait until a session may be free; the server is a little later than `release`.

        Of many that begin at once, some may be refused before the first one is known to be open.
        """
        limit = SESSION_SECONDS if self._had_one else FIRST_SESSION_SECONDS
        if time.monotonic() > began + limit:
            raise HostError(
                f"{self.name}: the server allows no more sessions: {reason}",
                hint="raise MaxSessions in the host's sshd_config",
            )
        with self._released:
            self._released.wait(0.2)

    def _open_stream(self, argv: Sequence[str]) -> tuple[Endpoint, ChannelProgram]:
        program = self._start(argv)
        return program.channel, program

    def release(self, channel: Channel) -> None:
        """Close a channel and let a waiting one take its place."""
        with suppress(Exception):  # closing a channel of a dead connection may raise anything
            channel.close()
        with self._released:
            self._released.notify_all()


class ChannelProgram:
    """A program at the other end of a channel."""

    def __init__(self, owner: SshTransport, channel: Channel) -> None:
        self._owner = owner
        self.channel = channel
        self._lock = threading.Lock()
        self._released = False

    def write(self, data: bytes) -> None:
        """Write all of `data`; raises OSError when the program reads no more."""
        view = memoryview(data)
        while view:
            sent = self.channel.send(bytes(view[:CHUNK]))
            if not sent:
                raise BrokenPipeError
            view = view[sent:]

    def close_stdin(self) -> None:
        """Let the program see the end of its input."""
        self.channel.shutdown_write()

    def read_stdout(self) -> bytes:
        """Return the next bytes, b"" at the end."""
        return self.channel.recv(CHUNK)

    def read_stderr(self) -> bytes:
        """Return the next bytes, b"" at the end."""
        return self.channel.recv_stderr(CHUNK)

    def wait(self) -> int:
        """Return the exit code; raises ConnectionLostError when the server told none."""
        code = self.channel.recv_exit_status()
        if code < 0:
            raise self._owner.lost()
        return code

    def lost(self) -> ConnectionLostError | None:
        """Return what to raise when it is the connection that ended, else None."""
        return None if self._owner.connected() else self._owner.lost()

    def abort(self) -> None:
        """Close the channel."""
        with self._lock:
            if self._released:
                return
            self._released = True
        self._owner.release(self.channel)
