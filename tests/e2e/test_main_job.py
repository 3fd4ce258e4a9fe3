"""From three hosts with Docker to pipelines that run what they have just built."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.kit import ENGINES, PIPELINES, Kit, Lab, explain, logs_of, new_project, only, until

pytestmark = pytest.mark.lab

BUILD_AND_RUN = PIPELINES / "build-and-run.yml"
NEW_ENGINES = ["host1", "host2"]


def containers(lab: Lab, host: str) -> list[str]:
    form = "{{.ID}} {{.Names}} {{.State}}"
    listed = lab.on(host, "docker", "ps", "--all", "--no-trunc", "--format", form).stdout
    ids = [line.split()[0] for line in listed.splitlines()]
    shown = lab.on(host, "docker", "inspect", "--format", "{{.Id}} {{.State.StartedAt}}", *ids)
    return sorted(shown.stdout.splitlines())


def test_up_converges_and_a_second_up_touches_nothing(fleet: Kit, lab: Lab) -> None:
    before = {host: containers(lab, host) for host in ENGINES}
    answer = json.loads(fleet("plan", "--exit-code", "--json").stdout)
    assert [host["actions"] for host in answer["hosts"]] == [[], [], []]
    fleet("up", "--yes")
    assert {host: containers(lab, host) for host in ENGINES} == before


def test_a_fleet_just_set_up_is_healthy(fleet: Kit) -> None:
    answer = json.loads(fleet("status", "--json").stdout)
    assert answer["schema_version"] == 1
    found = {host["name"]: host["status"] for host in answer["hosts"]}
    assert found == dict.fromkeys(ENGINES, "healthy"), answer


@pytest.mark.parametrize("host", ENGINES)
def test_an_image_built_in_one_step_runs_in_the_next(
    host: str, fleet: Kit, lab: Lab, tmp_path: Path
) -> None:
    only(fleet, host)
    build = lab.submit(BUILD_AND_RUN, new_project(tmp_path / "greet"))
    assert build["status"] == "success", explain(build)
    assert build["stages"][0]["machine"] == host
    assert "--- PASS: TestGreet" in logs_of(build, "test")


@pytest.mark.parametrize("host", NEW_ENGINES)
def test_a_test_image_reaches_a_database_service_by_name(
    host: str, fleet: Kit, lab: Lab, tmp_path: Path
) -> None:
    only(fleet, host)
    build = lab.submit(PIPELINES / "database.yml", new_project(tmp_path / "greet"))
    assert build["status"] == "success", explain(build)
    assert "--- PASS: TestDatabase" in logs_of(build, "test")


def test_two_builds_at_once_and_the_third_waits(fleet: Kit, lab: Lab) -> None:
    only(fleet, "host1")
    gate = "/var/lib/runnerkit/main/gate"
    lab.on("host1", "rm", "-rf", gate)
    waiting = [lab.queue(PIPELINES / "wait.yml") for _ in range(3)]

    def running() -> int:
        listed = fleet("docker", "host1", "--", "ps", "--format", "{{.Labels}}").stdout
        return sum("io.drone.step.name=wait" in line for line in listed.splitlines())

    until(lambda: running() == 2, 60, "two builds run")
    lab.on("host1", "mkdir", "-p", gate)
    lab.on("host1", "touch", f"{gate}/open")
    builds = [json.loads(process.communicate(timeout=120)[0]) for process in waiting]
    assert [build["status"] for build in builds] == ["success"] * 3
    stages = sorted(
        (stage for build in builds for stage in build["stages"]), key=lambda stage: stage["started"]
    )
    assert stages[2]["started"] >= min(stage["stopped"] for stage in stages[:2])


def test_the_secret_is_with_the_runner_and_nowhere_else(fleet: Kit, lab: Lab) -> None:
    fleet("up", "host1", "--yes")
    secret = lab.secret
    commands = [("plan",), ("plan", "--json"), ("status", "--json"), ("config",), ("up", "--yes")]
    for command in commands:
        assert secret not in fleet(*command, expect=None).output
    runner = "runnerkit-main-runner-1"
    places = {
        "docker inspect": lab.on("host1", "docker", "inspect", runner).stdout,
        "argv": lab.on("host1", "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").stdout,
        "compose": lab.on("host1", "sh", "-c", "cat /srv/runnerkit/main/.env").stdout,
        "manifest": lab.on("host1", "cat", "/srv/runnerkit/main/manifest.json").stdout,
    }
    assert not [place for place, text in places.items() if secret in text]
    readable = lab.on(
        "host1", "sh", "-c",
        "grep -rlF 'wo#rd =x' /srv /etc /run /var /tmp /root /home 2>/dev/null",
        check=False,
    ).stdout.split()  # fmt: skip
    assert [path for path in readable if not path.endswith("/runner.env")] == []
    for path in readable:
        assert lab.on("host1", "stat", "-c", "%a %U", path).stdout.strip() == "600 root"
    # The server accepted it: byte for byte the same.
    answer = json.loads(fleet("status", "host1", "--json").stdout)
    checks = {check["id"]: check for check in answer["hosts"][0]["checks"]}
    assert checks["server"]["status"] == "ok"
    assert checks["polling"]["status"] == "ok"
