"""What the next garbage collection takes, computed as BuildKit does (cache/manager.go).

Rules run in order. A rule does nothing while the unshared records are below what it keeps;
otherwise it takes records that nothing is built on, until they are. Taking a record frees its
parent for the next round. Among those it may take, the order is by the sum of two ranks: how
long ago it was used, and how often. On newer engines a record that is taken counts as a use of
its parent (seen on 26.1 and 28.5, not on 20.10), so chains do not go from tip to root at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from runnerkit.cache.rules import Engine
from runnerkit.facts.cache import CacheRecord, GcRule

# Record types that only a rule with `all` takes.
KEPT_TYPES = frozenset({"internal", "frontend"})

# Releasing a parent is a use of it: from some engine between 20.10 and 26.1 on.
TAKING_USES_PARENTS = (23,)

# Before it (moby 28.5.2), a rule with minFreeSpace alone took everything where space was free.
MIN_FREE_ALONE_IS_SAFE = (28, 5, 2)


@dataclass(frozen=True)
class Eviction:
    """A record that GC takes, and the number of the rule that does.

    `tied`: the engine may as well take another record of the same rank first.
    """

    record: CacheRecord
    rule: int
    tied: bool = False


@dataclass(frozen=True)
class Outcome:
    """One run of GC: what goes, in order, and what counts against the limits before and after."""

    evictions: tuple[Eviction, ...]
    before_bytes: int
    after_bytes: int

    @property
    def freed_bytes(self) -> int:
        """Bytes that the disk gets back; what images share is not freed."""
        return sum(e.record.size for e in self.evictions if not e.record.shared)


@dataclass(frozen=True)
class Simulation:
    """What the next GC does on a host under `rules`; `source` says whose they are."""

    host: str
    rules: tuple[GcRule, ...]
    source: str
    outcome: Outcome


def simulate(
    records: Iterable[CacheRecord],
    rules: Sequence[GcRule],
    engine: Engine,
    *,
    now: float,
    free_bytes: int | None,
) -> Outcome:
    """Run `rules` over `records` as `engine` would at `now`, seconds since 1970.

    `free_bytes` is what the data disk has free; None leaves free space out of account.
    """
    run = _Run({record.id: record for record in records}, engine, now)
    before = run.total
    for number, rule in enumerate(rules):
        free = None if free_bytes is None else free_bytes + run.freed
        run.apply(number, rule, keep_bytes(rule, run.total, free, engine))
    return Outcome(tuple(run.evictions), before, run.total)


def keep_bytes(rule: GcRule, total: int, free: int | None, engine: Engine) -> int:
    """How much a rule leaves; 0 is no limit to what it takes. `total` is what counts now."""
    keep = rule.max_used
    excess = rule.min_free - free if free is not None else 0
    if excess > 0:
        keep = min(keep, total - excess) if keep else total - excess
    elif rule.min_free and not keep and engine >= MIN_FREE_ALONE_IS_SAFE:
        keep = total
    return max(keep, rule.reserved)


class _Run:
    def __init__(self, live: dict[str, CacheRecord], engine: Engine, now: float) -> None:
        self._live = live
        self._uses_parents = engine >= TAKING_USES_PARENTS
        self._now = now
        self.evictions: list[Eviction] = []
        self.freed = 0

    @property
    def total(self) -> int:
        return sum(record.size for record in self._live.values() if not record.shared)

    def apply(self, number: int, rule: GcRule, keep: int) -> None:
        total = self.total
        while not keep or total >= keep:
            takable = [record for record in self._leaves() if self._takes(rule, record)]
            if not takable:
                return
            for record, tied in _ordered(takable)[: 1 if keep else None]:
                total -= record.size  # BuildKit subtracts shared records here, too
                self._evict(Eviction(record, number, tied and bool(keep)))

    def _evict(self, eviction: Eviction) -> None:
        del self._live[eviction.record.id]
        self.freed += 0 if eviction.record.shared else eviction.record.size
        self.evictions.append(eviction)
        if self._uses_parents:
            self._use(eviction.record.parents)

    def _use(self, ids: Iterable[str]) -> None:
        for id_ in ids:
            if id_ in self._live:
                record = self._live[id_]
                # Later than every use before, and in the order of the evictions.
                moment = self._now + len(self.evictions) * 1e-3
                count = record.usage_count + 1
                self._live[id_] = replace(record, last_used=moment, usage_count=count)

    def _leaves(self) -> list[CacheRecord]:
        parents = {parent for record in self._live.values() for parent in record.parents}
        return [r for r in self._live.values() if r.id not in parents and not r.in_use]

    def _takes(self, rule: GcRule, record: CacheRecord) -> bool:
        if not rule.all and (record.type in KEPT_TYPES or record.shared):
            return False
        cut = self._now - rule.unused_seconds
        if rule.unused_seconds and record.last_used is not None and record.last_used > cut:
            return False
        # What buildx prints of filters is enough for those that work in daemon.json.
        fields = {"type": record.type, "description": record.description}
        return all(_matches(fields, key, value, record) for key, value in rule.filters)


def _matches(fields: Mapping[str, str], key: str, value: str, record: CacheRecord) -> bool:
    if key == "id":
        return record.id == value
    return fields.get(key) == value


def _ordered(records: Sequence[CacheRecord]) -> list[tuple[CacheRecord, bool]]:
    """In the order in which they go, each with whether the next one has the same rank."""
    ages = _ranks([record.last_used or 0.0 for record in records])
    counts = _ranks([float(record.usage_count) for record in records])
    ranked = sorted(
        zip((age + count for age, count in zip(ages, counts, strict=True)), records, strict=True),
        key=lambda pair: (pair[0], pair[1].usage_count, pair[1].last_used or 0.0),
    )
    sums = [rank for rank, _ in ranked]
    return [
        (record, number + 1 < len(sums) and sums[number + 1] == rank)
        for number, (rank, record) in enumerate(ranked)
    ]


def _ranks(values: Sequence[float]) -> list[float]:
    """Each value's place among the different values, scaled to at most 1."""
    places = {value: place for place, value in enumerate(sorted(set(values)), start=1)}
    return [places[value] / len(places) for value in values]
