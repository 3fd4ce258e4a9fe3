from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runnerkit.change.actions import Drain, MoveData, StartServices, StopServices, WriteManifest
from runnerkit.change.plan import diff
from runnerkit.desired.state import DesiredState
from runnerkit.facts.daemon import DaemonFacts
from runnerkit.facts.host import HostFacts
from tests.unit.builders import converged, desired_for, outer_daemon, with_docker

OLD = "/var/lib/runnerkit/main"


def moved(tmp_path: Path, **system: object) -> tuple[DesiredState, HostFacts]:
    """A converged host whose docker.data was then changed to /data."""
    facts = converged(desired_for(tmp_path))
    facts = replace(facts, system=replace(facts.system, data_before=OLD, **system))  # type: ignore[arg-type]
    return desired_for(tmp_path, docker={"data": "/data"}), facts


def test_data_in_another_place_is_never_left_behind_silently(tmp_path: Path) -> None:
    plan = diff(*moved(tmp_path))
    assert plan.actions == ()
    [blocker] = plan.blockers
    assert f"docker.data says /data/main, but the images and caches are in {OLD}" in str(blocker)
    assert "--move-data" in blocker.hint


def test_a_move_drains_stops_moves_and_starts_everything(tmp_path: Path) -> None:
    plan = diff(*moved(tmp_path), move_data=True)
    kinds = [type(action) for action in plan.actions]
    order = [kinds.index(kind) for kind in (Drain, StopServices, MoveData, WriteManifest)]
    assert order == sorted(order)
    assert isinstance(plan.actions[-1], StartServices)
    assert plan.actions[-1].services == ("dind", "runner", "janitor")


def test_nothing_is_written_over_data_that_is_there(tmp_path: Path) -> None:
    [blocker] = diff(*moved(tmp_path, data_filled=True), move_data=True).blockers
    assert "/data/main is not empty" in blocker.message


def test_moving_where_nothing_is_to_be_moved_changes_nothing(tmp_path: Path) -> None:
    desired = desired_for(tmp_path)
    facts = converged(desired)
    facts = replace(facts, system=replace(facts.system, data_before=OLD, data_filled=True))
    assert diff(desired, facts, move_data=True).actions == ()


def test_two_daemons_never_share_a_data_root(tmp_path: Path) -> None:
    desired = desired_for(tmp_path)
    facts = converged(desired)
    assert isinstance(facts.outer, DaemonFacts)
    users = ("other-dind", "runnerkit-main-dind-1")
    facts = replace(facts, outer=replace(facts.outer, data_users=users))
    [blocker] = diff(desired, facts).blockers
    assert f"{OLD} is in use by the container other-dind" in blocker.message


def test_the_hosts_own_data_root_is_refused(tmp_path: Path) -> None:
    desired = desired_for(tmp_path, docker={"data": "/mnt/docker/runner"})
    facts = replace(with_docker(), outer=outer_daemon(data_root="/mnt/docker"))
    [blocker] = diff(desired, facts).blockers
    assert "the data-root of the host's own Docker" in blocker.message


@pytest.mark.parametrize(
    ("kind", "mount", "words"),
    [("nfs4", "/mnt", "overlay2 does not work"), ("ext4", "/", "shares a disk with the system")],
)
def test_a_poor_place_is_noted_before_the_first_data_lies_there(
    kind: str, mount: str, words: str, tmp_path: Path
) -> None:
    facts = with_docker()
    assert facts.system.data_disk is not None
    disk = replace(facts.system.data_disk, kind=kind, mount=mount)
    facts = replace(facts, system=replace(facts.system, data_disk=disk))
    [note] = diff(desired_for(tmp_path), facts).notes
    assert words in note.replace("overlay2 does not work well or at all", "overlay2 does not work")
    assert diff(desired_for(tmp_path), converged(desired_for(tmp_path))).notes == ()
