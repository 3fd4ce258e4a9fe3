"""Three roads, one result: `runnerkit up`, the Ansible role, and a directory started by hand."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.kit import PIPELINES, ROOT, Kit, Lab, explain, logs_of, new_project, until

pytestmark = pytest.mark.lab

VERSIONS = {"newest": ROOT / ".make/ansible/bin", "oldest": ROOT / ".make/ansible-oldest/bin"}
PLAYBOOK = ROOT / "ansible/playbook.yml"

# What Ansible needs on a host; runnerkit does not.
PYTHON = "command -v python3 || { apt-get update -q && apt-get install -qy python3; }"

OTHER_VALUES: dict[str, Any] = {"runner": {"capacity": 3}, "cache": {"max": "20GB"}}
# What these values move: the settings, the digests of both services, the record of it all.
CHANGED_FILES = {".env", "daemon.json", "runner.env", "manifest.json"}


class Role:
    """`ansible-playbook` with an inventory that `runnerkit export` made of a configuration."""

    def __init__(self, kit: Kit, place: Path, version: str = "newest") -> None:
        kit("export", "ansible", "--out", str(place))
        self._inventory = place / "inventory.yml"
        self._program = VERSIONS[version] / "ansible-playbook"

    def start(self, host: str, *arguments: str) -> subprocess.Popen[str]:
        """Let a play begin."""
        program = Path(sys.executable).parent / "runnerkit"
        return subprocess.Popen(
            [
                str(self._program), "--inventory", str(self._inventory), "--limit", host,
                "--extra-vars", f"runnerkit_program={program}", *arguments, str(PLAYBOOK),
            ],
            cwd=PLAYBOOK.parent,
            env=os.environ | {"ANSIBLE_STDOUT_CALLBACK": "default", "ANSIBLE_NOCOLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )  # fmt: skip

    def __call__(self, host: str, *arguments: str) -> str:
        """What a play printed; it must not fail."""
        return ended(self.start(host, *arguments))


def ended(play: subprocess.Popen[str]) -> str:
    output, _ = play.communicate()
    assert play.returncode == 0, output[-6000:]
    return output


def changed(output: str) -> int:
    return int(re.findall(r"changed=(\d+)", output)[-1])


def changed_files(output: str) -> set[str]:
    return set(re.findall(r"^changed: \[\w+\] => \(item=([\w.]+)\)", output, re.MULTILINE))


def planned(kit: Kit, host: str) -> list[dict[str, Any]]:
    answer = json.loads(kit("plan", host, "--json").stdout)
    return answer["hosts"][0]["actions"]  # type: ignore[no-any-return]


def planned_files(kit: Kit, host: str) -> set[str]:
    writes = [x for x in planned(kit, host) if x["action"] in ("WriteFile", "WriteManifest")]
    return {action["title"].rpartition("/")[2] for action in writes}


def lines_of_diff(text: str) -> set[str]:
    """The lines that a diff adds, digests apart."""
    added = re.findall(r"^\s*\+(?!\+\+)\s*(.*?),?$", text, re.MULTILINE)
    return {line for line in added if not re.search(r"DIGEST|[0-9a-f]{64}|_at|generation", line)}


def variant(kit: Kit, place: Path, host: str, **sections: Any) -> Kit:
    """A configuration of one host that differs from `kit`'s in these sections."""
    content = yaml.safe_load(kit.config.read_text())
    entry = content["hosts"][host]
    content["hosts"] = {host: entry | {k: entry.get(k, {}) | v for k, v in sections.items()}}
    place.mkdir()
    path = place / "runnerkit.yml"
    path.write_text(yaml.safe_dump(content))
    return Kit(path)


def containers(lab: Lab, host: str) -> list[str]:
    ids = lab.on(host, "docker", "ps", "--all", "--quiet", "--no-trunc").stdout.split()
    shown = lab.on(host, "docker", "inspect", "--format", "{{.Id}} {{.State.StartedAt}}", *ids)
    return sorted(shown.stdout.splitlines())


@pytest.fixture
def extra_host(lab: Lab, request: pytest.FixtureRequest) -> Iterator[str]:
    """A host of its own for one test."""
    name = "extra"
    lab.call("host", "add", name, *request.param)
    yield name
    lab.call("host", "remove", name)


def kit_for(kit: Kit, lab: Lab, place: Path, name: str, **sections: Any) -> Kit:
    """The configuration of a host that is not one of the fleet."""
    listed = json.loads(lab.call("hosts").stdout)
    address = next(item["address"] for item in listed if item["name"] == name)
    content = yaml.safe_load(kit.config.read_text())
    known_hosts = content["hosts"]["host1"]["known_hosts"]
    host = {**content["hosts"]["host1"], "ssh": f"root@{address}", "known_hosts": known_hosts}
    content["hosts"] = {name: host | sections}
    place.mkdir()
    path = place / "runnerkit.yml"
    path.write_text(yaml.safe_dump(content))
    return Kit(path)


@pytest.mark.parametrize("version", VERSIONS)
def test_after_up_the_role_has_nothing_to_change(
    version: str, fleet: Kit, lab: Lab, tmp_path: Path
) -> None:
    lab.on("host1", "sh", "-c", PYTHON)
    fleet("up", "host1", "--yes")
    role = Role(fleet, tmp_path / "inventory", version)
    before = containers(lab, "host1")
    assert changed(role("host1", "--check", "--diff")) == 0
    assert changed(role("host1")) == 0
    assert containers(lab, "host1") == before
    assert fleet("plan", "host1", "--exit-code").code == 0


