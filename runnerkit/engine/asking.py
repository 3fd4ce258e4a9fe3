"""Many questions to a Docker daemon in one round trip.

HTTP/1.1 lets a client send requests ahead of the answers, and the daemon answers them in order.
The docker SDK waits for each answer: what it asks a dozen times costs a dozen round trips.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import IO, Any

from runnerkit.errors import ConnectionLostError
from runnerkit.reach.transport import Transport

ANSWER_SECONDS = 20.0


class NoAnswerError(Exception):
    """The daemon did not do what it was asked; the text is why."""


def dial_argv(socket: str | None) -> list[str]:
    """The program whose streams are a connection to the daemon: the host's, or that at `socket`."""
    where = ["-H", f"unix://{socket}"] if socket else []
    return ["docker", *where, "system", "dial-stdio"]


@dataclass(frozen=True)
class Answer:
    """What came back for one path."""

    status: int
    body: bytes

    def content(self) -> Any:
        """The JSON of a good answer. Raises NoAnswerError with the daemon's words for others."""
        try:
            said = json.loads(self.body)
        except ValueError:
            raise NoAnswerError("it gave an unknown kind of answer") from None
        if self.status >= 400:
            message = said.get("message") if isinstance(said, dict) else None
            raise NoAnswerError(str(message or f"it answered {self.status}"))
        return said


class DaemonLine:
    """A connection to one daemon of a host: the host's own, or the one behind `socket` there.

    Raises HostError when sudo refuses, ConnectionLostError when the host goes away.
    NoAnswerError is for everything else that keeps the daemon from answering.
    """

    def __init__(self, transport: Transport, socket: str | None = None) -> None:
        self.what = f"the daemon at {socket}" if socket else "the Docker daemon"
        try:
            self._stream = transport.stream(dial_argv(socket))
        except ConnectionLostError:
            raise
        except OSError as error:  # on this machine: no such program
            raise NoAnswerError(f"{self.what} cannot be asked: {error}") from None
        self._file: Any = _StaysOpen(self._stream.makefile("rb"))

    def send(self, paths: Iterable[str]) -> None:
        """Ask for all these paths."""
        requests = "".join(f"GET {path} HTTP/1.1\r\nHost: docker\r\n\r\n" for path in paths)
        try:
            self._stream.sendall(requests.encode("ascii"))
        except ConnectionLostError:
            raise
        except OSError:
            raise self._silent() from None

    def receive(self, seconds: float = ANSWER_SECONDS) -> Answer:
        """The next answer, in the order of the questions."""
        self._stream.settimeout(seconds)
        answer = HTTPResponse(self._file)
        try:
            answer.begin()
            return Answer(answer.status, answer.read())
        except ConnectionLostError:
            raise
        except TimeoutError:
            raise NoAnswerError(f"{self.what} did not answer within {seconds:g} s") from None
        except (HTTPException, OSError, ValueError):
            raise self._silent() from None

    def close(self) -> None:
        """End the connection. Calling it twice is harmless."""
        self._file.end()
        self._stream.close()

    def _silent(self) -> NoAnswerError:
        return NoAnswerError(self._stream.explain() or f"{self.what} closed the connection")


class _StaysOpen:
    """The file that answers are read from, as a socket and as a file.

    http.client closes what it has read an answer from; here the next one follows.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.readline = file.readline
        self.read = file.read

    def makefile(self, mode: str) -> _StaysOpen:
        del mode  # http.client asks for "rb"
        return self

    def close(self) -> None:
        """Not yet."""

    def end(self) -> None:
        self._file.close()
