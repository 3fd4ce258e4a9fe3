"""Why builds wait, asked of the Drone server of the lab: each reason made, seen, and gone again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml

from tests.e2e.kit import Kit, Lab, until

pytestmark = pytest.mark.lab

STEPS: dict[str, Any] = {
    "kind": "pipeline",
    "type": "docker",
    "name": "default",
    "clone": {"disable": True},
    "steps": [{"name": "hi", "image": "debian:trixie-slim", "commands": ["echo hi"]}],
}


@pytest.fixture(scope="module")
def one(fleet: Kit, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    """host1 alone takes builds; its configuration may be changed."""
    content = yaml.safe_load(fleet.config.read_text())
    content["hosts"] = {"host1": content["hosts"]["host1"]}
    path = tmp_path_factory.mktemp("queue") / "runnerkit.yml"
    path.write_text(yaml.safe_dump(content))
    fleet("up", "host1", "--yes")
    for other in ("host2", "host3"):
        fleet("down", other, "--yes")
    yield Kit(path)
    fleet("up", "--yes")


@contextmanager
def waiting(lab: Lab, pipeline: dict[str, Any], **build: object) -> Iterator[int]:
    """A build that is in the queue for the block."""
    repo = {"namespace": "octo", "name": "app", "clone_url": "http://git/none"}
    payload = {"repo": repo, "config": yaml.safe_dump(pipeline), **build}
    created = json.loads(lab.call("server", "POST", "/lab/builds", json.dumps(payload)).stdout)
    try:
        yield int(created["build"])
    finally:
        lab.cancel(created["build"])


def asked(kit: Kit, *, expect: int = 0, env: dict[str, str] | None = None) -> dict[str, Any]:
    """The answer of host1 to the one build that waits."""
    told = json.loads(kit("status", "--queue", "--json", expect=expect, env=env).stdout)
    [queue] = told["queues"]
    [stage] = queue["waiting"]
    [answer] = stage["hosts"]
    return {**answer, "stage": stage, "queue": queue}


def sleeping(seconds: int = 120) -> dict[str, Any]:
    return STEPS | {"steps": [STEPS["steps"][0] | {"commands": [f"sleep {seconds}"]}]}


@pytest.mark.parametrize(
    ("pipeline", "step", "words"),
    [
        ({"node": {"disk": "fast"}}, "labels", "it lacks disk=fast"),
        ({"platform": {"os": "linux", "arch": "arm64"}}, "platform", "it needs linux/arm64"),
    ],
)
def test_a_pipeline_that_fits_nowhere(
    pipeline: dict[str, Any], step: str, words: str, one: Kit, lab: Lab
) -> None:
    with waiting(lab, STEPS | pipeline):
        answer = asked(one)
        assert answer["step"] == step
        assert words in answer["reason"]
        assert answer["stage"]["hint"]
        text = one("status", "--queue").stdout
        assert "octo/app #" in text
        assert words in text
        assert max(map(len, text.splitlines())) <= 80


def test_a_stopped_runner_and_then_full_slots(one: Kit, lab: Lab) -> None:
    lab.on("host1", "docker", "stop", "runnerkit-main-runner-1")
    try:
        with waiting(lab, STEPS):
            answer = asked(one, expect=4)
            assert answer["step"] == "unwell"
            assert answer["reason"].startswith("runner: ")
            assert answer["hint"] == "runnerkit status host1"
    finally:
        lab.on("host1", "docker", "start", "runnerkit-main-runner-1")
    until(lambda: one("status", expect=None).code == 0, 90, "host1 is well again")
    with waiting(lab, sleeping()), waiting(lab, sleeping()):
        until(
            lambda: "0 waiting, 2 running" in one("status", "--queue").stdout,
            90,
            "both slots are taken",
        )
        with waiting(lab, STEPS):
            answer = asked(one)
            assert (answer["step"], answer["reason"]) == (
                "busy", "all 2 slots are busy (2 running)",
            )  # fmt: skip
            with waiting(lab, STEPS | {"concurrency": {"limit": 1}}):
                told = json.loads(one("status", "--queue", "--json").stdout)["queues"][0]
                assert [bool(stage["held"]) for stage in told["waiting"]] == [False, True]


def test_what_a_runner_refuses_is_no_waiting(one: Kit, lab: Lab) -> None:
    """The configuration says more than is in force yet: the paused queue keeps the build."""
    lab.call("server", "DELETE", "/api/queue?access_token=lab-token-of-the-admin")
    before = one.config.read_text()
    try:
        with waiting(lab, STEPS, event="push"):
            free = asked(one)
            assert (free["step"], "paused" in free["hint"]) == ("free", True)
            for limit, words in (
                ({"repos": ["other/*"]}, "octo/app matches none of other/*"),
                ({"events": ["tag"]}, "the event push is none of tag"),
                ({"trusted": True}, "octo/app is not trusted in Drone"),
            ):
                one.edit(lambda content, limit=limit: content["hosts"]["host1"].update(  # type: ignore[misc]
                    runner={"limit": limit}
                ))  # fmt: skip
                answer = asked(one)
                assert answer["step"] == "refused"
                assert words in answer["reason"]
                one.config.write_text(before)
    finally:
        one.config.write_text(before)
        lab.call("server", "POST", "/api/queue?access_token=lab-token-of-the-admin")


def test_a_host_volume_of_an_untrusted_repository_is_never_queued(one: Kit, lab: Lab) -> None:
    volume = {"name": "socket", "host": {"path": "/var/run/docker.sock"}}
    with waiting(lab, STEPS | {"volumes": [volume]}):
        text = one("status", "--queue").stdout
        assert "0 waiting, 0 running" in text
        assert "untrusted repositories cannot mount host volumes" in text
        assert "hint: runnerkit pipeline trust octo/app" in text
        one("pipeline", "trust", "octo/app")
        assert "octo/app" not in one("status", "--queue").stdout
    patch = json.dumps({"trusted": False})
    lab.call("server", "PATCH", "/api/repos/octo/app?access_token=lab-token-of-the-admin", patch)


def test_tokens_are_told_apart_and_never_shown(one: Kit, lab: Lab) -> None:
    before = one.config.read_text()
    tokens = lab.info["server"]["tokens"]
    try:
        one.edit(lambda content: content.update(token="env:LAB_TOKEN"))
        with waiting(lab, STEPS | {"node": {"disk": "fast"}}):
            whole = asked(one, env={"LAB_TOKEN": tokens["admin"]})
            assert whole["queue"]["whole"] is True
            own = asked(one, env={"LAB_TOKEN": tokens["user"]})
            assert (own["queue"]["whole"], own["reason"]) == (False, whole["reason"])
            text = one("status", "--queue", env={"LAB_TOKEN": tokens["user"]})
            assert "user is no system admin there" in text.stdout
            assert tokens["user"] not in text.output
        wrong = one("status", "--queue", expect=2, env={"LAB_TOKEN": "wr0ng-token"})
        assert "does not accept the API token of env:LAB_TOKEN" in wrong.stderr
        assert "/account" in wrong.stderr
        assert "wr0ng-token" not in wrong.output
        unset = one("status", "--queue", expect=2, env={"LAB_TOKEN": ""})
        assert "hosts.host1.token" in unset.stderr
        one.edit(lambda content: content.update(server="http://127.0.0.1:1"))
        down = one("status", "--queue", expect=1, env={"LAB_TOKEN": "any"})
        assert "cannot be asked: Connection refused" in down.stderr
    finally:
        one.config.write_text(before)


def test_the_secret_of_the_token_reaches_no_host(one: Kit, lab: Lab) -> None:
    one("status", "--queue")
    shown = lab.on("host1", "sh", "-c", "ps axww; env; docker inspect $(docker ps -q)").stdout
    assert lab.info["server"]["tokens"]["admin"] not in shown