def test_a_change_by_either_road_is_the_same_to_the_other_and_waits_for_builds(
    fleet: Kit, lab: Lab, tmp_path: Path
) -> None:
    lab.on("host1", "sh", "-c", PYTHON)
    for host in ("host2", "host3"):
        fleet("down", host, "--yes")
    fleet("up", "host1", "--yes")
    other = variant(fleet, tmp_path / "other", "host1", **OTHER_VALUES)
    role = Role(other, tmp_path / "inventory")

    shown = role("host1", "--check", "--diff")
    assert changed_files(shown) | {"runner.env"} == CHANGED_FILES
    assert planned_files(other, "host1") == CHANGED_FILES
    assert "To be started: dind, runner" in shown
    from_kit = "\n".join("\n".join(x.get("diff", ())) for x in planned(other, "host1"))
    assert lines_of_diff(shown) == lines_of_diff(from_kit)
    assert lab.secret not in shown

    gate = "/var/lib/runnerkit/main/gate"
    lab.on("host1", "rm", "-rf", gate)
    waiting = lab.queue(PIPELINES / "wait.yml")

    def builds() -> int:
        listed = fleet("docker", "host1", "--", "ps", "--format", "{{.Labels}}").stdout
        return sum("io.drone.step.name=wait" in line for line in listed.splitlines())

    until(lambda: builds() == 1, 60, "the build runs")
    play = role.start("host1")
    marker = "/run/runnerkit/main/draining"
    until(lambda: lab.on("host1", "test", "-e", marker, check=False).code == 0, 120, "it drains")
    assert builds() == 1
    assert play.poll() is None
    lab.on("host1", "mkdir", "-p", gate)
    lab.on("host1", "touch", f"{gate}/open")
    output = ended(play)
    build = json.loads(waiting.communicate(timeout=120)[0])
    assert build["status"] == "success", explain(build)
    assert lab.secret not in output

    assert other("plan", "host1", "--exit-code").code == 0
    assert changed(role("host1")) == 0
    back = planned(fleet, "host1")
    assert planned_files(fleet, "host1") == CHANGED_FILES
    assert [x["action"] for x in back if "Write" not in x["action"]] == ["Drain", "StartServices"]
    fleet("up", "--yes")


@pytest.mark.parametrize("extra_host", [("--bare",)], indirect=True)
@pytest.mark.parametrize("version", VERSIONS)
def test_the_role_makes_a_bare_host_a_runner(
    version: str, extra_host: str, fleet: Kit, lab: Lab, tmp_path: Path
) -> None:
    labels = {"place": version}
    sections = {"runner": {"labels": labels}, "images": {"pin": True}}
    kit = kit_for(fleet, lab, tmp_path / "config", extra_host, **sections)
    role = Role(kit, tmp_path / "inventory", version)
    role(extra_host)
    # The digests are known only once the images are there.
    assert (
        "_IMAGE=docker:28.5-dind@sha256:"
        in lab.on(extra_host, "cat", "/srv/runnerkit/main/.env").stdout
    )
    assert planned(kit, extra_host) == []
    assert kit("plan", "--exit-code").code == 0
    assert changed(role(extra_host)) == 0
    answer = json.loads(kit("status", "--json").stdout)
    assert answer["hosts"][0]["status"] == "healthy"
    changes = json.loads(kit("history", extra_host, "--json").stdout)["changes"]
    assert [(x["owner"]["command"], x["after"], x["result"]) for x in changes] == [
        ("ansible", 1, "done"),
    ]  # fmt: skip
    build_here(lab, tmp_path, labels)


@pytest.mark.parametrize("extra_host", [()], indirect=True)
def test_a_directory_started_by_hand_is_adopted_as_it_is(
    extra_host: str, fleet: Kit, lab: Lab, tmp_path: Path
) -> None:
    labels = {"place": "by-hand"}
    runner = {"labels": labels}
    kit = kit_for(fleet, lab, tmp_path / "config", extra_host, runner=runner)
    content = yaml.safe_load(kit.config.read_text())["hosts"][extra_host]
    options = ["-i", content["identity"], "-o", f"UserKnownHostsFile={content['known_hosts']}"]
    host, directory = content["ssh"], "/srv/runnerkit/main"
    for command in (
        ["ssh", *options, host, "mkdir -p /srv/runnerkit"],
        ["scp", *options, "-rp", str(tmp_path / "stack"), f"{host}:{directory}"],
        ["ssh", *options, host, f"cd {directory} && docker compose up -d --wait"],
    ):
        if command[0] == "scp":
            kit("render", extra_host, "--out", str(tmp_path / "stack"))
        subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    build_here(lab, tmp_path, labels)
    before = containers(lab, extra_host)
    kit("up", "--yes")
    assert containers(lab, extra_host) == before
    assert kit("plan", "--exit-code").code == 0

    lab.on(extra_host, "sed", "-i", "s/^DIND_PIDS=.*/DIND_PIDS=4096/", f"{directory}/.env")
    shown = kit("plan").stdout
    assert "-DIND_PIDS=4096" in shown
    assert "+DIND_PIDS=-1" in shown


def build_here(lab: Lab, place: Path, labels: dict[str, str]) -> None:
    """Build and run the sample project on the runner that has these labels."""
    pipeline = yaml.safe_load((PIPELINES / "build-and-run.yml").read_text()) | {"node": labels}
    path = place / "pipeline.yml"
    path.write_text(yaml.safe_dump(pipeline, sort_keys=False))
    build = lab.submit(path, new_project(place / "greet"))
    assert build["status"] == "success", explain(build)
    assert "--- PASS: TestGreet" in logs_of(build, "test")
