"""Runner and server stand-ins talking to each other, with Docker faked.

Nothing here sleeps for a fixed time: `eventually` polls what the test waits for, and the 10 s pause
between two polls upstream is taken out of the client.
"""

from __future__ import annotations

import http.client
import io
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.lab.drone import runner
from tests.lab.drone.server import DroneServer

JSON = dict[str, Any]
T = TypeVar("T")
DEADLINE = 20.0


def eventually(find: Callable[[], T | None]) -> T:
    """The first true value of `find`; a failure once the deadline has passed."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        found = find()
        if found:
            return found
        time.sleep(0.01)
    pytest.fail("waited in vain")


@dataclass
class Script:
    """What a container of one image does."""

    output: tuple[bytes, ...] = ()
    code: int = 0
    gate: threading.Event | None = None
    oom: bool = False
    present: bool = True
    pull_error: str = ""


@dataclass
class FakeDocker:
    """A Docker daemon that knows the scripted images and fails on anything else."""

    images: dict[str, Script]
    created: list[JSON] = field(default_factory=list)
    pulled: list[str] = field(default_factory=list)
    connected: list[str] = field(default_factory=list)
    unscripted: list[str] = field(default_factory=list)
    existing: dict[str, str] = field(default_factory=dict)
    networks: frozenset[str] = frozenset()
    refuse_setup: str = ""
    running: dict[str, Script] = field(default_factory=dict)

    def ping(self) -> None:
        return

    def create_volume(self, name: str, labels: Mapping[str, str]) -> None:
        assert labels["io.drone"] == "true"
        if self.refuse_setup:
            raise runner.DockerError(self.refuse_setup, 400)
        self.existing[name] = "volume"

    def create_network(
        self, name: str, options: Mapping[str, str], labels: Mapping[str, str]
    ) -> None:
        assert labels["io.drone"] == "true"
        assert not options
        self.existing[name] = "network"

    def create_container(self, name: str, body: JSON) -> None:
        script = self._script(body["Image"])
        if not script.present:
            raise runner.DockerError(f"No such image: {body['Image']}", 404)
        self.created.append(body)
        self.existing[name] = "container"
        self.running[name] = script

    def connect_network(self, network: str, container: str) -> None:
        assert container in self.existing
        if network not in self.networks:
            raise runner.DockerError(f"network {network} not found", 404)
        self.connected.append(network)

    def start(self, container: str) -> None:
        assert container in self.existing

    def logs(self, container: str) -> Iterator[bytes]:
        yield from self.running[container].output

    def wait(self, container: str) -> None:
        gate = self.running[container].gate
        if gate is not None:
            gate.wait(DEADLINE)

    def inspect(self, container: str) -> JSON:
        script = self.running[container]
        return {"State": {"Running": False, "ExitCode": script.code, "OOMKilled": script.oom}}

    def pull(self, image: str, auth: JSON | None) -> Iterator[JSON]:
        assert auth is None
        script = self._script(image)
        self.pulled.append(image)
        if script.pull_error:
            raise runner.DockerError(script.pull_error, 500)
        yield {"status": "Pulling", "id": "layer"}
        yield {"status": "Downloading", "id": "layer", "progressDetail": {"current": 1}}
        script.present = True

    def kill(self, container: str) -> None:
        if container not in self.existing:
            raise runner.DockerError("No such container", 404)
        gate = self.running[container].gate
        if gate is not None:
            gate.set()

    def remove_container(self, container: str) -> None:
        self._remove(container, "container")

    def remove_volume(self, name: str) -> None:
        self._remove(name, "volume")

    def remove_network(self, name: str) -> None:
        self._remove(name, "network")

    def _remove(self, name: str, kind: str) -> None:
        if self.existing.pop(name, None) != kind:
            raise runner.DockerError(f"No such {kind}: {name}", 404)

    def _script(self, image: str) -> Script:
        if image not in self.images:
            self.unscripted.append(image)
            raise runner.DockerError(f"unscripted image {image}", 500)
        return self.images[image]


class Lab:
    """A server and, once started, a runner."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "secret").write_text("s3cret\n")
        self.server = self._new_server(("127.0.0.1", 0))
        self.docker = FakeDocker({"drone/git:latest": Script()})
        self.scope = runner.Scope()
        self.log = io.StringIO()
        self.ended: list[Exception | None] = []
        self._thread: threading.Thread | None = None

    def restart_server(self) -> None:
        host, _, port = self.server.address.partition(":")
        self.server.close()
        self.server = self._new_server((host, int(port)))

    def _new_server(self, listen: tuple[str, int]) -> DroneServer:
        state = self.directory / "state"
        server = DroneServer(listen, self.directory / "secret", state, long_poll=0.3)
        server.start()
        return server

    def script(self, image: str, **script: Any) -> Script:
        self.docker.images[runner.expand_image(image)] = Script(**script)
        return self.docker.images[runner.expand_image(image)]

    def start(self, **environ: str) -> None:
        settings = {
            "DRONE_RPC_HOST": self.server.address,
            "DRONE_RPC_SECRET": "s3cret",
            "DRONE_RUNNER_NAME": "forge",
            "DRONE_HTTP_BIND": "127.0.0.1:0",
            **environ,
        }
        config = runner.read_config(settings)
        log = runner.Log(self.log, "debug")
        client = runner.Client(config.address, config.secret, skip_verify=False, log=log)
        client.pause = lambda: time.sleep(0.01)

        def work() -> None:
            try:
                runner.run_daemon(config, self.docker, self.scope, log, client)
            except runner.DaemonError as problem:
                self.ended.append(problem)
            else:
                self.ended.append(None)

        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()

    def stop(self) -> Exception | None:
        """Stop the runner like its first signal does, and wait for its end."""
        self.scope.cancel()
        assert self._thread is not None
        self._thread.join(DEADLINE)
        assert self.ended, "the runner did not stop"
        return self.ended[0]

    def build(self, config: str, **payload: Any) -> int:
        repo = {"namespace": "octo", "name": "app", "clone_url": "http://git.lab/app", "timeout": 5}
        repo |= payload.pop("repo", {})
        head = "kind: pipeline\ntype: docker\nname: default\n"
        text = config if "kind:" in config else head + config
        build = self.server.store.create_build({"repo": repo, "config": text, **payload})
        return int(build["build"])

    def finished(self, build: int) -> JSON:
        done = {"success", "failure", "error", "killed"}

        def look() -> JSON | None:
            view = self.server.store.view(build)
            return view if view["status"] in done else None

        return eventually(look)

    def cleaned_up(self) -> None:
        eventually(lambda: not self.docker.existing)

    def calls(self) -> list[str]:
        return [call["call"] for call in self.server.calls]

    def http(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        host, _, port = self.server.address.partition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=DEADLINE)
        data = None if body is None else json.dumps(body)
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        connection.request(method, path, data, named)
        response = connection.getresponse()
        raw = response.read()
        connection.close()
        return response.status, json.loads(raw) if raw else None


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    lab.scope.cancel()
    for script in lab.docker.images.values():
        if script.gate is not None:
            script.gate.set()
    unscripted = list(lab.server.unscripted)
    lab.server.close()
    assert not lab.docker.unscripted
    assert not unscripted


