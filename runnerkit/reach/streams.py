"""A program's standard streams as something that HTTP clients take for a socket."""

from __future__ import annotations

import io
import threading
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, Protocol

from runnerkit.errors import ConnectionLostError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from runnerkit.reach.programs import Program
    from runnerkit.reach.sudo import MarkerFilter

SHUT_WR = 1
EXPLAIN_SECONDS = 2.0
KEPT_STDERR = 16384


class Endpoint(Protocol):
    """What an SSH channel and a socket have in common."""

    def send(self, data: bytes, /) -> int:
        """Send some of `data`; 0 or OSError when the other side reads no more."""

    def recv(self, size: int, /) -> bytes:
        """Return the next bytes, b"" at the end."""

    def settimeout(self, seconds: float | None, /) -> None:
        """Limit each later call; a late one raises TimeoutError."""

    def shutdown(self, how: int, /) -> None:
        """End one direction, as for a socket."""

    def close(self) -> None:
        """End both directions."""


class StreamLostError(ConnectionLostError, ConnectionError):
    """ConnectionLostError for code that knows only sockets."""


class ProgramStream:
    """A ByteStream over a started program."""

    def __init__(self, endpoint: Endpoint, program: Program, marker: MarkerFilter) -> None:
        self._endpoint = endpoint
        self._program = program
        self._filter = marker
        self._stderr = bytearray()
        self._lock = threading.Lock()
        self._files = 0
        self._closed = False
        self._timeout: float | None = None
        self._drain = threading.Thread(target=self._drain_stderr, daemon=True)
        self._drain.start()

    def sendall(self, data: bytes) -> None:
        """See ByteStream.sendall."""
        view = memoryview(data).cast("B")
        while view:
            sent = self._send(bytes(view[:65536]))
            if not sent:
                self._check()
                raise BrokenPipeError("the program no longer reads")
            view = view[sent:]

    def _send(self, data: bytes) -> int:
        try:
            return self._endpoint.send(data)
        except TimeoutError:
            raise
        except OSError:
            return 0

    def recv(self, size: int) -> bytes:
        """See ByteStream.recv."""
        try:
            data = self._endpoint.recv(size)
        except TimeoutError:
            raise
        except OSError:
            data = b""
        if not data:
            self._check()
        return data

    def recv_into(self, buffer: WriteableBuffer) -> int:
        """Read into `buffer`; returns the number of bytes, 0 at the end."""
        view = memoryview(buffer).cast("B")
        data = self.recv(len(view))
        view[: len(data)] = data
        return len(data)

    def makefile(self, mode: str, buffering: int = -1) -> IO[Any]:
        """See ByteStream.makefile."""
        size = buffering if buffering > 1 else 65536
        with self._lock:
            self._files += 1
        raw = _RawStream(self)
        if "r" in mode and "w" not in mode and "+" not in mode:
            return io.BufferedReader(raw, size)
        if "w" in mode and "r" not in mode:
            return io.BufferedWriter(raw, size)
        pair: Any = io.BufferedRWPair(raw, raw, size)
        return pair  # type: ignore[no-any-return]

    def settimeout(self, seconds: float | None) -> None:
        """See ByteStream.settimeout."""
        self._timeout = seconds
        self._endpoint.settimeout(seconds)

    def gettimeout(self) -> float | None:
        """Return what `settimeout` set."""
        return self._timeout

    def close_write(self) -> None:
        """See ByteStream.close_write."""
        with suppress(OSError):
            self._endpoint.shutdown(SHUT_WR)

    def explain(self) -> str:
        """See ByteStream.explain."""
        self._drain.join(EXPLAIN_SECONDS)
        said = bytes(self._stderr) if self._filter.started else self._filter.before
        lines = said.decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else ""

    def close(self) -> None:
        """See ByteStream.close."""
        with self._lock:
            self._closed = True
            last = self._files == 0
        if last:
            self._program.abort()

    def release(self) -> None:
        """Take note that a file of this stream was closed."""
        with self._lock:
            self._files -= 1
            last = self._closed and self._files == 0
        if last:
            self._program.abort()

    def _check(self) -> None:
        """Raise StreamLostError when it is the connection that ended, not the program."""
        if self._closed:
            return
        lost = self._program.lost()
        if lost is not None:
            raise StreamLostError(lost.message, hint=lost.hint)

    def _drain_stderr(self) -> None:
        with suppress(OSError):
            while data := self._program.read_stderr():
                self._stderr += self._filter.feed(data)
                del self._stderr[:-KEPT_STDERR]


class _RawStream(io.RawIOBase):
    def __init__(self, stream: ProgramStream) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        return self._stream.recv_into(buffer)

    def write(self, data: Any) -> int:
        self._stream.sendall(data)
        return len(data)

    # The docker SDK switches a response's timeout off through these.
    def settimeout(self, seconds: float | None) -> None:
        self._stream.settimeout(seconds)

    def gettimeout(self) -> float | None:
        return self._stream.gettimeout()

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._stream.release()
