"""Running the scripts that change a host, for the owner of its lock and nobody else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from runnerkit.change.scripts import script
from runnerkit.errors import ActionError, LockedError
from runnerkit.paths import SOCKETS
from runnerkit.reach.transport import Completed, Transport

LOST_THE_LOCK = 75


@dataclass(frozen=True)
class Fence:
    """Proof of holding a host's lock: it opens every script, and only while the lock is held."""

    token: str


class Remote:
    """One host, as its lock's owner may change it.

    Every call raises LockedError when the lock was lost, and ConnectionLostError when the host
    went away; the program that had begun may then still be running, and whoever takes the lock
    next waits for it.
    """

    def __init__(self, transport: Transport, fence: Fence) -> None:
        self.transport = transport
        self._fence = fence

    @property
    def host(self) -> str:
        """The host's name in the configuration."""
        return self.transport.name

    def script(
        self, names: str | Sequence[str], *arguments: str, stdin: bytes = b"", doing: str
    ) -> bytes:
        """Run scripts as one program and give what it printed.

        `doing` completes the sentence "could not …". Raises ActionError with the host's own words.
        """
        completed = self.attempt(names, *arguments, stdin=stdin)
        if completed.code:
            raise ActionError(
                f"{self.host}: could not {doing}: {last_lines(completed.stderr)}",
                hint="mend what the message names, then run the same command again",
            )
        return completed.stdout

    def attempt(
        self, names: str | Sequence[str], *arguments: str, stdin: bytes | Iterable[bytes] = b""
    ) -> Completed:
        """Run scripts as one program; a non-zero exit is the caller's to judge."""
        completed = self.transport.run(self._fenced(names, arguments), stdin)
        self._check(completed.code)
        return completed

    def follow(
        self,
        names: str | Sequence[str],
        *arguments: str,
        on_output: Callable[[bytes], None],
        on_error: Callable[[bytes], None] | None = None,
    ) -> int:
        """Run scripts as one program, handing on what it says as it comes."""
        code = self.transport.follow(self._fenced(names, arguments), on_output, on_error)
        self._check(code)
        return code

    def _fenced(self, names: str | Sequence[str], arguments: Sequence[str]) -> list[str]:
        program = script(*([names] if isinstance(names, str) else names))
        fence = [script("fenced"), "sh", str(SOCKETS), self._fence.token]
        return ["sh", "-c", *fence, program, *arguments]

    def _check(self, code: int) -> None:
        if code == LOST_THE_LOCK:
            raise LockedError(
                f"{self.host}: the lock was taken away in the middle of the change",
                hint=f"see who changes the host with `runnerkit status {self.host}`, "
                "then run the same command again",
            )


def last_lines(output: bytes, count: int = 3) -> str:
    """The last lines that say something, in one line."""
    lines = [line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-count:]) or "it said nothing"
