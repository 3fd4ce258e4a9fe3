"""A local unix socket whose every connection becomes a program on a host."""

from __future__ import annotations

import os
import select
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runnerkit.errors import HostError, RunnerkitError
from runnerkit.reach.transport import ByteStream

CHUNK = 65536


@contextmanager
def forwarded(open_stream: Callable[[], ByteStream], path: Path) -> Iterator[Path]:
    """Serve `path` until the end of the block.

    Raises HostError when something already listens at `path` or the path cannot be a socket.
    """
    made = _make_directory(path.parent)
    try:
        listener = _listen(path)
        try:
            server = _Server(listener, open_stream)
            server.start()
            try:
                yield path
            finally:
                server.stop()
        finally:
            listener.close()
            path.unlink(missing_ok=True)
    finally:
        for directory in made:
            with suppress(OSError):
                directory.rmdir()


def _make_directory(directory: Path) -> list[Path]:
    """Create what is missing, 0700; returns it, innermost first."""
    missing = [place for place in (directory, *directory.parents) if not place.exists()]
    for place in reversed(missing):
        place.mkdir(mode=0o700)
    return missing


def _listen(path: Path) -> socket.socket:
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with suppress(OSError):  # only Linux can give the mode before the name exists
            os.fchmod(listener.fileno(), 0o600)
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(64)
    except OSError as error:
        listener.close()
        raise HostError(
            f"cannot listen on {path}: {error}", hint="choose a short path in a writable directory"
        ) from None
    return listener


def _remove_stale(path: Path) -> None:
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if is_socket:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink(missing_ok=True)
                return
            except OSError:
                pass
    raise HostError(f"{path} is already in use", hint="end the other runnerkit, or remove the file")


class _Server:
    def __init__(self, listener: socket.socket, open_stream: Callable[[], ByteStream]) -> None:
        self._listener = listener
        self._open_stream = open_stream
        self._wake, self._woken = socket.socketpair()
        self._lock = threading.Lock()
        self._open: set[_Relay] = set()
        self._stopped = False
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            relays = list(self._open)
        self._wake.close()
        self._thread.join()
        self._woken.close()
        for relay in relays:
            relay.close()

    def _accept(self) -> None:
        while True:
            readable, _, _ = select.select([self._listener, self._woken], [], [])
            if self._woken in readable:
                return
            with suppress(OSError):
                near, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with near:
            try:
                stream = self._open_stream()
            except (RunnerkitError, OSError):
                return  # the client sees a closed connection
            relay = _Relay(near, stream)
            with self._lock:
                if self._stopped:
                    stream.close()
                    return
                self._open.add(relay)
            try:
                relay.work()
            finally:
                relay.close()
                with self._lock:
                    self._open.discard(relay)


class _Relay:
    """Carries bytes both ways until both sides are done; each half ends by itself."""

    def __init__(self, near: socket.socket, stream: ByteStream) -> None:
        self._near = near
        self._stream = stream

    def work(self) -> None:
        outward = threading.Thread(target=self._outward, daemon=True)
        outward.start()
        with suppress(OSError, RunnerkitError):
            while data := self._stream.recv(CHUNK):
                self._near.sendall(data)
        with suppress(OSError):
            self._near.shutdown(socket.SHUT_WR)
        outward.join()

    def _outward(self) -> None:
        with suppress(OSError, RunnerkitError):
            while data := self._near.recv(CHUNK):
                self._stream.sendall(data)
        self._stream.close_write()
        # A client that only ended its own half still wants the answer; one that hung up does not.
        with suppress(OSError):
            poll = select.poll()
            poll.register(self._near, 0)
            poll.poll()
        self._stream.close()

    def close(self) -> None:
        with suppress(OSError):
            self._near.shutdown(socket.SHUT_RDWR)
        self._stream.close()
