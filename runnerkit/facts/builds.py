"""The builds that BuildKit remembers, typed. Parsers only.

Sources: docker buildx `history ls`, `inspect` and `logs`, from version 0.21 on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

# What images are told of their sources by (OCI image spec, annotations), and the name before it.
SOURCE_LABELS = ("org.opencontainers.image.source", "org.label-schema.vcs-url")

_STEP = re.compile(r"#(\d+) (?:(CACHED)$|\[[^\]]*\] RUN (.*))")
_MOUNT = re.compile(r"--mount=(\S+)")
_SCP = re.compile(r"(?:[^@/\s]+@)?([^:/\s]+):(?!//)(\S+)")


@dataclass(frozen=True)
class Build:
    """One build. `mounts` are the ids of the cache mounts of the steps that it ran itself.

    `repository` is host and path of where its sources are from, empty where it does not tell.
    """

    ref: str
    repository: str
    mounts: frozenset[str]


def parse_refs(answer: str) -> tuple[str, ...] | None:
    """The builds of a list of builds.sh, newest first; None where nobody could be asked."""
    head, *lines = answer.splitlines() or [""]
    if head != "asked":
        return None
    found = [record for record in map(_object, lines) if record.get("ref")]
    found.sort(key=lambda record: str(record.get("created_at")), reverse=True)
    return tuple(str(record["ref"]).rpartition("/")[2] for record in found)


def parse_builds(answer: str) -> tuple[Build, ...]:
    """Read what builds.sh tells of builds, in the order in which it does."""
    builds = []
    for part in re.split(r"^build ", answer, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        record = _object(lines[1]) if len(lines) > 1 else {}
        builds.append(Build(lines[0], _repository(record), frozenset(_mounts(lines[2:]))))
    return tuple(builds)


def place_of_sources(url: str) -> str:
    """Host and path of a repository's URL, without user, password and `.git`; empty for none."""
    if match := _SCP.fullmatch(url):
        host, path = match.groups()
    elif "://" in url:
        parts = urlsplit(url)
        host, path = parts.netloc.rpartition("@")[2], parts.path
    else:
        return ""
    return f"{host}/{path.strip('/').removesuffix('.git')}"


def _repository(record: Mapping[str, Any]) -> str:
    labels = {x.get("Name"): x.get("Value") for x in record.get("Labels") or ()}
    told = (record.get("VCSRepository"), *map(labels.get, SOURCE_LABELS), record.get("Context"))
    return next((place for text in told if text and (place := place_of_sources(text))), "")


def _mounts(log: list[str]) -> Iterator[str]:
    steps: dict[str, str] = {}
    for line in log:
        match = _STEP.match(line)
        if match is None:
            continue
        number, cached, command = match.groups()
        if cached:
            steps.pop(number, None)  # what came from the cache used no mount
        else:
            steps[number] = command
    for command in steps.values():
        for option in _MOUNT.findall(command):
            pairs = dict(pair.partition("=")[::2] for pair in option.split(","))
            target = next((pairs[x] for x in ("target", "dst", "destination") if x in pairs), "")
            if pairs.get("type") == "cache" and target:
                yield pairs.get("id") or target.rstrip("/") or "/"


def _object(line: str) -> Mapping[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
