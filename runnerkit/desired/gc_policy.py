"""BuildKit garbage-collection rules that mean the same on every engine from 20.10 to 29.

What engines make of `builder.gc` differs by version (moby `daemon/config/builder.go` and
`builder/builder-next/worker/gc.go`), and what they do not understand there they drop without
a word. These rules use only what all of them read alike:

- every rule carries `keepStorage` (20.10 to 27; refusing to start without it before 27.5) and
  the three new keys (28+), with `reservedSpace` set so that the alias does not become a floor;
- no cap is ever zero: 0 means "the default" up to 27.5 and "delete everything" from 28;
- one `type` per rule: repeated keys stop the daemon, comma lists match nothing or abort the GC;
- ages stand in the filter as Go durations: no engine has a `keepDuration` key.

Rules run in order, each only while the cache is above its own cap, so the order is the order
of sacrifice: stale sources, old layers, any layers, any sources, what BuildKit keeps for itself,
cache mounts long unused, and only then anything. The last rule alone takes what images share
and cache mounts still in use by projects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

HOUR = 3600
MIB = 1 << 20

STALE_SOURCES_SECONDS = 48 * HOUR
STALE_SOURCES_BYTES = 512 * MIB

SOURCES = ("source.local", "source.git.checkout")
INTERNALS = ("frontend", "internal")

# The smallest cap that every engine takes literally: the rule applies however little there is.
_ALWAYS = 1


@dataclass(frozen=True)
class CacheLimits:
    """What the admin asked for. Sizes in bytes, ages in seconds."""

    max_bytes: int
    min_free_bytes: int
    keep_mounts_seconds: int
    keep_layers_seconds: int


def gc_policy(limits: CacheLimits) -> dict[str, Any]:
    """The `builder.gc` object of daemon.json for `limits`."""
    return {
        "enabled": True,
        # Up to 27.5 the fallback for rules without a size; ours all have one.
        "defaultKeepStorage": _size(limits.max_bytes),
        "policy": [
            *(_aged(kind, STALE_SOURCES_SECONDS, cap=STALE_SOURCES_BYTES) for kind in SOURCES),
            _aged("regular", limits.keep_layers_seconds, cap=_ALWAYS),
            *(_capped(limits, filter=[f"type={kind}"]) for kind in ("regular", *SOURCES)),
            # These go only under `all`, which the ceiling would weigh against cache mounts.
            *(_capped(limits, all=True, filter=[f"type={kind}"]) for kind in INTERNALS),
            _aged("exec.cachemount", limits.keep_mounts_seconds, cap=_ALWAYS),
            _capped(limits, all=True),
        ],
    }


def _aged(record_type: str, seconds: int, *, cap: int) -> dict[str, Any]:
    return {
        "filter": [f"type={record_type}", f"unused-for={seconds}s"],
        "keepStorage": _size(cap),
        "reservedSpace": _size(cap),
        "maxUsedSpace": _size(cap),
        "minFreeSpace": _size(0),
    }


def _capped(limits: CacheLimits, **extra: Any) -> dict[str, Any]:
    return {
        **extra,
        "keepStorage": _size(limits.max_bytes),
        # A floor of nothing: minFreeSpace may take the cache below its ceiling.
        "reservedSpace": _size(0),
        "maxUsedSpace": _size(limits.max_bytes),
        "minFreeSpace": _size(limits.min_free_bytes),
    }


def _size(count: int) -> str:
    """Bytes as the string that go-units RAMInBytes reads; JSON numbers are refused by engines."""
    return f"{count}b" if count else "0"
