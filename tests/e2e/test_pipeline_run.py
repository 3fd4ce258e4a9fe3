"""A repository's pipeline without a push: on a runner's engine, and on one's own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.kit import Kit, Lab, explain, logs_of, until

pytestmark = pytest.mark.lab

BEGIN = "kind: pipeline\ntype: docker\nname: default\n"
END = "volumes:\n- {name: docker, host: {path: /var/run/docker.sock}}\n"
SMALL = (
    BEGIN
    + """\
steps:
- name: build
  image: docker:cli
  volumes: [{name: docker, path: /var/run/docker.sock}]
  commands: ["docker build --progress=plain --tag small:${DRONE_COMMIT_SHA} ."]
- name: test
  image: small:${DRONE_COMMIT_SHA}
  pull: never
  environment: {TOKEN: {from_secret: token}}
  commands:
  - cat /built
  - echo "the token is $TOKEN"
  - '[ "$(cat word)" != wrong ]'
"""
    + END
)
DOCKERFILE = """\
FROM debian:trixie-slim
RUN echo once >/built
COPY word /word
RUN cat /word >>/built
"""
PLACE = (
    BEGIN
    + """\
steps:
- name: place
  image: debian:trixie-slim
  commands:
  - pwd && ls -A && stat -c '%n %U %a' word .git
  - id -un && echo "$DRONE_REPO_NAME $DRONE_BRANCH $DRONE_BUILD_EVENT $DRONE_STEP_NAME $CI"
"""
)
DATABASE = (
    BEGIN
    + """\
services:
- name: database
  image: postgres:17
  environment: {POSTGRES_PASSWORD: not-a-secret}
steps:
- name: build
  image: docker:cli
  volumes: [{name: docker, path: /var/run/docker.sock}]
  commands: ["docker build --tag client:${DRONE_COMMIT_SHA} ."]
- name: test
  image: client:${DRONE_COMMIT_SHA}
  environment: {PGPASSWORD: not-a-secret}
  commands:
  - until pg_isready -q -h database; do sleep 0.2; done
  - psql -h database -U postgres -Atc 'select 6 * 7'
"""
    + END
)
WAIT = (
    BEGIN
    + """\
services:
- {name: beside, image: "debian:trixie-slim", commands: [sleep 600]}
steps:
- name: wait
  image: debian:trixie-slim
  volumes: [{name: scratch, path: /scratch}]
  commands: ["sleep 600"]
