"""What each engine does with `builder.gc`, read anew and independent of the kit's own reading.

`read(gc, version)` gives the rules in force, or raises EngineStopsError. A rule whose filter
BuildKit cannot parse makes every GC fail: `aborts`. Sources: moby daemon/config/builder.go and
builder/builder-next/{builder,controller}.go, go-units RAMInBytes, Go's time.ParseDuration.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
DURATION = re.compile(r"(?:\d+(?:\.\d*)?(?:h|ms|m|s|us|ns))+")
PART = re.compile(r"(\d+(?:\.\d*)?)(h|ms|m|s|us|ns)")
SECONDS = {"h": 3600, "m": 60, "s": 1, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
KNOWN_FILTERS = {
    "until", "unused-for", "id", "parent", "type", "description", "inuse", "shared", "private",
}  # fmt: skip


class EngineStopsError(Exception):
    """The daemon does not start."""


@dataclass(frozen=True)
class Rule:
    all: bool
    type: str | None
    seconds: float
    reserved: int
    max_used: int
    min_free: int
    aborts: bool
    dropped: tuple[str, ...]


def read(gc: dict[str, Any], version: tuple[int, int]) -> list[Rule] | None:
    """The rules in force; None when GC is off."""
    if not gc.get("enabled", version >= (28, 2)):
        return None
    default = _size(gc.get("defaultKeepStorage", "")) if gc.get("defaultKeepStorage") else 0
    return [_rule(rule, version, default) for rule in gc["policy"]]


def _rule(rule: dict[str, Any], version: tuple[int, int], default: int) -> Rule:
    known = {"all", "filter", "keepStorage"}
    if version >= (28, 0):
        known |= {"reservedSpace", "maxUsedSpace", "minFreeSpace"}
    dropped = tuple(sorted(set(rule) - known))
    reserved, max_used, min_free = _sizes(rule, version, default)
    kind, seconds, aborts = _filters(rule.get("filter", []), version)
    return Rule(
        bool(rule.get("all")), kind, seconds, reserved, max_used, min_free, aborts, dropped
    )  # fmt: skip


def _sizes(rule: dict[str, Any], version: tuple[int, int], default: int) -> tuple[int, int, int]:
    keep = rule.get("keepStorage", "")
    if version >= (28, 0):
        floor = rule.get("reservedSpace") or keep
        return tuple(_size(x) if x else 0 for x in (
            floor, rule.get("maxUsedSpace"), rule.get("minFreeSpace")
        ))  # type: ignore[return-value]  # fmt: skip
    if keep == "" and version < (27, 5):
        raise EngineStopsError("invalid size: ''")
    return (_size(keep) if keep else 0) or default, 0, 0


def _size(text: Any) -> int:
    if not isinstance(text, str):
        raise EngineStopsError("cannot unmarshal number into Go value of type string")
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?", text.lower())
    if not match:
        raise EngineStopsError(f"invalid size: {text!r}")
    return int(float(match[1]) * 1024 ** UNITS[match[2]]) if "." in match[1] else (
        int(match[1]) * 1024 ** UNITS[match[2]]
    )  # fmt: skip


def _filters(entries: list[str], version: tuple[int, int]) -> tuple[str | None, float, bool]:
    values: dict[str, list[str]] = {}
    for entry in entries:
        key, separator, value = entry.partition("=")
        if not separator and version < (23, 0):
            raise EngineStopsError("index out of range")
        values.setdefault(key, []).append(value)
    if any(len(found) > 1 for key, found in values.items() if key in KNOWN_FILTERS):
        raise EngineStopsError("filters expect only one value")
    if "until" in values and "unused-for" in values:
        raise EngineStopsError("conflicting filters")
    seconds = 0.0
    for key in ("until", "unused-for"):
        for text in values.get(key, []):
            if not DURATION.fullmatch(text):
                raise EngineStopsError(f"time: unknown unit in duration {text!r}")
            seconds = sum(float(n) * SECONDS[u] for n, u in PART.findall(text))
    kind = next(iter(values.get("type", [])), None)
    aborts = kind is not None and (kind.startswith("=") or "," in kind)
    return kind, seconds, aborts
