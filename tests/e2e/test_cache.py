"""The build cache on three generations of the engine: what GC does, and what is told of it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from runnerkit.change.scripts import script
from tests.e2e.kit import ENGINES, Kit, Lab

pytestmark = pytest.mark.lab

DIND = "runnerkit-main-dind-1"


def checks(kit: Kit, host: str) -> dict[str, dict[str, Any]]:
    [answer] = json.loads(kit("status", host, "--json", expect=None).stdout)["hosts"]
    return {check["id"]: check for check in answer["checks"]}


def shown(kit: Kit, host: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(kit("cache", "show", host, "--json").stdout)
    return answer


def test_engines_keep_to_the_ceiling_and_mounts_outlive_layers(fleet: Kit) -> None:
    with ThreadPoolExecutor() as pool:
        work = {host: pool.submit(fleet, "cache", "verify", host, "--json") for host in ENGINES}
    for host, result in work.items():
        trial = json.loads(result.result().stdout)
        assert trial["passed"], trial
        assert trial["left_bytes"] <= trial["max_bytes"] < trial["filled_bytes"]
        assert trial["evicted"]
        assert "exec.cachemount" not in {record["type"] for record in trial["evicted"]}
        assert trial["gc"]["errors"] == []
        # Engines before 28 cannot look at free space.
        assert trial["free_space_obeyed"] is (True if host == "host1" else None)


@pytest.mark.parametrize("host", ENGINES)
def test_the_rules_in_force_are_read_back_from_every_engine(host: str, fleet: Kit) -> None:
    found = checks(fleet, host)
    assert (found["gc-policy"]["status"], found["gc-errors"]["status"]) == ("ok", "ok"), found


def test_a_trap_in_daemon_json_fails_the_check_that_names_it(fleet: Kit, lab: Lab) -> None:
    edit = "sed -i 's/type=regular/type==regular/' /srv/runnerkit/main/daemon.json"
    lab.on("host1", "sh", "-c", edit)
    try:
        found = checks(fleet, "host1")["gc-policy"]
        assert found["status"] == "fail"
        assert "double-equals" in found["summary"]
        assert "aborts every GC" in found["evidence"]
    finally:
        fleet("up", "host1", "--yes")
    assert checks(fleet, "host1")["gc-policy"]["status"] == "ok"


@pytest.mark.parametrize("host", ["host1", "host3"])
def test_what_builds_left_is_shown_and_pruned_by_kind(host: str, fleet: Kit, lab: Lab) -> None:
    fill = script("trial_fill")
    lab.on(host, "sh", "-c", fill, "sh", DIND, "2", "2048", "3072")
    before = shown(fleet, host)
    [mount] = [item for item in before["mounts"] if item["mount"]["target"] == "/cache"]
    assert mount["size"] == 3072 * 1024
    foreseen = json.loads(fleet("cache", "simulate", host, "--max", "100GB", "--json").stdout)
    assert foreseen["evictions"] == []
    assert shown(fleet, host)["cache_bytes"] == before["cache_bytes"]

    assert "nobody is there to ask" in fleet("cache", "prune", host, "--layers", expect=2).stderr
    assert "freed" in fleet("cache", "prune", host, "--layers", "--yes").stdout
    after = shown(fleet, host)
    assert mount["id"] in {item["id"] for item in after["mounts"]}
    assert not [item for item in after["biggest"] if item["size"] >= 2048 * 1024]
    assert "/cache" in fleet("cache", "prune", host, "--mounts", "--yes").stdout
    assert shown(fleet, host)["mounts"] == []
