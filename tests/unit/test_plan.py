from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runnerkit.change.actions import Drain, InstallDocker, StartDocker, StartServices, WriteFile
from runnerkit.change.compatibility import changed_images
from runnerkit.change.journal import Begun, Owner
from runnerkit.change.plan import diff
from runnerkit.desired.state import DIND, JANITOR, RUNNER, DesiredState
from runnerkit.facts.daemon import DaemonFacts, DaemonUnavailable
from runnerkit.facts.host import HostFacts
from tests.unit.builders import (
    bare_system,
    container,
    converged,
    desired_for,
    outer_daemon,
    with_docker,
)

NO_DOCKER = DaemonUnavailable("docker: not found")


def names(facts: HostFacts, folder: Path, **sections: object) -> list[str]:
    return [
        type(action).__name__ for action in diff(desired_for(folder, **sections), facts).actions
    ]


def test_a_converged_host_needs_nothing(tmp_path: Path) -> None:
    desired = desired_for(tmp_path)
    assert diff(desired, converged(desired)).actions == ()


def test_spelling_out_defaults_changes_nothing(tmp_path: Path) -> None:
    facts = converged(desired_for(tmp_path))
    spelled = {"runner": {"capacity": 2}, "docker": {"image": "docker:28-dind"}}
    assert names(facts, tmp_path, **spelled) == []


def test_a_bare_host_gets_everything_in_order(tmp_path: Path) -> None:
    facts = HostFacts(bare_system(), NO_DOCKER, NO_DOCKER)
    assert names(facts, tmp_path) == [
        "InstallDocker", "StartDocker", "PullImage", "PullImage", "MakeDirectory",
        "WriteFile", "WriteFile", "WriteFile", "WriteFile", "WriteFile", "WriteFile",
        "WriteManifest", "StartServices",
    ]  # fmt: skip


def test_another_environment_of_steps_restarts_only_the_runner(tmp_path: Path) -> None:
    facts = converged(desired_for(tmp_path))
    environ = {"GOPROXY": "https://goproxy.lan,direct"}
    after = desired_for(tmp_path, runner={"environ": environ}, registry={"cache": "r.lan:5000/c"})
    assert after.file("steps.env").content == (
        b"RUNNERKIT_CACHE='r.lan:5000/c'\nGOPROXY='https://goproxy.lan,direct'\n"
    )
    plan = diff(after, facts)
    changed = {action.file.name for action in plan.actions if isinstance(action, WriteFile)}
    assert changed == {".env", "steps.env"}
    assert desired_for(tmp_path).services[DIND] == after.services[DIND]
    assert desired_for(tmp_path).services[RUNNER] != after.services[RUNNER]


def test_another_capacity_restarts_only_the_runner_after_draining_it(tmp_path: Path) -> None:
    facts = converged(desired_for(tmp_path))
    before = desired_for(tmp_path)
    after = desired_for(tmp_path, runner={"capacity": 4})
    assert before.services[DIND] == after.services[DIND]
    plan = diff(after, facts)
    changed = {action.file.name for action in plan.actions if isinstance(action, WriteFile)}
    assert changed == {".env", "runner.env"}
    kinds = [type(action) for action in plan.actions]
    assert kinds.index(Drain) < kinds.index(StartServices)
    assert "dind changed" not in plan.actions[-1].reason


def test_a_change_of_the_janitor_alone_disturbs_no_build(tmp_path: Path) -> None:
    facts = converged(desired_for(tmp_path))
    plan = diff(desired_for(tmp_path, images={"keep_built": "5d"}), facts)
    assert not any(isinstance(action, Drain) for action in plan.actions)
    [start] = [action for action in plan.actions if isinstance(action, StartServices)]
    assert start.services == (JANITOR,)


def test_another_cache_limit_recreates_dind_after_draining_the_runner(tmp_path: Path) -> None:
    facts = converged(desired_for(tmp_path))
    plan = diff(desired_for(tmp_path, cache={"max": "20GB"}), facts)
    assert any(isinstance(action, Drain) for action in plan.actions)
    [start] = [action for action in plan.actions if isinstance(action, StartServices)]
    assert "the configuration of dind changed" in start.reason


@pytest.mark.parametrize("service", [DIND, RUNNER])
def test_a_stopped_service_is_started(service: str, tmp_path: Path) -> None:
    desired = desired_for(tmp_path)
    facts = converged(desired)
    assert isinstance(facts.outer, DaemonFacts)
    containers = tuple(
        replace(item, state="exited") if item.service == service else item
        for item in facts.outer.containers
    )
    plan = diff(desired, replace(facts, outer=replace(facts.outer, containers=containers)))
    assert f"{service} is exited" in plan.actions[-1].reason


@pytest.mark.parametrize("service", [DIND, RUNNER, JANITOR])
def test_a_container_that_somebody_made_with_fewer_walls_is_made_anew(
    service: str, tmp_path: Path
) -> None:
    desired = desired_for(tmp_path)
    facts = converged(desired)
    assert isinstance(facts.outer, DaemonFacts)
    containers = tuple(
        replace(item, isolation=replace(item.isolation, publishes=True))
        if item.service == service and item.isolation
        else item
        for item in facts.outer.containers
    )
    plan = diff(desired, replace(facts, outer=replace(facts.outer, containers=containers)))
    assert plan.actions[-1].reason == f"{service} is walled off less than it should be"
    assert (Drain in map(type, plan.actions)) == (service != JANITOR)


