"""Every check of `status` is seen to turn red for its own reason alone, and green again."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.e2e.faults import FAULTS, SETTINGS, Fault
from tests.e2e.kit import Kit, Lab, until
from tests.e2e.registries import released
from tests.e2e.tls import certificate, tls_server

pytestmark = pytest.mark.lab

PATIENCE = 90.0


@dataclass(frozen=True)
class Patient:
    """A healthy host to be made ill, and how it is looked at."""

    lab: Lab
    kit: Kit

    def shell(self, script: str) -> None:
        self.lab.on("sick", "sh", "-ec", SETTINGS + script)

    def ills(self, *options: str, env: dict[str, str] | None = None) -> dict[str, dict[str, str]]:
        """The checks that are neither ok nor skipped."""
        answer = self.kit("status", "sick", "--json", *options, expect=None, env=env)
        [host] = json.loads(answer.stdout)["hosts"]
        return {c["id"]: c for c in host["checks"] if c["status"] not in ("ok", "skip")}

    def becomes(
        self, expected: dict[str, str], *options: str, env: dict[str, str] | None = None
    ) -> dict[str, dict[str, str]]:
        """Wait for these checks, and no others, to be red; what takes effect at once is at once."""
        found: dict[str, dict[str, str]] = {}

        def as_expected() -> bool:
            nonlocal found
            found = self.ills(*options, env=env)
            return {name: check["status"] for name, check in found.items()} == expected

        try:
            until(as_expected, PATIENCE, f"only {expected} is wrong")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{json.dumps(found, indent=1)}") from None
        return found


@pytest.fixture(scope="module")
def patient(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Patient]:
    """A host of its own, with a small disk and few networks, so that it can be filled."""
    lab.call("host", "add", "sick", "--disk", "3G")
    try:
        [host] = [item for item in json.loads(lab.call("hosts").stdout) if item["name"] == "sick"]
        content = yaml.safe_load(Path(lab.info["config"]).read_text())
        content["hosts"] = {"sick": entry(content, host)}
        config = tmp_path_factory.mktemp("sick") / "runnerkit.yml"
        config.write_text(yaml.safe_dump(content))
        kit = Kit(config)
        kit("up", "--yes")
        yield Patient(lab, kit)
    finally:
        lab.call("host", "remove", "sick")


def entry(content: dict[str, Any], host: dict[str, Any]) -> dict[str, Any]:
    """The configuration of the host: like that of host1 but for its disk and addresses."""
    like: dict[str, Any] = content["hosts"]["host1"]
    return like | {
        "ssh": f"root@{host['address']}",
        "docker": {
            "data": "/data",
            "preload": ["debian:trixie-slim"],
            "address_pools": [{"base": "10.231.0.0/26", "size": 29}],
        },
        "cache": {"max": "512MiB", "min_free": "1MiB"},
        "runner": {"labels": {"pool": "sick"}},
    }


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
def test_a_fault_is_told_alone_and_its_end_too(fault: Fault, patient: Patient) -> None:
    patient.shell(fault.breaks)
    try:
        found = patient.becomes(fault.expected)
        for check in found.values():
            assert check["evidence"]
            assert fault.hint in check["hint"]
    finally:
        for step in fault.mends:
            if isinstance(step, tuple):
                patient.kit(*step)
            else:
                patient.shell(step)
    patient.becomes({})


@contextmanager
def server_fault(lab: Lab, fault: dict[str, object]) -> Iterator[None]:
    lab.call("server", "POST", "/lab/faults", json.dumps(fault))
    try:
        yield
    finally:
        lab.call("server", "DELETE", "/lab/faults")


@contextmanager
def configured(patient: Patient, change: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    """Another configuration, not carried out: `drift` says so beside what else it does."""
    before = patient.kit.config.read_text()
    patient.kit.edit(lambda content: change(content["hosts"]["sick"]))
    try:
        yield
    finally:
        patient.kit.config.write_text(before)


@pytest.mark.parametrize(
    ("secret", "answer", "hint"),
    [
        ("another one", "HTTP 401", "compare the source of `secret:`"),
        ("", "HTTP 403", "set DRONE_RPC_SECRET on the server"),
    ],
)
def test_a_secret_that_the_server_refuses(
    secret: str, answer: str, hint: str, patient: Patient
) -> None:
    with server_fault(patient.lab, {"secret": secret}):
        found = patient.becomes({"server": "fail"})
        assert found["server"]["evidence"].startswith(answer)
        assert hint in found["server"]["hint"]
    patient.becomes({})


def test_a_runner_that_gets_no_work_is_told_by_its_own_log(patient: Patient) -> None:
    with server_fault(patient.lab, {"poll": {"status": 500, "delay": 1}}):
        # A poll that is under way would go on for half a minute.
        patient.shell("docker restart --time 0 $runner")
        found = patient.becomes({"polling": "fail"})
        assert "cannot request stage" in found["polling"]["evidence"]
        assert found["polling"]["hint"] == "runnerkit logs sick runner"
    patient.becomes({})


def test_a_cache_above_its_ceiling_is_told(patient: Patient) -> None:
    # A step that still runs holds the layer below it, so that the GC has to leave it.
    patient.shell(
        "mkdir -p /tmp/big && cd /tmp/big && printf '%s\\n' 'FROM debian:trixie-slim' "
        "'RUN fallocate -l 800000000 /much' 'RUN sleep 300' >Dockerfile; "
        "DOCKER_HOST=unix:///run/runnerkit/main/docker.sock "
        "setsid docker build --quiet . >build.log 2>&1 & echo $! >/tmp/big/pid"
    )
    try:
        found = patient.becomes({"cache-use": "warn"})
        assert "512.0 MiB (cache.max)" in found["cache-use"]["evidence"]
        assert "runnerkit logs sick dind" in found["cache-use"]["hint"]
    finally:
        patient.shell("kill -9 -$(cat /tmp/big/pid); inner builder prune --all --force")
    patient.becomes({})


@pytest.mark.parametrize(
    ("change", "expected", "hint"),
    [
        ({"runner": {"capacity": 3}}, {"drift": "warn"}, "runnerkit plan sick"),
        (
            {"runner": {"limit": {"repos": ["octocat"]}}},
            {"drift": "warn", "selection": "fail"},
            "octocat/*",
        ),
        (
            {"runner": {"privileged_images": ["octo/builder"]}},
            {"drift": "warn", "hardening": "warn"},
            "set runner.limit.repos",
        ),
        (
            {"registry": {"cache": "127.0.0.1:1/layers"}},
            {"drift": "warn", "layer-cache": "warn"},
            "take registry.cache out",
        ),
    ],
    ids=["drift", "selection", "hardening", "layer-cache"],
)
def test_what_the_configuration_alone_decides(
    change: dict[str, Any], expected: dict[str, str], hint: str, patient: Patient
) -> None:
    with configured(patient, lambda host: host.update(change)):
        found = patient.becomes(expected)
        assert any(hint in check["hint"] for check in found.values())
    patient.becomes({})


def test_a_login_without_rights_is_one_failure(patient: Patient) -> None:
    with configured(patient, lambda host: host.update(ssh=host["ssh"].replace("root@", "plain@"))):
        found = patient.becomes({"root": "fail"})
        assert "sudo: true" in found["root"]["hint"]
    patient.becomes({})


def test_a_newer_image_is_told_until_it_runs(patient: Patient) -> None:
    patient.becomes({}, "--check-updates")
    with released(patient.lab.info["registry"], "drone/drone-runner-docker", "1.8.4"):
        found = patient.becomes({"updates": "warn"}, "--check-updates")
        assert "drone/drone-runner-docker:1.8.4" in found["updates"]["summary"]
        assert found["updates"]["hint"] == "runnerkit upgrade sick"
        patient.shell("docker pull --quiet drone/drone-runner-docker:1.8.4")
        patient.becomes({"updates": "warn"}, "--check-updates")
        patient.kit("upgrade", "sick", "--yes")
        patient.becomes({}, "--check-updates")


@pytest.mark.parametrize(
    ("days", "names", "trusted", "offset", "expected", "words"),
    [
        (-1, True, True, 0, {"certificate": "fail"}, "renew it on the server"),
        (3, True, True, 0, {"certificate": "warn"}, "renew it on the server"),
        (90, False, True, 0, {"certificate": "fail"}, "write `server:` with a name"),
        (90, True, False, 0, {"certificate": "fail"}, "trust its authority"),
        (90, True, True, -900, {"server-clock": "fail"}, "timedatectl set-ntp true"),
        (90, True, True, 0, {}, ""),
    ],
    ids=["expired", "expires-soon", "another-name", "unknown-authority", "clock", "well"],
)
def test_tls_and_the_time_of_a_server(
    days: int, names: bool, trusted: bool, offset: int,
    expected: dict[str, str], words: str, patient: Patient, tmp_path: Path,
) -> None:  # fmt: skip
    address = str(urlsplit(patient.lab.info["server"]["url"]).hostname)
    made = certificate(tmp_path, address if names else "10.255.0.1", days)
    with (
        tls_server(address, made, offset) as url,
        configured(patient, lambda host: host.update(server=url)),
    ):
        bundle = {"SSL_CERT_FILE": str(made.authority)} if trusted else {}
        found = patient.becomes({"drift": "warn"} | expected, env=bundle)
        assert all(words in check["hint"] for name, check in found.items() if name in expected)


@pytest.mark.parametrize(("port", "words"), [(8080, "plain http"), (1, "no connection")])
def test_a_server_without_tls_and_none_at_all_are_told_apart(
    port: int, words: str, patient: Patient
) -> None:
    address = urlsplit(patient.lab.info["server"]["url"]).hostname
    url = f"https://{address}:{port}"
    with configured(patient, lambda host: host.update(server=url)):
        found = patient.becomes({"drift": "warn", "server": "fail"})
        assert words in found["server"]["evidence"]
    patient.becomes({})


PIPELINE = """
kind: pipeline
type: docker
name: default
clone: {disable: true}
node: {pool: sick}
steps:
  - name: work
    image: debian:trixie-slim
    commands: ["for n in $(seq 8); do head -c 20000000 /dev/urandom | sha256sum; done"]
