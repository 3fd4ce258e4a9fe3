"""What daemons tell of themselves, each asked in as few round trips as can be.

Everything is asked in one version of the API, so that an answer means the same everywhere; a
daemon that is older is asked again in its own. A daemon that does not answer is a value.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from runnerkit.desired.state import RUNNER, SERVICES
from runnerkit.engine.asking import Answer, DaemonLine, NoAnswerError
from runnerkit.facts.daemon import (
    PROJECT_LABEL,
    ContainerFacts,
    DaemonFacts,
    DaemonUnavailable,
    parse_container,
    parse_daemon,
)
from runnerkit.facts.host import BuildCache
from runnerkit.reach.transport import Transport

# The newest API whose answers are read here.
NEWEST_API = (1, 45)
# The first API in which /system/df can be asked for one kind of thing alone.
_DF_OF_ONE_TYPE = (1, 42)
# For measuring the cache, which may be busy.
MEASURE_SECONDS = 5.0
LOG_LINES = 50

_COMMON = ("/info", "/images/json", "/networks")
_CACHE = "/system/df?type=build-cache"


@dataclass(frozen=True)
class Outer:
    """The host's own daemon, with the last lines that the runner wrote."""

    daemon: DaemonFacts | DaemonUnavailable
    runner_log: str = ""


@dataclass(frozen=True)
class Inner:
    """The runner's daemon; `build_cache` only where it was asked for, and told."""

    daemon: DaemonFacts | DaemonUnavailable
    build_cache: BuildCache | None = None


@dataclass(frozen=True)
class _Told:
    """The first answers of a daemon: its version, and one for each path."""

    version: Mapping[str, Any]
    api: tuple[int, ...]
    answers: Sequence[Answer]

    def prefixed(self, paths: Sequence[str]) -> list[str]:
        return [f"/v{'.'.join(map(str, self.api))}{path}" for path in paths]


def look_outer(transport: Transport, project: str, data: str, *, archs: bool = False) -> Outer:
    """The host's daemon: the containers of `project`, each inspected, and who mounts `data`.

    One round trip, as long as the containers have the names that compose gives them; with
    `archs`, in a second one, the architectures of their images.
    Raises HostError when sudo refuses, ConnectionLostError when the host goes away.
    """
    try:
        with _line(transport, None) as line:
            return _outer(line, project, data, archs=archs)
    except NoAnswerError as error:
        return Outer(DaemonUnavailable(str(error)))


def look_inner(transport: Transport, socket: str, *, measure: bool = False) -> Inner:
    """The daemon behind `socket` on the host, with all its containers as listed, and volumes.

    With `measure` also how much BuildKit keeps: nothing for engines before 23, which tell it only
    by measuring all images, too; that takes too long for a look at many hosts.
    Raises HostError when sudo refuses, ConnectionLostError when the host goes away.
    """
    try:
        with _line(transport, socket) as line:
            return _inner(line, measure=measure)
    except NoAnswerError as error:
        return Inner(DaemonUnavailable(str(error)))


@contextmanager
def _line(transport: Transport, socket: str | None) -> Iterator[DaemonLine]:
    line = DaemonLine(transport, socket)
    try:
        yield line
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # a shape of its own
        raise NoAnswerError(f"{line.what} gave an unknown kind of answer: {error!r}") from None
    finally:
        line.close()


def _outer(line: DaemonLine, project: str, data: str, *, archs: bool) -> Outer:
    listing = _filtered("/containers/json?all=1", label=f"{PROJECT_LABEL}={project}")
    guessed = [_inspect(f"{project}-{service}-1") for service in SERVICES]
    told = _first(line, [
        *_COMMON, listing, _filtered("/containers/json?", volume=data), *guessed,
        _log(f"{project}-{RUNNER}-1"),
    ])  # fmt: skip
    info, images, networks, listed, users = (answer.content() for answer in told.answers[:5])
    *inspected, log = told.answers[5:]
    details = {answer.content()["Id"]: answer for answer in inspected if answer.status == 200}
    containers = _containers(line, told, listed, details, archs=archs)
    runner = next((item.id for item in containers if item.service == RUNNER), None)
    if runner is not None and runner not in details:
        line.send(told.prefixed([_log(runner)]))
        log = line.receive()
    daemon = parse_daemon(
        told.version,
        info,
        containers=containers,
        images=images,
        networks=networks,
        data_users=[name.removeprefix("/") for item in users for name in item.get("Names") or ()],
    )
    return Outer(daemon, _unframed(log.body) if runner and log.status == 200 else "")