STEPS = "steps:\n- {name: one, image: app:1}\n- {name: two, image: app:2}\n"


def statuses(view: JSON) -> dict[str, str]:
    return {step["name"]: step["status"] for stage in view["stages"] for step in stage["steps"]}


def output(view: JSON, name: str) -> str:
    steps = [step for stage in view["stages"] for step in stage["steps"]]
    return "".join(line["out"] for step in steps if step["name"] == name for line in step["log"])


def test_a_build_from_poll_to_end(lab: Lab) -> None:
    lab.script("app:1", output=(b"hello\nwor", b"ld\n"))
    lab.script("app:2")
    lab.start()
    view = lab.finished(lab.build(STEPS))
    assert view["status"] == "success"
    assert view["stages"][0]["machine"] == "forge"
    assert statuses(view) == {"clone": "success", "one": "success", "two": "success"}
    assert output(view, "one") == "hello\nworld\n"
    lab.cleaned_up()
    assert isinstance(lab.stop(), runner.DaemonError)
    calls = lab.calls()
    assert calls[0] == "ping"
    assert [call for call in calls if call in {"accept", "detail", "update"}] == [
        "accept",
        "detail",
        "update",
        "update",
    ]
    assert calls.count("step") == 2 * 3
    assert calls.count("upload") == 3


