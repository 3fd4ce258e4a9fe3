"""What Docker daemons are asked to do, through the connection to their host.

Nothing else imports the docker SDK.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runnerkit.engine.asking import ANSWER_SECONDS, NoAnswerError, dial_argv
from runnerkit.engine.look import NEWEST_API
from runnerkit.engine.pull_progress import PullProgress, registry_hint
from runnerkit.errors import ActionError, ConnectionLostError, HostError
from runnerkit.facts.cache import Usage, parse_usage
from runnerkit.reach.transport import Transport

if TYPE_CHECKING:
    from docker import APIClient

    from runnerkit.engine.dial_stdio import DialStdioAdapter

OnProgress = Callable[[int, int], None]

# The engine walks directories to count what is in them.
COUNT_SECONDS = 300.0
UPLOAD_CHUNK = 262144


class DockerPort:
    """One Docker daemon of a host: the host's own, or the one behind `socket` (a path there).

    Nothing is sent before the first call. Every call may raise ConnectionLostError when the host
    goes away and HostError when sudo refuses. Not for several threads at once.
    """

    def __init__(self, transport: Transport, socket: str | None = None) -> None:
        self._transport = transport
        self._argv = dial_argv(socket)
        self._what = f"the daemon at {socket}" if socket else "the Docker daemon"
        self._adapter: DialStdioAdapter | None = None
        self._connected: APIClient | None = None

    def newest(self, refs: Iterable[str]) -> Mapping[str, str | None]:
        """The digest that the registry of each image has now; None where it does not say."""
        found: dict[str, str | None] = {}
        for ref in refs:
            try:
                with self._asking() as client:
                    answer = client.inspect_distribution(ref)  # type: ignore[no-untyped-call]
                    found[ref] = (answer.get("Descriptor") or {}).get("digest")
            except NoAnswerError:
                found[ref] = None
        return found

    def usage(self) -> Usage:
        """What the daemon holds, record by record. Raises HostError when it does not answer."""
        try:
            with self._asking() as client:
                self._limit(client, COUNT_SECONDS)
                return parse_usage(client.df())
        except NoAnswerError as error:
            raise HostError(f"{self._transport.name}: {error}") from None

    def prune_records(self, ids: Sequence[str]) -> int:
        """Delete these records of the build cache; returns the bytes that were freed.

        Those that came into use meanwhile stay. Raises ActionError with the engine's words.
        """
        exactly: Any = {"id": f"^({'|'.join(ids)})$"}
        try:
            with self._asking() as client:
                self._limit(client, COUNT_SECONDS)
                answer = client.prune_builds(filters=exactly, all=True)
        except NoAnswerError as error:
            raise ActionError(f"{self._transport.name}: no cache was deleted: {error}") from None
        return int(answer.get("SpaceReclaimed") or 0)

    def remove_image(self, image: str) -> None:
        """Delete an image under all its names, and the layers that only it has.

        Raises ActionError with the engine's words, also when a container has come to use it.
        """
        try:
            with self._asking() as client:
                self._limit(client, COUNT_SECONDS)
                found: Mapping[str, Any] = client.inspect_image(image)  # type: ignore[no-untyped-call]
                for name in found.get("RepoTags") or [image]:
                    client.remove_image(name)
        except NoAnswerError as error:
            raise ActionError(f"{self._transport.name}: {image} stays: {error}") from None

    def pull(self, ref: str, on_progress: OnProgress) -> None:
        """Pull an image, with this machine's registry logins; progress is in bytes.

        Raises ActionError with the engine's own last message.
        """
        progress = PullProgress()
        try:
            with self._asking() as client:
                for event in client.pull(ref, stream=True, decode=True):
                    if message := _error_of(event):
                        raise NoAnswerError(message)
                    progress.add(event)
                    on_progress(progress.done, progress.total)
        except NoAnswerError as error:
            raise ActionError(
                f"{self._transport.name}: {ref} could not be pulled: {error}",
                hint=registry_hint(str(error)),
            ) from None

    def load(self, tar: Path, on_progress: OnProgress) -> tuple[str, ...]:
        """Send the image archive `tar`; returns the references (or image ids) it brought.

        Raises ActionError with the engine's own last message.
        """
        loaded: list[str] = []
        try:
            total = tar.stat().st_size
            with tar.open("rb") as file, self._asking() as client:
                self._limit(client, None)
                chunks: Any = _chunks(file, total, on_progress)
                for event in client.load_image(chunks):  # type: ignore[no-untyped-call]
                    if message := _error_of(event):
                        raise NoAnswerError(message)
                    for line in str(event.get("stream", "")).splitlines():
                        kind, found, ref = line.strip().partition(": ")
                        if found and kind in {"Loaded image", "Loaded image ID"}:
                            loaded.append(ref)
        except NoAnswerError as error:
            raise ActionError(
                f"{self._transport.name}: {tar} could not be loaded: {error}",
                hint="make the archive anew with `docker save`",
            ) from None
        except FileNotFoundError:
            raise ActionError(f"the image archive {tar} does not exist") from None
        return tuple(loaded)

    def logs(self, container: str, tail: int) -> str:
        """Return the last `tail` lines of a container, stdout and stderr as they came.

        Raises HostError when there is no such container or the daemon does not answer.
        """
        try:
            with self._asking() as client:
                said: bytes = client.logs(container, tail=tail)
        except NoAnswerError as error:
            raise HostError(f"{self._transport.name}: no logs of {container}: {error}") from None
        return said.decode(errors="replace")

    def close(self) -> None:
        """Close the streams to the daemon. Calling it twice is harmless."""
        if self._connected is not None:
            self._connected.close()
        self._connected = None

    @contextmanager
    def _asking(self) -> Iterator[APIClient]:
        """Give the client; turns every failure of asking into NoAnswerError."""
        import requests  # noqa: PLC0415 - see _client
        from docker.errors import APIError, DockerException  # noqa: PLC0415

        try:
            client = self._client()
            self._limit(client, ANSWER_SECONDS)
            yield client
        except APIError as error:
            raise NoAnswerError(str(error.explanation or error)) from None
        except requests.exceptions.Timeout:
            why = f"{self._what} did not answer within {ANSWER_SECONDS:g} s"
            raise NoAnswerError(why) from None
        except (requests.exceptions.RequestException, OSError) as error:
            self._raise_lost(error)
            said = self._adapter.explain() if self._adapter else ""
            raise NoAnswerError(said or f"{self._what} closed the connection") from None
        except DockerException as error:
            self._raise_lost(error)
            raise NoAnswerError(str(error)) from None

    def _client(self) -> APIClient:
        if self._connected is not None:
            return self._connected
        from docker import APIClient  # noqa: PLC0415 - the docker SDK takes 0.2 s to import

        from runnerkit.engine.dial_stdio import DialStdioAdapter  # noqa: PLC0415 - imports requests

        def client_for(version: tuple[int, ...]) -> APIClient:
            client = APIClient("http://localhost:80", version=_dotted(version))
            client.trust_env = False  # neither proxies nor ~/.netrc have a say on a unix socket
            self._adapter = DialStdioAdapter(lambda: self._transport.stream(self._argv))
            client.mount("http://", self._adapter)
            self._limit(client, ANSWER_SECONDS)
            return client

        client = client_for(NEWEST_API)
        version = client.version(api_version=False)
        try:
            theirs = tuple(int(part) for part in version["ApiVersion"].split("."))
        except (KeyError, TypeError, ValueError):
            raise NoAnswerError(f"{self._what} does not tell its API version") from None
        if theirs < NEWEST_API:
            client.close()
            client = client_for(theirs)
        self._connected = client
        return client

    @staticmethod
    def _limit(client: Any, seconds: float | None) -> None:
        client.timeout = seconds

    @staticmethod
    def _raise_lost(error: BaseException) -> None:
        """Find a lost connection beneath the HTTP libraries' own errors, and raise it."""
        seen: BaseException | None = error
        while seen is not None:
            if isinstance(seen, ConnectionLostError):
                raise ConnectionLostError(seen.message, hint=seen.hint) from None
            seen = seen.__cause__ or seen.__context__


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)


def _error_of(event: Mapping[str, Any]) -> str:
    detail = event.get("errorDetail") or {}
    return str(detail.get("message") or event.get("error") or "")


def _chunks(file: Any, total: int, on_progress: OnProgress) -> Iterator[bytes]:
    done = 0
    while chunk := file.read(UPLOAD_CHUNK):
        yield chunk
        done += len(chunk)
        on_progress(done, total)
