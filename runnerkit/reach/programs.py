"""Running programs over any kind of connection: what SSH and this machine have in common."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Protocol

from runnerkit.errors import ConnectionLostError, HostError
from runnerkit.reach import sudo
from runnerkit.reach.forwarding import forwarded
from runnerkit.reach.streams import Endpoint, ProgramStream
from runnerkit.reach.transport import AskPassword, Completed, Login
from runnerkit.secret import Secret

CHUNK = 65536


class Program(Protocol):
    """A started program. Reading gives b"" at the end; writing raises OSError when it is gone."""

    def write(self, data: bytes) -> None:
        """Write all of `data`; raises OSError when the program reads no more."""

    def close_stdin(self) -> None:
        """Let the program see the end of its input."""

    def read_stdout(self) -> bytes:
        """Return the next bytes, b"" at the end."""

    def read_stderr(self) -> bytes:
        """Return the next bytes, b"" at the end."""

    def wait(self) -> int:
        """Return the exit code; raises ConnectionLostError when there is none."""

    def lost(self) -> ConnectionLostError | None:
        """Return what to raise when it is the connection that ended, else None."""

    def abort(self) -> None:
        """Close all streams, waking every reader and writer. Calling it twice is harmless."""


class ProgramTransport:
    """A Transport, given only ways to start a program."""

    def __init__(self, login: Login, ask_password: AskPassword | None, *, is_root: bool) -> None:
        self.name = login.name
        self._through_sudo = login.sudo and not is_root
        self._password = login.sudo_password
        self._ask_password = ask_password
        self._sudo_lock = threading.Lock()
        self._sudo_works = False

    def _start(self, argv: Sequence[str]) -> Program:
        """Start a program, its standard streams being pipes or alike."""
        raise NotImplementedError

    def _open_stream(self, argv: Sequence[str]) -> tuple[Endpoint, Program]:
        """Start a program whose stdin and stdout are one endpoint."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the connection."""
        raise NotImplementedError

    def run(
        self,
        argv: Sequence[str],
        stdin: bytes | Iterable[bytes] = b"",
        *,
        timeout: float | None = None,
    ) -> Completed:
        """See Transport.run."""
        wrapped = self._as_root(argv)
        stdout: list[bytes] = []
        stderr: list[bytes] = []
        chunks = [stdin] if isinstance(stdin, bytes) else stdin
        code = self._pump(wrapped, argv[0], chunks, stdout.append, stderr.append, timeout=timeout)
        return Completed(code, b"".join(stdout), b"".join(stderr))

    def follow(
        self,
        argv: Sequence[str],
        on_output: Callable[[bytes], None],
        on_error: Callable[[bytes], None] | None = None,
    ) -> int:
        """See Transport.follow."""
        lock = threading.Lock()

        def one_by_one(listener: Callable[[bytes], None]) -> Callable[[bytes], None]:
            def hand_on(data: bytes) -> None:
                with lock:
                    listener(data)

            return hand_on

        listeners = one_by_one(on_output), one_by_one(on_error or on_output)
        return self._pump(self._as_root(argv), argv[0], (), *listeners)

    def stream(self, argv: Sequence[str]) -> ProgramStream:
        """See Transport.stream."""
        wrapped = self._as_root(argv)
        endpoint, program = self._open_stream(wrapped.argv)
        stream = ProgramStream(endpoint, program, sudo.MarkerFilter(wrapped.marker))
        if wrapped.preamble:
            with suppress(BrokenPipeError):  # reading will show the end, `explain` why
                stream.sendall(wrapped.preamble)
        return stream

    def forward(self, argv: Sequence[str], path: Path) -> AbstractContextManager[Path]:
        """See Transport.forward."""
        return forwarded(lambda: self.stream(argv), path)

    def _as_root(self, argv: Sequence[str]) -> sudo.Wrapped:
        if not self._through_sudo:
            return sudo.Wrapped(tuple(argv), b"", b"")
        with self._sudo_lock:
            if not self._sudo_works:
                self._try_sudo()
        return sudo.wrap(argv, self._password)

    def _try_sudo(self) -> None:
        """Find out, once per connection, whether sudo works and wants a password.

        Doing this with a program of our own keeps everybody else's input away from a sudo that
        asks again, and lets a password be asked for before anything has begun.
        """
        try:
            self._pump(sudo.wrap(["true"], self._password), "true", (), _ignore, _ignore)
        except SudoRefusedError as error:
            if self._password is not None or not self._ask_password or not error.wants_password:
                raise
            self._password = self._ask_once(self._ask_password)
            self._pump(sudo.wrap(["true"], self._password), "true", (), _ignore, _ignore)
        self._sudo_works = True

    def _ask_once(self, ask: AskPassword) -> Secret:
        self._ask_password = None
        return ask(f"sudo password for {self.name}")

    def _pump(
        self,
        wrapped: sudo.Wrapped,
        what: str,
        stdin: Iterable[bytes],
        on_stdout: Callable[[bytes], None],
        on_stderr: Callable[[bytes], None],
        *,
        timeout: float | None = None,
    ) -> int:
        program = self._start(wrapped.argv)
        pump = _Pump(program, sudo.MarkerFilter(wrapped.marker))
        timer = threading.Timer(timeout, pump.expire) if timeout is not None else None
        try:
            if timer:
                timer.daemon = True
                timer.start()
            code = pump.work(_chain(wrapped.preamble, stdin), on_stdout, on_stderr)
        finally:
            if timer:
                timer.cancel()
            program.abort()
        if not pump.filter.started:
            said = pump.filter.before
            raise SudoRefusedError(self.name, code, said, self._password)
        if code is None:
            raise HostError(
                f"{self.name}: {what} did not end within {timeout:g} s",
                hint="see what keeps the host busy; the program may still be running there",
            )
        return code


