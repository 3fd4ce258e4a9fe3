"""What the stand-in runner makes of a pipeline, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from tests.lab.drone import runner

NOW = 1_700_000_000
REPO = {"slug": "octo/app", "namespace": "octo", "name": "app", "timeout": 90, "trusted": False}
BUILD = {"id": 1, "number": 7, "event": "push", "target": "main", "after": "c0ffee", "ref": "r"}
STAGE = {"id": 2, "number": 1, "name": "default", "status": "pending"}
SYSTEM = {"host": "drone.lab", "proto": "http", "version": "2"}


def config(**extra: str) -> runner.Config:
    return runner.read_config({"DRONE_RPC_HOST": "h", "DRONE_RPC_SECRET": "s", **extra})


def pipeline(text: str) -> runner.Pipeline:
    head = "kind: pipeline\ntype: docker\n"
    return runner.find_pipeline("default", runner.parse_pipelines(head + text))


def job(**build: str) -> runner.Job:
    secrets = ({"name": "token", "data": "hunter2"},)
    return runner.Job({**BUILD, **build}, dict(REPO), dict(STAGE), SYSTEM, None, secrets)


def numbered() -> Callable[[], str]:
    numbers = count(1)
    return lambda: f"id{next(numbers)}"


def compiled(text: str, of: runner.Job | None = None, **extra: str) -> runner.Spec:
    return runner.compile_pipeline(
        pipeline(text), of or job(), config(**extra), name=numbered(), now=lambda: NOW
    )


def body(spec: runner.Spec, name: str) -> dict[str, Any]:
    step = next(step for step in spec.steps if step.name == name)
    return runner.container_body(spec, step)


def environ(spec: runner.Spec, name: str) -> dict[str, str]:
    return dict(entry.split("=", 1) for entry in body(spec, name)["Env"])


STEP = "steps:\n- {name: one, image: alpine, commands: [make]}\n"


def test_names_are_drone_and_twenty_characters() -> None:
    name = runner.random_name()
    assert name.startswith("drone-")
    assert len(name) == 26
    assert name != runner.random_name()


def test_labels_of_volumes_and_network() -> None:
    spec = compiled(STEP)
    assert spec.labels == spec.volumes[0].labels
    assert spec.labels == {
        "io.drone": "true",
        "io.drone.protected": "false",
        "io.drone.system.host": "drone.lab",
        "io.drone.system.proto": "http",
        "io.drone.system.version": "2",
        "io.drone.repo.namespace": "octo",
        "io.drone.repo.name": "app",
        "io.drone.repo.slug": "octo/app",
        "io.drone.build.number": "7",
        "io.drone.stage.name": "default",
        "io.drone.stage.number": "1",
        "io.drone.ttl": "1h30m0s",
        "io.drone.expires": str(NOW + 90 * 60 + 3600),
        "io.drone.created": str(NOW),
    }


def test_containers_also_carry_their_step() -> None:
    labels = body(compiled(STEP), "one")["Labels"]
    assert labels["io.drone.step.name"] == "one"
    assert labels["io.drone.step.number"] == "2"
    assert labels["io.drone.repo.slug"] == "octo/app"


def test_the_clone_step_comes_first_and_shares_the_workspace() -> None:
    spec = compiled("clone: {depth: 3}\n" + STEP)
    clone = body(spec, "clone")
    assert [step.name for step in spec.steps] == ["clone", "one"]
    assert spec.steps[0].pull == "if-not-exists"
    assert clone["Image"] == "drone/git:latest"
    assert clone["HostConfig"]["Binds"] == ["id1:/drone/src"]
    assert clone["WorkingDir"] == "/drone/src"
    assert environ(spec, "clone")["PLUGIN_DEPTH"] == "3"


def test_the_clone_can_be_disabled_or_replaced() -> None:
    assert [s.name for s in compiled("clone: {disable: true}\n" + STEP).steps] == ["one"]
    assert compiled(STEP, DRONE_RUNNER_CLONE_IMAGE="mine/git").steps[0].image == "mine/git"


def test_commands_become_a_script() -> None:
    spec = compiled("steps: [{name: one, image: alpine, commands: ['echo \"$A\"', make]}]")
    one = body(spec, "one")
    script = environ(spec, "one")["DRONE_SCRIPT"]
    assert one["Image"] == "docker.io/library/alpine:latest"
    assert one["Entrypoint"] == ["/bin/sh", "-c"]
    assert one["Cmd"] == ['echo "$DRONE_SCRIPT" | /bin/sh']
    assert "\nset -e\n" in script
    assert script.endswith('\necho + "echo \\"\\$A\\""\necho "$A"\n' + '\necho + "make"\nmake\n')


def test_steps_find_each_other_by_name() -> None:
    spec = compiled(STEP)
    assert body(spec, "one")["NetworkingConfig"] == {
        "EndpointsConfig": {"id2": {"NetworkID": "id2", "Aliases": ["one"]}}
    }


def test_containers_always_log_to_json_files() -> None:
    assert body(compiled(STEP), "one")["HostConfig"]["LogConfig"] == {"Type": "json-file"}


def test_environment_keeps_what_was_written() -> None:
    spec = compiled(
        "environment: {ALL: yes}\n"
        "steps: [{name: one, image: a, environment: {N: 1.10, B: true, T: {from_secret: token}}}]"
    )
    found = environ(spec, "one")
    assert (found["ALL"], found["N"], found["B"], found["T"]) == ("yes", "1.10", "true", "hunter2")
    assert found["DRONE_COMMIT"] == "c0ffee"
    assert found["CI"] == "true"
    assert found["DRONE_BUILD_LINK"] == "http://drone.lab/octo/app/7"
    assert runner.masked_values(spec.steps[1]) == ["hunter2"]


def test_secrets_are_withheld_from_pull_requests() -> None:
    text = "steps: [{name: one, image: a, environment: {T: {from_secret: token}}}]"
    assert environ(compiled(text, job(event="pull_request")), "one")["T"] == ""


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        ("text", "text"),
        ("true", "true"),
        ("3", "3"),
        ("[a, 2, true]", "a,2,true"),
        ("{b: 1, a: [x]}", '{"a":["x"],"b":1}'),
        ("{from_secret: token}", "hunter2"),
    ],
)
def test_settings_become_plugin_variables(value: str, encoded: str) -> None:
    spec = compiled(f"steps: [{{name: one, image: a, settings: {{key: {value}}}}}]")
    assert environ(spec, "one")["PLUGIN_KEY"] == encoded


VOLUMES = """
steps:
- name: one
  image: alpine
  volumes:
  - {name: host, path: /host}
  - {name: temp, path: /temp}
  - {name: memory, path: /memory}
  - {name: absent, path: /absent}
