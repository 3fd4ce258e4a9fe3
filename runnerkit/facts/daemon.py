"""What a Docker daemon says about itself, typed. Pure: nothing here reaches out.

Unknown is not absent: None stands for "was not asked or not told", never for "is not there".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Network
from typing import Any

from runnerkit.desired.addresses import AddressPool
from runnerkit.desired.hardening import Isolation

PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"
ONEOFF_LABEL = "com.docker.compose.oneoff"

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Mount:
    """What a container mounts. `source` is a path for binds and the volume's name for volumes."""

    kind: str
    source: str
    target: str


@dataclass(frozen=True)
class Resource:
    """A container, volume or network by its labels."""

    kind: str
    name: str
    labels: Mapping[str, str]


@dataclass(frozen=True)
class ContainerFacts:
    """One container.

    Health, start, pid, restarts, exit code, OOM, error and isolation need an inspect.
    `service` is compose's name of it: None for other containers and for `compose run` ones.
    `started_at` is RFC 3339 text as the engine gives it, None before the first start;
    `health` is None without a health check.
    """

    id: str
    name: str
    service: str | None
    image: str
    image_id: str
    state: str
    health: str | None
    started_at: str | None
    restarts: int | None
    exit_code: int | None
    oom_killed: bool | None
    labels: Mapping[str, str]
    error: str
    pid: int | None = None
    arch: str | None = None
    mounts: tuple[Mount, ...] = ()
    isolation: Isolation | None = None


@dataclass(frozen=True)
class DaemonFacts:
    """A daemon that answered.

    `memory_bytes` is the memory it sees; `images` maps every tag and digest reference to its
    image id; `subnets` are those of all its networks; `pools` those new ones are cut from;
    `data_users` names the running containers that mount the stack's data-root.
    """

    version: str
    api_version: str
    min_api_version: str
    os: str
    arch: str
    storage_driver: str
    data_root: str
    ncpu: int
    memory_bytes: int
    security_options: tuple[str, ...]
    registry_mirrors: tuple[str, ...]
    containers: tuple[ContainerFacts, ...]
    images: Mapping[str, str]
    subnets: tuple[str, ...]
    warnings: tuple[str, ...]
    pools: tuple[AddressPool, ...] = ()
    volumes: tuple[Resource, ...] = ()
    networks: tuple[Resource, ...] = ()
    data_users: tuple[str, ...] = ()


@dataclass(frozen=True)
class DaemonUnavailable:
    """A daemon that could not be asked: everything about it is unknown, not absent."""

    reason: str


def unix_time(text: str) -> float:
    """RFC 3339 as Docker writes it, with nanoseconds. Raises ValueError."""
    head, dot, rest = text.partition(".")
    zone = rest.lstrip("0123456789") if dot else ""
    return datetime.fromisoformat(head + zone).timestamp()


def parse_container(
    listed: Json, inspected: Json | None = None, arch: str | None = None
) -> ContainerFacts:
    """Read a container of `/containers/json`, with what `/containers/{id}/json` adds.

    `arch` is the architecture of its image.
    """
    labels: Mapping[str, str] = listed.get("Labels") or {}
    oneoff = labels.get(ONEOFF_LABEL, "").lower() == "true"
    detail = inspected or {}
    state: Json = detail.get("State") or {}
    health: Json = state.get("Health") or {}
    config: Json = detail.get("Config") or {}
    started = str(state.get("StartedAt") or "")
    return ContainerFacts(
        id=listed["Id"],
        name=next(iter(listed.get("Names") or [""])).removeprefix("/"),
        service=None if oneoff else labels.get(SERVICE_LABEL),
        image=config.get("Image") or listed.get("Image", ""),
        image_id=listed.get("ImageID", ""),
        state=state.get("Status") or listed.get("State", ""),
        health=health.get("Status") if health.get("Status") != "none" else None,
        started_at=None if started.startswith("0001-") else started or None,
        restarts=detail.get("RestartCount"),
        exit_code=state.get("ExitCode"),
        oom_killed=state.get("OOMKilled"),
        labels=dict(labels),
        error=state.get("Error", ""),
        pid=int(state.get("Pid") or 0) or None,
        arch=arch,
        mounts=tuple(
            Mount(item.get("Type", ""), _mount_source(item), item.get("Destination", ""))
            for item in listed.get("Mounts") or ()
        ),
        isolation=_isolation(inspected) if inspected else None,
    )


