"""The registry mirror in the desired state and in plans."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from runnerkit.change.actions import PullImage, RemoveService, StartServices
from runnerkit.change.plan import diff
from runnerkit.desired.shipped import shipped_files
from runnerkit.desired.state import MIRROR
from runnerkit.errors import ConfigError
from runnerkit.facts.daemon import DaemonFacts
from runnerkit.health.judge import judge
from tests.unit.builders import converged, desired_for

ON = {"mirror": True, "listen": "10.0.0.5:5000", "max": "5GB", "upstream": "https://hub.lan"}


def test_dind_asks_it_first_and_compose_knows_where_it_is(tmp_path: Path) -> None:
    desired = desired_for(tmp_path, registry=ON, docker={"mirrors": ["https://other.lan"]})
    daemon = json.loads(desired.file("daemon.json").content)
    assert daemon["registry-mirrors"] == ["http://mirror:5000", "https://other.lan"]
    assert daemon["insecure-registries"] == ["http://mirror:5000"]
    env = desired.file(".env").content.decode().splitlines()
    assert {
        "COMPOSE_PROFILES=mirror",
        "MIRROR_LISTEN=10.0.0.5:5000",
        "MIRROR_UPSTREAM=https://hub.lan",
        f"MIRROR_MAX_KIB={5 << 20}",
        "MIRROR_DATA=/var/lib/runnerkit/main.mirror",
    } <= set(env)


def test_without_it_compose_and_dind_do_not_use_it(tmp_path: Path) -> None:
    desired = desired_for(tmp_path)
    assert MIRROR not in desired.services
    assert b"COMPOSE_PROFILES" not in desired.file(".env").content
    assert b"mirror" not in desired.file("daemon.json").content
    checks = {check.id: check.status for check in judge(desired, converged(desired)).checks}
    assert checks["registry-mirror"] == "skip"


def test_switching_it_on_fetches_and_starts_it(tmp_path: Path) -> None:
    before = converged(desired_for(tmp_path))
    actions = diff(desired_for(tmp_path, registry=ON), before).actions
    assert [a.ref for a in actions if isinstance(a, PullImage)] == ["registry:2"]
    [start] = [a for a in actions if isinstance(a, StartServices)]
    assert MIRROR in start.services
    on = desired_for(tmp_path, registry=ON)
    assert diff(on, converged(on)).actions == ()


def test_another_limit_starts_it_alone(tmp_path: Path) -> None:
    before = converged(desired_for(tmp_path, registry=ON))
    actions = diff(desired_for(tmp_path, registry=ON | {"max": "6GB"}), before).actions
    [start] = [a for a in actions if isinstance(a, StartServices)]
    assert start.services == (MIRROR,)


def test_switching_it_off_removes_it_after_dind_no_longer_asks_it(tmp_path: Path) -> None:
    before = converged(desired_for(tmp_path, registry=ON))
    actions = diff(desired_for(tmp_path), before).actions
    assert isinstance(actions[-1], RemoveService)
    assert isinstance(actions[-2], StartServices)
    assert actions[-1].title == "remove mirror"


def test_a_leftover_alone_is_removed(tmp_path: Path) -> None:
    on, off = desired_for(tmp_path, registry=ON), desired_for(tmp_path)
    facts, mirrored = converged(off), converged(on)
    assert isinstance(facts.outer, DaemonFacts)
    assert isinstance(mirrored.outer, DaemonFacts)
    [mirror] = [item for item in mirrored.outer.containers if item.service == MIRROR]
    outer = replace(facts.outer, containers=(*facts.outer.containers, mirror))
    assert [a.title for a in diff(off, replace(facts, outer=outer)).actions] == ["remove mirror"]


def test_one_that_is_not_running_is_told(tmp_path: Path) -> None:
    desired = desired_for(tmp_path, registry=ON)
    facts = converged(desired)
    assert isinstance(facts.outer, DaemonFacts)
    others = tuple(item for item in facts.outer.containers if item.service != MIRROR)
    without = replace(facts, outer=replace(facts.outer, containers=others))
    [check] = [item for item in judge(desired, without).checks if item.id == "registry-mirror"]
    assert (check.status, check.hint) == ("fail", "runnerkit up forge")


def test_compose_runs_it_only_when_asked() -> None:
    service = yaml.safe_load(shipped_files().compose)["services"][MIRROR]
    assert service["profiles"] == [MIRROR]
    assert "privileged" not in service


@pytest.mark.parametrize("listen", ["5000", "host:5000", "10.0.0.5"])
def test_where_it_listens_is_an_address_and_a_port(listen: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        desired_for(tmp_path, registry={"mirror": True, "listen": listen})
    assert "registry.listen" in str(raised.value.problems[0])
