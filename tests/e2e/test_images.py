"""What a host runs: digests that hold, and images that `up` changes with a way back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.kit import BROKEN_DIND, Kit, Lab, publish

pytestmark = pytest.mark.lab

HOST = "host1"
STACK = "/srv/runnerkit/main"
TAG = "pinned/runner:1"


@pytest.fixture(autouse=True)
def as_before(fleet: Kit) -> Iterator[None]:
    """Each test finds and leaves host1 as it was."""
    before = fleet.config.read_text()
    yield
    fleet.config.write_text(before)
    fleet("up", HOST, "--yes")


def set_up(kit: Kit, **sections: Any) -> None:
    kit.edit(lambda content: content["hosts"][HOST].update(sections))
    kit("up", HOST, "--yes")


def a_runner(lab: Lab, version: int) -> None:
    """Another runner, under the same tag."""
    base = "drone/drone-runner-docker:1.8.4"
    publish(lab, HOST, TAG, f"FROM {base}\nLABEL version={version}\n")


def running(lab: Lab, service: str, what: str) -> str:
    name = f"runnerkit-main-{service}-1"
    return lab.on(HOST, "docker", "inspect", "--format", what, name).stdout.strip()


def version(lab: Lab) -> str:
    return running(lab, "runner", '{{index .Config.Labels "version"}}')


def settings(lab: Lab) -> str:
    return lab.on(HOST, "cat", f"{STACK}/.env").stdout


def pin(lab: Lab) -> str:
    [digest] = re.findall(rf"RUNNER_IMAGE={TAG}@(sha256:[0-9a-f]{{64}})\n", settings(lab))
    return str(digest)


def changes(kit: Kit) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(kit("history", HOST, "--json").stdout)["changes"]
    return found


def pins_check(kit: Kit) -> dict[str, str]:
    [host] = json.loads(kit("status", HOST, "--json", expect=None).stdout)["hosts"]
    [check] = [check for check in host["checks"] if check["id"] == "pins"]
    return {key: str(value) for key, value in check.items()}


def test_a_pinned_image_stays_until_upgrade_moves_it_and_rollback_returns(
    fleet: Kit, lab: Lab, tmp_path: Path
) -> None:
    a_runner(lab, 1)
    before = len(changes(fleet))
    set_up(fleet, runner={"image": TAG}, images={"pin": True})
    # Fetching and switching are one change.
    assert [change["result"] for change in changes(fleet)[before:]] == ["done"]
    first = pin(lab)
    assert "DIND_IMAGE=docker:28.5-dind@sha256:" in settings(lab)
    assert running(lab, "runner", "{{.Config.Image}}") == f"{TAG}@{first}"
    fleet("plan", HOST, "--exit-code")
    fleet("render", HOST, "--out", str(tmp_path / "stack"))
    assert (tmp_path / "stack" / ".env").read_text() == settings(lab)

    # Neither a newer image in the registry nor one that somebody pulled changes anything.
    a_runner(lab, 2)
    lab.on(HOST, "docker", "pull", "--quiet", TAG)
    fleet("plan", HOST, "--exit-code")
    assert pins_check(fleet)["status"] == "ok"
    dind = running(lab, "dind", "{{.Id}}")
    answer = fleet("upgrade", HOST, "--yes")
    assert version(lab) == "2"
    assert pin(lab) != first
    assert f"runner is pinned to {pin(lab)[:19]}, not {first[:19]} any more" in answer.output
    assert running(lab, "dind", "{{.Id}}") == dind
    fleet("plan", HOST, "--exit-code")

    fleet("rollback", HOST, "--yes")
    assert (version(lab), pin(lab)) == ("1", first)
    fleet("plan", HOST, "--exit-code")
    assert pins_check(fleet)["status"] == "ok"

    # Somebody runs another image under the same configuration.
    elsewhere = f"s/^RUNNER_IMAGE=.*/RUNNER_IMAGE={TAG.replace('/', '.')}/"
    start = "docker compose up --detach --no-deps runner"
    lab.on(
        HOST, "sh", "-ec",
        f"cd {STACK} && cp -p .env .kept && docker tag {TAG} {TAG.replace('/', '.')} &&"
        f" sed -i {elsewhere} .env && {start} && mv .kept .env",
    )  # fmt: skip
    assert version(lab) == "2"
    check = pins_check(fleet)
    assert (check["status"], check["evidence"].partition(",")[0]) == (
        "warn", f"runner runs {TAG.replace('/', '.')}",
    )  # fmt: skip
    assert "does not run the image of its digest" in fleet("plan", HOST).stdout
    fleet("up", HOST, "--yes")
    assert version(lab) == "1"


def test_up_refuses_what_the_data_cannot_survive_also_while_nothing_runs(
    fleet: Kit, lab: Lab
) -> None:
    dind = running(lab, "dind", "{{.Id}}")
    fleet.edit(lambda content: content["hosts"][HOST].update(docker={"image": "docker:20.10-dind"}))
    for command in (("plan",), ("up", "--yes")):
        answer = fleet(*command, HOST, expect=1)
        assert "caches would be lost" in answer.stdout
        assert "hint: choose another image" in answer.stdout
    assert running(lab, "dind", "{{.Id}}") == dind
    fleet("down", HOST, "--yes")
    assert "caches would be lost" in fleet("up", HOST, "--yes", expect=1).stdout
    driver = {"image": "docker:28.5-dind", "storage_driver": "vfs"}
    fleet.edit(lambda content: content["hosts"][HOST].update(docker={"image": driver["image"]}))
    fleet("up", HOST, "--yes")
    fleet.edit(lambda content: content["hosts"][HOST].update(docker=driver))
    assert "not vfs" in fleet("up", HOST, "--yes", expect=1).stdout


def test_an_image_that_up_brings_and_that_never_gets_healthy_goes_back(
    fleet: Kit, lab: Lab
) -> None:
    publish(lab, HOST, "broken/dind:28", BROKEN_DIND)
    image = running(lab, "dind", "{{.Image}}")
    docker = {"image": "broken/dind:28", "health_timeout": "10s"}
    fleet.edit(lambda content: content["hosts"][HOST].update(docker=docker))
    answer = fleet("up", HOST, "--yes", expect=1)
    assert "no such luck" in answer.stderr
    assert "went back to generation" in answer.stderr
    assert running(lab, "dind", "{{.Image}}") == image
    [host] = json.loads(fleet("status", HOST, "--json").stdout)["hosts"]
    assert {check["id"] for check in host["checks"] if check["status"] == "warn"} == {"drift"}
