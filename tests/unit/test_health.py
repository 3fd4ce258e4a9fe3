from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from runnerkit.change.journal import Begun, Owner
from runnerkit.errors import ExitCode
from runnerkit.facts.daemon import DaemonFacts, DaemonUnavailable
from runnerkit.facts.host import HostFacts, ServerFacts
from runnerkit.health.judge import judge
from runnerkit.health.model import Status, unreachable
from runnerkit.report.status import health_json
from tests.unit.builders import converged, desired_for, outer_daemon


def bad(folder: Path, facts: HostFacts) -> dict[str, str]:
    """The checks that are not ok, with their hints."""
    report = judge(desired_for(folder), facts)
    return {c.id: c.hint for c in report.checks if c.status not in (Status.OK, Status.SKIP)}


@pytest.fixture
def well(tmp_path: Path) -> HostFacts:
    return converged(desired_for(tmp_path))


def test_a_converged_host_is_healthy(tmp_path: Path, well: HostFacts) -> None:
    report = judge(desired_for(tmp_path), well)
    assert (report.status, report.exit_code) == ("healthy", ExitCode.OK)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (ServerFacts(401), "DRONE_RPC_SECRET"),
        (ServerFacts(403), "on the server"),
        (ServerFacts(404), "URL"),
        (ServerFacts(500), "log"),
        (ServerFacts(None, "no connection"), "network"),
    ],
)
def test_each_answer_of_the_server_has_its_own_hint(
    answer: ServerFacts, words: str, tmp_path: Path, well: HostFacts
) -> None:
    found = bad(tmp_path, replace(well, server=answer))
    assert set(found) == {"server"}
    assert words in found["server"]


def test_a_dead_inner_daemon_is_one_failure_not_many(tmp_path: Path, well: HostFacts) -> None:
    assert set(bad(tmp_path, replace(well, inner=DaemonUnavailable("refused")))) == {"dind-api"}


def test_an_engine_that_refuses_the_runners_api_fails_before_a_build_does(
    tmp_path: Path, well: HostFacts
) -> None:
    inner = outer_daemon(version="29.0.0", api_version="1.52", min_api_version="1.44")
    assert set(bad(tmp_path, replace(well, inner=inner))) == {"dind-api"}


def test_a_runner_that_keeps_restarting_is_named(tmp_path: Path, well: HostFacts) -> None:
    assert isinstance(well.outer, DaemonFacts)
    dind, runner, janitor = well.outer.containers
    outer = replace(well.outer, containers=(dind, replace(runner, state="restarting"), janitor))
    found = bad(tmp_path, replace(well, outer=outer))
    assert found["runner"] == "runnerkit logs forge runner"


def test_the_runners_own_complaint_is_evidence(tmp_path: Path, well: HostFacts) -> None:
    log = 'time=now level=error msg="cannot ping the remote server" error="401 Unauthorized"'
    report = judge(desired_for(tmp_path), replace(well, runner_log=log))
    [check] = [check for check in report.checks if check.id == "polling"]
    assert (check.status, check.evidence) == (Status.FAIL, log)


def test_a_file_changed_by_hand_is_drift(tmp_path: Path, well: HostFacts) -> None:
    files = tuple(
        replace(f, sha256="0" * 64) if f.name == "daemon.json" else f for f in well.system.files
    )
    facts = replace(well, system=replace(well.system, files=files))
    report = judge(desired_for(tmp_path), facts)
    assert report.status == "degraded"
    assert set(bad(tmp_path, facts)) == {"drift"}


def test_an_unreachable_host_has_a_report_of_its_own() -> None:
    report = unreachable("forge", "forge.lan: connection refused", "is sshd running?")
    assert report.exit_code is ExitCode.UNREACHABLE
    shown = json.loads(health_json([report]))
    assert shown["schema_version"] == 1
    assert shown["hosts"][0]["status"] == "unreachable"
    assert set(shown["hosts"][0]["checks"][0]) == {
        "id", "group", "status", "summary", "evidence", "hint",
    }  # fmt: skip


BEGUN = Begun(Owner("ops@laptop", 4711, "up"), 1_700_000_000, "drain the runner", 2, 5)


def test_an_interrupted_change_is_told_until_it_is_mended(tmp_path: Path, well: HostFacts) -> None:
    system = replace(well.system, journal=BEGUN.to_line())
    report = judge(desired_for(tmp_path), replace(well, system=system))
    [found] = [check for check in report.checks if check.id == "change"]
    assert found.status is Status.WARN
    assert "interrupted at step 2 of 5: drain the runner" in found.summary
    assert found.hint == "runnerkit up forge"


def test_a_change_under_way_is_no_interrupted_one(tmp_path: Path, well: HostFacts) -> None:
    system = replace(well.system, journal=BEGUN.to_line(), lock_owner=BEGUN.owner.to_line())
    assert bad(tmp_path, replace(well, system=system)) == {}
