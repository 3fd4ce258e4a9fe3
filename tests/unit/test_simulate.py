"""The simulator against what real engines evicted, and against its own promises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerkit.cache.rules import rules_of
from runnerkit.cache.simulate import keep_bytes, simulate
from runnerkit.cache.summary import cache_bytes
from runnerkit.change.packages import version_tuple
from runnerkit.desired.gc_policy import CacheLimits, gc_policy
from runnerkit.facts.cache import MOUNT, CacheRecord, GcRule

CAPTURED = sorted((Path(__file__).parent.parent / "captured" / "gc").glob("*.json"))
NOW = 1_000_000.0


def load(path: Path) -> tuple[dict[str, Any], list[CacheRecord], list[GcRule]]:
    content = json.loads(path.read_text())
    records = [
        CacheRecord(**item | {"parents": tuple(item["parents"])}) for item in content["before"]
    ]
    rules = [
        GcRule(**rule | {"filters": tuple(map(tuple, rule["filters"]))})
        for rule in content["rules"]
    ]
    return content, records, rules


def test_there_are_recordings_of_three_engines() -> None:
    engines = {path.name.partition("-")[0] for path in CAPTURED}
    assert engines == {"20.10", "26.1", "28.5"}
    assert len(CAPTURED) >= 20


@pytest.mark.parametrize("path", CAPTURED, ids=lambda path: path.stem)
def test_the_engine_evicted_what_was_foreseen(path: Path) -> None:
    content, records, rules = load(path)
    engine = version_tuple(content["engine"])
    outcome = simulate(records, rules, engine, now=content["now"], free_bytes=content["free_bytes"])
    gone = {eviction.record.id for eviction in outcome.evictions}
    assert {record.id for record in records} - gone == set(content["after"])


def record(name: str, **values: Any) -> CacheRecord:
    usual: dict[str, Any] = {"type": "regular", "size": 100, "last_used": NOW - 1000}
    return CacheRecord(id=name, **usual | values)


def evicted(records: list[CacheRecord], *rules: GcRule, **values: Any) -> list[str]:
    usual: dict[str, Any] = {"engine": (28, 5, 2), "now": NOW, "free_bytes": 10**9}
    outcome = simulate(records, rules, **usual | values)
    return [eviction.record.id for eviction in outcome.evictions]


def test_a_rule_stops_as_soon_as_the_cache_is_below_its_size() -> None:
    records = [record(f"r{n}", last_used=NOW - 1000 + n) for n in range(5)]
    assert evicted(records, GcRule(max_used=301)) == ["r0", "r1"]
    assert evicted(records, GcRule(max_used=501)) == []


def test_what_others_stand_on_goes_after_them() -> None:
    records = [record("base"), record("top", parents=("base",), last_used=NOW)]
    assert evicted(records, GcRule(max_used=1)) == ["top", "base"]


def test_what_a_build_uses_stays_with_all_that_it_stands_on() -> None:
    records = [record("base"), record("top", parents=("base",), in_use=True), record("other")]
    assert evicted(records, GcRule(all=True)) == ["other"]


def test_shared_and_internal_records_go_only_under_all() -> None:
    records = [record("shared", shared=True), record("inner", type="internal"), record("own")]
    assert evicted(records, GcRule()) == ["own"]
    assert set(evicted(records, GcRule(all=True))) == {"shared", "inner", "own"}


def test_shared_records_do_not_count_and_free_nothing() -> None:
    records = [record("shared", shared=True, size=10**6), record("own")]
    outcome = simulate(records, [GcRule(all=True)], (28, 5, 2), now=NOW, free_bytes=None)
    assert (outcome.before_bytes, outcome.freed_bytes) == (100, 100)


def test_an_age_spares_what_was_used_since() -> None:
    records = [record("old", last_used=NOW - 100), record("young", last_used=NOW - 10)]
    assert evicted(records, GcRule(unused_seconds=50, max_used=1)) == ["old"]


def test_taking_a_layer_is_a_use_of_its_parent_on_newer_engines() -> None:
    records = [
        record("base", last_used=NOW - 100),
        record("top", parents=("base",), last_used=NOW - 90),
    ]
    old = GcRule(unused_seconds=50, max_used=1)
    assert evicted(records, old) == ["top"]
    assert evicted(records, old, engine=(20, 10, 24)) == ["top", "base"]


@pytest.mark.parametrize(
    ("rule", "free", "engine", "keep"),
    [
        (GcRule(reserved=40), 0, (20, 10), 40),
        (GcRule(max_used=40), 0, (28, 0), 40),
        (GcRule(max_used=40, reserved=60), 0, (28, 0), 60),
        (GcRule(max_used=90, min_free=50), 30, (28, 0), 80),
        (GcRule(max_used=40, min_free=50), 30, (28, 0), 40),
        (GcRule(min_free=50), 30, (28, 0), 80),
        (GcRule(min_free=50, reserved=95), 30, (28, 0), 95),
        (GcRule(min_free=500), 30, (28, 0), 0),
        (GcRule(min_free=50), 70, (28, 5, 1), 0),
        (GcRule(min_free=50), 70, (28, 5, 2), 100),
        (GcRule(), 70, (28, 5, 2), 0),
        (GcRule(max_used=40, min_free=50), None, (28, 5, 2), 40),
    ],
)
def test_how_much_a_rule_keeps_of_100(
    rule: GcRule, free: int | None, engine: tuple[int, ...], keep: int
) -> None:
    assert keep_bytes(rule, 100, free, engine) == keep


records_st = st.lists(
    st.builds(
        CacheRecord,
        id=st.uuids().map(str),
        type=st.sampled_from(["regular", MOUNT, "source.local", "frontend"]),
        size=st.integers(0, 1000),
        in_use=st.booleans(),
        last_used=st.floats(0, NOW),  # one without a time goes at any age
        usage_count=st.integers(0, 9),
    ),
    max_size=25,
    unique_by=lambda r: r.id,
)


@given(records_st, st.integers(1, 20_000), st.sampled_from([(20, 10), (26, 1), (28, 5, 2)]))
def test_the_kits_policy_ends_below_max_and_mounts_go_last(
    records: list[CacheRecord], limit: int, engine: tuple[int, ...]
) -> None:
    year = 365 * 86400
    rules = rules_of(gc_policy(CacheLimits(limit, 0, year, year)), engine)
    outcome = simulate(records, rules, engine, now=NOW, free_bytes=None)
    gone = {eviction.record.id for eviction in outcome.evictions}
    left = [item for item in records if item.id not in gone]
    assert not any(item.in_use for item in records if item.id in gone)
    assert outcome.after_bytes == cache_bytes(left)
    takable = [item for item in left if not item.in_use and not item.shared and item.size]
    assert outcome.after_bytes < limit or not takable
    if any(item.type == MOUNT for item in records if item.id in gone):
        assert not [item for item in takable if item.type != MOUNT]


@given(records_st, st.integers(1, 20_000))
def test_a_second_run_takes_nothing(records: list[CacheRecord], limit: int) -> None:
    rules = [GcRule(all=True, max_used=limit)]
    first = simulate(records, rules, (28, 5, 2), now=NOW, free_bytes=None)
    gone = {eviction.record.id for eviction in first.evictions}
    left = [item for item in records if item.id not in gone]
    assert simulate(left, rules, (28, 5, 2), now=NOW, free_bytes=None).evictions == ()
