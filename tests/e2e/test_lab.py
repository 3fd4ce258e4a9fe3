"""The lab keeps its own promises: real hosts, power that can be cut, nothing left behind."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.kit import ROOT, Lab, lab_command, until

pytestmark = pytest.mark.lab

NAME = f"self-{os.getpid()}"


@pytest.fixture(scope="module")
def own_lab() -> Iterator[Lab]:
    answer = lab_command(NAME, "up", "--owner", str(os.getpid()))
    yield Lab(NAME, json.loads(answer.stdout))
    lab_command(NAME, "down")


def remains(name: str, index: int) -> list[str]:
    """Everything on this machine that belongs to a lab."""
    state = str(ROOT / ".lab" / name)
    found = [state] if Path(state).exists() else []
    for place in Path("/sys/fs/cgroup").rglob(f"runnerkit-lab/{name}-*"):
        found += [str(place)]
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = process.joinpath("cmdline").read_bytes().split(b"\0")
            own = process.name == str(os.getpid())
            if not own and any(state.encode() in word for word in words):
                found.append(f"process {process.name}: {words}")
            if f"{state}/" in process.joinpath("mountinfo").read_text():
                found.append(f"mount seen by process {process.name}")
    for device in Path("/sys/class/net").iterdir():
        if device.name == f"rklab{index}" or device.name.startswith(f"rk{index}h"):
            found.append(f"device {device.name}")
    for file in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            found += [str(file)] if state in file.read_text() else []
    rules = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout
    marks = (f"rklab{index} ", f"10.213.{index}.")
    found += [rule for rule in rules.splitlines() if any(mark in f"{rule} " for mark in marks)]
    claim = Path(f"/run/runnerkit-lab/{index}/claim.json")
    found += [str(claim)] if claim.exists() and state in claim.read_text() else []
    return found


def index_of(info: dict[str, object]) -> int:
    return int(str(info["registry"]).split(".")[2])


def assert_nothing_remains(name: str, index: int) -> None:
    # The kernel takes namespaces and their devices apart a moment after their last process.
    with contextlib.suppress(AssertionError):
        until(lambda: not remains(name, index), 10, "nothing remains")
    assert remains(name, index) == []


def ssh(lab: Lab, user: str, host: str, command: str) -> subprocess.CompletedProcess[str]:
    [facts] = [item for item in lab.info["hosts"] if item["name"] == host]
    options = ["BatchMode=yes", f"UserKnownHostsFile={facts['known_hosts']}"]
    options += ["StrictHostKeyChecking=yes", "IdentitiesOnly=yes"]
    argv = ["ssh", "-F", "none", "-i", facts["key"], *(f"-o{option}" for option in options)]
    target = f"{user}@{facts['address']}"
    return subprocess.run([*argv, target, command], capture_output=True, text=True, check=False)


def test_a_second_up_prints_the_same_and_starts_nothing(own_lab: Lab) -> None:
    before = own_lab.on("host1", "cat", "/proc/1/stat").stdout.split()[21]
    assert json.loads(own_lab.call("up").stdout) == own_lab.info
    assert own_lab.on("host1", "cat", "/proc/1/stat").stdout.split()[21] == before


def test_exec_hands_through_input_output_and_exit_code(own_lab: Lab) -> None:
    command = "cat; echo no >&2; exit 7"
    argv = [sys.executable, "-m", "tests.lab", "exec", "host1", "--", "sh", "-c", command]
    env = os.environ | {"RUNNERKIT_LAB": own_lab.name}
    done = subprocess.run(argv, cwd=ROOT, env=env, input=b"a\0b", capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, b"a\0b", b"no\n")


def test_each_user_has_the_rights_it_is_there_for(own_lab: Lab) -> None:
    assert ssh(own_lab, "root", "host1", "id -un; hostname").stdout == "root\nhost1\n"
    assert ssh(own_lab, "ops", "host1", "sudo -n id -un").stdout == "root\n"
    assert ssh(own_lab, "guard", "host1", "sudo -n true").returncode != 0
    with_password = "echo lab-guard-password | sudo -S -p '' id -un"
    assert ssh(own_lab, "guard", "host1", with_password).stdout == "root\n"
    refused = "echo lab-guard-password | sudo -S -p '' id -un"
    assert ssh(own_lab, "plain", "host1", refused).returncode != 0


@pytest.mark.parametrize("kind", [[], ["--systemd"]], ids=["sysvinit", "systemd"])
def test_power_loss_ends_everything_but_dockers_data(own_lab: Lab, kind: list[str]) -> None:
    name = "power"
    own_lab.call("host", "add", name, *kind)
    run = "docker run --detach --restart unless-stopped --name keep debian:trixie-slim sleep 1d"
    own_lab.on(name, *shlex.split(run))
    own_lab.on(name, "docker", "exec", "keep", "touch", "/written")
    own_lab.call("cut", name)
    assert own_lab.call("exec", name, "--", "true", check=False).code != 0
    own_lab.call("boot", name)

    def back() -> bool:
        argv = ["docker", "exec", "keep", "ls", "/written"]
        return own_lab.on(name, *argv, check=False).code == 0

    until(back, 30, "the container runs again with its data")
    own_lab.call("host", "remove", name)


@pytest.mark.parametrize("kind", [[], ["--systemd"]], ids=["sysvinit", "systemd"])
def test_docker_installs_on_a_bare_host_and_survives_a_boot(own_lab: Lab, kind: list[str]) -> None:
    name = "empty"
    own_lab.call("host", "add", name, "--bare", *kind)
    assert own_lab.on(name, "which", "docker", check=False).code != 0
    install = "apt-get install --yes --no-install-recommends docker.io docker-cli docker-compose"
    own_lab.on(name, "env", "DEBIAN_FRONTEND=noninteractive", *shlex.split(install))

    def docker() -> bool:
        return own_lab.on(name, "docker", "info", check=False).code == 0

    until(docker, 30, "the package's own scripts start the daemon")
    own_lab.call("cut", name)
    own_lab.call("boot", name)
    until(docker, 30, "the daemon starts at boot")
    assert own_lab.on(name, "docker", "compose", "version").code == 0
    own_lab.call("host", "remove", name)


def test_a_disk_is_as_large_as_asked_and_survives_a_boot(own_lab: Lab) -> None:
    own_lab.call("host", "add", "small", "--bare", "--disk", "64M", "--memory", "1G")
    size = own_lab.on("small", "df", "--output=size", "--block-size=1M", "/data").stdout
    assert 40 < int(size.split()[1]) <= 64
    own_lab.on("small", "touch", "/data/kept")
    own_lab.call("cut", "small")
    own_lab.call("boot", "small")
    own_lab.on("small", "ls", "/data/kept")
    own_lab.call("host", "remove", "small")


def test_an_image_from_a_tarball_replaces_a_stand_in(own_lab: Lab, tmp_path: Path) -> None:
    name = "drone/git:latest"
    own_lab.on("host1", "docker", "pull", "debian:trixie-slim")
    own_lab.on("host1", "docker", "tag", "debian:trixie-slim", name)
    tarball = tmp_path / "image.tar"
    argv = [sys.executable, "-m", "tests.lab", "exec", "host1", "--", "docker", "save", name]
    env = os.environ | {"RUNNERKIT_LAB": NAME}
    with tarball.open("wb") as file:
        subprocess.run(argv, cwd=ROOT, env=env, stdout=file, check=True)
    told = json.loads(own_lab.call("image", name, str(tarball)).stdout)
    own_lab.call("up")
    own_lab.on("host1", "docker", "image", "rm", name)
    pulled = own_lab.on("host1", "docker", "pull", name).stdout
    assert f"Digest: {told['digest']}" in pulled


def test_nothing_is_left_after_down() -> None:
    name = f"{NAME}-down"
    lab = Lab(name, json.loads(lab_command(name, "up", "--owner", str(os.getpid())).stdout))
    lab.call("host", "add", "large", "--systemd", "--disk", "64M")
    lab.on("large", "docker", "run", "--detach", "--privileged", "docker:28-dind")
    index = index_of(lab.info)
    assert remains(name, index)
    lab.call("down")
    assert_nothing_remains(name, index)
    lab.call("down")
    assert lab.call("hosts", check=False).code != 0


def test_the_keeper_cleans_up_after_a_killed_owner() -> None:
    name = f"{NAME}-keeper"
    with subprocess.Popen(["sleep", "600"]) as owner:
        answer = lab_command(name, "up", "--systemd", "--owner", str(owner.pid))
        owner.kill()
    assert_nothing_remains_soon(name, index_of(json.loads(answer.stdout)))


def assert_nothing_remains_soon(name: str, index: int) -> None:
    until(lambda: not (ROOT / ".lab" / name).exists(), 30, "the keeper took the lab down")
    assert_nothing_remains(name, index)


@pytest.mark.parametrize("moment", ["starting registry", "booting"])
def test_down_works_after_a_killed_up(moment: str) -> None:
    name = f"{NAME}-killed"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.lab", "up", "--hosts", "2"],
        cwd=ROOT,
        env=os.environ | {"RUNNERKIT_LAB": name},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stderr is not None
        for line in process.stderr:
            if moment in line:
                break
        process.send_signal(signal.SIGKILL)
    [claim] = [
        file
        for file in Path("/run/runnerkit-lab").glob("*/claim.json")
        if json.loads(file.read_text())["state"].endswith(f"/{name}")
    ]
    lab_command(name, "down")
    assert_nothing_remains(name, int(claim.parent.name))
