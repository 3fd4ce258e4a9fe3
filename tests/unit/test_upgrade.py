from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import pytest

from runnerkit.change.actions import Drain, PullImage
from runnerkit.change.generations import Generation, generation_before, read_generations
from runnerkit.change.manifest import Manifest
from runnerkit.change.service_plans import drain_plan, purge_places, resume_plan, teardown
from runnerkit.change.stages import RunningStep, running_steps
from runnerkit.change.upgrade import fetch_for, fetch_plan, restore_plan, switch_plan
from runnerkit.desired.state import DIND, RUNNER
from runnerkit.facts.daemon import DaemonFacts
from runnerkit.facts.host import HostFacts
from tests.unit.builders import container, converged, desired_for, outer_daemon


def kept(number: int, restored_from: int | None = None) -> Generation:
    manifest = Manifest({"compose.yml": "0"}, "0.1.0", number, 0, restored_from)
    images = {DIND: "docker:28-dind", RUNNER: "drone/drone-runner-docker:1.8.4"}
    return Generation(manifest, images, dict.fromkeys(images.values(), "sha256:1"))


@pytest.mark.parametrize(
    ("generations", "current", "goal"),
    [
        ([kept(1), kept(2)], 2, 1),
        ([kept(1), kept(2), kept(3)], 3, 2),
        # Going back twice goes back two steps, not to and fro.
        ([kept(1), kept(2), kept(3), kept(4, restored_from=2)], 4, 1),
        ([kept(1), kept(2), kept(3, restored_from=1)], 3, None),
        ([kept(1)], 1, None),
        ([kept(4), kept(7)], 7, 4),
    ],
)
def test_rollback_goes_one_step_back(
    generations: list[Generation], current: int, goal: int | None
) -> None:
    found = generation_before(generations, current)
    assert (found.number if found else None) == goal


def test_generations_are_read_from_what_lies_on_the_host() -> None:
    env = "DIND_IMAGE=docker:28-dind\nRUNNER_IMAGE=drone/drone-runner-docker:1.8.4\n"
    images = "docker:28-dind sha256:1\ndrone/drone-runner-docker:1.8.4 sha256:1\n"
    lines = [
        "\t".join(
            base64.b64encode(part).decode()
            for part in (item.manifest.to_bytes(), env.encode(), images.encode())
        )
        for item in (kept(10), kept(9, restored_from=7))
    ]
    torn = base64.b64encode(b"{").decode()
    answer = "\n".join([*lines, f"{torn}\t\t", "nonsense"])
    assert read_generations(answer) == (kept(9, restored_from=7), kept(10))


def names(plan_actions: tuple[object, ...]) -> list[str]:
    return [type(action).__name__ for action in plan_actions]


def test_an_upgrade_asks_the_registry_anew_and_restarts_nothing_for_nothing(tmp_path: Path) -> None:
    desired = desired_for(tmp_path)
    facts = converged(desired)
    pulls = fetch_plan(desired, facts).actions
    assert {action.ref for action in pulls if isinstance(action, PullImage)} == {
        *desired.images.values()
    }
    assert switch_plan(desired, facts).actions == ()


def test_a_tag_that_moved_makes_a_new_generation(tmp_path: Path) -> None:
    desired = desired_for(tmp_path)
    facts = converged(desired)
    assert isinstance(facts.outer, DaemonFacts)
    images = dict.fromkeys(desired.images.values(), "sha256:2")
    facts = replace(facts, outer=replace(facts.outer, images=images))
    plan = switch_plan(desired, facts)
    assert names(plan.actions) == ["Drain", "WriteManifest", "StartServices"]
    assert "dind runs an older image" in plan.actions[0].reason


def test_going_back_fetches_only_what_is_gone(tmp_path: Path) -> None:
    desired = desired_for(tmp_path)
    facts = converged(desired)
    assert fetch_for(kept(1), desired, facts).actions == ()
    gone = replace(facts, outer=outer_daemon())
    assert names(fetch_for(kept(1), desired, gone).actions) == ["PullImage", "PullImage"]
    plan = restore_plan(kept(1), desired, facts, "asked for")
    assert names(plan.actions) == ["Drain", "RestoreFiles", "StartServices"]


def draining(facts: HostFacts, state: str) -> HostFacts:
    assert isinstance(facts.outer, DaemonFacts)
    containers = tuple(
        replace(item, state=state) if item.service == RUNNER else item
        for item in facts.outer.containers
    )
    return replace(
        facts,
        system=replace(facts.system, draining="runner-id"),
        outer=replace(facts.outer, containers=containers),
    )


def test_draining_and_resuming_touch_no_file(tmp_path: Path) -> None:
    desired = desired_for(tmp_path)
    facts = converged(desired)
    [drain] = drain_plan(desired, facts, 60).actions
    assert isinstance(drain, Drain)
    assert drain.timeout_seconds == 60
    assert drain_plan(desired, draining(facts, "exited"), None).actions == ()
    # Ended by a power cut: what says that it is drained went with it.
    cut = replace(draining(facts, "exited"), system=facts.system)
    assert names(drain_plan(desired, cut, None).actions) == ["Drain"]
    assert resume_plan(desired, facts).actions == ()
    assert names(resume_plan(desired, draining(facts, "exited")).actions) == ["StartServices"]
    # It was told to end, and cannot be told otherwise.
    again = resume_plan(desired, draining(facts, "running")).actions
    assert names(again) == ["Drain", "StartServices"]


def test_taking_down_drains_first_and_deletes_only_what_is_named(tmp_path: Path) -> None:
    desired = desired_for(tmp_path)
    facts = converged(desired)
    assert names(teardown(desired, facts).actions) == ["Drain", "StopServices"]
    actions = teardown(desired, facts, purge=("/srv/x",)).actions
    assert names(actions) == ["Drain", "StopServices", "Purge"]
    assert actions[-1].title == "delete /srv/x"


def test_purging_names_what_imports_left_beside_the_data(tmp_path: Path) -> None:
    desired = desired_for(tmp_path)
    facts = converged(desired)
    directory, data, sockets = purge_places(desired, facts)
    assert (directory, sockets) == ("/srv/runnerkit/main", "/run/runnerkit/main")
    left = f"{data}.before-import"
    system = replace(facts.system, data_beside=(left,))
    assert purge_places(desired, replace(facts, system=system)) == (directory, data, left, sockets)


def test_running_stages_are_told_by_their_labels(tmp_path: Path) -> None:
    labels = {
        "io.drone.repo.slug": "octocat/app",
        "io.drone.build.number": "12",
        "io.drone.stage.name": "default",
        "io.drone.step.name": "test",
        "io.drone.created": "1000",
    }
    at_work = replace(container(RUNNER, desired_for(tmp_path)), labels=labels)
    over = replace(at_work, state="exited")
    other = replace(at_work, labels={})
    assert running_steps([other, over, at_work]) == (
        RunningStep("octocat/app", "12", "default", "test", 1000),
    )
    assert running_steps([at_work])[0].told(1065) == "octocat/app #12 default/test, 1m5s"