def test_a_draining_runner_is_taken_back_into_service(tmp_path: Path) -> None:
    desired = desired_for(tmp_path)
    facts = converged(desired)
    draining = replace(facts, system=replace(facts.system, draining="runner-id"))
    assert [type(action) for action in diff(desired, draining).actions] == [Drain, StartServices]


def test_a_readable_secret_file_is_written_anew(tmp_path: Path) -> None:
    desired = desired_for(tmp_path)
    facts = converged(desired)
    files = tuple(
        replace(file, mode=0o644) if file.name == "runner.env" else file
        for file in facts.system.files
    )
    plan = diff(desired, replace(facts, system=replace(facts.system, files=files)))
    assert plan.actions[0].reason == "mode 0644 should be 0600"


def test_no_plan_shows_the_secret(tmp_path: Path) -> None:
    desired = desired_for(tmp_path, runner={"capacity": 3})
    plan = diff(desired, converged(desired_for(tmp_path)))
    shown = repr(plan) + "".join(
        "".join(a.diff()) for a in plan.actions if isinstance(a, WriteFile)
    )
    assert "wo#rd" not in shown


def test_an_engine_that_is_too_old_is_a_reason_not_to_begin(tmp_path: Path) -> None:
    facts = replace(with_docker(), outer=outer_daemon(version="20.10.24"))
    plan = diff(desired_for(tmp_path), facts)
    assert plan.actions == ()
    assert "20.10.24 is too old" in plan.blockers[0].message


def test_docker_official_replaces_an_engine_that_is_too_old(tmp_path: Path) -> None:
    system = replace(with_docker().system, os_version="12")
    facts = HostFacts(system, outer_daemon(version="20.10.24"), NO_DOCKER)
    plan = diff(desired_for(tmp_path, docker={"source": "official"}), facts)
    assert isinstance(plan.actions[0], InstallDocker)
    assert plan.actions[0].installation.packages[0] == "docker-ce"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"uid": 1000}, "not root's"),
        ({"arch": "s390x"}, "do not exist for s390x"),
        ({"os_id": "fedora", "os_name": "Fedora", "apt": False}, "Fedora is not one that"),
        ({"os_version": "12", "os_name": "Debian 12"}, "no Docker that is new enough"),
    ],
)
def test_what_cannot_be_set_up_is_said_before_anything_is_done(
    change: dict[str, object], message: str, tmp_path: Path
) -> None:
    facts = HostFacts(replace(bare_system(), **change), NO_DOCKER, NO_DOCKER)  # type: ignore[arg-type]
    plan = diff(desired_for(tmp_path), facts)
    assert plan.actions == ()
    assert message in plan.blockers[0].message
    assert plan.blockers[0].hint


def test_a_full_disk_stops_a_first_installation_but_not_a_repair(tmp_path: Path) -> None:
    desired = desired_for(tmp_path)
    full = replace(bare_system().data_disk, available=1 << 20)  # type: ignore[type-var]
    bare = HostFacts(replace(bare_system(), data_disk=full), NO_DOCKER, NO_DOCKER)
    assert "1 MiB free" in diff(desired, bare).blockers[0].message
    facts = converged(desired)
    assert (
        diff(desired, replace(facts, system=replace(facts.system, data_disk=full))).blockers == ()
    )


def test_a_stopped_engine_is_started(tmp_path: Path) -> None:
    facts = replace(with_docker(), outer=DaemonUnavailable("connection refused"))
    assert isinstance(diff(desired_for(tmp_path), facts).actions[0], StartDocker)


def test_images_are_sent_when_the_host_shall_not_pull(tmp_path: Path) -> None:
    (tmp_path / "archives").mkdir()
    plan = diff(desired_for(tmp_path, images={"load": str(tmp_path / "archives")}), with_docker())
    assert plan.actions[0].title.startswith("load docker:28-dind drone/drone-runner-docker:1.8.4")


def test_only_missing_images_are_preloaded(tmp_path: Path) -> None:
    desired = desired_for(tmp_path, docker={"preload": ["golang:1.24", "debian:13"]})
    facts = converged(desired)
    facts = replace(facts, inner=outer_daemon(images={"golang:1.24": "sha256:2"}))
    assert [action.title for action in diff(desired, facts).actions] == [
        "preload debian:13 into dind"
    ]


def test_preloads_come_from_archives_when_the_host_shall_not_pull(tmp_path: Path) -> None:
    (tmp_path / "archives").mkdir()
    desired = desired_for(
        tmp_path, docker={"preload": ["golang"]}, images={"load": str(tmp_path / "archives")}
    )
    facts = replace(converged(desired), inner=outer_daemon())
    [action] = diff(desired, facts).actions
    assert action.title == f"load golang from {tmp_path}/archives into dind"


