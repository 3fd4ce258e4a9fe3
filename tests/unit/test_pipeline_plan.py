"""Plans are what the runner would make of the same pipeline and build."""

from __future__ import annotations

from typing import Any

import pytest

from runnerkit.errors import ConfigError
from runnerkit.pipeline.conditions import trigger_problem
from runnerkit.pipeline.drone import PipelineError, parse
from runnerkit.pipeline.environment import Build, Checkout
from runnerkit.pipeline.plan import plan
from runnerkit.pipeline.planned import PlannedMount, PlannedStep, RunnerTraits, RunPlan
from tests.lab.drone import runner as stand_in

NOW = 1_700_000_000
HEAD = "kind: pipeline\ntype: docker\nname: app\n"
CHECKOUT = Checkout(
    owner="octo",
    name="app",
    remote="https://git.lan/octo/app.git",
    branch="main",
    default_branch="main",
    commit="c0ffee",
    before="beef",
    message="Pour it",
    author_name="Ada",
    author_email="ada@git.lan",
)


def build(**changes: Any) -> Build:
    facts: dict[str, Any] = {
        "checkout": CHECKOUT, "event": "push", "started": NOW, "machine": "forge",
        "system_proto": "https", "system_host": "drone.lan", "branch": "main",
    }  # fmt: skip
    return Build(**(facts | changes))


def planned(text: str, of: Build | None = None, **more: Any) -> RunPlan:
    [pipeline] = parse(HEAD + text)
    return plan(pipeline, of or build(), run_id="run", **more)


def step(text: str, name: str = "one", **more: Any) -> PlannedStep:
    return next(item for item in planned(text, **more).steps if item.name == name)


def from_stand_in(text: str, of: Build, config: stand_in.Config) -> stand_in.Spec:
    """The same build as the lab's runner gets it from the server."""
    repo = {
        "slug": "octo/app", "namespace": "octo", "name": "app", "scm": "git", "timeout": 60,
        "link": "https://git.lan/octo/app", "git_http_url": "https://git.lan/octo/app.git",
        "default_branch": "main", "trusted": True,
    }  # fmt: skip
    facts: dict[str, Any] = {
        "number": 1, "event": of.event, "target": of.branch, "source": of.branch, "ref": of.ref,
        "after": "c0ffee", "before": "beef", "message": "Pour it", "author_login": "Ada",
        "author_name": "Ada", "author_email": "ada@git.lan", "deploy_to": of.target,
        "created": NOW, "started": NOW, "finished": NOW, "trigger": "@hook",
        "title": "Pour it", "status": "success",
    }  # fmt: skip
    stage = {
        "kind": "pipeline", "type": "docker", "name": "app", "number": 1, "machine": "forge",
        "os": "linux", "arch": "amd64", "version": 1, "started": NOW, "stopped": NOW,
    }  # fmt: skip
    system = {"proto": "https", "host": "drone.lan"}
    job = stand_in.Job(facts, repo, stage, system)
    [pipeline] = stand_in.parse_pipelines(HEAD + text)
    return stand_in.compile_pipeline(pipeline, job, config, now=lambda: NOW)


FEATURES = """\
environment: {SHARED: pipeline}
workspace: {base: /drone, path: src/app}
services:
- name: database
  image: postgres:17
  environment: {POSTGRES_DB: app}
steps:
- name: one
  image: golang:1.24
  commands:
  - go build -o "$HOME/app" ./...
  - |
    echo "two lines"
    echo 'of \\$money'
  environment: {A: 1.10, B: "", SHARED: step, EMPTY: }
  volumes:
  - {name: docker, path: /var/run/docker.sock}
  - {name: scratch, path: /scratch}
  - {name: unknown, path: /nowhere}
- name: plugin
  image: plugins/docker
  settings: {repo: octo/app, tags: [1.0, latest], dry_run: true, nested: {a: 1}}
- name: as-is
  image: registry.lan:5000/app
  entrypoint: [/bin/app, serve]
  command: [--port, "80"]
  pull: if-not-exists
  failure: ignore
  when: {branch: [main, "release/*"], status: [success, failure]}
- name: never
  image: alpine:3
  failure: fast
  when: {event: {exclude: [push]}}
- name: sad
  image: alpine:3
  user: nobody
  working_dir: /elsewhere
  network_mode: host
  mem_limit: 512m
  when: {status: [failure]}
volumes:
- {name: docker, host: {path: /var/run/docker.sock}}
- {name: scratch, temp: {}}
"""

GRAPH = """\
steps:
- {name: one, image: alpine, commands: [true]}
- {name: two, image: "alpine:3", commands: [true]}
- {name: three, image: alpine, commands: [true], depends_on: [one, two]}
"""

