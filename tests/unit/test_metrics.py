"""Metrics: their names, their values, and the dashboard that draws them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client.parser import text_string_to_metric_families

from runnerkit.commands.metrics import _address
from runnerkit.errors import ConfigError
from runnerkit.facts.daemon import DaemonFacts, DaemonUnavailable
from runnerkit.facts.host import HostFacts
from runnerkit.health.judge import judge
from runnerkit.health.look import Look
from runnerkit.health.model import unreachable
from runnerkit.report.metrics import KINDS, dashboard_json, metrics_text
from tests.unit.builders import config_of, converged, desired_for, outer_daemon


def look_at(folder: Path, facts: HostFacts | None = None) -> Look:
    [host] = config_of(folder).hosts
    found = facts or converged(desired_for(folder))
    return Look(host, judge(desired_for(folder), found), found, 0, 0.5, 1_700_000_000.0)


def dead(folder: Path) -> Look:
    [host] = config_of(folder).hosts
    return Look(host, unreachable("forge", "no route", None), None, None, 5.0, 1_700_000_000.0)


def samples(*looks: Look) -> dict[str, list[tuple[dict[str, str], float]]]:
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(metrics_text(looks)):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def test_a_host_that_is_well(tmp_path: Path) -> None:
    found = samples(look_at(tmp_path))
    assert found["runnerkit_host_up"] == [({"host": "forge"}, 1)]
    assert found["runnerkit_host_healthy"] == [({"host": "forge"}, 1)]
    assert found["runnerkit_stages_capacity"] == [({"host": "forge"}, 2)]
    disks = {labels["disk"]: value for labels, value in found["runnerkit_disk_size_bytes"]}
    assert disks == {"root": 100 << 30, "data": 100 << 30}
    starts = {x["service"]: value for x, value in found["runnerkit_service_start_time_seconds"]}
    assert starts["dind"] == 1767225600
    checks = found["runnerkit_check_status"]
    assert {value for _, value in checks} == {0}
    assert ({"host": "forge", "check": "reachable", "group": "host"}, 0) in checks


def test_a_host_that_does_not_answer_is_a_value_and_nothing_is_made_up(tmp_path: Path) -> None:
    found = samples(dead(tmp_path))
    assert found["runnerkit_host_up"] == [({"host": "forge"}, 0)]
    assert found["runnerkit_check_status"] == [
        ({"host": "forge", "check": "reachable", "group": "host"}, 2)
    ]
    assert set(found) == {
        "runnerkit_build_info", "runnerkit_host_up", "runnerkit_host_healthy",
        "runnerkit_check_status", "runnerkit_collect_duration_seconds",
        "runnerkit_collect_timestamp_seconds", "runnerkit_stages_capacity",
    }  # fmt: skip


def test_a_daemon_that_does_not_answer_has_no_counts(tmp_path: Path) -> None:
    well = converged(desired_for(tmp_path))
    found = samples(look_at(tmp_path, replace(well, inner=DaemonUnavailable("refused"))))
    up = {labels["daemon"]: value for labels, value in found["runnerkit_daemon_up"]}
    assert up == {"outer": 1, "inner": 0}
    assert "runnerkit_stages_running" not in found


def test_a_pipeline_with_many_containers_is_one(tmp_path: Path) -> None:
    well = converged(desired_for(tmp_path))
    assert isinstance(well.outer, DaemonFacts)
    labels = {
        "io.drone.repo.slug": "octo/app", "io.drone.build.number": "7",
        "io.drone.stage.number": "1",
    }  # fmt: skip
    one = replace(well.outer.containers[0], service=None, labels=labels)
    others = (replace(one, id="2"), replace(one, id="3", state="exited"))
    second = replace(one, id="4", labels=labels | {"io.drone.stage.number": "2"})
    facts = replace(well, inner=outer_daemon(containers=(one, *others, second)))
    found = samples(look_at(tmp_path, facts))
    assert found["runnerkit_stages_running"] == [({"host": "forge"}, 2)]
    states = {x["state"]: value for x, value in found["runnerkit_inner_containers"]}
    assert {state: count for state, count in states.items() if count} == {"running": 3, "exited": 1}
    assert states["paused"] == 0


def test_names_and_units_follow_the_conventions() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    for kind in KINDS:
        assert re.fullmatch(r"runnerkit_[a-z_]+", kind.name)
        assert kind.name.endswith("_total") == (kind.type == "counter")
        assert kind.help.endswith(".")
        for unit in re.findall(r"_(kb|mb|gib|ms|minutes|percent|celsius)(_|$)", kind.name):
            pytest.fail(f"{kind.name}: {unit} is no base unit")


def test_the_dashboard_draws_only_metrics_that_exist() -> None:
    dashboard = json.loads(dashboard_json())
    panels: list[dict[str, Any]] = dashboard["panels"]
    asked = {
        name
        for panel in panels
        for target in panel["targets"]
        for name in re.findall(r"\brunnerkit_\w+", target["expr"])
    }
    known = {kind.name: {"host", *kind.labels} for kind in KINDS}
    assert asked <= set(known)
    for panel in panels:
        for target in panel["targets"]:
            names = re.findall(r"\brunnerkit_\w+", target["expr"])
            drawn = re.findall(r"{{(\w+)}}", target["legendFormat"])
            assert all(set(drawn) <= known[name] for name in names), panel["title"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    [_, variable] = dashboard["templating"]["list"]
    assert variable["query"]["query"] == "label_values(runnerkit_host_up, host)"


def test_grafana_understands_all_of_the_dashboard() -> None:
    """Its own model of a dashboard keeps every key and value, and refuses what is no choice."""
    register_default_plugins()
    ours = json.loads(dashboard_json())
    understood = json.loads(JSONEncoder().encode(Dashboard.from_json(ours)))
    assert not list(lost(json.loads(dashboard_json()), understood))


def lost(ours: Any, understood: Any, where: str = "") -> Iterator[str]:
    """The places in `ours` that are missing or different in `understood`."""
    if isinstance(ours, dict) and isinstance(understood, dict):
        for key, value in ours.items():
            yield from lost(value, understood.get(key), f"{where}.{key}")
    elif isinstance(ours, list) and isinstance(understood, list) and len(ours) == len(understood):
        for number, value in enumerate(ours):
            yield from lost(value, understood[number], f"{where}[{number}]")
    elif ours != understood:
        yield where


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9750", ("127.0.0.1", 9750)),
        (":9750", ("127.0.0.1", 9750)),
        ("192.0.2.7:80", ("192.0.2.7", 80)),
        ("[::1]:9750", ("::1", 9750)),
    ],
)
def test_without_an_address_only_this_machine_may_scrape(
    text: str, address: tuple[str, int]
) -> None:
    assert _address(text) == address


@pytest.mark.parametrize("text", ["", "x", "127.0.0.1:", "127.0.0.1:http", "70000", "9750:"])
def test_a_wrong_address_is_a_clear_error(text: str) -> None:
    with pytest.raises(ConfigError, match="no such port"):
        _address(text)