def _mount_source(mount: Json) -> str:
    # A list of containers gives volumes no source, and an inspect their place on the disk.
    return str(mount.get("Name") or mount.get("Source", ""))


def _isolation(inspected: Json) -> Isolation:
    host: Json = inspected.get("HostConfig") or {}
    modes = {
        "network": host.get("NetworkMode"),
        "pid": host.get("PidMode"),
        "ipc": host.get("IpcMode"),
        "uts": host.get("UTSMode"),
    }
    options = [str(option) for option in host.get("SecurityOpt") or ()]
    return Isolation(
        privileged=bool(host.get("Privileged")),
        read_only=bool(host.get("ReadonlyRootfs")),
        capabilities_dropped="ALL" in (host.get("CapDrop") or ()),
        no_new_privileges=any(
            option.startswith("no-new-privileges") and not option.endswith("false")
            for option in options
        ),
        publishes=bool(host.get("PortBindings")),
        namespaces_of_host=tuple(key for key, mode in modes.items() if mode == "host"),
        mounts=tuple(str(item.get("Source", "")) for item in inspected.get("Mounts") or ()),
    )


def parse_images(listed: Sequence[Json]) -> dict[str, str]:
    """Every reference of `/images/json` with its image id."""
    return {
        ref: image["Id"]
        for image in listed
        for ref in [*(image.get("RepoTags") or []), *(image.get("RepoDigests") or [])]
        if "<none>" not in ref
    }


def parse_subnets(networks: Sequence[Json]) -> tuple[str, ...]:
    """Return the subnets of `/networks`, sorted, each once."""
    return tuple(
        sorted(
            {
                pool["Subnet"]
                for network in networks
                for pool in (network.get("IPAM") or {}).get("Config") or []
                if pool.get("Subnet")
            }
        )
    )


def parse_pools(info: Json) -> tuple[AddressPool, ...]:
    """Return the ranges of `/info` from which networks are cut; none where it names none."""
    return tuple(
        AddressPool(IPv4Network(pool["Base"], strict=False), int(pool["Size"]))
        for pool in info.get("DefaultAddressPools") or ()
        if ":" not in pool.get("Base", ":")
    )


def parse_resources(kind: str, listed: Sequence[Json]) -> tuple[Resource, ...]:
    """Read `/volumes` or `/networks` down to names and labels."""
    return tuple(Resource(kind, item["Name"], dict(item.get("Labels") or {})) for item in listed)


def parse_daemon(
    version: Json,
    info: Json,
    *,
    containers: Sequence[ContainerFacts],
    images: Sequence[Json],
    networks: Sequence[Json],
    volumes: Sequence[Json] = (),
    data_users: Sequence[str] = (),
) -> DaemonFacts:
    """Put the answers of `/version`, `/info`, `/images/json`, `/networks`, … together."""
    registry: Json = info.get("RegistryConfig") or {}
    return DaemonFacts(
        version=version.get("Version", ""),
        api_version=version.get("ApiVersion", ""),
        min_api_version=version.get("MinAPIVersion", ""),
        os=version.get("Os", ""),
        arch=version.get("Arch", ""),
        storage_driver=info.get("Driver", ""),
        data_root=info.get("DockerRootDir", ""),
        ncpu=int(info.get("NCPU") or 0),
        memory_bytes=int(info.get("MemTotal") or 0),
        security_options=tuple(info.get("SecurityOptions") or ()),
        registry_mirrors=tuple(registry.get("Mirrors") or ()),
        containers=tuple(containers),
        images=parse_images(images),
        subnets=parse_subnets(networks),
        warnings=tuple(info.get("Warnings") or ()),
        pools=parse_pools(info),
        volumes=parse_resources("volume", volumes),
        networks=parse_resources("network", networks),
        data_users=tuple(sorted(data_users)),
    )
