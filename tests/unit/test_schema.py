"""The schema that editors use and the table in README say what the models say."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import runnerkit
from runnerkit.config.effective import ConfigFile
from runnerkit.config.schema import configuration_table, json_schema

GOOD: dict[str, Any] = {
    "server": "https://drone.example.com",
    "secret": "env:DRONE_RPC_SECRET",
    "x-notes": 1,
    "defaults": {
        "x-why": [],
        "runner": None,
        "docker": {"memory": "8GB", "mtu": 1400, "address_pools": [{"base": "10.9.0.0/16"}]},
        "cache": {"max": "50%", "min_free": 1 << 34, "keep_mounts": "8w"},
    },
    "hosts": {"forge": {"ssh": "root@forge.lan", "runner": {"labels": {"a": "b"}}}},
}


def accepts(content: object) -> bool:
    return jsonschema.Draft202012Validator(json_schema()).is_valid(content)


def test_the_shipped_schema_is_the_one_of_the_models() -> None:
    shipped = Path(runnerkit.__file__).with_name("runnerkit.schema.json")
    assert json.loads(shipped.read_text()) == json_schema(), "run `make docs`"


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


def test_a_good_file_is_valid_for_editor_and_program() -> None:
    assert accepts(GOOD)
    ConfigFile.model_validate(GOOD)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("serverr",), "x"),
        (("secret",), "hunter2"),
        (("hosts",), {}),
        (("hosts", "forge", "ssh"), 5),
        (("hosts", "forge", "sssh"), "x"),
        (("hosts", "x-wing"), {"ssh": "x"}),
        (("hosts", "a b"), {"ssh": "x"}),
        (("hosts", "other"), {}),
        (("defaults", "cache", "max"), "150%"),
        (("defaults", "cache", "keep_mounts"), "soon"),
        (("defaults", "cache", "keep_mounts"), ""),
        (("defaults", "docker", "mtu"), 10),
        (("defaults", "docker", "source"), "snap"),
        (("defaults", "docker", "address_pools"), "none"),
        (("defaults", "docker", "address_pools"), [{"size": 24}]),
        (("defaults", "runner"), {"capacity": 65}),
        (("defaults", "runner"), {"capacity": "2"}),
    ],
)
def test_what_the_program_refuses_an_editor_underlines(path: tuple[str, ...], value: Any) -> None:
    content = copy.deepcopy(GOOD)
    parent = content
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    assert not accepts(content)
    with pytest.raises(ValueError, match="validation error"):
        ConfigFile.model_validate(content)


def test_defaults_stand_as_a_person_writes_them() -> None:
    cache = json_schema()["$defs"]["CacheSettings"]["properties"]
    assert {key: cache[key]["default"] for key in cache} == {
        "max": "50%", "min_free": "15GiB", "keep_mounts": "60d", "keep_layers": "14d"
    }  # fmt: skip


def test_every_key_says_what_it_does() -> None:
    models = json_schema()["$defs"].values()
    keys = [field for model in models for field in model.get("properties", {}).values()]
    assert keys
    assert all(field.get("description") for field in keys)


@pytest.mark.parametrize(
    "row",
    [
        "| `ssh` | required |",
        "| `runner.capacity` | `2` | 1 to 64 |",
        "| `cache.max` | `50%` | size or percentage, at least 512MiB |",
        "| `docker.source` | `auto` | auto, distro, official, none |",
        "| `runner.drain_timeout` | `1h` | duration, 1s to 7d |",
    ],
)
def test_the_table_has_default_and_bounds(row: str) -> None:
    assert row in configuration_table()