def _inner(line: DaemonLine, *, measure: bool) -> Inner:
    paths = [*_COMMON, "/containers/json?all=1", "/volumes"]
    told = _first(line, paths, last=_CACHE if measure else None)
    info, images, networks, listed, volumes = (answer.content() for answer in told.answers)
    daemon = parse_daemon(
        told.version,
        info,
        containers=[parse_container(item) for item in listed],
        images=images,
        networks=networks,
        volumes=volumes.get("Volumes") or (),
    )
    return Inner(daemon, _build_cache(line) if measure and told.api >= _DF_OF_ONE_TYPE else None)


def _first(line: DaemonLine, paths: Sequence[str], last: str | None = None) -> _Told:
    """Ask for the version and all `paths` at once; `last` is left for the caller to receive."""
    api = NEWEST_API
    told = _Told({}, api, ())
    line.send(["/version", *told.prefixed([*paths, *([last] if last else ())])])
    version = line.receive().content()
    answers = [line.receive() for _ in paths]
    told = _Told(version, _spoken(version), answers)
    if told.api == api:
        return told
    if last:
        line.receive()  # refused, as all of them
    if told.api < _DF_OF_ONE_TYPE:
        last = None
    line.send(told.prefixed([*paths, *([last] if last else ())]))
    return _Told(version, told.api, [line.receive() for _ in paths])


def _spoken(version: Mapping[str, Any]) -> tuple[int, ...]:
    """The version of the API to speak with this daemon."""
    newest = _api(version["ApiVersion"])
    oldest = _api(version.get("MinAPIVersion") or "1.12")
    return min(newest, max(NEWEST_API, oldest))


def _api(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def _containers(
    line: DaemonLine,
    told: _Told,
    listed: Sequence[Mapping[str, Any]],
    details: Mapping[str, Answer],
    *,
    archs: bool,
) -> list[ContainerFacts]:
    """Each container with what only an inspect tells, which some of `details` are already."""
    unknown = [item["Id"] for item in listed if item["Id"] not in details]
    images = list(dict.fromkeys(item["ImageID"] for item in listed)) if archs else []
    paths = [*map(_inspect, unknown), *(f"/images/{quote(image)}/json" for image in images)]
    if paths:
        line.send(told.prefixed(paths))
    known = {**details, **{name: line.receive() for name in unknown}}
    arch = {image: line.receive() for image in images}
    return [
        parse_container(item, known[item["Id"]].content(), _arch(arch.get(item["ImageID"])))
        for item in listed
        if known[item["Id"]].status != 404  # it went away since it was listed
    ]


def _inspect(container: str) -> str:
    return f"/containers/{container}/json"


def _log(container: str) -> str:
    return f"/containers/{container}/logs?stdout=1&stderr=1&tail={LOG_LINES}"


def _arch(image: Answer | None) -> str | None:
    if image is None or image.status == 404:
        return None
    return str(image.content().get("Architecture") or "") or None


def _build_cache(line: DaemonLine) -> BuildCache:
    try:
        records = line.receive(MEASURE_SECONDS).content().get("BuildCache") or ()
    except NoAnswerError as error:
        return BuildCache(unknown=str(error))
    # Shared records are also counted as layers of an image; the GC leaves them out, too.
    return BuildCache(sum(item.get("Size", 0) for item in records if not item.get("Shared")))


def _filtered(path: str, **filters: str) -> str:
    text = json.dumps({key: [value] for key, value in filters.items()})
    return f"{path}&{urlencode({'filters': text})}"


def _unframed(log: bytes) -> str:
    """A log as Docker sends it, without the 8 bytes before each piece; 4 of them are its size."""
    pieces = []
    while len(log) > 8:
        end = 8 + int.from_bytes(log[4:8])
        pieces.append(log[8:end])
        log = log[end:]
    return b"".join(pieces).decode(errors="replace")
