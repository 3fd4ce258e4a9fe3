from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerkit.cache.gc_lint import lint
from runnerkit.cache.rules import differences, rules_of
from runnerkit.desired.gc_policy import CacheLimits, gc_policy
from tests.unit.engine_gc import Rule, read

GIB = 1 << 30
VERSIONS = [
    (20, 10), (23, 0), (24, 0), (25, 0), (26, 1), (27, 4), (27, 5), (28, 0), (28, 2), (28, 5),
    (29, 0), (29, 6),
]  # fmt: skip
limits = st.builds(
    CacheLimits,
    max_bytes=st.integers(1, 1 << 50),
    min_free_bytes=st.integers(0, 1 << 50),
    keep_mounts_seconds=st.integers(1, 10**9),
    keep_layers_seconds=st.integers(1, 10**9),
)
versions = st.sampled_from(VERSIONS)
KINDS = ["source.local", "source.git.checkout", "regular", "frontend", "internal"]


def in_force(limit: CacheLimits, version: tuple[int, int]) -> list[Rule]:
    found = read(gc_policy(limit), version)
    assert found is not None
    return found


def cap(rule: Rule) -> int:
    """What a rule leaves where the disk has room (BuildKit calculateKeepBytes)."""
    return max(rule.max_used, rule.reserved)


@given(limits, versions)
def test_every_engine_starts_and_no_gc_aborts(limit: CacheLimits, version: tuple[int, int]) -> None:
    assert not any(rule.aborts for rule in in_force(limit, version))


@given(limits, versions)
def test_engines_drop_nothing_but_the_sizes_they_are_too_old_for(
    limit: CacheLimits, version: tuple[int, int]
) -> None:
    new = {"maxUsedSpace", "minFreeSpace", "reservedSpace"} if version < (28, 0) else set()
    assert all(set(rule.dropped) == new for rule in in_force(limit, version))


@given(limits, versions)
def test_no_rule_means_everything_at_any_time(limit: CacheLimits, version: tuple[int, int]) -> None:
    assert all(cap(rule) > 0 for rule in in_force(limit, version))


@given(limits, versions)
def test_all_engines_read_the_same_types_ages_and_caps(
    limit: CacheLimits, version: tuple[int, int]
) -> None:
    def essence(rules: list[Rule]) -> list[object]:
        return [(rule.all, rule.type, rule.seconds, cap(rule)) for rule in rules]

    assert essence(in_force(limit, version)) == essence(in_force(limit, (28, 5)))


@given(limits, versions)
def test_cache_mounts_go_when_long_unused_or_under_the_ceiling_only(
    limit: CacheLimits, version: tuple[int, int]
) -> None:
    rules = in_force(limit, version)
    takes_mounts = [rule for rule in rules if rule.type in (None, "exec.cachemount")]
    assert takes_mounts == rules[-2:]
    aged, ceiling = takes_mounts
    assert (aged.seconds, aged.type) == (limit.keep_mounts_seconds, "exec.cachemount")
    assert (ceiling.all, ceiling.seconds, cap(ceiling)) == (True, 0, limit.max_bytes)


@given(limits, versions)
def test_everything_else_is_brought_under_the_ceiling_before(
    limit: CacheLimits, version: tuple[int, int]
) -> None:
    capped = [rule for rule in in_force(limit, version)[:-2] if not rule.seconds]
    assert sorted(str(rule.type) for rule in capped) == sorted(KINDS)
    assert {cap(rule) for rule in capped} == {limit.max_bytes}
    assert [rule.type for rule in capped if not rule.all] == [
        "regular", "source.local", "source.git.checkout",
    ]  # fmt: skip


@given(limits, st.sampled_from([version for version in VERSIONS if version >= (28, 0)]))
def test_free_space_is_made_without_a_floor_where_engines_can(
    limit: CacheLimits, version: tuple[int, int]
) -> None:
    unaged = [rule for rule in in_force(limit, version) if not rule.seconds]
    assert {(rule.min_free, rule.reserved) for rule in unaged} == {(limit.min_free_bytes, 0)}


@given(limits, versions)
def test_the_kit_reads_a_policy_as_the_engine_does(
    limit: CacheLimits, version: tuple[int, int]
) -> None:
    ours = rules_of(gc_policy(limit), version)
    theirs = in_force(limit, version)
    assert [(r.all, r.unused_seconds, r.reserved, r.max_used, r.min_free) for r in ours] == [
        (r.all, r.seconds, r.reserved, r.max_used, r.min_free) for r in theirs
    ]
    assert [dict(rule.filters).get("type") for rule in ours] == [rule.type for rule in theirs]
    assert differences(ours, ours) == ()


@given(limits, st.none() | versions)
def test_the_kits_own_policy_holds_no_trap(
    limit: CacheLimits, version: tuple[int, int] | None
) -> None:
    import json

    assert lint(json.dumps({"builder": {"gc": gc_policy(limit)}}).encode(), version) == ()


def test_the_order_of_sacrifice() -> None:
    policy: dict[str, Any] = gc_policy(CacheLimits(40 * GIB, 15 * GIB, 60 * 86400, 14 * 86400))
    order = [(*rule.get("filter", []), rule.get("all", False)) for rule in policy["policy"]]
    assert order == [
        ("type=source.local", "unused-for=172800s", False),
        ("type=source.git.checkout", "unused-for=172800s", False),
        ("type=regular", "unused-for=1209600s", False),
        ("type=regular", False),
        ("type=source.local", False),
        ("type=source.git.checkout", False),
        ("type=frontend", True),
        ("type=internal", True),
        ("type=exec.cachemount", "unused-for=5184000s", False),
        (True,),
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_ceiling_is_what_the_admin_asked_for(version: tuple[int, int]) -> None:
    rules = in_force(CacheLimits(40 * GIB, 15 * GIB, 60 * 86400, 14 * 86400), version)
    assert cap(rules[-1]) == 40 * GIB
    assert rules[-1].min_free == (15 * GIB if version >= (28, 0) else 0)
