"""The local machine as a host: the same behaviour as over SSH, without SSH."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO

from runnerkit.errors import HostError
from runnerkit.reach.programs import CHUNK, ProgramTransport
from runnerkit.reach.streams import Endpoint
from runnerkit.reach.transport import AskPassword, Login
from runnerkit.shell import quote

NOT_FOUND = 127
NOT_EXECUTABLE = 126
END_SECONDS = 5.0


class LocalTransport(ProgramTransport):
    """A Transport whose programs are children of this process, in sessions of their own."""

    def __init__(self, login: Login, ask_password: AskPassword | None) -> None:
        super().__init__(login, ask_password, is_root=os.geteuid() == 0)
        self._lock = threading.Lock()
        self._running: set[LocalProgram] = set()
        self._closed = False

    def close(self) -> None:
        """End what still runs."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for program in running:
            program.abort()

    def _start(self, argv: Sequence[str]) -> LocalProgram:
        return self._register(LocalProgram(self, _spawn(argv, subprocess.PIPE, subprocess.PIPE)))

    def _open_stream(self, argv: Sequence[str]) -> tuple[Endpoint, LocalProgram]:
        near, far = socket.socketpair()
        with far:
            process = _spawn(argv, far.fileno(), far.fileno())
        return near, self._register(LocalProgram(self, process, near))

    def _register(self, program: LocalProgram) -> LocalProgram:
        with self._lock:
            if not self._closed:
                self._running.add(program)
                return program
        program.abort()
        raise HostError(f"{self.name}: the connection is already closed")

    def forget(self, program: LocalProgram) -> None:
        """Take note that a program has ended."""
        with self._lock:
            self._running.discard(program)


def _spawn(argv: Sequence[str], stdin: int, stdout: int) -> subprocess.Popen[bytes]:
    quote(argv)  # the same words are refused as over SSH
    command = list(argv)
    while True:
        try:
            return subprocess.Popen(
                command,
                stdin=stdin,
                stdout=stdout,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except FileNotFoundError:
            command = _failing(f"{argv[0]}: not found", NOT_FOUND)
        except PermissionError:
            command = _failing(f"{argv[0]}: permission denied", NOT_EXECUTABLE)
        except OSError as error:
            if error.errno is None:
                raise
            command = _failing(f"{argv[0]}: {error.strerror}", NOT_EXECUTABLE)


def _failing(message: str, code: int) -> list[str]:
    """Do what a remote shell does with a program that cannot be started."""
    return ["/bin/sh", "-c", 'printf "sh: %s\\n" "$1" >&2; exit "$2"', "sh", message, str(code)]


class LocalProgram:
    """A child process and its standard streams.

    `abort` wakes every thread that reads or writes; the descriptors are closed by the last one
    to leave, so that none is ever used after its number was given to another file.
    """

    def __init__(
        self,
        owner: LocalTransport,
        process: subprocess.Popen[bytes],
        endpoint: socket.socket | None = None,
    ) -> None:
        self._owner = owner
        self._process = process
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._users = 0
        self._aborted = False
        self._stdin_done = False
        self._wake, self._awake = os.pipe()
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)

    def write(self, data: bytes) -> None:
        """Write all of `data`; raises OSError when the program reads no more."""
        view = memoryview(data)
        while view:
            with self._using(self._process.stdin, select.POLLOUT) as descriptor:
                if descriptor is None or self._stdin_done:
                    raise BrokenPipeError
                with suppress(BlockingIOError):
                    view = view[os.write(descriptor, view[:CHUNK]) :]

    def close_stdin(self) -> None:
        """Let the program see the end of its input."""
        with self._lock:
            if self._process.stdin is not None and not self._aborted:
                self._stdin_done = True
                self._process.stdin.close()

    def read_stdout(self) -> bytes:
        """Return the next bytes, b"" at the end."""
        return self._read(self._process.stdout)

    def read_stderr(self) -> bytes:
        """Return the next bytes, b"" at the end."""
        return self._read(self._process.stderr)

    def wait(self) -> int:
        """Return the exit code; 128 + N for signal N."""
        code = self._process.wait()
        return code if code >= 0 else 128 - code

    def lost(self) -> None:
        """Return None: this machine cannot get lost."""

    def abort(self) -> None:
        """End the program if it still runs and close its streams."""
        with self._lock:
            if self._aborted:
                return
            self._aborted = True
            os.close(self._awake)
            self._close_when_unused()
        if self._endpoint is not None:
            with suppress(OSError):
                self._endpoint.shutdown(socket.SHUT_RDWR)
            self._endpoint.close()
        self._owner.forget(self)
        if self._process.poll() is None:
            threading.Thread(target=self._end, daemon=True).start()

    def _end(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(END_SECONDS)
                return
        self._process.wait()

    def _read(self, pipe: IO[bytes] | None) -> bytes:
        with self._using(pipe, select.POLLIN) as descriptor:
            return b"" if descriptor is None else os.read(descriptor, CHUNK)

    @contextmanager
    def _using(self, pipe: IO[bytes] | None, event: int) -> Iterator[int | None]:
        """Wait for the pipe; gives its descriptor, or None when the program was aborted."""
        with self._lock:
            if self._aborted or pipe is None or pipe.closed:
                descriptor = None
            else:
                descriptor = pipe.fileno()
                self._users += 1
        if descriptor is None:
            yield None
            return
        try:
            poll = select.poll()
            poll.register(descriptor, event)
            poll.register(self._wake, 0)
            ready = dict(poll.poll())
            yield None if self._wake in ready else descriptor
        finally:
            with self._lock:
                self._users -= 1
                if self._aborted:
                    self._close_when_unused()

    def _close_when_unused(self) -> None:
        if self._users:
            return
        os.close(self._wake)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