"""


def no_false_alarm(patient: Patient, runs: int, tmp_path: Path) -> None:
    """Look `runs` times while two builds are under way at any time, and till one is seen to run."""
    pipeline = tmp_path / ".drone.yml"
    pipeline.write_text(PIPELINE)
    building: list[subprocess.Popen[str]] = []
    looks = started = 0
    busy = False
    patience = time.monotonic() + PATIENCE
    try:
        while looks < runs or (not busy and time.monotonic() < patience):
            looks += 1
            building = [build for build in building if build.poll() is None]
            while len(building) < 2:
                building.append(patient.lab.queue(pipeline))
                started += 1
            answer = patient.kit("status", "sick", "--json", expect=None)
            [host] = json.loads(answer.stdout)["hosts"]
            wrong = [c for c in host["checks"] if c["status"] not in ("ok", "skip")]
            assert not wrong, f"look {looks}: {json.dumps(wrong, indent=1)}"
            assert answer.code == 0
            busy |= any(c["id"] == "slots" and c["summary"][0] != "0" for c in host["checks"])
    finally:
        for build in building:
            out, err = build.communicate(timeout=PATIENCE)
            assert build.returncode == 0, out + err
    assert busy, f"no look found any of {started} builds running"


def test_a_healthy_host_gives_no_false_alarm_while_it_builds(
    patient: Patient, tmp_path: Path
) -> None:
    no_false_alarm(patient, 5, tmp_path)


@pytest.mark.soak
def test_fifty_looks_at_a_building_host_give_no_false_alarm(
    patient: Patient, tmp_path: Path
) -> None:
    no_false_alarm(patient, 50, tmp_path)


def test_a_dead_host_of_five_does_not_hold_up_the_others(patient: Patient, tmp_path: Path) -> None:
    """Four stacks on a living host, and a machine that takes connections and says nothing."""
    address = str(urlsplit(patient.lab.info["server"]["url"]).hostname)
    content = yaml.safe_load(patient.kit.config.read_text())
    sick = content["hosts"]["sick"]
    with socket.create_server((address, 0)) as dead:
        content["hosts"] = {"dead": sick | {"ssh": f"root@{address}:{dead.getsockname()[1]}"}} | {
            f"alive{n}": sick | {"stack": f"stack{n}"} for n in range(4)
        }
        config = tmp_path / "runnerkit.yml"
        config.write_text(yaml.safe_dump(content))
        kit = Kit(config)
        shown = kit("status", expect=5).stdout
        order = [line.split()[0] for line in shown.splitlines() if line[:1].strip()]
    assert set(order) == {"dead", "alive0", "alive1", "alive2", "alive3"}
    assert order[-1] == "dead"