@pytest.mark.parametrize("written", ["golang", "docker.io/library/golang:latest"])
def test_an_image_is_found_however_it_was_written(written: str, tmp_path: Path) -> None:
    desired = desired_for(tmp_path, docker={"preload": [written]})
    facts = replace(converged(desired), inner=outer_daemon(images={"golang:latest": "sha256:2"}))
    assert diff(desired, facts).actions == ()


def test_a_missing_container_is_made(tmp_path: Path) -> None:
    desired = desired_for(tmp_path)
    facts = converged(desired)
    outer = outer_daemon(
        containers=(container(DIND, desired), container(JANITOR, desired)),
        images=dict.fromkeys(desired.images.values(), "sha256:1"),
    )
    [start] = diff(desired, replace(facts, outer=outer)).actions
    assert start.title == "start runner"


def test_what_an_interrupted_change_left_is_cleared_up_first(tmp_path: Path) -> None:
    desired = desired_for(tmp_path)
    facts = converged(desired)
    begun = Begun(Owner("ops@laptop", 4711, "up"), 1_700_000_000, "drain the runner", 2, 5)
    after = replace(facts, system=replace(facts.system, journal=begun.to_line()))
    [action] = diff(desired, after).actions
    assert "ops@laptop" in action.reason
    assert "`drain the runner`" in action.reason
    # The one who holds the lock is somebody else: the change under way is not ours to clear up.
    going_on = replace(after.system, lock_owner=begun.owner.to_line())
    assert diff(desired, replace(after, system=going_on)).actions == ()


def test_files_are_switched_only_when_the_runner_is_drained(tmp_path: Path) -> None:
    plan = diff(desired_for(tmp_path, runner={"capacity": 4}), converged(desired_for(tmp_path)))
    kinds = [type(action).__name__ for action in plan.actions]
    assert kinds == ["Drain", "WriteFile", "WriteFile", "WriteManifest", "StartServices"]


def with_image(facts: HostFacts, before: DesiredState) -> HostFacts:
    """The facts of a host on which something lies in the data-root of `before`."""
    return replace(facts, system=replace(facts.system, data_before=str(before.paths.data)))


@pytest.mark.parametrize(
    ("image", "refusal", "note"),
    [
        ("docker:28.5-dind", "", ""),
        ("docker:29-dind", "", "only on an empty disk"),
        ("docker:26-dind", "", "goes back from engine 28.5.2 to 26"),
        ("docker:20.10-dind", "caches would be lost", ""),
        ("docker:dind", "", "tells no version"),
    ],
)
def test_another_engine_is_let_in_or_refused_before_anything_is_done(
    image: str, refusal: str, note: str, tmp_path: Path
) -> None:
    before = desired_for(tmp_path)
    facts = with_image(converged(before), before)
    plan = diff(desired_for(tmp_path, docker={"image": image}), facts)
    assert refusal in "".join(blocker.message for blocker in plan.blockers)
    assert bool(plan.actions) is not bool(refusal)
    assert note in " ".join(plan.notes)


def test_an_engine_that_is_down_is_judged_by_the_image_that_it_had(tmp_path: Path) -> None:
    before = desired_for(tmp_path)
    facts = with_image(converged(before), before)
    facts = replace(facts, inner=DaemonUnavailable("gone"), outer=outer_daemon())
    [blocker] = diff(desired_for(tmp_path, docker={"image": "docker:20.10-dind"}), facts).blockers
    assert "engine 20.10 does not read the build cache of engine 28" in blocker.message
    assert "empty folder" in blocker.hint
    # Without data there is nothing to lose.
    empty = replace(facts, system=replace(facts.system, data_before=None))
    assert diff(desired_for(tmp_path, docker={"image": "docker:20.10-dind"}), empty).actions


def test_another_storage_driver_is_refused_on_data_that_is_there(tmp_path: Path) -> None:
    before = desired_for(tmp_path)
    facts = with_image(converged(before), before)
    [blocker] = diff(desired_for(tmp_path, docker={"storage_driver": "vfs"}), facts).blockers
    assert "not vfs" in blocker.message
    assert diff(desired_for(tmp_path, docker={"storage_driver": "overlay2"}), facts).actions


def test_data_is_not_moved_together_with_a_change_of_images(tmp_path: Path) -> None:
    before = desired_for(tmp_path)
    facts = with_image(converged(before), before)
    both = {"docker": {"data": "/data", "image": "docker:29-dind"}}
    [blocker] = diff(desired_for(tmp_path, **both), facts, move_data=True).blockers
    assert "no way back" in blocker.message
    alone = desired_for(tmp_path, docker={"data": "/data"})
    assert not diff(alone, facts, move_data=True).blockers


def test_a_service_that_gets_another_image_says_which(tmp_path: Path) -> None:
    before = desired_for(tmp_path)
    facts = with_image(converged(before), before)
    after = desired_for(tmp_path, docker={"image": "docker:28.5-dind"})
    reason = diff(after, facts).actions[-1].reason
    assert "dind goes from docker:28-dind to docker:28.5-dind" in reason
    assert changed_images(after, facts) == (DIND, JANITOR)
    assert changed_images(before, facts) == ()
