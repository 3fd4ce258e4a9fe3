"""What of a plan is done at once."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from runnerkit.change.actions import (
    Action,
    PreloadImage,
    PullImage,
    StartDocker,
    WriteFile,
    WriteManifest,
)
from runnerkit.change.groups import grouped, title_of, told
from runnerkit.change.plan import diff
from runnerkit.paths import stack_paths
from tests.unit.builders import desired_for, with_docker

PATHS = stack_paths("main", "/var/lib/runnerkit")
DIND, RUNNER = PullImage("docker:28-dind", "r"), PullImage("drone/runner:1", "r")
GO, GIT = PreloadImage(PATHS, "golang:1.24", "r"), PreloadImage(PATHS, "drone/git", "r")
START = StartDocker("r")


def test_pulls_that_follow_each_other_go_to_one_daemon_at_once() -> None:
    groups = grouped([DIND, RUNNER, GO, GIT, START, DIND])
    assert groups == [[DIND, RUNNER], [GO, GIT], [START], [DIND]]
    assert title_of(groups[0]) == "pull docker:28-dind and 1 more"
    assert told(groups[0]) == "pull docker:28-dind, pull drone/runner:1"


def test_the_files_of_a_generation_land_together(tmp_path: Path) -> None:
    plan = diff(desired_for(tmp_path), with_docker())
    [files] = [group for group in grouped(plan.actions) if isinstance(group[0], WriteFile)]
    assert isinstance(files[-1], WriteManifest)
    assert title_of(files) == f"write {len(files)} files"
    assert told(files).startswith("write compose.yml, ")


@given(st.lists(st.sampled_from([DIND, RUNNER, GO, GIT, START])))
def test_nothing_is_lost_and_nothing_overtakes(actions: list[Action]) -> None:
    groups = grouped(actions)
    assert [action for group in groups for action in group] == actions
    assert all(len({type(action) for action in group}) == 1 for group in groups)
