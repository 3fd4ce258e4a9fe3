"""Which packages give a host a Docker engine and the compose plugin. A table, not a guess."""

from __future__ import annotations

import re
from dataclasses import dataclass

from runnerkit.desired.traits import ARCHITECTURES
from runnerkit.facts.daemon import DaemonFacts
from runnerkit.facts.host import HostFacts, SystemFacts

# 25.0 is the first engine with health checks that start quickly (start_interval, API 1.44).
MIN_ENGINE = (25, 0)
MIN_COMPOSE = (2, 21)

OFFICIAL = ("docker-ce", "docker-ce-cli", "containerd.io", "docker-compose-plugin")

# What the distributions ship that is new enough. Debian 12 has neither.
_DISTRO = {
    ("debian", "13"): ("docker.io", "docker-cli", "docker-compose"),
    ("ubuntu", "22.04"): ("docker.io", "docker-compose-v2"),
    ("ubuntu", "24.04"): ("docker.io", "docker-compose-v2"),
}
_OFFICIAL_ONLY = {("debian", "12")}


@dataclass(frozen=True)
class Blocker:
    """Why nothing can be done on a host, and what to do about it."""

    message: str
    hint: str


@dataclass(frozen=True)
class Installation:
    """Packages to install, from the distribution (`repository` None) or from an apt repository."""

    packages: tuple[str, ...]
    repository: str | None = None


def version_tuple(text: str | None) -> tuple[int, ...]:
    """`28.5.2+dfsg` → (28, 5, 2); () where there is no number."""
    match = re.match(r"v?(\d+(?:\.\d+)*)", text or "")
    return tuple(int(part) for part in match.group(1).split(".")) if match else ()


def docker_installation(
    facts: HostFacts, source: str, repository: str
) -> Installation | Blocker | None:
    """What must be installed; None when the host has an engine and compose that will do.

    `repository` holds Docker's own packages, below it one folder a distribution.
    """
    system = facts.system
    if system.docker_cli:
        missing = _too_old(facts)
        if missing is None:
            return None
        if source != "official":
            return missing
    elif source == "none":
        return Blocker(
            "Docker is not installed, and docker.source is none",
            "install Docker on the host, or set docker.source: auto",
        )
    return _for_distribution(system, source, repository)


def _too_old(facts: HostFacts) -> Blocker | None:
    hint = "upgrade it, or set docker.source: official to take Docker's own packages"
    compose = facts.system.compose_version
    if not compose:
        return Blocker(
            "Docker is there, but its compose plugin is not",
            "install docker-compose-plugin (Docker's packages) or docker-compose (Debian 13)",
        )
    if version_tuple(compose) < MIN_COMPOSE:
        return Blocker(
            f"docker compose {compose} is too old: {_dotted(MIN_COMPOSE)} is needed", hint
        )
    if isinstance(facts.outer, DaemonFacts) and version_tuple(facts.outer.version) < MIN_ENGINE:
        return Blocker(
            f"Docker engine {facts.outer.version} is too old: {_dotted(MIN_ENGINE)} is needed", hint
        )
    return None


def _for_distribution(system: SystemFacts, source: str, repository: str) -> Installation | Blocker:
    release = (system.os_id, system.os_version)
    known = release in _DISTRO or release in _OFFICIAL_ONLY
    if not known or not system.apt:
        return Blocker(
            f"{system.os_name or 'this system'} is not one that runnerkit can install Docker on",
            "install Docker engine 25 or newer with its compose plugin, then run this again",
        )
    if source == "official":
        return Installation(OFFICIAL, f"{repository}/{system.os_id}")
    if release in _OFFICIAL_ONLY:
        return Blocker(
            f"{system.os_name} has no Docker that is new enough in its own packages",
            "set docker.source: official to install from Docker's apt repository",
        )
    return Installation(_DISTRO[release])


def host_blockers(system: SystemFacts, wanted_free: int) -> tuple[Blocker, ...]:
    """What makes a host unusable whatever would be installed on it. `wanted_free` in bytes."""
    blockers = []
    if system.uid not in (0, None):
        blockers.append(
            Blocker(
                "the login is not root's and sudo is off",
                "set `sudo: true` for this host, or log in as root",
            )
        )
    if system.arch and system.arch not in ARCHITECTURES:
        blockers.append(
            Blocker(
                f"the runner's images do not exist for {system.arch}",
                f"use a machine with one of {', '.join(ARCHITECTURES)}",
            )
        )
    disk = system.data_disk
    if disk is not None and disk.available < wanted_free:
        blockers.append(
            Blocker(
                f"{disk.mount} has {disk.available >> 20} MiB free; "
                f"{wanted_free >> 20} MiB are needed to begin",
                "free some space, or put docker.data on another disk",
            )
        )
    return tuple(blockers)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
