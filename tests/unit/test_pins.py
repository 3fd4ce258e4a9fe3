"""Images held to their digests: where a digest comes from, when it moves, and what is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from runnerkit.change.actions import PullImage
from runnerkit.change.plan import diff
from runnerkit.change.upgrade import fetch_plan, fetching, switch_plan
from runnerkit.desired.pins import Pins, pins_of
from runnerkit.desired.shipped import shipped_files
from runnerkit.desired.state import DIND, RUNNER, DesiredState, build
from runnerkit.facts.daemon import DaemonFacts
from runnerkit.facts.host import HostFacts, traits_of
from runnerkit.health.judge import judge
from tests.unit.builders import (
    SECRET,
    config_of,
    container,
    converged,
    desired_for,
    outer_daemon,
    with_docker,
)

DIND_TAG, RUNNER_TAG = "docker:28-dind", "drone/drone-runner-docker:1.8.4"
OLD, NEW, RUNNERS = (f"sha256:{digit * 64}" for digit in "abc")

HELD = {
    DIND_TAG: "sha256:1",
    f"docker@{OLD}": "sha256:1",
    RUNNER_TAG: "sha256:2",
    f"drone/drone-runner-docker@{RUNNERS}": "sha256:2",
}
# The tag was pulled again and means another image now; the former one is still there.
MOVED = HELD | {DIND_TAG: "sha256:3", f"docker@{NEW}": "sha256:3"}


def wanted(folder: Path, facts: HostFacts, *, move: bool = False, **images: Any) -> DesiredState:
    [host] = config_of(folder, images={"pin": True, **images}).hosts
    return build(host, SECRET, traits_of(facts, move_pins=move), shipped_files())


def holding(facts: HostFacts, images: dict[str, str]) -> HostFacts:
    assert isinstance(facts.outer, DaemonFacts)
    return replace(facts, outer=replace(facts.outer, images=images))


def pinned_host(folder: Path) -> HostFacts:
    """A host that runs the pinned images, as `up` leaves it."""
    desired = wanted(folder, holding(with_docker(), HELD))
    facts = converged(desired)
    ids = {DIND: "sha256:1", "janitor": "sha256:1", RUNNER: "sha256:2"}
    containers = tuple(container(name, desired, image_id=ids[name]) for name in desired.services)
    return replace(facts, outer=outer_daemon(containers=containers, images=HELD))


def test_a_pin_is_the_digest_that_the_host_holds(tmp_path: Path) -> None:
    desired = wanted(tmp_path, holding(with_docker(), HELD))
    assert desired.images[DIND] == f"{DIND_TAG}@{OLD}"
    assert desired.images[RUNNER] == f"{RUNNER_TAG}@{RUNNERS}"
    assert f"DIND_IMAGE={DIND_TAG}@{OLD}\n".encode() in desired.file(".env").content
    assert desired.tags == (DIND_TAG, RUNNER_TAG)
    assert desired.unpinned == ()


def test_without_pin_nothing_has_a_digest(tmp_path: Path) -> None:
    [host] = config_of(tmp_path).hosts
    facts = pinned_host(tmp_path)
    desired = build(host, SECRET, traits_of(facts), shipped_files())
    assert desired.images[DIND] == DIND_TAG
    assert desired.unpinned == ()


def test_a_digest_that_the_configuration_names_is_left_alone() -> None:
    pins = Pins({"docker": NEW}, {"docker:latest": (NEW,)})
    assert pins.pinned(f"docker@{OLD}") == f"docker@{OLD}"


def test_what_the_host_does_not_have_yet_is_pinned_after_the_pull(tmp_path: Path) -> None:
    facts = with_docker()
    desired = wanted(tmp_path, facts)
    assert desired.unpinned == (DIND_TAG, RUNNER_TAG)
    plan = diff(desired, facts)
    assert [note for note in plan.notes if "pinned" in note] == [
        f"{DIND_TAG} is pinned to its digest as soon as it is on the host",
        f"{RUNNER_TAG} is pinned to its digest as soon as it is on the host",
    ]
    assert [type(action) for action in fetching(plan).actions] == [PullImage, PullImage]


def test_an_image_without_a_registry_is_told_not_pinned(tmp_path: Path) -> None:
    desired = wanted(tmp_path, holding(with_docker(), {DIND_TAG: "sha256:1", **HELD}))
    facts = converged(desired)
    from_archive = holding(facts, {DIND_TAG: "sha256:1", RUNNER_TAG: "sha256:2"})
    again = wanted(tmp_path, from_archive, load="/archives")
    assert again.unpinned == (DIND_TAG, RUNNER_TAG)
    assert "cannot be pinned: it came from an archive" in diff(again, from_archive).notes[0]
    [check] = [item for item in judge(again, from_archive).checks if item.id == "pins"]
    assert check.status == "warn"
    assert DIND_TAG in check.summary


def test_a_pinned_host_needs_nothing_also_when_its_tag_moved(tmp_path: Path) -> None:
    facts = holding(pinned_host(tmp_path), MOVED)
    desired = wanted(tmp_path, facts)
    assert desired.images[DIND].endswith(OLD)
    assert diff(desired, facts).actions == ()
    assert [c.summary for c in judge(desired, facts).checks if c.id == "pins"] == [
        "2 images run by their digests"
    ]


def test_a_pinned_image_that_is_gone_comes_back_by_its_digest(tmp_path: Path) -> None:
    gone = {ref: image for ref, image in HELD.items() if image != "sha256:1"}
    facts = holding(pinned_host(tmp_path), gone)
    [pull] = diff(wanted(tmp_path, facts), facts).actions
    assert isinstance(pull, PullImage)
    assert pull.ref == f"{DIND_TAG}@{OLD}"
    assert pull.title == f"pull {DIND_TAG}@sha256:{'a' * 12}"


def test_an_upgrade_asks_for_the_tag_and_moves_the_pin(tmp_path: Path) -> None:
    facts = pinned_host(tmp_path)
    desired = wanted(tmp_path, facts, move=True)
    pulled = [x.ref for x in fetch_plan(desired, facts).actions if isinstance(x, PullImage)]
    assert pulled == [DIND_TAG, RUNNER_TAG]
    assert switch_plan(desired, facts).actions == ()
    later = holding(facts, MOVED)
    moved = wanted(tmp_path, later, move=True)
    assert moved.images[DIND].endswith(NEW)
    assert moved.images[RUNNER].endswith(RUNNERS)
    reason = switch_plan(moved, later).actions[0].reason
    assert f"dind is pinned to sha256:{'b' * 12}, not sha256:{'a' * 12} any more" in reason


def test_a_digest_that_only_got_a_second_name_moves_nothing(tmp_path: Path) -> None:
    facts = holding(pinned_host(tmp_path), HELD | {f"docker@sha256:{'0' * 64}": "sha256:1"})
    assert wanted(tmp_path, facts, move=True).images[DIND].endswith(OLD)


def test_a_container_of_another_image_is_drift(tmp_path: Path) -> None:
    facts = pinned_host(tmp_path)
    assert isinstance(facts.outer, DaemonFacts)
    strays = tuple(
        replace(item, image="mine:1", image_id="sha256:9") if item.service == RUNNER else item
        for item in facts.outer.containers
    )
    facts = replace(facts, outer=replace(facts.outer, containers=strays))
    desired = wanted(tmp_path, facts)
    assert "runner does not run the image of its digest" in diff(desired, facts).actions[-1].reason
    [check] = [item for item in judge(desired, facts).checks if item.id == "pins"]
    assert (check.status, check.hint) == ("warn", "runnerkit plan forge, then runnerkit up forge")
    assert check.evidence.startswith("runner runs mine:1, not drone/drone-runner-docker:1.8.4@sha")


def test_pinning_a_running_stack_is_told_with_its_reason(tmp_path: Path) -> None:
    facts = holding(converged(desired_for(tmp_path)), HELD)
    plan = diff(wanted(tmp_path, facts), facts)
    assert f"dind is pinned to sha256:{'a' * 12}; " in plan.actions[0].reason
    unpinned = diff(desired_for(tmp_path), pinned_host(tmp_path))
    assert "dind is no longer pinned" in unpinned.actions[0].reason


def test_equal_images_with_several_digests_get_the_same_one_everywhere() -> None:
    images = {"a:1": "sha256:1", f"a@{NEW}": "sha256:1", f"a@{OLD}": "sha256:1", "b:1": "sha256:1"}
    held = pins_of(None, images).held
    assert held == pins_of(None, dict(reversed(images.items()))).held
    assert held["a:1"] == (OLD, NEW)
    assert held["b:1"] == ()
