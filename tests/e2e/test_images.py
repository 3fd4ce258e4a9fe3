"""What a host runs: digests that hold, and images that `up` changes with a way back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runnerkit.secret import Secret, mask
from tests.e2e.kit import Kit, Lab, publish

pytestmark = pytest.mark.lab

HOST = "host1"
STACK = "/srv/runnerkit/main"
RUNNER = "drone/drone-runner-docker:1.8.4"
TAG = "pinned/runner:1"


@pytest.fixture(autouse=True)
def as_before(kit: Kit) -> Iterator[None]:
    """Each test finds and leaves host1 as it was."""
    before = kit.config.read_text()
    kit("up", HOST, "--yes")
    yield
    kit.config.write_text(before)
    kit("up", HOST, "--yes")


def set_up(kit: Kit, **sections: Any) -> None:
    kit.edit(lambda content: content["hosts"][HOST].update(sections))
    kit("up", HOST, "--yes")


def a_runner(lab: Lab, version: int) -> None:
    """Another runner, under the same tag."""
    publish(lab, HOST, TAG, f"FROM {RUNNER}\nLABEL version={version}\n")


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
    kit: Kit, lab: Lab, tmp_path: Path
) -> None:
    a_runner(lab, 1)
    before = len(changes(kit))
    set_up(kit, runner={"image": TAG}, images={"pin": True})
    # Fetching and switching are one change.
    assert [change["result"] for change in changes(kit)[before:]] == ["done"]
    first = pin(lab)
    assert "DIND_IMAGE=docker:28.5-dind@sha256:" in settings(lab)
    assert running(lab, "runner", "{{.Config.Image}}") == f"{TAG}@{first}"
    kit("plan", HOST, "--exit-code")
    kit("render", HOST, "--out", str(tmp_path / "stack"))
    assert (tmp_path / "stack" / ".env").read_text() == settings(lab)

    # Neither a newer image in the registry nor one that somebody pulled changes anything.
    a_runner(lab, 2)
    lab.on(HOST, "docker", "pull", "--quiet", TAG)
    kit("plan", HOST, "--exit-code")
    assert pins_check(kit)["status"] == "ok"
    dind = running(lab, "dind", "{{.Id}}")
    answer = kit("upgrade", HOST, "--yes")
    assert version(lab) == "2"
    assert pin(lab) != first
    assert f"runner is pinned to {pin(lab)[:19]}, not {first[:19]} any more" in answer.output
    assert running(lab, "dind", "{{.Id}}") == dind
    kit("plan", HOST, "--exit-code")

    kit("rollback", HOST, "--yes")
    assert (version(lab), pin(lab)) == ("1", first)
    kit("plan", HOST, "--exit-code")
    assert pins_check(kit)["status"] == "ok"

    # Somebody runs another image under the same configuration.
    elsewhere = f"s/^RUNNER_IMAGE=.*/RUNNER_IMAGE={TAG.replace('/', '.')}/"
    start = "docker compose up --detach --no-deps runner"
    lab.on(
        HOST, "sh", "-ec",
        f"cd {STACK} && cp -p .env .kept && docker tag {TAG} {TAG.replace('/', '.')} &&"
        f" sed -i {elsewhere} .env && {start} && mv .kept .env",
    )  # fmt: skip
    assert version(lab) == "2"
    check = pins_check(kit)
    assert (check["status"], check["evidence"].partition(",")[0]) == (
        "warn", f"runner runs {TAG.replace('/', '.')}",
    )  # fmt: skip
    assert "does not run the image of its digest" in kit("plan", HOST).stdout
    kit("up", HOST, "--yes")
    assert version(lab) == "1"


def test_up_refuses_what_the_data_cannot_survive_also_while_nothing_runs(
    kit: Kit, lab: Lab
) -> None:
    dind = running(lab, "dind", "{{.Id}}")
    kit.edit(lambda content: content["hosts"][HOST].update(docker={"image": "docker:20.10-dind"}))
    for command in (("plan",), ("up", "--yes")):
        answer = kit(*command, HOST, expect=1)
        assert "caches would be lost" in answer.stdout
        assert "hint: choose another image" in answer.stdout
    assert running(lab, "dind", "{{.Id}}") == dind
    kit("down", HOST, "--yes")
    assert "caches would be lost" in kit("up", HOST, "--yes", expect=1).stdout
    driver = {"image": "docker:28.5-dind", "storage_driver": "vfs"}
    kit.edit(lambda content: content["hosts"][HOST].update(docker={"image": driver["image"]}))
    kit("up", HOST, "--yes")
    kit.edit(lambda content: content["hosts"][HOST].update(docker=driver))
    assert "not vfs" in kit("up", HOST, "--yes", expect=1).stdout


def test_an_image_that_up_brings_and_that_fails_goes_back_and_tells_no_secret(
    kit: Kit, lab: Lab
) -> None:
    program = "cat /etc/runnerkit/runner.env; echo no such luck >&2; exit 1"
    entrypoint = json.dumps(["sh", "-c", program])
    publish(lab, HOST, "leaky/runner:1", f"FROM {RUNNER}\nENTRYPOINT {entrypoint}\n")
    before = running(lab, "runner", "{{.Image}}")

    def edit(content: dict[str, Any]) -> None:
        host = content["hosts"][HOST]
        host["runner"] = {"image": "leaky/runner:1"}
        host["docker"] = host["docker"] | {"health_timeout": "10s"}

    kit.edit(edit)
    answer = kit("up", HOST, "--yes", expect=1)
    assert "no such luck" in answer.stderr
    assert "DRONE_RPC_SECRET='********'" in answer.stderr
    assert mask(answer.output, [Secret(lab.secret)]) == answer.output
    assert "went back to generation" in answer.stderr
    assert running(lab, "runner", "{{.Image}}") == before
    [host] = json.loads(kit("status", HOST, "--json").stdout)["hosts"]
    assert {check["id"] for check in host["checks"] if check["status"] == "warn"} == {"drift"}
