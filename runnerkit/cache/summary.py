"""What takes the space: usage by kind, the biggest records, and what a cache mount belongs to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from runnerkit.desired.gc_policy import CacheLimits
from runnerkit.facts.builds import Build
from runnerkit.facts.cache import MOUNT, REGULAR, SOURCES, CacheRecord, Usage
from runnerkit.facts.host import Disk

LAYERS, MOUNTS, SOURCE, OTHER = "layers", "cache mounts", "sources", "other cache"

_MOUNT = re.compile(
    r'cached mount (\S+) from (?:exec|mount) (.*?)(?: with id "([^"]*)")?$', re.DOTALL
)


@dataclass(frozen=True)
class Part:
    """One kind of thing. `bytes` is None where it could not be counted."""

    kind: str
    count: int | None
    bytes: int | None


@dataclass(frozen=True)
class MountOrigin:
    """Where a cache mount is mounted, under which id, and the command that first made it."""

    target: str
    id: str
    command: str


@dataclass(frozen=True)
class MountUses:
    """The last build that used each cache mount, by the mount's id; `unknown` is why none is known.

    Of a mount that is not among them no remembered build is known to have used it.
    """

    builds: Mapping[str, Build] = field(default_factory=dict)
    unknown: str = ""


@dataclass(frozen=True)
class CacheSummary:
    """Everything `cache show` says of one host.

    `cache_bytes` is what the engine counts against the limits: records that no image shares.
    """

    host: str
    engine: str
    parts: tuple[Part, ...]
    cache_bytes: int
    limits: CacheLimits
    disk: Disk | None
    biggest: tuple[CacheRecord, ...]
    mounts: tuple[CacheRecord, ...]
    uses: MountUses

    def last_build(self, record: CacheRecord) -> Build | None:
        """The last build that used this cache mount, None where it cannot be told."""
        origin = mount_origin(record)
        return self.uses.builds.get(origin.id) if origin else None


def last_uses(builds: Iterable[Build]) -> dict[str, Build]:
    """Each cache mount's id with the first of `builds`, newest first, that used it."""
    found: dict[str, Build] = {}
    for build in builds:
        for mount in build.mounts:
            found.setdefault(mount, build)
    return found


def mount_ids(records: Iterable[CacheRecord]) -> frozenset[str]:
    """The ids of all cache mounts that tell it."""
    return frozenset(origin.id for record in records if (origin := mount_origin(record)))


def summary(
    host: str,
    engine: str,
    usage: Usage,
    *,
    limits: CacheLimits,
    disk: Disk | None,
    logs_bytes: int | None,
    top: int,
    uses: MountUses,
) -> CacheSummary:
    """Add up `usage`; the `top` biggest records, images and volumes apart."""
    own = [record for record in usage.records if not record.shared]
    volumes = [volume.size for volume in usage.volumes]
    parts = (
        *(_part(kind, own) for kind in (LAYERS, MOUNTS, SOURCE, OTHER)),
        Part("images", len(usage.images), usage.layers_bytes),
        Part("volumes", len(volumes), _known_sum(volumes)),
        Part("containers", None, usage.containers_bytes),
        Part("container logs", None, logs_bytes),
    )
    mounts = [record for record in usage.records if record.type == MOUNT]
    return CacheSummary(
        host=host,
        engine=engine,
        parts=parts,
        cache_bytes=cache_bytes(usage.records),
        limits=limits,
        disk=disk,
        biggest=_biggest((record for record in own if record.type != MOUNT), top),
        mounts=_biggest(mounts, len(mounts)),
        uses=uses,
    )


def cache_bytes(records: Iterable[CacheRecord]) -> int:
    """What counts against the limits (BuildKit cache/manager.go: records that are not shared)."""
    return sum(record.size for record in records if not record.shared)


def kind_of(record: CacheRecord) -> str:
    """The kind of a record, in a person's words."""
    if record.type == MOUNT:
        return MOUNTS
    if record.type in SOURCES:
        return SOURCE
    return LAYERS if record.type == REGULAR else OTHER


def mount_origin(record: CacheRecord) -> MountOrigin | None:
    """Read what BuildKit writes into a cache mount's description; None when it is not so.

    A mount without an id of its own has its target as id.
    """
    match = _MOUNT.match(record.description)
    if record.type != MOUNT or match is None:
        return None
    target, command, name = match.groups()
    target = target.rstrip("/") or "/"
    # Newer engines put a slash before an id; it is not part of what stands in the Dockerfile.
    id_ = (name or target) if name in (None, target) else name.removeprefix("/")
    return MountOrigin(target, id_, " ".join(command.split()))


def _part(kind: str, records: Iterable[CacheRecord]) -> Part:
    sizes = [record.size for record in records if kind_of(record) == kind]
    return Part(kind, len(sizes), sum(sizes))


def _biggest(records: Iterable[CacheRecord], top: int) -> tuple[CacheRecord, ...]:
    return tuple(sorted(records, key=lambda record: (-record.size, record.id))[:top])


def _known_sum(sizes: list[int | None]) -> int | None:
    return None if None in sizes else sum(size for size in sizes if size is not None)
