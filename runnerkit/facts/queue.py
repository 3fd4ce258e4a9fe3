"""What a Drone server has to do, typed. Pure: parsers, no collection.

Field names are those of the server's JSON (drone-go v1.7.1, drone/types.go).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]

PENDING, RUNNING, ERROR = "pending", "running", "error"
# The server looks at the pipelines before it queues them, and ends the build right there.
_UNTRUSTED = "untrusted repositories cannot"


@dataclass(frozen=True)
class Stage:
    """One pipeline of a build. `created` is in Unix seconds.

    `limit` is the pipeline's own `concurrency.limit`, `throttle` the repository's; 0 is none.
    `machine` is the runner that took it, "" while nobody has.
    """

    id: int
    build_id: int
    repo_id: int
    name: str
    kind: str
    type: str
    status: str
    machine: str
    os: str
    arch: str
    variant: str
    kernel: str
    labels: Mapping[str, str]
    limit: int
    throttle: int
    created: int

    @property
    def waits(self) -> bool:
        """Whether no runner has it yet."""
        return self.status == PENDING and not self.machine


@dataclass(frozen=True)
class Build:
    """A build, and what its repository may do. `error` is why it never began, "" if it did."""

    id: int
    number: int
    repo: str
    event: str
    trusted: bool
    status: str = PENDING
    error: str = ""

    @property
    def under_way(self) -> bool:
        """Whether it waits or runs."""
        return self.status in {PENDING, RUNNING}


@dataclass(frozen=True)
class Queue:
    """Stages that wait or run. `whole` is False when the token shows only its owner's builds.

    `refused` are builds of the owner's repositories that were never queued.
    """

    stages: tuple[Stage, ...]
    builds: Mapping[int, Build]
    login: str
    whole: bool
    refused: tuple[Build, ...] = ()

    @property
    def waiting(self) -> tuple[Stage, ...]:
        """The stages that no runner has, oldest first."""
        return tuple(sorted((s for s in self.stages if s.waits), key=lambda stage: stage.id))

    def running_on(self, machine: str) -> int:
        """How many stages the runner called `machine` has."""
        return sum(1 for stage in self.stages if stage.machine == machine)


def parse_stage(record: Json) -> Stage:
    """A stage of `/api/queue` or of a build. Raises KeyError, TypeError or ValueError."""
    return Stage(
        id=int(record["id"]),
        build_id=int(record["build_id"]),
        repo_id=int(record["repo_id"]),
        name=str(record["name"]),
        kind=str(record.get("kind") or "pipeline"),
        type=str(record.get("type") or "docker"),
        status=str(record["status"]),
        machine=str(record.get("machine") or ""),
        os=str(record.get("os") or ""),
        arch=str(record.get("arch") or ""),
        variant=str(record.get("variant") or ""),
        kernel=str(record.get("kernel") or ""),
        labels={str(k): str(v) for k, v in (record.get("labels") or {}).items()},
        limit=int(record.get("limit") or 0),
        throttle=int(record.get("throttle") or 0),
        created=int(record.get("created") or 0),
    )


def parse_build(repo: Json) -> Build:
    """A repository's record with its `build` in it. Raises KeyError, TypeError or ValueError."""
    build = repo["build"]
    return Build(
        id=int(build["id"]),
        number=int(build["number"]),
        repo=str(repo["slug"]),
        event=str(build.get("event") or ""),
        trusted=bool(repo.get("trusted")),
        status=str(build.get("status") or ""),
        error=str(build.get("error") or ""),
    )


def refused(recent: Iterable[Build]) -> tuple[Build, ...]:
    """The latest builds of their repositories that the server ended for want of trust.

    It reads the pipelines as soon as they are pushed: a host volume, a privileged step or the like
    in a repository that is not trusted is a build in error, never one that waits
    (drone v2.24.0, trigger/trigger.go).
    """
    latest: dict[str, Build] = {}
    for build in sorted(recent, key=lambda build: build.number):
        latest[build.repo] = build
    return tuple(
        build
        for build in latest.values()
        if build.status == ERROR and not build.trusted and _UNTRUSTED in build.error
    )


def unfinished(stages: Iterable[Stage]) -> tuple[Stage, ...]:
    """The stages that wait for a runner or run on one; a dependent stage is not ready yet."""
    return tuple(stage for stage in stages if stage.status in {PENDING, RUNNING})