class SudoRefusedError(HostError):
    """sudo started nothing."""

    def __init__(self, host: str, code: int | None, said: bytes, password: Secret | None) -> None:
        explained = sudo.refusal(host, code if code is not None else -1, said, password)
        super().__init__(explained.message, hint=explained.hint)
        self.wants_password = sudo.wants_password(said)


class _Pump:
    """Feeds one program and drains both its outputs at once."""

    def __init__(self, program: Program, marker: sudo.MarkerFilter) -> None:
        self.filter = marker
        self._program = program
        self._expired = False
        self._failure: BaseException | None = None

    def expire(self) -> None:
        self._expired = True
        self._program.abort()

    def work(
        self,
        stdin: Iterator[bytes],
        on_stdout: Callable[[bytes], None],
        on_stderr: Callable[[bytes], None],
    ) -> int | None:
        """Return the exit code, or None after `expire`."""
        threads = [
            threading.Thread(target=self._guard, args=(self._feed, stdin), daemon=True),
            threading.Thread(target=self._guard, args=(self._drain_stderr, on_stderr), daemon=True),
        ]
        for thread in threads:
            thread.start()
        self._guard(self._drain_stdout, on_stdout)
        threads[1].join()
        if self._failure is not None and not self._expired:
            raise self._failure
        try:
            code = self._program.wait()
        except ConnectionLostError:
            if self._expired:
                return None
            raise
        return None if self._expired else code

    def _guard(self, work: Callable[..., None], *args: object) -> None:
        try:
            work(*args)
        except BaseException as error:  # noqa: BLE001 - raised again in the calling thread
            if self._failure is None:
                self._failure = error
            self._program.abort()

    def _feed(self, stdin: Iterator[bytes]) -> None:
        for data in stdin:
            try:
                self._program.write(data)
            except OSError:  # it stopped reading, which is its right
                return
        with suppress(OSError):
            self._program.close_stdin()

    def _drain_stdout(self, on_stdout: Callable[[bytes], None]) -> None:
        while data := self._program.read_stdout():
            on_stdout(data)

    def _drain_stderr(self, on_stderr: Callable[[bytes], None]) -> None:
        while data := self._program.read_stderr():
            if own := self.filter.feed(data):
                on_stderr(own)


def _chain(preamble: bytes, stdin: Iterable[bytes]) -> Iterator[bytes]:
    if preamble:
        yield preamble
    for data in stdin:
        if data:
            yield data


def _ignore(_: bytes) -> None:
    pass
