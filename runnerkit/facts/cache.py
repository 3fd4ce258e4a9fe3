"""What lies in the runner's daemon and how its garbage collection is set, typed. Parsers only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from runnerkit.units import ByteSize

Json = Mapping[str, Any]

MOUNT = "exec.cachemount"
REGULAR = "regular"
SOURCES = ("source.local", "source.git.checkout")


@dataclass(frozen=True)
class CacheRecord:
    """One record of the build cache. Size in bytes, times in seconds since 1970.

    `in_use` is by a running build; `shared` means an image holds the same layer, so that its
    bytes count as the image's; `last_used` is None for one that was never used again.
    """

    id: str
    type: str
    size: int
    parents: tuple[str, ...] = ()
    description: str = ""
    in_use: bool = False
    shared: bool = False
    created: float = 0.0
    last_used: float | None = None
    usage_count: int = 0


@dataclass(frozen=True)
class ImageUse:
    """One image; `unique_bytes` is what only it holds, None where the engine does not tell.

    `containers` use it, running or not; -1 is unknown. `created` is in seconds since 1970.
    """

    id: str
    names: tuple[str, ...]
    size: int
    unique_bytes: int | None
    containers: int
    created: float = 0.0


@dataclass(frozen=True)
class VolumeUse:
    """One volume; None is unknown."""

    name: str
    size: int | None
    containers: int | None


@dataclass(frozen=True)
class Usage:
    """What `/system/df` tells: bytes by kind. `layers_bytes` is that of all images together."""

    records: tuple[CacheRecord, ...]
    images: tuple[ImageUse, ...]
    volumes: tuple[VolumeUse, ...]
    layers_bytes: int
    containers_bytes: int


@dataclass(frozen=True)
class GcRule:
    """One rule as an engine runs it. Sizes in bytes, 0 is none.

    `filters` are key and value; `unused_seconds` is 0 for any age. Engines up to 27 know one
    size only, which is `reserved` here: what they keep is `max(max_used, reserved)` all the same.
    """

    all: bool = False
    filters: tuple[tuple[str, str], ...] = ()
    unused_seconds: float = 0.0
    reserved: int = 0
    max_used: int = 0
    min_free: int = 0


@dataclass(frozen=True)
class GcFacts:
    """The rules in force, as the engine tells them, and what its log says of them.

    `rules` is None when nobody could be asked; `reason` says why. No rules at all: GC is off.
    `one_size`: asked with a buildx before 0.18, which does not print what engines from 28 on add.
    """

    rules: tuple[GcRule, ...] | None
    reason: str = ""
    errors: tuple[str, ...] = ()
    one_size: bool = False


def parse_usage(df: Json) -> Usage:
    """Read the answer of `/system/df`, of API 1.39 to 1.51."""
    return Usage(
        records=tuple(parse_record(item) for item in df.get("BuildCache") or ()),
        images=tuple(_image(item) for item in df.get("Images") or ()),
        volumes=tuple(_volume(item) for item in df.get("Volumes") or ()),
        layers_bytes=int(df.get("LayersSize") or 0),
        containers_bytes=sum(int(c.get("SizeRw") or 0) for c in df.get("Containers") or ()),
    )


def parse_record(item: Json) -> CacheRecord:
    """Read one record of BuildCache.

    APIs up to 1.41 give one `Parent`; later ones spell their list " Parents", blank included.
    """
    listed = item.get("Parents") or item.get(" Parents")
    parents: Sequence[str] = listed or [item.get("Parent") or ""]
    return CacheRecord(
        id=item["ID"],
        type=item.get("Type") or REGULAR,
        size=int(item.get("Size") or 0),
        parents=tuple(parent for parent in parents if parent),
        description=item.get("Description") or "",
        in_use=bool(item.get("InUse")),
        shared=bool(item.get("Shared")),
        created=_seconds(item.get("CreatedAt")) or 0.0,
        last_used=_seconds(item.get("LastUsedAt")),
        usage_count=int(item.get("UsageCount") or 0),
    )


def _image(item: Json) -> ImageUse:
    shared = int(item.get("SharedSize", -1))
    size = int(item.get("Size") or 0)
    return ImageUse(
        id=item["Id"],
        names=tuple(name for name in item.get("RepoTags") or () if "<none>" not in name),
        size=size,
        unique_bytes=size - shared if shared >= 0 else None,
        containers=int(item.get("Containers", -1)),
        created=float(item.get("Created") or 0),
    )


def _volume(item: Json) -> VolumeUse:
    used: Json = item.get("UsageData") or {}
    size, count = int(used.get("Size", -1)), int(used.get("RefCount", -1))
    return VolumeUse(item["Name"], size if size >= 0 else None, count if count >= 0 else None)


def _seconds(text: str | None) -> float | None:
    """Seconds of an RFC 3339 time with up to nine digits behind the point."""
    if not text or text.startswith("0001-"):
        return None
    whole, point, rest = text.partition(".")
    zone = re.search(r"(Z|[+-]\d\d:\d\d)$", text)
    fraction = re.match(r"\d*", rest)
    base = datetime.fromisoformat((whole if point else text[: -len(zone[1])] if zone else text)
                                  + (zone[1] if zone else "Z"))  # fmt: skip
    return base.timestamp() + (float(f"0.{fraction[0]}") if fraction and fraction[0] else 0.0)


_RULE = re.compile(r"GC Policy rule#\d+:")
_GO_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|h|m|s)")
_GO_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_SIZES = {
    "Keep Bytes": "reserved",
    "Reserved Space": "reserved",
    "Max Used Space": "max_used",
    "Min Free Space": "min_free",
}


def parse_inspect(text: str) -> tuple[GcRule, ...]:
    """The rules that `docker buildx inspect` prints, buildx 0.11 and later.

    Raises ValueError when the text is not from there, or the daemon did not answer it.
    """
    head, *parts = _RULE.split(text)
    if not re.search(r"^Status:\s+running", head, re.MULTILINE):
        raise ValueError("docker buildx inspect found no running builder")
    return tuple(_rule(part) for part in parts)


def _rule(text: str) -> GcRule:
    values: dict[str, Any] = {}
    for line in text.splitlines():
        if line and not line.startswith(" "):
            break  # the section after the last rule
        key, _, value = (part.strip() for part in line.partition(":"))
        if key == "All":
            values["all"] = value == "true"
        elif key == "Filters" and value:
            values["filters"] = tuple(_filter(item) for item in value.split(","))
        elif key == "Keep Duration":
            values["unused_seconds"] = _go_seconds(value)
        elif key in _SIZES:
            values[_SIZES[key]] = int(ByteSize.parse(value))
    return GcRule(**values)


def _filter(text: str) -> tuple[str, str]:
    key, _, value = text.partition("==") if "==" in text else text.partition("=")
    return key, value


def _go_seconds(text: str) -> float:
    return sum(float(count) * _GO_UNITS[unit] for count, unit in _GO_PART.findall(text))
