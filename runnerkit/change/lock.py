"""One change at a time on a host, from whichever machine.

The lock is the kernel's (`flock`), held on the host by a small process at the end of a channel of
the same SSH connection. When the client dies, the connection ends, that process with it, and the
lock is free: there is nothing to clean up. Only a connection that broke without anybody noticing
keeps it for longer; the signs of life that stopped tell, and `unlock` ends it.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from runnerkit.change.journal import Owner, read_owner
from runnerkit.change.progress import Progress
from runnerkit.change.remote import Fence, last_lines
from runnerkit.change.scripts import script
from runnerkit.errors import HostError, LockedError
from runnerkit.paths import SOCKETS
from runnerkit.reach.transport import ByteStream, Transport
from runnerkit.units import Duration

HEARTBEAT_SECONDS = 10.0
POLL_SECONDS = 1.0
RELEASE_SECONDS = 10.0
# Three signs of life missed: the connection is broken, or its machine asleep.
SILENT_SECONDS = 35


@dataclass(frozen=True)
class _Taken:
    age: int
    silent: int
    owner: Owner | None

    def __str__(self) -> str:
        who = self.owner or "somebody"
        return f"{who} has been changing it for {Duration(self.age)}"


@contextmanager
def hold_lock(
    transport: Transport,
    owner: Owner,
    progress: Progress,
    *,
    wait_seconds: int = 0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Fence]:
    """Hold the host's lock for as long as the block runs.

    Waits up to `wait_seconds` for somebody else's change to end, and, however long it takes, for
    what a dead client's command still does on the host. Raises LockedError with who holds it.
    """
    token = secrets.token_hex(16)
    deadline = clock() + wait_seconds
    waiting = False
    try:
        while isinstance(held := _try(transport, token, owner), _Taken):
            if clock() >= deadline:
                raise _locked(transport.name, held)
            if not waiting:
                progress.begin(transport.name, "wait for the lock")
                waiting = True
            progress.detail(transport.name, str(held))
            sleep(POLL_SECONDS)
    finally:
        if waiting:
            progress.end(transport.name, ok=not isinstance(held, _Taken))
    done = threading.Event()
    beat = threading.Thread(target=_beat, args=(held, done), daemon=True)
    beat.start()
    try:
        yield Fence(token)
    finally:
        done.set()
        _release(held)


def break_lock(transport: Transport) -> str | None:
    """End whatever holds the lock; returns who that was, None when nobody held it.

    What its owner had begun is not ended: the next change waits for it, and tells what was
    interrupted. Raises HostError.
    """
    completed = transport.run(["sh", "-c", script("break_lock"), "sh", str(SOCKETS)])
    if completed.code:
        raise HostError(
            f"{transport.name}: the lock could not be ended: {last_lines(completed.stderr)}",
            hint="log in as root, or set `sudo: true` for this host",
        )
    answer, _, line = completed.stdout.decode(errors="replace").strip().partition("\t")
    return None if answer == "free" else str(read_owner(line) or "somebody")


def _try(transport: Transport, token: str, owner: Owner) -> ByteStream | _Taken:
    argv = ["sh", "-c", script("hold_lock"), "sh", str(SOCKETS), token, owner.to_line()]
    stream = transport.stream(argv)
    try:
        with stream.makefile("rb") as answers:
            answer = answers.readline().decode(errors="replace").rstrip("\n")
            if answer == "waiting":
                answer = answers.readline().decode(errors="replace").rstrip("\n")
        word, *fields = answer.split("\t", 3)
        if word == "held":
            return stream
        said = stream.explain()
    except BaseException:
        stream.close()
        raise
    stream.close()
    if word == "taken" and len(fields) == 3:
        return _Taken(_seconds(fields[0]), _seconds(fields[1]), read_owner(fields[2]))
    raise _unusable(transport.name, answer, said)


def _release(held: ByteStream) -> None:
    """Let the holder see its input end, and wait until it has ended itself."""
    held.settimeout(RELEASE_SECONDS)
    with suppress(OSError):
        held.close_write()
        while held.recv(4096):
            pass
    held.close()


def _seconds(text: str) -> int:
    return max(0, int(text)) if text.lstrip("-").isdigit() else 0


def _locked(host: str, taken: _Taken) -> LockedError:
    if taken.silent > SILENT_SECONDS:
        return LockedError(
            f"{host}: {taken}, but gave no sign of life for {Duration(taken.silent)}: "
            "its connection seems to be dead",
            hint=f"runnerkit unlock {host}",
        )
    return LockedError(
        f"{host}: {taken}",
        hint="wait for it with `--lock-wait 10m`",
    )


def _unusable(host: str, answer: str, said: str) -> HostError:
    if answer == "not root":
        return HostError(
            f"{host}: the login is not root's and sudo is off",
            hint="set `sudo: true` for this host, or log in as root",
        )
    if answer == "no flock":
        return HostError(
            f"{host}: the program flock is missing", hint="install util-linux on the host"
        )
    return HostError(
        f"{host}: the lock could not be taken: {said or answer or 'no answer'}",
        hint=f"see whether {SOCKETS} can be written on the host",
    )


def _beat(stream: ByteStream, done: threading.Event) -> None:
    """Give signs of life until `done`; a lost connection is for others to report."""
    while not done.wait(HEARTBEAT_SECONDS):
        try:
            stream.sendall(b"\n")
        except OSError:
            return
