from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from runnerkit.desired.gc_policy import CacheLimits, gc_policy

GIB = 1 << 30
limits = st.builds(
    CacheLimits,
    max_bytes=st.integers(1, 1 << 50),
    min_free_bytes=st.integers(0, 1 << 50),
    keep_mounts_seconds=st.integers(1, 10**9),
    keep_layers_seconds=st.integers(1, 10**9),
)
# What daemon/config/builder.go of 20.10 and of 28 name; anything else is dropped in silence.
RULE_KEYS = {"all", "filter", "keepStorage", "reservedSpace", "maxUsedSpace", "minFreeSpace"}


def rules(policy: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = policy["policy"]
    return found


@given(limits)
def test_no_rule_carries_a_key_that_engines_drop(limit: CacheLimits) -> None:
    policy = gc_policy(limit)
    assert set(policy) <= {"enabled", "defaultKeepStorage", "policy"}
    assert all(set(rule) <= RULE_KEYS for rule in rules(policy))


@given(limits)
def test_every_rule_has_a_size_that_old_engines_need_and_new_ones_do_not_read_as_wipe(
    limit: CacheLimits,
) -> None:
    for rule in rules(gc_policy(limit)):
        assert rule["keepStorage"] not in ("", "0")
        assert rule["maxUsedSpace"] not in ("", "0")
        assert "reservedSpace" in rule


@given(limits)
def test_filters_hold_each_key_once_and_one_type(limit: CacheLimits) -> None:
    for rule in rules(gc_policy(limit)):
        keys = [entry.split("=", 1)[0] for entry in rule.get("filter", [])]
        assert len(keys) == len(set(keys))
        assert set(keys) <= {"type", "unused-for"}
        assert not any("," in entry or "==" in entry for entry in rule.get("filter", []))


@given(limits)
def test_sizes_are_strings_in_bytes(limit: CacheLimits) -> None:
    for rule in rules(gc_policy(limit)):
        for key in RULE_KEYS - {"all", "filter"}:
            text = rule[key]
            assert isinstance(text, str)
            assert text == "0" or (text.endswith("b") and text[:-1].isdigit())


def test_cache_mounts_are_given_up_after_all_layers_and_the_ceiling_comes_last() -> None:
    policy = gc_policy(CacheLimits(40 * GIB, 15 * GIB, 60 * 86400, 14 * 86400))
    order = [(rule.get("filter", [""])[0], rule.get("all", False)) for rule in rules(policy)]
    assert order == [
        ("type=source.local", False),
        ("type=source.git.checkout", False),
        ("type=regular", False),
        ("type=regular", False),
        ("type=exec.cachemount", False),
        ("", True),
    ]


def test_the_ceiling_is_what_the_admin_asked_for() -> None:
    policy = gc_policy(CacheLimits(40 * GIB, 15 * GIB, 60 * 86400, 14 * 86400))
    last = rules(policy)[-1]
    assert last["maxUsedSpace"] == last["keepStorage"] == f"{40 * GIB}b"
    assert last["minFreeSpace"] == f"{15 * GIB}b"
    assert last["reservedSpace"] == "0"
