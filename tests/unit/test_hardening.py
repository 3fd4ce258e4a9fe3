from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from runnerkit.change.plan import diff
from runnerkit.desired.hardening import Isolation, Weakness, isolation_of, weaknesses
from runnerkit.desired.shipped import shipped_files
from runnerkit.facts.daemon import DaemonFacts, parse_container
from runnerkit.health.judge import judge
from runnerkit.health.model import Status
from runnerkit.report.screens import plan_text, stdout_console
from tests.unit.builders import config_of, converged, desired_for

COMPOSE = yaml.safe_load(shipped_files().compose)

TIGHT = {"docker": {"memory": "8GB", "pids": 8192}}
CARELESS: dict[str, Any] = {
    "server": "http://drone.example.com",
    "runner": {
        "volumes": {"/var/run/docker.sock": "/var/run/docker.sock", "/data": "/data"},
        "privileged_images": ["plugins/kaniko"],
    },
    "docker": {"insecure_registries": ["registry.lan:5000"], "mirrors": ["http://mirror.lan"]},
}


def found(folder: Path, compose: dict[str, Any] = COMPOSE, **sections: Any) -> tuple[Weakness, ...]:
    [host] = config_of(folder, **sections).hosts
    return weaknesses(host, compose)


def test_the_stack_itself_has_no_hole_and_a_tight_configuration_no_weakness(
    tmp_path: Path,
) -> None:
    assert found(tmp_path, **TIGHT) == ()


def test_a_careless_configuration_has_every_problem_named(tmp_path: Path) -> None:
    told = {(item.where, item.benchmark): item.risk for item in found(tmp_path, **CARELESS)}
    assert told == {
        ("runner.volumes", "5.31"): True,
        ("runner.volumes", "5.5"): True,
        ("runner.privileged_images", "5.4"): True,
        ("docker.memory", "5.10"): False,
        ("docker.pids", "5.28"): False,
        ("server", ""): False,
        ("docker.insecure_registries", "2.4"): False,
        ("docker.mirrors", "2.4"): False,
    }


def test_a_limit_to_some_repositories_makes_a_risk_an_advice(tmp_path: Path) -> None:
    limited = CARELESS["runner"] | {"limit": {"repos": ["octocat/*"]}}
    told = found(tmp_path, **(CARELESS | {"runner": limited}))
    assert not [item for item in told if item.risk]


def test_an_unchecked_certificate_is_named(tmp_path: Path) -> None:
    [item] = found(tmp_path, **TIGHT, tls_verify=False)
    assert item.where == "tls_verify"


@pytest.mark.parametrize(
    ("service", "change", "benchmark"),
    [
        ("dind", {"ports": ["2375:2375"]}, "5.8"),
        ("runner", {"ports": ["3000:3000"]}, "5.8"),
        ("dind", {"volumes": [{"source": "/var/run/docker.sock"}]}, "5.31"),
        ("dind", {"volumes": [{"source": "/run"}]}, "5.5"),
        ("runner", {"network_mode": "host"}, "5.9"),
        ("dind", {"pid": "host"}, "5.15"),
        ("runner", {"ipc": "host"}, "5.16"),
        ("runner", {"uts": "host"}, "5.20"),
        ("runner", {"privileged": True}, "5.4"),
        ("runner", {"cap_drop": ["NET_RAW"]}, "5.3"),
        ("runner", {"read_only": False}, "5.12"),
        ("janitor", {"security_opt": []}, "5.25"),
        ("janitor", {"security_opt": ["no-new-privileges:false"]}, "5.25"),
    ],
)
def test_each_hole_in_a_compose_file_is_named(
    service: str, change: dict[str, Any], benchmark: str, tmp_path: Path
) -> None:
    compose = copy.deepcopy(COMPOSE)
    compose["services"][service] |= change
    [item] = found(tmp_path, compose, **TIGHT)
    assert (item.where, item.benchmark, item.risk) == (service, benchmark, True)


def test_an_engine_tells_the_same_as_the_compose_file() -> None:
    inspected = {
        "HostConfig": {
            "Privileged": False,
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges:true"],
            "PortBindings": {},
            "NetworkMode": "runnerkit-main_default",
            "PidMode": "",
            "IpcMode": "private",
            "UTSMode": "",
        },
        "Mounts": [{"Source": "/run/runnerkit/main"}],
    }
    told = parse_container({"Id": "1"}, inspected).isolation
    expected = isolation_of(COMPOSE["services"]["runner"])
    assert told == replace(expected, mounts=("/run/runnerkit/main",))
    opened = {"HostConfig": {"Privileged": True, "PidMode": "host", "PortBindings": {"80/tcp": []}}}
    assert parse_container({"Id": "1"}, opened).isolation == Isolation(
        privileged=True, read_only=False, capabilities_dropped=False, no_new_privileges=False,
        publishes=True, namespaces_of_host=("pid",), mounts=(),
    )  # fmt: skip


def test_plan_and_status_tell_the_same_risks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    desired = desired_for(tmp_path, **CARELESS)
    facts = converged(desired)
    stdout_console().print(plan_text(diff(desired, facts)))
    shown = capsys.readouterr().out
    assert "risk: runner.volumes: /var/run/docker.sock goes to every step" in shown
    assert "note:" not in shown
    checks = {check.id: check for check in judge(desired, facts).checks}
    assert checks["hardening"].status is Status.WARN
    assert checks["hardening"].evidence.count("CIS Docker") == 3
    assert checks["isolation"].status is Status.OK


def test_a_container_that_somebody_opened_is_found_by_its_engine(tmp_path: Path) -> None:
    desired = desired_for(tmp_path)
    facts = converged(desired)
    assert isinstance(facts.outer, DaemonFacts)
    containers = tuple(
        replace(item, isolation=replace(item.isolation, publishes=True))
        if item.isolation and item.service == "dind"
        else item
        for item in facts.outer.containers
    )
    opened = replace(facts, outer=replace(facts.outer, containers=containers))
    [check] = [item for item in judge(desired, opened).checks if item.id == "isolation"]
    assert check.status is Status.FAIL
    assert check.evidence == "dind: publishes a port (CIS Docker 5.8)"


@pytest.mark.parametrize(
    ("daemon", "told"),
    [
        (b'{"builder": {"entitlements": {"security-insecure": true}}}', True),
        (b'{"builder": {"entitlements": {"security-insecure": false}}}', False),
        (b'{"builder": {"entitlements": []}}', False),
        (b'{"builder": {}}', False),
        (b"[1]", False),
        (b"{", False),
    ],
)
def test_builds_that_may_do_more_than_they_should_are_found(
    daemon: bytes, told: bool, tmp_path: Path
) -> None:
    desired = desired_for(tmp_path)
    facts = converged(desired)
    files = tuple(
        replace(file, content=daemon) if file.name == "daemon.json" else file
        for file in facts.system.files
    )
    facts = replace(facts, system=replace(facts.system, files=files))
    [check] = [item for item in judge(desired, facts).checks if item.id == "isolation"]
    assert ("RUN --security=insecure" in check.evidence) is told


def test_entitlements_are_off_in_what_is_written(tmp_path: Path) -> None:
    options = yaml.safe_load(desired_for(tmp_path).file("daemon.json").content)
    assert options["builder"]["entitlements"] == {"security-insecure": False}
