"""Hosts as people have them: bare ones, sudo with and without a password, dead ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.e2e.aptrepository import make_repository, serving
from tests.e2e.kit import PIPELINES, ROOT, Kit, Lab, explain, logs_of, new_project

pytestmark = pytest.mark.lab


def with_host(kit: Kit, place: Path, **host: object) -> Kit:
    """A configuration of one host, like host1 but for `host`."""
    content = yaml.safe_load(kit.config.read_text())
    content["hosts"] = {"it": content["hosts"]["host1"] | host}
    path = place / "runnerkit.yml"
    path.write_text(yaml.safe_dump(content))
    return Kit(path)


def address(lab: Lab, host: str) -> str:
    return str(next(item["address"] for item in lab.info["hosts"] if item["name"] == host))


@pytest.mark.parametrize("kind", [(), ("--systemd",)], ids=["plain", "systemd"])
def test_a_bare_host_becomes_a_runner(
    kind: tuple[str, ...], fleet: Kit, lab: Lab, tmp_path: Path
) -> None:
    lab.call("host", "add", "bare", "--bare", *kind)
    try:
        listed = json.loads(lab.call("hosts").stdout)
        [bare] = [item for item in listed if item["name"] == "bare"]
        for other in ("host1", "host2", "host3"):
            fleet("down", other, "--yes")
        kit = with_host(fleet, tmp_path, ssh=f"root@{bare['address']}")
        assert "install docker.io" in kit("plan").stdout
        kit("up", "--yes")
        kit("plan", "--exit-code")
        build = lab.submit(PIPELINES / "build-and-run.yml", new_project(tmp_path / "greet"))
        assert build["status"] == "success", explain(build)
        assert "--- PASS: TestGreet" in logs_of(build, "test")
    finally:
        lab.call("host", "remove", "bare")


def copied_archives(lab: Lab, host: str, place: Path) -> Path:
    """The packages that lie in a bare host's apt archive."""
    place.mkdir()
    fetch = ["exec", host, "--", "tar", "-C", "/var/cache/apt/archives", "-cf", "-", "."]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.lab", *fetch],
        cwd=ROOT,
        env=os.environ | {"RUNNERKIT_LAB": lab.name},
        stdout=subprocess.PIPE,
    ) as packed:
        subprocess.run(["tar", "-C", str(place), "-xf", "-"], stdin=packed.stdout, check=True)
    assert packed.returncode == 0
    return place


def test_docker_comes_from_its_own_repository_when_that_is_wanted(
    fleet: Kit, lab: Lab, tmp_path: Path
) -> None:
    gateway = str(urlsplit(lab.info["registry"]).hostname)
    lab.call("host", "add", "bare", "--bare")
    try:
        archives = copied_archives(lab, "bare", tmp_path / "archives")
        make_repository(tmp_path / "linux" / "debian", "trixie", archives)
        listed = json.loads(lab.call("hosts").stdout)
        [bare] = [item for item in listed if item["name"] == "bare"]
        with serving(tmp_path, gateway) as url:
            official = {"source": "official", "repository": f"{url}/linux"}
            docker = yaml.safe_load(fleet.config.read_text())["hosts"]["host1"]["docker"] | official
            kit = with_host(fleet, tmp_path, ssh=f"root@{bare['address']}", docker=docker)
            assert "install docker-ce docker-ce-cli containerd.io" in kit("plan").stdout
            kit("up", "--yes")
            kit("plan", "--exit-code")
        installed = lab.on("bare", "dpkg-query", "--show", "--showformat=${Status}", "docker-ce")
        assert installed.stdout == "install ok installed"
    finally:
        lab.call("host", "remove", "bare")


@pytest.mark.parametrize(
    ("user", "settings"),
    [
        ("ops", {"sudo": True}),
        ("guard", {"sudo": True, "sudo_password": "env:GUARD_PASSWORD"}),
    ],
)
def test_sudo_works_with_and_without_a_password(
    user: str, settings: dict[str, Any], fleet: Kit, lab: Lab, tmp_path: Path
) -> None:
    fleet("up", "host1", "--yes")
    kit = with_host(fleet, tmp_path, ssh=f"{user}@{address(lab, 'host1')}", **settings)
    kit.edit(lambda content: content["hosts"]["it"].update(runner={"name": "host1"}))
    answer = kit("plan", "--exit-code", env={"GUARD_PASSWORD": "lab-guard-password"})
    assert "nothing to do" in answer.stdout


@pytest.mark.parametrize(
    ("user", "settings", "code", "words"),
    [
        ("plain", {}, 1, "sudo"),
        ("plain", {"sudo": True}, 1, "sudo"),
        ("guard", {"sudo": True, "sudo_password": "env:GUARD_PASSWORD"}, 1, "password"),
        ("nobody-at-all", {}, 5, "nobody-at-all"),
    ],
)
def test_a_login_without_the_right_is_explained(
    user: str,
    settings: dict[str, Any],
    code: int,
    words: str,
    fleet: Kit,
    lab: Lab,
    tmp_path: Path,
) -> None:
    kit = with_host(fleet, tmp_path, ssh=f"{user}@{address(lab, 'host1')}", **settings)
    answer = kit("plan", expect=code, env={"GUARD_PASSWORD": "wrong-password"})
    assert words in answer.output
    assert "hint:" in answer.output
    assert "wrong-password" not in answer.output


def test_one_dead_host_does_not_stop_the_others(fleet: Kit, lab: Lab) -> None:
    fleet("up", "--yes")
    lab.call("cut", "host3")
    try:
        answer = fleet("status", "--json", expect=5)
        found = {host["name"]: host["status"] for host in json.loads(answer.stdout)["hosts"]}
        assert found == {"host1": "healthy", "host2": "healthy", "host3": "unreachable"}
        fleet("up", "--yes", expect=5)
    finally:
        lab.call("boot", "host3")


def test_a_changed_host_key_is_refused(fleet: Kit, lab: Lab, tmp_path: Path) -> None:
    other = Path(lab.info["hosts"][0]["known_hosts"]).read_text().splitlines()
    own, foreign = (address(lab, name) for name in ("host1", "host2"))
    swapped = tmp_path / "known_hosts"
    lines = [line.replace(foreign, own) for line in other if line.startswith(foreign)]
    swapped.write_text("\n".join(lines) + "\n")
    kit = with_host(fleet, tmp_path, known_hosts=str(swapped))
    answer = kit("status", expect=5)
    assert "changed" in answer.output