volumes: [{name: scratch, temp: {}}]
"""
)


@pytest.fixture(scope="module")
def runner(kit: Kit) -> Kit:
    kit("up", "host1", "--yes")
    return kit


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "word").write_text("right\n")
    (folder / ".drone.yml").write_text(SMALL)
    return folder


def left(kit: Kit) -> list[str]:
    """What a run has left in the engine of host1."""
    found = []
    for kind in (["ps", "--all"], ["volume", "ls"], ["network", "ls"]):
        words = ["--", *kind, "--quiet", "--filter", "label=runnerkit.run"]
        found += kit("docker", "host1", *words).stdout.split()
    return found


def steps_of(output: str) -> dict[str, dict[str, Any]]:
    [pipeline] = json.loads(output)["pipelines"]
    return {step["name"]: step for step in pipeline["steps"]}


def test_a_database_pipeline_runs_on_the_runner_as_in_ci(runner: Kit, project: Path) -> None:
    (project / ".drone.yml").write_text(DATABASE)
    (project / "Dockerfile").write_text("FROM postgres:17\nCOPY word /word\n")
    done = runner("pipeline", "run", str(project), "--on", "host1")
    assert "test | 42" in done.stdout
    assert "database | " in done.stdout
    assert "default on host1: success" in done.stdout
    assert left(runner) == []


def test_a_change_is_built_from_cache_and_a_failure_is_told(runner: Kit, project: Path) -> None:
    command = ("pipeline", "run", str(project), "--on", "host1", "--secret", "token=env:TOKEN")
    env = {"TOKEN": "hunter2"}
    first = runner(*command, "--json", env=env)
    assert steps_of(first.stdout)["build"]["build_cache"]["total"] == 3
    assert "test | the token is ********" in first.stderr
    assert "hunter2" not in first.output

    (project / "word").write_text("better\n")
    second = runner(*command, "--json", env=env)
    assert steps_of(second.stdout)["build"]["build_cache"] == {"cached": 1, "total": 3}
    assert "test | better" in second.stderr

    (project / "word").write_text("wrong\n")
    third = runner(*command, env=env, expect=1)
    assert "default on host1: failure" in third.stdout
    assert "exit code 1" in third.stdout
    assert left(runner) == []


def test_a_missing_secret_is_asked_for_before_anything_starts(runner: Kit, project: Path) -> None:
    done = runner("pipeline", "run", str(project), "--on", "host1", expect=2)
    assert "the pipeline needs the secret token" in done.stderr
    assert "build |" not in done.output


def test_steps_see_what_they_see_in_ci(runner: Kit, lab: Lab, project: Path) -> None:
    (project / ".drone.yml").write_text(PLACE)
    done = runner("pipeline", "run", str(project), "--on", "host1")
    prefix = "place | "
    here = [x.removeprefix(prefix) for x in done.stdout.splitlines() if x.startswith(prefix)]
    for host in ("host2", "host3"):
        runner("down", host, "--yes")
    build = lab.submit(project / ".drone.yml", project)
    assert build["status"] == "success", explain(build)
    assert here == [line.rstrip() for line in logs_of(build, "place").splitlines()]


@contextmanager
def as_own_engine(kit: Kit) -> Iterator[dict[str, str]]:
    """The environment in which the engine of host1 is the docker CLI's own."""
    with subprocess.Popen(
        [sys.executable, "-m", "runnerkit", "docker", "host1", "--shell-env"],
        env=os.environ | {"RUNNERKIT_CONFIG": str(kit.config)},
        stdout=subprocess.PIPE,
        text=True,
    ) as tunnel:
        assert tunnel.stdout is not None
        name, _, value = tunnel.stdout.readline().strip().removeprefix("export ").partition("=")
        yield {name: value}
        tunnel.send_signal(signal.SIGINT)


def test_without_a_host_the_docker_clis_own_engine_is_used(runner: Kit, project: Path) -> None:
    with as_own_engine(runner) as env:
        command = ("pipeline", "run", str(project), "--secret", "token=env:TOKEN", "--json")
        done = runner(*command, env=env | {"TOKEN": "hunter2"})
    assert {name: step["status"] for name, step in steps_of(done.stdout).items()} == {
        "clone": "success",
        "build": "success",
        "test": "success",
    }
    assert left(runner) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_ended_leaves_nothing(number: int, runner: Kit, project: Path) -> None:
    (project / ".drone.yml").write_text(WAIT)
    with subprocess.Popen(
        [sys.executable, "-m", "runnerkit", "pipeline", "run", str(project), "--on", "host1"],
        env=os.environ | {"RUNNERKIT_CONFIG": str(runner.config)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        words = ("docker", "host1", "--", "ps", "--quiet", "--filter", "label=runnerkit.run")
        until(lambda: len(runner(*words).stdout.split()) == 2, 60, "both containers run")
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in errors
    assert left(runner) == []


@pytest.mark.parametrize(("token", "code"), [("admin", 0), ("user", 1)])
def test_trust_is_what_drone_says_afterwards(
    token: str, code: int, runner: Kit, lab: Lab, tmp_path: Path
) -> None:
    repo = {"namespace": "octo", "name": token, "clone_url": "http://git/x", "trusted": False}
    request = urllib.request.Request(
        f"{lab.info['server']['url']}/lab/repos", json.dumps(repo).encode(), method="POST"
    )
    urllib.request.urlopen(request, timeout=30).close()
    content = yaml.safe_load(runner.config.read_text()) | {"token": "env:API_TOKEN"}
    config = tmp_path / "runnerkit.yml"
    config.write_text(yaml.safe_dump(content))
    env = {"API_TOKEN": lab.info["server"]["tokens"][token]}
    done = Kit(config)("pipeline", "trust", f"octo/{token}", env=env, expect=code)
    if code == 0:
        assert done.stdout == "octo/admin is trusted now\n"
    else:
        assert "octo/user is not trusted: user is no system admin" in done.stderr
    assert env["API_TOKEN"] not in done.output
