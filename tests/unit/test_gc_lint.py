"""Each documented trap of builder.gc by its name, and what is no trap."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runnerkit.cache.gc_lint import lint

ENGINE = (28, 5, 2)


def names(options: Any, engine: tuple[int, ...] | None = ENGINE) -> list[str]:
    content = options if isinstance(options, bytes) else json.dumps(options).encode()
    return [trap.name for trap in lint(content, engine)]


def gc(**values: Any) -> dict[str, Any]:
    return {"builder": {"gc": {"enabled": True, **values}}}


def rule(**values: Any) -> dict[str, Any]:
    return gc(policy=[{"keepStorage": "10GB", "maxUsedSpace": "10GB"} | values])


@pytest.mark.parametrize(
    ("options", "trap"),
    [
        (rule(keepDuration="48h"), "keep-duration"),
        (rule(keepduration="48h"), "keep-duration"),
        (rule(filter=["type==regular"]), "double-equals"),
        (rule(filter=["type=source.local,type=exec.cachemount"]), "comma-types"),
        (rule(filter=["type=regular,internal"]), "comma-types"),
        (rule(filter=["type=regular", "type=internal"]), "repeated-filter"),
        (rule(filter=["type=layer"]), "unknown-type"),
        (rule(filter=["unused-for=2d"]), "bad-age"),
        (rule(filter=["until=1h", "unused-for=2h"]), "two-ages"),
        (rule(filter=["label=keep"]), "unknown-filter"),
        (rule(filter=["private=true"]), "boolean-filter"),
        (rule(filter=["parent=abc"]), "parent-filter"),
        (rule(filter=["private"]), "filter-without-value"),
        (rule(filter="type=regular"), "wrong-type"),
        (rule(maxUsedSpace="10%"), "percentage"),
        (gc(defaultKeepStorage="10%"), "percentage"),
        (rule(keepStorage=10), "size-not-text"),
        (rule(keepStorage="10 gigs"), "bad-size"),
        (gc(policy=[{"all": True, "keepStorage": "0"}]), "zero-size"),
        (gc(policy=[{"all": True}]), "zero-size"),
        (rule(maxUseSpace="1GB"), "unknown-key"),
        (gc(maxUsedSpace="1GB"), "unknown-key"),
        (gc(enabled=False), "gc-off"),
        ({"builder": {"gc": {"policy": "all"}}}, "wrong-type"),
        ({"builder": {}}, "gc-off"),
        ({"BUILDER": {"gc": {}}}, "builder-case"),
        (b"{,}", "invalid-json"),
        (b"[]", "invalid-json"),
    ],
)
def test_a_trap_has_its_name(options: Any, trap: str) -> None:
    assert names(options) == [trap]


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        ((20, 10, 24), ["missing-keep-storage"]),
        ((27, 4, 1), ["missing-keep-storage"]),
        ((27, 5, 0), []),
        (ENGINE, []),
        (None, ["missing-keep-storage"]),
    ],
)
def test_a_rule_of_new_sizes_alone_stops_engines_before_27_5(
    engine: tuple[int, ...] | None, expected: list[str]
) -> None:
    assert names(gc(policy=[{"all": True, "maxUsedSpace": "1GB"}]), engine) == expected


@pytest.mark.parametrize(
    ("engine", "where"),
    [((26, 1, 5), "builder.gc.policy[0].keepStorage"), (ENGINE, "builder.gc.policy[0]")],
)
def test_a_zero_is_the_default_to_old_engines_and_wipes_on_new_ones(
    engine: tuple[int, ...], where: str
) -> None:
    content = json.dumps(gc(policy=[{"all": True, "keepStorage": "0"}])).encode()
    [trap] = lint(content, engine)
    assert (trap.name, trap.where) == ("zero-size", where)


@pytest.mark.parametrize(
    ("engine", "expected"), [((28, 5, 1), ["min-free-alone"]), ((28, 5, 2), [])]
)
def test_free_space_alone_wipes_before_28_5_2(engine: tuple[int, ...], expected: list[str]) -> None:
    rules = [{"all": True, "keepStorage": "", "minFreeSpace": "1GB"}]
    assert names(gc(policy=rules), engine) == expected


@pytest.mark.parametrize(
    ("engine", "expected"), [((28, 1, 0), ["gc-off"]), ((28, 2, 0), []), ((26, 1), ["gc-off"])]
)
def test_gc_is_on_by_itself_from_28_2(engine: tuple[int, ...], expected: list[str]) -> None:
    assert names({}, engine) == expected
    rules = [{"all": True, "keepStorage": "1GB"}]
    assert names({"builder": {"gc": {"policy": rules}}}, engine) == expected


def test_nested_keys_match_in_any_case_as_engines_read_them() -> None:
    rules = [{"All": True, "KEEPSTORAGE": "10GB", "Filter": ["type=regular", "until=48h"]}]
    assert names({"builder": {"GC": {"Enabled": True, "Policy": rules}}}) == []


def test_every_trap_of_a_file_is_told_with_its_place() -> None:
    rules = [{"keepStorage": "1GB"}, {"keepStorage": "5%", "filter": ["type==regular"]}]
    content = json.dumps(gc(policy=rules)).encode()
    assert [str(trap).split(":")[0] for trap in lint(content, ENGINE)] == [
        "builder.gc.policy[1].keepStorage",
        "builder.gc.policy[1].filter",
    ]
