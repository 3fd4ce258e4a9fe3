"""A service that read another file than the one that is there now is started anew."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runnerkit.change.actions import Drain, HaltServices, StartServices, WriteFile
from runnerkit.change.plan import diff
from runnerkit.desired.state import DesiredState, ServiceName
from runnerkit.facts.daemon import DaemonFacts
from runnerkit.facts.host import HostFacts, MountedFile, parse_mounted
from runnerkit.health.host import files
from runnerkit.health.model import Case, Status
from tests.unit.builders import NOW, converged, desired_for

READ = {"dind": "daemon.json", "runner": "runner.env", "janitor": "janitor.sh"}
STARTED = 1_767_225_600  # what the builders say of every container


@pytest.fixture
def desired(tmp_path: Path) -> DesiredState:
    return desired_for(tmp_path)


def mounting(desired: DesiredState, **files: tuple[str, int]) -> HostFacts:
    """A converged host whose services mount these: a digest, and when it was written."""
    mounted = {name: (desired.file(file).sha256, 0) for name, file in READ.items()} | files
    return replace(
        converged(desired),
        mounted=tuple(
            MountedFile(name, READ[name], digest, written)
            for name, (digest, written) in mounted.items()
        ),
    )


def test_services_that_read_their_files_are_left_alone(desired: DesiredState) -> None:
    assert diff(desired, mounting(desired)).actions == ()
    assert files(Case(desired, mounting(desired))).status is Status.OK


@pytest.mark.parametrize("service", ["dind", "runner"])
def test_one_that_read_another_file_starts_anew_once_no_build_runs(
    service: ServiceName, desired: DesiredState
) -> None:
    facts = mounting(desired, **{service: ("0" * 64, 0)})
    drain, halt, start = diff(desired, facts).actions
    assert isinstance(drain, Drain)
    assert isinstance(halt, HaltServices)
    assert isinstance(start, StartServices)
    assert halt.services == (service,)
    assert halt.reason == f"{service} was started with another {READ[service]}"
    assert start.reason == halt.reason
    found = files(Case(desired, facts))
    assert (found.status, found.evidence) == (Status.WARN, halt.reason)


def test_the_janitor_starts_anew_while_builds_run(desired: DesiredState) -> None:
    actions = diff(desired, mounting(desired, janitor=("0" * 64, 0))).actions
    assert [type(action) for action in actions] == [HaltServices, StartServices]


def test_a_file_edited_in_place_may_have_been_another_when_it_was_read(
    desired: DesiredState,
) -> None:
    """Whatever it says now, also what it should say."""
    right = desired.file("daemon.json").sha256
    for digest in (right, "0" * 64):
        [_, halt, _] = diff(desired, mounting(desired, dind=(digest, STARTED + 60))).actions
        assert "edited while dind ran" in halt.reason
    assert diff(desired, mounting(desired, dind=(right, STARTED - 60))).actions == ()


def test_an_edit_that_nobody_read_yet_is_undone_without_a_restart(desired: DesiredState) -> None:
    facts = mounting(desired)
    there = tuple(
        replace(file, sha256="0" * 64) if file.name == "daemon.json" else file
        for file in facts.system.files
    )
    plan = diff(desired, replace(facts, system=replace(facts.system, files=there)))
    assert any(isinstance(action, WriteFile) for action in plan.actions)
    assert not any(isinstance(action, HaltServices | StartServices) for action in plan.actions)


def test_a_service_that_is_made_anew_need_not_be_halted(tmp_path: Path) -> None:
    before = desired_for(tmp_path)
    after = desired_for(tmp_path, cache={"max": "20GB"})
    kinds = [type(action) for action in diff(after, mounting(before)).actions]
    assert HaltServices not in kinds
    assert kinds[-1] is StartServices


def test_one_that_dies_of_its_file_starts_at_once_with_the_new_one(desired: DesiredState) -> None:
    facts = converged(desired)
    assert isinstance(facts.outer, DaemonFacts)
    containers = tuple(
        replace(item, state="restarting") if item.service == "dind" else item
        for item in facts.outer.containers
    )
    actions = diff(
        desired, replace(facts, outer=replace(facts.outer, containers=containers))
    ).actions
    assert [type(action) for action in actions] == [Drain, HaltServices, StartServices]
    assert actions[1].reason == "dind is restarting"


def test_a_container_of_unknown_start_is_judged_by_what_it_mounts(desired: DesiredState) -> None:
    facts = mounting(desired, dind=(desired.file("daemon.json").sha256, NOW))
    assert isinstance(facts.outer, DaemonFacts)
    containers = tuple(replace(item, started_at="soon") for item in facts.outer.containers)
    facts = replace(facts, outer=replace(facts.outer, containers=containers))
    assert diff(desired, facts).actions == ()


def test_what_mounted_sh_answers_is_read_and_noise_is_not() -> None:
    answer = "dind\tdaemon.json\tabc\t0\nrunner\trunner.env\tdef\t-\nsh: no such file\n"
    assert parse_mounted(answer) == (MountedFile("dind", "daemon.json", "abc", 0),)