volumes:
- {name: host, host: {path: /srv/cache}}
- {name: temp, temp: {}}
- {name: memory, temp: {medium: memory, size_limit: 16m}}
"""


def test_volumes() -> None:
    spec = compiled(VOLUMES)
    host = body(spec, "one")["HostConfig"]
    names = {volume.name: volume.id for volume in spec.volumes}
    assert host["Binds"] == ["/srv/cache:/host", f"{names['temp']}:/temp", "id1:/drone/src"]
    assert host["Mounts"] == [
        {
            "Type": "tmpfs",
            "Target": "/memory",
            "TmpfsOptions": {"SizeBytes": 16 * 1024 * 1024, "Mode": 0o700},
        }
    ]


def test_the_runners_volumes_reach_every_step_of_untrusted_repositories() -> None:
    spec = compiled(STEP, DRONE_RUNNER_VOLUMES="/var/run/docker.sock:/var/run/docker.sock")
    runner.lint(pipeline(STEP), trusted=False)
    for name in ("clone", "one"):
        binds = body(spec, name)["HostConfig"]["Binds"]
        assert "/var/run/docker.sock:/var/run/docker.sock" in binds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (VOLUMES.replace("host: {path: /srv/cache}", "temp: {}"), "mount in-memory volumes"),
        (VOLUMES, "mount host volumes"),
        ("steps: [{name: a, image: b, privileged: true}]", "enable privileged mode"),
        ("steps: [{name: a, image: b, network_mode: host}]", "configure network_mode"),
        ("steps: [{name: a, image: b, dns: [1.1.1.1]}]", "configure dns"),
        ("steps: [{name: a, image: b, dns_search: [x]}]", "configure dns_search"),
        ("steps: [{name: a, image: b, extra_hosts: ['x:1.1.1.1']}]", "configure extra_hosts"),
        ("steps: [{name: a, image: b, shm_size: 1g}]", "configure shm_size"),
        ("steps: [{name: a, image: b, devices: [{name: c, path: /d}]}]", "mount devices"),
    ],
)
def test_what_only_trusted_repositories_may_do(text: str, message: str) -> None:
    wanted = f"^linter: untrusted repositories cannot {message}$"
    with pytest.raises(runner.LintError, match=wanted):
        runner.lint(pipeline(text), trusted=False)
    runner.lint(pipeline(text), trusted=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps: [{name: a}]", "invalid or missing image"),
        ("steps: [{name: clone, image: b}]", "duplicate step names"),
        ("steps: [{name: a, image: b, depends_on: [z]}]", "unknown step dependency"),
        ("steps: [{name: a, image: b, depends_on: [a]}]", "cyclical step dependency"),
        ("volumes: [{temp: {}}]", "missing volume name"),
        ("volumes: [{name: workspace, temp: {}}]", "invalid volume name: workspace"),
        ("steps: [{name: a, image: b, volumes: [{name: v, path: /run/drone/x}]}]", "/run/drone"),
    ],
)
def test_what_nobody_may_do(text: str, message: str) -> None:
    with pytest.raises(runner.LintError, match=message):
        runner.lint(pipeline(text), trusted=True)


@pytest.mark.parametrize(
    ("step", "privileged"),
    [
        ("image: plugins/docker", True),
        ("image: plugins/docker:20", True),
        ("image: plugins/gar", True),
        ("image: mine/builder", True),
        ("image: alpine", False),
        ("image: plugins/docker, commands: [id]", False),
        ("image: plugins/docker, entrypoint: [id]", False),
        ("image: plugins/docker, volumes: [{name: v, path: /v}]", False),
        ("image: plugins/docker, environment: {DOCKER_HOST: x}", False),
    ],
)
def test_privileged_images(step: str, *, privileged: bool) -> None:
    spec = compiled(f"steps: [{{name: a, {step}}}]", DRONE_RUNNER_PRIVILEGED_IMAGES="mine/builder")
    assert body(spec, "a")["HostConfig"]["Privileged"] is privileged


def test_limits() -> None:
    spec = compiled(
        "steps: [{name: a, image: b, mem_limit: 512m}, {name: c, image: d}]",
        DRONE_MEMORY_LIMIT="1000",
        DRONE_CPU_QUOTA="50000",
        DRONE_CPU_SET="0,1",
        DRONE_SHM_SIZE="64",
    )
    own, general = body(spec, "a")["HostConfig"], body(spec, "c")["HostConfig"]
    assert (own["Memory"], general["Memory"]) == (512 * 1024 * 1024, 1000)
    assert (general["CpuQuota"], general["CpusetCpus"], general["ShmSize"]) == (50000, "0,1", 64)


def test_serial_order_without_dependencies() -> None:
    spec = compiled(
        "services: [{name: db, image: b}]\nsteps: [{name: a, image: b}, {name: c, image: d}]"
    )
    assert [(step.name, step.depends_on) for step in spec.steps] == [
        ("clone", []),
        ("db", ["clone"]),
        ("a", ["db"]),
        ("c", ["a"]),
    ]


def test_graph_order_with_dependencies() -> None:
    spec = compiled(
        "steps: [{name: a, image: b}, {name: c, image: d}, {name: e, image: f, depends_on: [a]}]"
    )
    assert {step.name: step.depends_on for step in spec.steps} == {
        "clone": [],
        "a": ["clone"],
        "c": ["clone"],
        "e": ["a"],
    }


def test_a_service_keeps_its_own_working_directory() -> None:
    spec = compiled("services: [{name: db, image: b}]")
    assert spec.steps[1].detach
    assert body(spec, "db")["WorkingDir"] == ""


@pytest.mark.parametrize(
    ("when", "run"),
    [
        ("{}", "success"),
        ("{event: push}", "success"),
        ("{event: [tag, push]}", "success"),
        ("{event: tag}", "never"),
        ("{branch: {exclude: [main]}}", "never"),
        ("{branch: ma*}", "success"),
        ("{status: failure}", "failure"),
        ("{status: [success, failure]}", "always"),
        ("{status: success}", "success"),
    ],
)
def test_conditions(when: str, run: str) -> None:
    assert compiled(f"steps: [{{name: a, image: b, when: {when}}}]").steps[1].run == run


@pytest.mark.parametrize(
    ("limits", "allowed"),
    [
        ({}, True),
        ({"DRONE_LIMIT_REPOS": "octo/*"}, True),
        ({"DRONE_LIMIT_REPOS": "other/*"}, False),
        ({"DRONE_LIMIT_REPOS": "!octo/*,other/*"}, False),
        ({"DRONE_LIMIT_REPOS": "!other/*,octo/*"}, True),
        ({"DRONE_LIMIT_EVENTS": "tag,push"}, True),
        ({"DRONE_LIMIT_EVENTS": "tag"}, False),
        ({"DRONE_LIMIT_TRUSTED": "true"}, False),
    ],
)
def test_limits_on_repositories(limits: dict[str, str], *, allowed: bool) -> None:
    assert runner.is_allowed(config(**limits), REPO, BUILD) is allowed


def test_steps_whose_conditions_fail_are_not_reported() -> None:
    spec = compiled("steps: [{name: a, image: b, when: {event: tag}}, {name: c, image: d}]")
    records = runner.step_records(spec, 5)
    assert [(r["number"], r["name"], r["step_id"]) for r in records] == [
        (1, "clone", 5),
        (2, "c", 5),
    ]


def test_only_docker_pipelines_are_found() -> None:
    text = "kind: secret\nname: x\n---\nkind: pipeline\ntype: exec\nname: default\n"
    with pytest.raises(runner.ManifestError, match=r"^resource not found$"):
        runner.find_pipeline("default", runner.parse_pipelines(text))