# A server knows its version; names of what the engine holds are chosen anew in each run.
OWN = {
    "DRONE_SYSTEM_VERSION", "DRONE_DOCKER_NETWORK_ID", "DRONE_DOCKER_VOLUME_ID",
    "DRONE_STEP_NAME", "DRONE_STEP_NUMBER", "DRONE_SCRIPT",
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "of"),
    [
        (FEATURES, build()),
        (FEATURES, build(event="tag", tag="v1.0")),
        (FEATURES, build(event="promote", target="production")),
        (FEATURES, build(event="pull_request")),
        (GRAPH, build()),
        ("clone: {disable: true}\n" + GRAPH, build()),
    ],
)
def test_the_runner_would_do_the_same(text: str, of: Build) -> None:
    config = stand_in.read_config(
        {"DRONE_RPC_HOST": "h", "DRONE_RPC_SECRET": "s", "DRONE_RUNNER_ENVIRON": "R:1"}
    )
    theirs = from_stand_in(text, of, config)
    ours = planned(text, of, runner=RunnerTraits(environ={"R": "1"}))
    assert [item.name for item in ours.steps] == [item.name for item in theirs.steps]
    for mine, other in zip(ours.steps, theirs.steps, strict=True):
        wanted = {k: v for k, v in other.environ.items() if v and k not in OWN}
        found = {k: v for k, v in mine.environment.items() if v and k not in OWN}
        assert found == wanted, mine.name
        assert (mine.image, mine.detach) == (other.image, other.detach)
        assert mine.depends_on == tuple(other.depends_on), mine.name
        assert (mine.entrypoint, mine.command) == (tuple(other.entrypoint), tuple(other.command))
        assert mine.working_dir == other.working_dir
        assert mine.run_on == other.run
        assert mine.on_error == (other.on_error or "stop")
        assert (mine.user, mine.network_mode) == (other.user, other.network_mode)
        assert mine.privileged == other.privileged
        assert mine.memory == other.resources.memory
        latest = stand_in.is_latest(mine.image)
        assert mine.pull == (other.pull or ("always" if latest else "if-not-exists"))
        known = {volume.name for volume in theirs.volumes}
        assert [m.path for m in mine.mounts] == [p for n, p in other.volumes if n in known]


def test_the_script_prints_each_command_and_stops_at_the_first_failure() -> None:
    script = step(FEATURES).environment["DRONE_SCRIPT"]
    theirs = from_stand_in(
        FEATURES, build(), stand_in.read_config({"DRONE_RPC_HOST": "h", "DRONE_RPC_SECRET": "s"})
    )
    [other] = [item for item in theirs.steps if item.name == "one"]
    # Theirs begins with the netrc that private clones need.
    tail = other.environ["DRONE_SCRIPT"].partition("set -e\n")[2]
    assert script.partition("set -e\n")[2].strip() == tail.strip()
    assert 'echo + "go build' in script


def test_mounts_of_every_kind() -> None:
    text = """\
steps:
- name: one
  image: alpine:3
  volumes:
  - {name: host, path: /a}
  - {name: temp, path: /b}
  - {name: memory, path: /c}
volumes:
- {name: host, host: {path: /srv}}
- {name: temp, temp: {}}
- {name: memory, temp: {medium: memory, size_limit: 1m}}
"""
    found = planned(text, runner=RunnerTraits(volumes={"/cache": "/d"}))
    [_, one] = found.steps
    assert one.mounts == (
        PlannedMount("/a", "/srv"),
        PlannedMount("/b", "run-1"),
        PlannedMount("/c", in_memory=True, size=1 << 20),
        PlannedMount("/drone/src", "run-workspace"),
        PlannedMount("/d", "/cache"),
    )
    assert found.volumes == ("run-workspace", "run-1")


def test_secrets_are_named_and_never_part_of_the_environment() -> None:
    text = """\
steps:
- name: one
  image: alpine:3
  environment: {TOKEN: {from_secret: api_token}}
  settings: {password: {from_secret: registry}}
- name: never
  image: alpine:3
  environment: {OTHER: {from_secret: unused}}
  when: {event: tag}
"""
    found = planned(text)
    assert found.steps[1].secrets == {"TOKEN": "api_token", "PLUGIN_PASSWORD": "registry"}
    assert not {"TOKEN", "PLUGIN_PASSWORD"} & set(found.steps[1].environment)
    assert found.secrets == ("api_token", "registry")


def test_chosen_steps_come_with_what_they_depend_on() -> None:
    text = GRAPH + "- {name: four, image: alpine}\n"
    assert [s.name for s in planned(text, only=["three"]).steps] == ["clone", "one", "two", "three"]
    assert [s.name for s in planned(text, only=["four"]).steps] == ["clone", "four"]
    with pytest.raises(ConfigError, match="there is no step five"):
        planned(text, only=["five"])


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("name: x\n", 1, "pipeline x has no steps"),
        ("steps:\n- {name: one}\n", 5, "step one has no image"),
        ("steps:\n- {name: clone, image: a}\n", 5, "two steps called clone"),
        ("steps:\n- {name: a, image: a, depends_on: [b]}\n- {name: b, image: b}\n", 5, "a depends"),
        ("platform: {os: windows}\nsteps:\n- {name: a, image: a}\n", 4, "is for windows"),
    ],
)
def test_what_the_runner_refuses_is_refused_with_its_line(text: str, line: int, what: str) -> None:
    with pytest.raises(PipelineError) as raised:
        planned(text)
    assert raised.value.line == line
    assert what in raised.value.what


def test_a_trigger_that_does_not_match_says_why() -> None:
    [pipeline] = parse(HEAD + "trigger: {event: [tag], branch: main}\n")
    assert trigger_problem(pipeline, build()) == "trigger.event does not match push"
    assert trigger_problem(pipeline, build(event="tag", tag="v1")) == ""


def test_equal_arguments_give_equal_plans() -> None:
    assert planned(FEATURES) == planned(FEATURES)