def test_the_runner_logs_that_it_polls(lab: Lab) -> None:
    lab.start(DRONE_RUNNER_CAPACITY="3")
    eventually(lambda: "polling the remote server" in lab.log.getvalue())
    lines = lab.log.getvalue().splitlines()
    line = next(line for line in lines if "polling the remote server" in line)
    assert "level=info" in line
    assert f'capacity=3 endpoint="http://{lab.server.address}" kind=pipeline' in line
    assert line.endswith("type=docker")
    eventually(lambda: lab.server.runners.view()[0]["polls_outstanding"] == 3)


def test_a_failing_step_skips_the_rest_but_not_what_waits_for_failure(lab: Lab) -> None:
    lab.script("app:1", code=3)
    lab.script("app:2")
    lab.script("app:3")
    lab.start()
    text = STEPS + "- {name: three, image: app:3, when: {status: [failure]}}\n"
    view = lab.finished(lab.build(text))
    assert view["status"] == "failure"
    assert statuses(view) == {
        "clone": "success",
        "one": "failure",
        "two": "skipped",
        "three": "success",
    }
    assert view["stages"][0]["steps"][1]["exit_code"] == 3


@pytest.mark.parametrize(
    ("script", "status", "following"),
    [
        ({"code": 78}, "success", "skipped"),
        ({"oom": True}, "failure", "skipped"),
        ({"code": 1}, "failure", "skipped"),
    ],
)
def test_exit_codes(lab: Lab, script: JSON, status: str, following: str) -> None:
    lab.script("app:1", **script)
    lab.script("app:2")
    lab.start()
    view = lab.finished(lab.build(STEPS))
    assert view["status"] == status
    assert statuses(view)["two"] == following


def test_an_ignored_failure(lab: Lab) -> None:
    lab.script("app:1", code=1)
    lab.script("app:2")
    lab.start()
    view = lab.finished(lab.build(STEPS.replace("image: app:1", "image: app:1, failure: ignore")))
    assert view["status"] == "success"
    assert statuses(view)["one"] == "failure"


def test_a_secret_is_masked_in_the_log(lab: Lab) -> None:
    lab.script("app:1", output=(b"the token is hunter2\n",))
    lab.start()
    text = "steps: [{name: one, image: app:1, environment: {T: {from_secret: token}}}]"
    view = lab.finished(lab.build(text, secrets={"token": "hunter2"}))
    assert output(view, "one") == "the token is ******\n"


@pytest.mark.parametrize(
    ("step", "present", "pulled"),
    [
        ("image: app", True, True),
        ("image: 'app:latest'", True, True),
        ("image: 'app:1'", True, False),
        ("image: 'app:1'", False, True),
        ("image: 'app:1', pull: always", True, True),
        ("image: app, pull: if-not-exists", True, False),
        ("image: app, pull: never", True, False),
    ],
)
def test_pull_policy(lab: Lab, step: str, *, present: bool, pulled: bool) -> None:
    lab.script("app:1", present=present)
    lab.script("app", present=present)
    lab.start()
    view = lab.finished(lab.build(f"steps: [{{name: one, {step}}}]"))
    assert view["status"] == "success"
    assert bool(lab.docker.pulled) is pulled
    assert output(view, "one") == ("layer: Pulling\n" if pulled else "")


