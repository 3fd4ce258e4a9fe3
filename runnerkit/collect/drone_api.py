"""Asking a Drone server, from this machine, what waits, and to trust a repository.

Who may ask what (drone v2.24.0, handler/api/api.go): the whole queue is for system admins;
every user sees the recent builds of their own repositories.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from runnerkit.errors import ConfigError, RunnerkitError
from runnerkit.facts.queue import (
    Build,
    Queue,
    Stage,
    parse_build,
    parse_stage,
    refused,
    unfinished,
)
from runnerkit.secret import Secret

if TYPE_CHECKING:
    import requests

TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class Account:
    """Somebody's access to a server. `source` names where the token is, for messages."""

    url: str
    token: Secret
    source: str
    tls_verify: bool = True


def fetch_queue(account: Account) -> Queue:
    """All that waits or runs; of the token's own user only, where that user is no system admin.

    Raises RunnerkitError when the server cannot be asked, ConfigError when it refuses the token.
    """
    with _Server(account) as server:
        user = server.get("/api/user")
        login = str(user.get("login") or "") if isinstance(user, Mapping) else ""
        recent: tuple[Build, ...] = server.read(
            "/api/user/builds",
            lambda rows: tuple(parse_build(row) for row in rows or [] if row.get("build")),
        )
        try:
            queue = _queue_of_all(server, login)
        except _ForbiddenError:
            queue = _queue_of_user(server, login, recent)
        return replace(queue, refused=refused(recent))


def _queue_of_all(server: _Server, login: str) -> Queue:
    stages = server.read("/api/queue", lambda rows: tuple(parse_stage(row) for row in rows or []))
    builds = server.read(
        "/api/builds/incomplete", lambda rows: tuple(parse_build(row) for row in rows or [])
    )
    return Queue(stages, {build.id: build for build in builds}, login, whole=True)


def _queue_of_user(server: _Server, login: str, recent: Iterable[Build]) -> Queue:
    """From the recent builds of the user's repositories."""
    builds = [build for build in recent if build.under_way]
    stages: list[Stage] = []
    for build in builds:
        stages += server.read(
            f"/api/repos/{build.repo}/builds/{build.number}",
            lambda row: unfinished(parse_stage(stage) for stage in row.get("stages") or []),
        )
    return Queue(tuple(stages), {build.id: build for build in builds}, login, whole=False)


@dataclass(frozen=True)
class Trust:
    """Whether a repository is trusted, before and after it was asked for; `login` asked."""

    before: bool
    after: bool
    login: str


def set_trusted(account: Account, repo: str) -> Trust:
    """Ask the server to trust `repo` (OWNER/NAME), and read back whether it does.

    From a token whose user is no system admin the server takes the request, answers 200 and drops
    it (handler/api/repos/update.go): then `after` is false. Raises RunnerkitError when the server
    cannot be asked or does not know the repository, ConfigError when it refuses the token.
    """
    path = f"/api/repos/{repo}"
    with _Server(account) as server:
        login = server.read("/api/user", lambda user: str(user["login"]))
        try:
            before = server.read(path, _is_trusted)
            if not before:
                server.ask("PATCH", path, {"trusted": True})
            return Trust(before, server.read(path, _is_trusted), login)
        except _ForbiddenError:
            raise RunnerkitError(
                f"{account.url}: {login} may not change {repo}",
                hint="use the token of a system admin",
            ) from None
        except _UnknownError:
            raise RunnerkitError(
                f"{account.url} knows no repository {repo}, or does not show it to {login}",
                hint="activate it in Drone's web interface first; mind capital letters",
            ) from None


def _is_trusted(repo: Mapping[str, Any]) -> bool:
    return bool(repo["trusted"])


class _UnknownError(RunnerkitError):
    """404: there is no such thing, or this user may not know of it."""


class _ForbiddenError(Exception):
    """403: the token is good, its owner is no system admin."""


class _Server:
    """Requests with the token; every failure is an error that says what to do."""

    def __init__(self, account: Account) -> None:
        import requests  # noqa: PLC0415 - it takes 0.1 s to import

        self._account = account
        self._url = account.url.rstrip("/")
        self._session = requests.Session()

    def __enter__(self) -> _Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def read(self, path: str, parse: Any) -> Any:
        """What `parse` makes of the answer."""
        answer = self.get(path)
        try:
            return parse(answer)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RunnerkitError(
                f"{self._url}{path} gave an unknown kind of answer: {type(error).__name__} {error}",
                hint="the queue is read as Drone 2 tells it",
            ) from None

    def get(self, path: str) -> Any:
        """The JSON behind `path`; raises as `ask` does."""
        return self.ask("GET", path)

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON of the answer.

        Raises _ForbiddenError, _UnknownError, ConfigError, RunnerkitError.
        """
        import requests  # noqa: PLC0415 - see above

        try:
            answer = self._session.request(
                method,
                self._url + path,
                json=body,
                # As `auth`, because a header of ours would give way to an entry of ~/.netrc.
                auth=self._authorize,
                timeout=TIMEOUT_SECONDS,
                verify=self._account.tls_verify,
                # A redirect would carry the token to wherever it points.
                allow_redirects=False,
            )
        except requests.exceptions.SSLError as error:
            raise RunnerkitError(
                f"{self._url}: its certificate is not trusted here: {_reason(error)}",
                hint="mend the certificate, or set tls_verify: false for a server of your own",
            ) from None
        except requests.exceptions.Timeout:
            raise RunnerkitError(
                f"{self._url} gave no answer within {TIMEOUT_SECONDS:.0f} s",
                hint="is the server up, and reachable from this machine?",
            ) from None
        except requests.exceptions.RequestException as error:
            raise RunnerkitError(
                f"{self._url} cannot be asked: {_reason(error)}",
                hint="is the server up, and reachable from this machine?",
            ) from None
        return self._payload(path, answer)

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._account.token.reveal()}"
        return request

    def _payload(self, path: str, answer: requests.Response) -> Any:
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            raise ConfigError(
                f"{self._url} does not accept the API token of {self._account.source}",
                hint=f"copy it anew from {self._url}/account",
            )
        if answer.status_code == HTTPStatus.FORBIDDEN:
            raise _ForbiddenError
        if answer.status_code == HTTPStatus.NOT_FOUND and path.startswith("/api/repos/"):
            raise _UnknownError(f"{self._url}{path} is not known to the server")
        if answer.is_redirect:
            # Only the place is told: what follows may be anything.
            raise RunnerkitError(
                f"{self._url}{path} redirects to {answer.headers['Location'].partition('?')[0]}",
                hint="set `server:` to the URL that does not redirect",
            )
        if answer.status_code != HTTPStatus.OK:
            raise RunnerkitError(
                f"{self._url}{path} answers HTTP {answer.status_code}",
                hint="is `server:` the URL of a Drone server's web interface?",
            )
        try:
            return answer.json()
        except ValueError:
            raise RunnerkitError(
                f"{self._url}{path} does not answer in JSON",
                hint="is `server:` the URL of a Drone server's web interface?",
            ) from None


def _reason(error: Exception) -> str:
    """The innermost cause that says something, without object addresses."""
    seen: BaseException = error
    while (inner := seen.__cause__ or seen.__context__ or _argument(seen)) is not None:
        seen = inner
    text = getattr(seen, "strerror", None) or getattr(seen, "verify_message", None) or str(seen)
    return str(text).rpartition(": ")[2] if ">: " in str(text) else str(text)


def _argument(error: BaseException) -> BaseException | None:
    reason = getattr(error, "reason", None) or next(iter(error.args), None)
    return reason if isinstance(reason, BaseException) else None
