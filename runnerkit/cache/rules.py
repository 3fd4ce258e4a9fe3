"""What an engine makes of `builder.gc`, and whether it runs what was meant."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from runnerkit.facts.cache import GcRule
from runnerkit.units import ByteSize, format_bytes, format_duration

Engine = tuple[int, ...]

# The first engine with three sizes; those before know keepStorage alone.
THREE_SIZES = (28,)
AGES = ("unused-for", "until")

# docker buildx inspect prints sizes with four digits, and engines from 24 on ages that grew by
# the time that the daemon took to start.
_SIZE_TOLERANCE = 0.001
_AGE_TOLERANCE_SECONDS = 120.0

_GO_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_GO_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|h|m|s)")


def rules_of(gc: Mapping[str, Any], engine: Engine) -> tuple[GcRule, ...]:
    """The rules that `engine` takes from a `builder.gc` object that has a policy.

    Raises ValueError for a size or an age that no engine reads.
    """
    if not gc.get("enabled"):
        return ()
    return tuple(_rule_of(rule, engine) for rule in gc.get("policy") or ())


def go_seconds(text: str) -> float:
    """Seconds of a Go duration such as `336h` or `1m30s`; raises ValueError, also for days."""
    parts = _GO_PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is no Go duration")
    return sum(float(number) * _GO_UNITS[unit] for number, unit in parts)


def differences(meant: Sequence[GcRule], found: Sequence[GcRule]) -> tuple[str, ...]:
    """What an engine runs otherwise than meant, one sentence each; none when it obeys."""
    if meant and not found:
        return ("garbage collection is off",)
    return tuple(
        f"rule {number} is {rule_text(theirs)}, should be {rule_text(ours)}"
        for number, (ours, theirs) in enumerate(zip_longest(meant, found))
        if not _alike(ours, theirs)
    )


def rule_text(rule: GcRule | None) -> str:
    """A rule in few words: what it takes, and above which size."""
    if rule is None:
        return "missing"
    what = "anything" if rule.all else "anything unshared"
    if rule.filters:
        what = ", ".join(f"{key} {value}" for key, value in rule.filters)
    if rule.unused_seconds:
        what += f" unused for {format_duration(round(rule.unused_seconds / 60) * 60)}"
    cap = max(rule.max_used, rule.reserved)
    above = f" above {format_bytes(cap)}" if cap > 1 else ""
    return what + above + (f", {format_bytes(rule.min_free)} free" if rule.min_free else "")


def _rule_of(rule: Mapping[str, Any], engine: Engine) -> GcRule:
    pairs = [(key, value) for key, _, value in (f.partition("=") for f in rule.get("filter") or ())]
    old = rule.get("keepStorage") or "0"
    new = engine >= THREE_SIZES
    return GcRule(
        all=bool(rule.get("all")),
        filters=tuple(pair for pair in pairs if pair[0] not in AGES),
        unused_seconds=sum(go_seconds(value) for key, value in pairs if key in AGES),
        reserved=_bytes(rule.get("reservedSpace") or old) if new else _bytes(old),
        max_used=_bytes(rule.get("maxUsedSpace") or "0") if new else 0,
        min_free=_bytes(rule.get("minFreeSpace") or "0") if new else 0,
    )


def _bytes(text: str) -> int:
    return int(ByteSize.parse(text))


def _alike(ours: GcRule | None, theirs: GcRule | None) -> bool:
    if ours is None or theirs is None:
        return False
    sizes = ("reserved", "max_used", "min_free")
    return (
        ours.all == theirs.all
        and sorted(ours.filters) == sorted(theirs.filters)
        and abs(ours.unused_seconds - theirs.unused_seconds) <= _AGE_TOLERANCE_SECONDS
        and all(_near(getattr(ours, size), getattr(theirs, size)) for size in sizes)
    )


def _near(ours: int, theirs: int) -> bool:
    return abs(ours - theirs) <= _SIZE_TOLERANCE * max(ours, theirs)
