"""What admins do day by day: logs, the inner daemon, stopping a host, doing without a registry."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.kit import ROOT, Kit, Lab, explain, logs_of, until

pytestmark = pytest.mark.lab

HOSTILE = "a,b: $HOME ${PATH} 'b' \"c\" #d \\e =f"


def start(kit: Kit, *arguments: str) -> subprocess.Popen[str]:
    """runnerkit in the background, to be interrupted later."""
    return subprocess.Popen(
        [sys.executable, "-m", "runnerkit", *arguments],
        env=os.environ | {"RUNNERKIT_CONFIG": str(kit.config)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def interrupted(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit code after Ctrl-C, and everything that was said until then."""
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    return process.returncode, out + err


def test_logs_are_shown_and_followed_until_interrupted(fleet: Kit) -> None:
    assert "polling the remote server" in fleet("logs", "host1").stdout
    everything = fleet("logs", "host1", "dind", "--tail", "1000000").stdout
    assert "API listen on /run/runnerkit/docker.sock" in everything
    assert len(fleet("logs", "host1", "dind", "--tail", "1").stdout.splitlines()) == 1
    following = start(fleet, "logs", "host1", "-f")
    assert following.stdout is not None
    assert following.stdout.readline()
    code, said = interrupted(following)
    assert code == 130, said
    assert "Traceback" not in said


def test_the_tunnel_to_the_inner_daemon_lasts_until_it_is_interrupted(fleet: Kit) -> None:
    tunnel = start(fleet, "docker", "host1", "--shell-env")
    assert tunnel.stdout is not None
    line = tunnel.stdout.readline().strip()
    socket = line.removeprefix("export DOCKER_HOST=")
    asked = ["docker", "version", "--format", "{{.Server.Version}}"]
    env = os.environ | {"DOCKER_HOST": socket}
    answer = subprocess.run(asked, env=env, capture_output=True, text=True, check=True)
    assert answer.stdout.startswith("28.5")
    assert interrupted(tunnel)[0] == 0
    assert not Path(socket.removeprefix("unix://")).exists()


def test_values_reach_steps_as_they_were_written(fleet: Kit, lab: Lab, tmp_path: Path) -> None:
    content = yaml.safe_load(fleet.config.read_text())
    content["hosts"]["host1"]["runner"] = {"environ": {"HOSTILE": HOSTILE}}
    config = tmp_path / "runnerkit.yml"
    config.write_text(yaml.safe_dump(content))
    for other in ("host2", "host3"):
        fleet("down", other, "--yes")
    Kit(config)("up", "host1", "--yes")
    pipeline = tmp_path / "show.yml"
    step = {
        "name": "show",
        "image": "debian:trixie-slim",
        "commands": ["printf '<%s>\\n' \"$HOSTILE\""],
    }
    head = {"kind": "pipeline", "type": "docker", "name": "default"}
    pipeline.write_text(yaml.safe_dump(head | {"steps": [step]}))
    build = lab.submit(pipeline)
    assert build["status"] == "success", explain(build)
    assert f"<{HOSTILE}>" in logs_of(build, "show")
    fleet("up", "--yes")


@pytest.fixture
def island(fleet: Kit, lab: Lab, tmp_path: Path) -> Iterator[Kit]:
    """A host that cannot pull, the archives that it needs, and a configuration for it."""
    lab.call("host", "add", "island")
    lab.on("island", "sh", "-c", "echo '{}' >/etc/docker/daemon.json")
    lab.call("cut", "island")
    lab.call("boot", "island")
    archives = tmp_path / "archives"
    archives.mkdir()
    lab.on("host1", "docker", "pull", "drone/git:latest")
    stack = ["docker:28.5-dind", "drone/drone-runner-docker:1.8.4"]
    for name, images in {"stack": stack, "clone": ["drone/git:latest"]}.items():
        save = [sys.executable, "-m", "tests.lab", "exec", "host1", "--", "docker", "save", *images]
        with (archives / f"{name}.tar").open("wb") as file:
            env = os.environ | {"RUNNERKIT_LAB": lab.name}
            subprocess.run(save, cwd=ROOT, env=env, stdout=file, check=True)
    content = yaml.safe_load(fleet.config.read_text())
    [address] = [
        item["address"]
        for item in yaml.safe_load(lab.call("hosts").stdout)
        if item["name"] == "island"
    ]
    content["hosts"] = {"island": content["hosts"]["host1"] | {"ssh": f"root@{address}"}}
    content["hosts"]["island"]["docker"] |= {"mirrors": [], "preload": ["drone/git"]}
    content["hosts"]["island"]["images"] = {"load": str(archives)}
    config = tmp_path / "runnerkit.yml"
    config.write_text(yaml.safe_dump(content))
    yield Kit(config)
    lab.call("host", "remove", "island")


def test_a_host_without_a_registry_is_set_up_and_purged(island: Kit, lab: Lab) -> None:
    island("up", "--yes")
    island("plan", "--exit-code")
    listed = island("docker", "island", "--", "image", "ls", "--format", "{{.Repository}}").stdout
    assert listed.split() == ["drone/git"]
    places = ("/srv/runnerkit/main", "/var/lib/runnerkit/main", "/run/runnerkit/main")
    assert all(lab.on("island", "test", "-d", place, check=False).code == 0 for place in places)
    island("down", "island", "--purge", expect=2)  # nobody is there to ask
    island("down", "island", "--purge", "--yes")
    assert all(lab.on("island", "test", "-e", place, check=False).code == 1 for place in places)
    assert lab.on("island", "docker", "ps", "--all", "--quiet").stdout == ""


def test_an_archive_that_is_missing_is_said_before_anything_is_sent(island: Kit) -> None:
    island.edit(lambda content: content["hosts"]["island"]["docker"].update(image="docker:27-dind"))
    answer = island("up", "--yes", expect=1)
    assert "docker:27-dind is in none of the 2 image archives" in answer.stderr
    assert "hint: docker save docker:27-dind" in answer.stderr


def test_down_keeps_images_and_caches(fleet: Kit, lab: Lab) -> None:
    fleet("docker", "host1", "--", "pull", "debian:trixie-slim")
    fleet("down", "host1", "--yes")
    assert lab.on("host1", "docker", "ps", "--all", "--quiet").stdout == ""
    until(lambda: fleet("up", "host1", "--yes", expect=None).code == 0, 60, "host1 is back")
    listed = fleet("docker", "host1", "--", "image", "ls", "--format", "{{.Repository}}").stdout
    assert "debian" in listed.split()
