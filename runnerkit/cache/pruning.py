"""What `cache prune` would delete: chosen record by record, so that what is named is what goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from runnerkit.cache.simulate import simulate
from runnerkit.cache.summary import LAYERS, MOUNTS, kind_of
from runnerkit.facts.cache import CacheRecord, GcRule, ImageUse, Usage

# One request names this many records: its URL stays far below what engines accept.
RECORDS_AT_ONCE = 200


@dataclass(frozen=True)
class Choice:
    """What the admin asked for; `unused_seconds` spares what was used since, 0 nothing.

    Layers are all records but cache mounts. Images have no time of last use: there, it is the
    image's age that counts.
    """

    mounts: bool = False
    layers: bool = False
    images: bool = False
    unused_seconds: int = 0


@dataclass(frozen=True)
class Pruning:
    """What goes, in an order in which it can: what is built on something before that."""

    records: tuple[CacheRecord, ...] = ()
    images: tuple[ImageUse, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.records or self.images)

    @property
    def expected_bytes(self) -> int:
        """About what the disk gets back: layers that images share among themselves come on top.

        Of images it is the most: what the build cache holds of them, too, stays with it.
        """
        return sum(record.size for record in self.records if not record.shared) + sum(
            image.unique_bytes or 0 for image in self.images
        )


@dataclass(frozen=True)
class Freed:
    """What a pruning gave back. With `kept_by_cache` it is the most.

    The build cache then still holds layers of images that were deleted, and the engine tells the
    sizes of those that it built, but not of those that it pulled.
    """

    bytes: int
    kept_by_cache: bool = False


def choose(usage: Usage, choice: Choice, now: float) -> Pruning:
    """The records and images of `choice` that nothing uses. `now` in seconds since 1970."""
    every = GcRule(all=True, unused_seconds=choice.unused_seconds)
    wanted = {kind for kind, on in ((MOUNTS, choice.mounts), (LAYERS, choice.layers)) if on}
    spared = [record.id for record in usage.records if not _wanted(record, wanted)]
    outcome = simulate(
        _without_leave(usage.records, frozenset(spared)), (every,), (), now=now, free_bytes=None
    )
    images = [image for image in usage.images if choice.images and image.containers == 0]
    cut = now - choice.unused_seconds
    return Pruning(
        tuple(eviction.record for eviction in outcome.evictions),
        tuple(image for image in images if not choice.unused_seconds or image.created <= cut),
    )


def released(before: Usage, after: Usage, choice: Choice, now: float) -> Pruning:
    """What of the layers only images held `before` that are gone `after`, if `choice` wants layers.

    Until the images go, nobody can tell which records of the cache that will be.
    """
    left = {record.id for record in left_by_images(before, after)}
    records = tuple(
        record if record.id in left else replace(record, in_use=True) for record in after.records
    )
    layers = replace(choice, mounts=False, images=False)
    return choose(replace(after, records=records), layers, now)


def left_by_images(before: Usage, after: Usage) -> tuple[CacheRecord, ...]:
    """The records that images held `before`, and none holds `after`."""
    held = {record.id for record in before.records if record.shared}
    return tuple(r for r in after.records if r.id in held and not r.shared)


def batches(pruning: Pruning) -> tuple[tuple[str, ...], ...]:
    """The ids of the records, in the order in which to ask for their deletion."""
    ids = [record.id for record in pruning.records]
    return tuple(
        tuple(ids[start : start + RECORDS_AT_ONCE]) for start in range(0, len(ids), RECORDS_AT_ONCE)
    )


def _wanted(record: CacheRecord, kinds: set[str]) -> bool:
    # What images share frees nothing as long as they are there.
    kind = MOUNTS if kind_of(record) == MOUNTS else LAYERS
    return kind in kinds and not record.shared


def _without_leave(
    records: Sequence[CacheRecord], spared: frozenset[str]
) -> tuple[CacheRecord, ...]:
    """The records with the spared ones marked as in use, so that what they stand on stays."""
    return tuple(
        replace(record, in_use=True) if record.id in spared else record for record in records
    )