def test_never_pull_fails_without_the_image(lab: Lab) -> None:
    lab.script("app:1", present=False)
    lab.start()
    view = lab.finished(lab.build("steps: [{name: one, image: 'app:1', pull: never}]"))
    assert view["status"] == "error"
    assert view["stages"][0]["steps"][1]["error"] == "No such image: docker.io/library/app:1"
    assert view["stages"][0]["steps"][1]["exit_code"] == 255


def test_a_failed_pull_of_latest_fails_the_step_though_the_image_is_there(lab: Lab) -> None:
    lab.script("app", pull_error="registry down")
    lab.start()
    view = lab.finished(lab.build("steps: [{name: one, image: app}]"))
    assert view["status"] == "error"
    assert view["stages"][0]["steps"][1]["error"] == "registry down"


def test_independent_steps_run_side_by_side(lab: Lab) -> None:
    meet = threading.Barrier(2, timeout=DEADLINE)

    class Meeting(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            assert timeout
            return meet.wait() >= 0

    lab.script("app:1", gate=Meeting())
    lab.script("app:2", gate=Meeting())
    lab.script("app:3")
    lab.start()
    text = STEPS + "- {name: three, image: app:3, depends_on: [one, two]}\n"
    assert lab.finished(lab.build(text))["status"] == "success"
    assert lab.docker.created[-1]["Image"].endswith("app:3")


def test_a_service_runs_beside_the_steps_and_passes(lab: Lab) -> None:
    gate = threading.Event()
    lab.script("db:1", gate=gate, output=(b"ready\n",))
    lab.script("app:1")
    lab.start()
    text = "services: [{name: db, image: 'db:1'}]\nsteps: [{name: one, image: 'app:1'}]"
    view = lab.finished(lab.build(text))
    assert view["status"] == "success"
    assert statuses(view) == {"clone": "success", "db": "success", "one": "success"}
    lab.cleaned_up()
    assert gate.is_set()


@pytest.mark.parametrize(
    ("repo", "environ", "text", "error"),
    [
        (
            {"trusted": False},
            {},
            "steps: [{name: a, image: b, shm_size: 1mb}]",
            "linter: untrusted repositories cannot configure shm_size",
        ),
        (
            {},
            {"DRONE_LIMIT_REPOS": "other/*"},
            STEPS,
            "insufficient permission to run the pipeline",
        ),
        ({}, {}, "steps: [{name: a, image: '${BROKEN'}]", "bad substitution"),
    ],
)
def test_stages_that_error_before_their_steps(
    lab: Lab, repo: JSON, environ: dict[str, str], text: str, error: str
) -> None:
    lab.start(**environ)
    view = lab.finished(lab.build(text, repo=repo))
    assert view["status"] == "error"
    assert view["stages"][0]["error"] == error
    assert view["stages"][0]["steps"] == []
    assert not lab.docker.created


def test_a_daemon_that_refuses_the_api_fails_every_stage_in_setup(lab: Lab) -> None:
    lab.docker.refuse_setup = "client version 1.40 is too old"
    lab.start()
    view = lab.finished(lab.build(STEPS))
    assert view["status"] == "error"
    assert view["stages"][0]["error"] == "client version 1.40 is too old"
    assert set(statuses(view).values()) == {"skipped"}


def test_a_missing_extra_network_is_swallowed(lab: Lab) -> None:
    lab.script("app:1")
    lab.docker.networks = frozenset({"there"})
    lab.start(DRONE_RUNNER_NETWORKS="there,absent")
    view = lab.finished(lab.build("steps: [{name: one, image: 'app:1'}]"))
    assert view["status"] == "success"
    assert lab.docker.connected == ["there", "there"]


def test_the_in_memory_volume_leaves_its_real_one_behind(lab: Lab) -> None:
    lab.script("app:1")
    lab.start()
    text = "volumes: [{name: m, temp: {medium: memory}}]\nsteps: [{name: one, image: 'app:1'}]"
    lab.finished(lab.build(text, repo={"trusted": True}))
    eventually(lambda: list(lab.docker.existing.values()) == ["volume"])


def test_cancelling_kills_what_runs(lab: Lab) -> None:
    lab.script("app:1", gate=threading.Event())
    lab.script("app:2")
    lab.start()
    build = lab.build(STEPS)
    eventually(lambda: lab.docker.created[1:])
    status, _ = lab.http("POST", f"/lab/builds/{build}/cancel")
    assert status == 200
    lab.cleaned_up()
    view = lab.finished(build)
    assert view["status"] == "killed"
    assert statuses(view) == {"clone": "success", "one": "killed", "two": "skipped"}
    assert lab.docker.pulled == []


def test_a_timeout_of_zero_kills_at_once(lab: Lab) -> None:
    lab.script("app:1")
    lab.script("app:2")
    lab.start()
    view = lab.finished(lab.build(STEPS, repo={"timeout": 0}))
    assert view["status"] == "killed"
    assert set(statuses(view).values()) <= {"skipped", "killed"}
    lab.cleaned_up()


def test_a_signal_lets_running_stages_finish(lab: Lab) -> None:
    gate = threading.Event()
    lab.script("app:1", gate=gate)
    lab.script("app:2")
    lab.start()
    build = lab.build(STEPS)
    eventually(lambda: lab.docker.created[1:])
    later = lab.build(STEPS)
    lab.scope.cancel()
    gate.set()
    assert str(lab.stop()) == "http: Server closed"
    assert lab.server.store.view(build)["status"] == "success"
    # With a capacity of 2 the second poller may have taken it before the signal.
    assert lab.server.store.view(later)["status"] in {"pending", "success"}


def test_a_signal_while_the_server_is_away_is_no_error(lab: Lab) -> None:
    lab.server.faults.add({"ping": 500})
    lab.start()
    eventually(lambda: "cannot ping the remote server" in lab.log.getvalue())
    assert lab.stop() is None


def test_a_wrong_secret_never_polls(lab: Lab) -> None:
    lab.start(DRONE_RPC_SECRET="other")
    eventually(lambda: lab.server.calls)
    assert lab.server.calls[0]["status"] == 401
    assert "poll" not in lab.calls()


def test_a_refused_poll_is_repeated_without_a_pause(lab: Lab) -> None:
    lab.server.faults.add({"poll": 500})
    lab.start(DRONE_RUNNER_CAPACITY="1")
    eventually(lambda: lab.calls().count("poll") > 10)
    assert "poller: cannot request stage" in lab.log.getvalue()


def test_an_unavailable_server_is_waited_for(lab: Lab) -> None:
    lab.script("app:1")
    lab.script("app:2")
    times: dict[str, object] = {"status": 503, "times": 2}
    lab.server.faults.add({"accept": dict(times), "step": dict(times), "upload": dict(times)})
    lab.start()
    assert lab.finished(lab.build(STEPS))["status"] == "success"


def test_dependent_stages_wait_for_each_other(lab: Lab) -> None:
    lab.script("app:1")
    lab.script("app:2", code=1)
    lab.start()
    text = """
kind: pipeline
type: docker
name: first
steps: [{name: one, image: "app:1"}]
---
kind: pipeline
type: docker
name: second
steps: [{name: two, image: "app:2"}]
depends_on: [first]
---
kind: pipeline
type: docker
name: third
steps: [{name: three, image: "app:1"}]
depends_on: [second]
---
kind: pipeline
type: docker
name: mourner
steps: [{name: four, image: "app:1"}]
depends_on: [second]
trigger: {status: [failure]}
"""
    view = lab.finished(lab.build(text))
    found = {stage["name"]: stage["status"] for stage in view["stages"]}
    assert found == {
        "first": "success",
        "second": "failure",
        "third": "skipped",
        "mourner": "success",
    }


def test_the_state_survives_a_restart_of_the_server(lab: Lab) -> None:
    build = lab.build(STEPS)
    lab.restart_server()
    lab.script("app:1")
    lab.script("app:2")
    lab.start()
    assert lab.finished(build)["status"] == "success"


def test_the_dashboard_needs_a_password_and_health_does_not() -> None:
    config = runner.read_config(
        {
            "DRONE_RPC_HOST": "h",
            "DRONE_RPC_SECRET": "s",
            "DRONE_HTTP_BIND": "127.0.0.1:0",
            "DRONE_UI_USERNAME": "admin",
            "DRONE_UI_PASSWORD": "pw",
        }
    )
    history = runner.History()
    served = runner.serve_http(config, history)
    assert served is not None

    def get(path: str, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", served.server_address[1])
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response.status, body

    admin = {"Authorization": "Basic YWRtaW46cHc=", "Accept": "application/json"}
    assert get("/healthz") == (200, b"")
    assert get("/")[0] == 401
    assert get("/", **admin) == (200, b"null\n")
    stage = {"id": 4, "status": "running", "name": "default", "steps": []}
    history.record(runner.State({"number": 1}, {"slug": "a/b"}, stage))
    entries = json.loads(get("/", **admin)[1])
    assert [sorted(entry) for entry in entries] == [
        ["build", "created", "repo", "stage", "updated"]
    ]
    assert entries[0]["stage"]["status"] == "running"
    served.shutdown()
    served.server_close()


# --- The server alone -----------------------------------------------------------------------------

RPC = {"X_Drone_Token": "s3cret"}
WANTED = {"kind": "pipeline", "type": "docker", "os": "linux", "arch": "amd64"}


def test_the_secret_is_checked(lab: Lab) -> None:
    assert lab.http("POST", "/rpc/v2/ping", **RPC) == (200, None)
    assert lab.http("POST", "/rpc/v2/ping")[0] == 401
    (lab.directory / "secret").write_text("")
    assert lab.http("POST", "/rpc/v2/ping", **RPC)[0] == 403


def test_an_empty_queue_answers_204(lab: Lab) -> None:
    assert lab.http("POST", "/rpc/v2/stage", WANTED, **RPC) == (204, None)


@pytest.mark.parametrize(
    ("pipeline", "wanted", "fits"),
    [
        ("", {}, True),
        ("", {"labels": {"a": "1"}}, False),
        ("node: {a: 1}", {}, False),
        ("node: {a: 1}", {"labels": {"a": "1"}}, True),
        ("node: {a: 1}", {"labels": {"a": "1", "b": "2"}}, False),
        ("platform: {arch: arm64}", {}, False),
        ("platform: {arch: arm64}", {"arch": "arm64"}, True),
        ("", {"type": "exec"}, False),
    ],
)
def test_which_stage_fits_which_runner(
    lab: Lab, pipeline: str, wanted: JSON, *, fits: bool
) -> None:
    lab.build(f"{STEPS}{pipeline}\n")
    taken = lab.server.store.take("me", WANTED | wanted)
    assert bool(taken) is fits


def test_only_one_runner_gets_the_stage(lab: Lab) -> None:
    lab.build(STEPS)
    _, stage = lab.http("POST", "/rpc/v2/stage", WANTED, **RPC)
    path = f"/rpc/v2/stage/{stage['id']}?machine="
    assert lab.http("POST", path + "one", **RPC)[0] == 200
    assert lab.http("POST", path + "two", **RPC)[0] == 409
    assert lab.server.runners.view()[0]["machine"] == "one"


def test_step_ids_come_with_the_reply(lab: Lab) -> None:
    lab.build(STEPS)
    _, stage = lab.http("POST", "/rpc/v2/stage", WANTED, **RPC)
    path = f"/rpc/v2/stage/{stage['id']}"
    lab.http("POST", path + "?machine=one", **RPC)
    steps = [{"number": n, "name": str(n), "status": "pending", "step_id": 1} for n in (1, 2)]
    status, saved = lab.http("PUT", path, {**stage, "status": "running", "steps": steps}, **RPC)
    assert status == 200
    ids = [step["id"] for step in saved["steps"]]
    assert all(ids)
    assert len(set(ids)) == 2
    assert {step["step_id"] for step in saved["steps"]} == {stage["id"]}
    again = lab.http("PUT", path, {**stage, "status": "running", "steps": saved["steps"]}, **RPC)
    assert [step["id"] for step in again[1]["steps"]] == ids


def test_scripted_faults(lab: Lab) -> None:
    lab.http("POST", "/lab/faults", {"ping": {"status": 502, "times": 1}, "secret": "other"})
    assert lab.http("POST", "/rpc/v2/ping", **RPC)[0] == 502
    assert lab.http("POST", "/rpc/v2/ping", **RPC)[0] == 401
    assert lab.http("POST", "/rpc/v2/ping", X_Drone_Token="other")[0] == 200
    lab.http("DELETE", "/lab/faults")
    assert lab.http("POST", "/rpc/v2/ping", **RPC)[0] == 200


def test_an_unscripted_call_is_a_fault(lab: Lab) -> None:
    assert lab.http("GET", "/rpc/v2/nodes/x", **RPC)[0] == 404
    _, faults = lab.http("GET", "/lab/faults")
    assert [call["path"] for call in faults["unscripted"]] == ["/rpc/v2/nodes/x"]
    lab.http("DELETE", "/lab/faults")


def test_the_api_and_its_silent_no_op(lab: Lab) -> None:
    tokens = {"root": {"login": "root", "admin": True}, "me": {"login": "me", "admin": False}}
    (lab.directory / "state" / "tokens.json").write_text(json.dumps(tokens))
    build = lab.build(STEPS)
    root, me = {"Authorization": "Bearer root"}, {"Authorization": "Bearer me"}
    assert lab.http("GET", "/api/user")[0] == 401
    assert lab.http("GET", "/api/user?access_token=me")[1]["login"] == "me"
    assert lab.http("GET", "/api/queue", **me)[0] == 403
    queue = lab.http("GET", "/api/queue", **root)[1]
    assert [stage["build_id"] for stage in queue] == [build]
    incomplete = lab.http("GET", "/api/builds/incomplete", **root)[1]
    assert [repo["build"]["id"] for repo in incomplete] == [build]
    patch = {"trusted": True, "visibility": "internal"}
    status, repo = lab.http("PATCH", "/api/repos/octo/app", patch, **me)
    assert (status, repo["trusted"], repo["visibility"]) == (200, False, "internal")
    assert lab.http("PATCH", "/api/repos/octo/app", patch, **root)[1]["trusted"] is True
    assert lab.http("GET", "/api/repos/octo/app", **me)[1]["trusted"] is True
    assert lab.http("GET", "/api/repos/octo/none", **me)[0] == 404


def test_a_paused_queue_gives_nothing(lab: Lab) -> None:
    lab.server.store.pause(paused=True)
    lab.build(STEPS)
    assert lab.http("POST", "/rpc/v2/stage", WANTED, **RPC)[0] == 204


def test_a_poll_that_is_gone_takes_nothing(lab: Lab) -> None:
    host, _, port = lab.server.address.partition(":")
    connection = http.client.HTTPConnection(host, int(port))
    connection.request("POST", "/rpc/v2/stage", json.dumps(WANTED), {"X-Drone-Token": "s3cret"})
    eventually(lab.server.runners.view)
    connection.close()
    eventually(lambda: lab.server.runners.view()[0]["polls_outstanding"] == 0)
    lab.build(STEPS)
    assert lab.http("POST", "/rpc/v2/stage", WANTED, **RPC)[0] == 200


def test_a_broken_configuration_is_a_build_in_error(lab: Lab) -> None:
    view = lab.server.store.view(lab.build("kind: pipeline\nsteps: [\n"))
    assert view["status"] == "error"
    assert view["stages"] == []
