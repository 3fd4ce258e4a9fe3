"""Changing a host while it works: builds go on, failures go back, two do not change it at once."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.kit import PIPELINES, Kit, Lab, explain, publish, until

pytestmark = pytest.mark.lab

HOST = "host1"
OTHERS = ("host2", "host3")
GATE = "/var/lib/runnerkit/main/gate"
JOURNAL = "/srv/runnerkit/main/journal.json"

EVERY_PROCESS = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'"

Edit = Callable[[dict[str, Any]], None]

# Like dind in every way but that it never becomes one.
BROKEN_DIND = (
    "FROM docker:28.5-dind\n"
    'ENTRYPOINT ["sh", "-c", "trap \\"exit 1\\" TERM; echo no such luck >&2; sleep 99999 & wait"]\n'
)

AT_WORK: list[subprocess.Popen[str]] = []


@pytest.fixture(scope="module")
def alone(fleet: Kit) -> Iterator[Kit]:
    """The fleet, with host1 the only one that takes builds."""
    before = fleet.config.read_text()
    for other in OTHERS:
        fleet("down", other, "--yes")
    yield fleet
    fleet.config.write_text(before)
    fleet("up", "--yes")


@pytest.fixture(autouse=True)
def as_before(alone: Kit, lab: Lab) -> Iterator[None]:
    """Each test finds and leaves host1 as it was."""
    before = alone.config.read_text()
    lab.on(HOST, "rm", "-rf", GATE)
    yield
    # What a failed test left at work must not fail those after it.
    open_gate(lab)
    while AT_WORK:
        process = AT_WORK.pop()
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.communicate(timeout=180)
    alone.config.write_text(before)
    alone("up", HOST, "--yes", "--lock-wait", "3m")


def host_settings(**sections: Any) -> Edit:
    return lambda content: content["hosts"][HOST].update(sections)


def started(kit: Kit, *arguments: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "runnerkit", *arguments],
        env=os.environ | {"RUNNERKIT_CONFIG": str(kit.config)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    AT_WORK.append(process)
    return process


def a_running_build(kit: Kit, lab: Lab) -> subprocess.Popen[str]:
    """A build that waits for `open_gate`."""
    build = lab.queue(PIPELINES / "wait.yml")

    def runs() -> bool:
        listed = kit("docker", HOST, "--", "ps", "--format", "{{.Labels}}").stdout
        return "io.drone.step.name=wait" in listed

    until(runs, 90, "the build runs")
    return build


def open_gate(lab: Lab) -> None:
    lab.on(HOST, "sh", "-c", f"mkdir -p {GATE} && touch {GATE}/open")


def wait_for_step(lab: Lab, words: str) -> None:
    until(lambda: words in lab.on(HOST, "cat", JOURNAL, check=False).stdout, 60, words)


def assert_green(build: subprocess.Popen[str]) -> None:
    result = json.loads(build.communicate(timeout=120)[0])
    assert result["status"] == "success", explain(result)


def container_id(lab: Lab, service: str) -> str:
    return lab.on(
        HOST, "docker", "inspect", "--format", "{{.Id}}", f"runnerkit-main-{service}-1"
    ).stdout.strip()


@pytest.mark.parametrize(
    ("command", "edit"),
    [
        (("up",), host_settings(runner={"capacity": 4})),
        (("up",), host_settings(cache={"max": "33GB"})),
        (("upgrade", "--to-dind", "docker:28-dind"), host_settings()),
    ],
    ids=["capacity", "cache", "upgrade"],
)
def test_a_running_build_ends_green(
    command: tuple[str, ...], edit: Edit, alone: Kit, lab: Lab
) -> None:
    build = a_running_build(alone, lab)
    alone.edit(edit)
    change = started(alone, *command, HOST, "--yes")
    wait_for_step(lab, "drain the runner")
    open_gate(lab)
    output = change.communicate(timeout=180)[0]
    assert change.returncode == 0, output
    assert_green(build)


def test_one_changes_the_host_and_the_other_says_so(alone: Kit, lab: Lab) -> None:
    build = a_running_build(alone, lab)
    alone.edit(host_settings(runner={"capacity": 3}))
    first = started(alone, "up", HOST, "--yes")
    wait_for_step(lab, "drain the runner")
    refused = alone("up", HOST, "--yes", expect=6)
    assert re.search(rf"`runnerkit up`, process {first.pid}\) has been changing it", refused.stderr)
    assert "--lock-wait" in refused.stderr
    for what in (("cache", "prune", HOST, "--layers", "--yes"), ("cache", "verify", HOST)):
        assert f"process {first.pid}" in alone(*what, expect=6).stderr
    assert "drain the runner" in alone("status", "--verbose", HOST, expect=None).stdout
    patient = started(alone, "up", HOST, "--yes", "--lock-wait", "3m")
    open_gate(lab)
    assert first.wait(120) == 0, first.stdout and first.stdout.read()
    assert "nothing to do" in patient.communicate(timeout=120)[0]
    assert patient.returncode == 0
    assert_green(build)


def test_a_client_killed_while_it_drains_loses_no_build(alone: Kit, lab: Lab) -> None:
    build = a_running_build(alone, lab)
    alone.edit(host_settings(runner={"capacity": 5}))
    first = started(alone, "up", HOST, "--yes")
    wait_for_step(lab, "drain the runner")
    first.kill()
    first.wait()
    assert "was interrupted at `drain the runner`" in alone("plan", HOST).stdout
    [report] = json.loads(alone("status", HOST, "--json", expect=None).stdout)["hosts"]
    [told] = [check for check in report["checks"] if check["id"] == "change"]
    assert (told["status"], told["hint"]) == ("warn", f"runnerkit up {HOST}")
    again = started(alone, "up", HOST, "--yes", "--lock-wait", "1m")
    wait_for_step(lab, f'"pid": {again.pid}')
    open_gate(lab)
    output = again.communicate(timeout=180)[0]
    assert again.returncode == 0, output
    assert_green(build)
    alone("plan", HOST, "--exit-code")


@pytest.mark.parametrize(
    "command",
    [("drain",), pytest.param(("up", "--yes"), marks=pytest.mark.soak)],
    ids=["drain", "up"],
)
def test_a_host_that_goes_away_while_it_drains_is_told_and_the_next_call_goes_on(
    command: tuple[str, ...], alone: Kit, lab: Lab
) -> None:
    lost = a_running_build(alone, lab)
    alone.edit(host_settings(runner={"capacity": 7}))
    change = started(alone, *command, HOST)
    wait_for_step(lab, "drain the runner")
    lab.call("cut", HOST)
    try:
        output = change.communicate(timeout=180)[0]
        assert change.returncode == 5, output
        told = f"error: {HOST}: the connection was lost( \\([^)]+\\))? during `drain the runner`"
        assert output.count("error:") == len(re.findall(told, output)) == 1, output
        assert f"once {HOST} answers again, the same command goes on" in output
        alone("plan", HOST, expect=5)
    finally:
        lost.kill()
        lab.call("boot", HOST)
    assert "was interrupted at `drain the runner`" in alone("plan", HOST).stdout
    alone(*command, HOST)
    if command == ("drain",):
        assert "takes no new builds" in alone("status", HOST, expect=None).stdout
    alone("up", HOST, "--yes")
    alone("plan", HOST, "--exit-code")
    open_gate(lab)
    result = lab.submit(PIPELINES / "wait.yml")
    assert result["status"] == "success", explain(result)


def test_a_drain_that_takes_too_long_names_what_runs_and_kills_nothing(
    alone: Kit, lab: Lab
) -> None:
    build = a_running_build(alone, lab)
    answer = alone("drain", HOST, "--timeout", "1s", expect=1)
    assert re.search(r"lab/\S+ #\d+ default/wait", answer.stderr), answer.stderr
    assert "nothing was killed" in answer.stderr
    open_gate(lab)
    assert_green(build)
    assert "drained" in alone("drain", HOST).stdout
    assert "takes no new builds" in alone("status", HOST, expect=None).stdout
    alone("resume", HOST)


def test_a_lock_of_a_silent_client_is_explained_and_can_be_ended(alone: Kit, lab: Lab) -> None:
    build = a_running_build(alone, lab)
    alone.edit(host_settings(runner={"capacity": 6}))
    first = started(alone, "up", HOST, "--yes")
    wait_for_step(lab, "drain the runner")
    first.send_signal(signal.SIGSTOP)
    try:
        lab.on(HOST, "touch", "--date", "5 minutes ago", "/run/runnerkit/.beat")
        refused = alone("up", HOST, "--yes", expect=6)
        assert "no sign of life for 5m" in refused.stderr
        assert f"runnerkit unlock {HOST}" in refused.stderr
        assert f"process {first.pid}" in alone("unlock", HOST, "--yes").stdout
    finally:
        first.send_signal(signal.SIGCONT)
    output = first.communicate(timeout=60)[0]
    assert first.returncode == 6, output
    assert "the lock was taken away" in output
    open_gate(lab)
    assert_green(build)
    alone("up", HOST, "--yes")


def test_an_upgrade_that_never_gets_healthy_goes_back(alone: Kit, lab: Lab) -> None:
    publish(lab, HOST, "broken/dind:28", BROKEN_DIND)
    alone.edit(host_settings(docker={"image": "docker:28.5-dind", "health_timeout": "25s"}))
    alone("up", HOST, "--yes")
    answer = alone("upgrade", HOST, "--to-dind", "broken/dind:28", "--yes", expect=1)
    assert "no such luck" in answer.stderr
    assert "went back to generation" in answer.stderr
    alone("plan", HOST, "--exit-code")
    assert alone("status", HOST).code == 0
    changes = json.loads(alone("history", HOST, "--json").stdout)["changes"]
    assert [change["result"] for change in changes[-2:]] == [
        "failed: start the services", "done",
    ]  # fmt: skip


def test_an_upgrade_that_cannot_be_pulled_changes_nothing(alone: Kit, lab: Lab) -> None:
    before = {service: container_id(lab, service) for service in ("dind", "runner")}
    answer = alone("upgrade", HOST, "--to-dind", "docker:27-nowhere", "--yes", expect=1)
    assert "docker:27-nowhere could not be pulled" in answer.stderr
    assert {service: container_id(lab, service) for service in before} == before
    alone("plan", HOST, "--exit-code")
    assert alone("status", HOST).code == 0


def test_a_downgrade_that_the_data_cannot_survive_is_refused(alone: Kit) -> None:
    answer = alone("upgrade", HOST, "--to-dind", "docker:20.10-dind", "--yes", expect=1)
    assert "caches would be lost" in answer.stderr
    assert "nothing was changed" in answer.stderr


def test_a_rotated_secret_restarts_only_the_runner(alone: Kit, lab: Lab, tmp_path: Path) -> None:
    before = {service: container_id(lab, service) for service in ("dind", "runner")}
    rotated = tmp_path / "secret"
    rotated.write_text("another $ecret\n")
    rotated.chmod(0o600)
    alone.edit(host_settings(secret=f"file:{rotated}"))
    change = started(alone, "up", HOST, "--yes")
    told = []
    while change.poll() is None:
        told.append(lab.on(HOST, "sh", "-c", EVERY_PROCESS, check=False).stdout)
    told.append(change.communicate()[0])
    assert change.returncode == 4
    assert "does not accept the secret" in told[-1]
    look = (("plan", "--json"), ("status", "--json"), ("history", "--json"), ("status", "-v"))
    told += [alone(*command, HOST, expect=None).output for command in look]
    told.append(lab.on(HOST, "sh", "-c", "docker inspect $(docker ps --all --quiet)").stdout)
    assert [text for text in told if "another $ecret" in text] == []
    folders = ("/srv", "/run", "/tmp", "/root", "/var/log")  # noqa: S108
    holding = lab.on(HOST, "grep", "-rlF", "another $ecret", *folders, check=False)
    places = {re.sub(r"/generations/\d+", "", place) for place in holding.stdout.split()}
    assert places == {"/srv/runnerkit/main/runner.env"}
    assert container_id(lab, "dind") == before["dind"]
    assert container_id(lab, "runner") != before["runner"]
    kept = lab.on(HOST, "sh", "-c", "stat -c %a /srv/runnerkit/main/generations/*/runner.env")
    assert set(kept.stdout.split()) == {"600"}
