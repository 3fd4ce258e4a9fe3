"""Why a build waits, against the rules of the server's queue."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerkit.config.effective import LimitSettings
from runnerkit.facts.queue import Build, Queue, Stage
from runnerkit.health.limits import go_match
from runnerkit.health.model import Check, Group, HealthReport, Status
from runnerkit.health.pending import Answer, Offer, Step, answer, explain, offer_of
from tests.lab.drone.store import Store
from tests.unit.builders import config_of

FORGE = Offer("forge", "forge", "linux", "amd64", "", "", {}, 2, LimitSettings())
BUILD = Build(7, 12, "octo/app", "push", trusted=True)
STAGE = Stage(
    id=10, build_id=7, repo_id=1, name="default", kind="pipeline", type="docker",
    status="pending", machine="", os="linux", arch="amd64", variant="", kernel="",
    labels={}, limit=0, throttle=0, created=1000,
)  # fmt: skip

labels = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["1", "2"]), max_size=3)
stages = st.builds(
    Stage,
    id=st.integers(1, 30),
    build_id=st.just(7),
    repo_id=st.sampled_from([1, 2]),
    name=st.sampled_from(["default", "other"]),
    kind=st.just("pipeline"),
    type=st.sampled_from(["docker", "docker", "exec"]),
    status=st.sampled_from(["pending", "running"]),
    machine=st.sampled_from(["", "forge", "attic"]),
    os=st.sampled_from(["linux", "linux", "windows"]),
    arch=st.sampled_from(["amd64", "arm64"]),
    variant=st.sampled_from(["", "", "v7"]),
    kernel=st.sampled_from(["", "1809"]),
    labels=labels,
    limit=st.integers(0, 2),
    throttle=st.integers(0, 2),
    created=st.just(1000),
)
offers = st.builds(
    Offer,
    host=st.just("forge"),
    machine=st.just("forge"),
    os=st.just("linux"),
    arch=st.sampled_from(["amd64", "arm64"]),
    variant=st.sampled_from(["", "v7"]),
    kernel=st.just(""),
    labels=labels,
    capacity=st.integers(1, 3),
    limit=st.just(LimitSettings()),
    trouble=st.sampled_from(["", "server: does not accept the secret"]),
)
queues = st.lists(stages, max_size=6, unique_by=lambda stage: stage.id)


def ask(stage: Stage = STAGE, offer: Offer = FORGE, *others: Stage) -> Answer:
    return answer(stage, BUILD, offer, queue_of(stage, *others))


def queue_of(*found: Stage) -> Queue:
    return Queue(found, {7: BUILD}, "root", whole=True)


def polled(offer: Offer, pending: list[Stage], folder: Path) -> int | None:
    """Which stage the server stand-in gives to such a poll: its code is written from upstream."""
    store = Store(folder / "none.json", {"proto": "http", "host": "drone"})
    records = [vars(stage) | {"labels": dict(stage.labels)} for stage in pending]
    store._state["builds"] = {"7": {"id": 7, "stages": records}}
    wanted = {
        "kind": "pipeline", "type": "docker", "os": offer.os, "arch": offer.arch,
        "variant": offer.variant, "kernel": offer.kernel, "labels": dict(offer.labels),
    }  # fmt: skip
    given_out = store.take("forge", wanted)
    return None if given_out is None else int(given_out["id"])


@given(offer=offers, found=queues)
def test_a_stage_is_free_to_go_exactly_when_the_server_gives_it_out(
    offer: Offer, found: list[Stage]
) -> None:
    able = replace(offer, trouble="", capacity=99)
    ordered = sorted(found, key=lambda stage: stage.id)
    verdicts = explain(queue_of(*ordered), [able])
    free = [v.stage.id for v in verdicts if not v.held and v.answers[0].step is Step.FREE]
    assert polled(able, ordered, Path("/nonexistent")) == (free[0] if free else None)


@given(offer=offers, stage=stages, others=queues)
def test_every_host_answers_every_waiting_stage(
    offer: Offer, stage: Stage, others: list[Stage]
) -> None:
    queue = queue_of(stage, *(other for other in others if other.id != stage.id))
    verdicts = explain(queue, [offer, replace(offer, host="attic")])
    assert [v.stage for v in verdicts] == list(queue.waiting)
    for verdict in verdicts:
        assert [a.host for a in verdict.answers] == ["forge", "attic"]
        assert all(a.reason and a.hint for a in verdict.answers)


@given(stage=stages, offer=offers)
def test_labels_are_one_set_and_each_difference_is_named(stage: Stage, offer: Offer) -> None:
    same = replace(stage, type="docker", os="linux", arch=offer.arch or "", variant="", kernel="")
    found = ask(same, offer)
    assert (found.step is Step.LABELS) == (dict(same.labels) != dict(offer.labels))
    if found.step is Step.LABELS:
        for key in same.labels.keys() | offer.labels.keys():
            assert (f"{key}=" in found.reason) == (same.labels.get(key) != offer.labels.get(key))


@given(offer=offers, running=st.integers(0, 5))
def test_slots_are_busy_from_the_capacity_on(offer: Offer, running: int) -> None:
    well = replace(offer, trouble="", labels={}, arch="amd64")
    others = [replace(STAGE, id=20 + n, status="running", machine="forge") for n in range(running)]
    assert (ask(STAGE, well, *others).step is Step.BUSY) == (running >= well.capacity)


@pytest.mark.parametrize(
    ("stage", "offer", "step", "reason", "hint"),
    [
        ({"type": "exec"}, {}, Step.KIND, "is no exec runner", "exec runner"),
        ({"arch": "arm64"}, {}, Step.PLATFORM, "is linux/amd64, it needs linux/arm64", "platform"),
        ({"variant": "v7"}, {}, Step.PLATFORM, "has the variant (none), it needs v7", "platform"),
        (
            {"labels": {"disk": "fast"}}, {}, Step.LABELS, "it lacks disk=fast",
            "take `node:` out of the pipeline, or set hosts.forge.runner.labels to {disk: fast}",
        ),
        (
            {}, {"labels": {"disk": "fast"}}, Step.LABELS, "it has disk=fast, not asked for",
            "write `node: {disk: fast}` in the pipeline",
        ),
        ({}, {"trouble": "runner: not set up"}, Step.UNWELL, "runner: not set up",
         "runnerkit status forge"),
        ({}, {"limit": LimitSettings(repos=("octo/web*",))}, Step.REFUSED,
         "octo/app matches none of octo/web*", "hosts.forge.runner.limit.repos"),
        ({}, {"limit": LimitSettings(events=("tag", "promote"))}, Step.REFUSED,
         "the event push is none of tag, promote", "hosts.forge.runner.limit.events"),
        ({}, {}, Step.FREE, "is free and would take it", "paused"),
        ({"arch": "arm64"}, {"arch": None}, Step.FREE, "is free", "paused"),
    ],
)  # fmt: skip
def test_each_reason_has_its_hint(
    stage: dict[str, str], offer: dict[str, str], step: Step, reason: str, hint: str
) -> None:
    found = ask(replace(STAGE, **stage), replace(FORGE, **offer))  # type: ignore[arg-type]
    assert found.step is step
    assert reason in found.reason
    assert hint in found.hint


def test_trust_is_a_limit_only_where_it_is_asked_for() -> None:
    queue = Queue((STAGE,), {7: replace(BUILD, trusted=False)}, "root", whole=True)
    [strict] = explain(queue, [replace(FORGE, limit=LimitSettings(trusted=True))])
    assert strict.answers[0].step is Step.REFUSED
    [lax] = explain(queue, [FORGE])
    assert lax.answers[0].step is Step.FREE


def test_the_hint_is_that_of_the_host_that_is_nearest() -> None:
    busy = replace(FORGE, host="attic", machine="attic", capacity=1)
    running = replace(STAGE, id=9, status="running", machine="attic")
    offers = [replace(FORGE, labels={"gpu": "yes"}), busy]
    [verdict] = explain(queue_of(running, STAGE), offers)
    assert verdict.hint == "wait, or raise hosts.attic.runner.capacity"


def test_a_limit_of_the_pipeline_or_of_its_repository_holds_it_back() -> None:
    first = replace(STAGE, id=9, status="running", machine="forge")
    [limited] = explain(queue_of(first, replace(STAGE, limit=1)), [FORGE])
    [throttled] = explain(queue_of(first, replace(STAGE, throttle=1)), [FORGE])
    assert limited.held == "its `concurrency: limit: 1` is reached: 1 go first"
    assert throttled.held == "its repository's throttle of 1 is reached: 1 go first"


@pytest.mark.parametrize(
    ("check", "trouble"),
    [
        (Check("polling", Group.RUNNER, Status.FAIL, "no work"), "polling: no work"),
        (Check("runner", Group.RUNNER, Status.WARN, "draining"), "runner: draining"),
        (Check("disk-space", Group.HOST, Status.FAIL, "full"), ""),
        (Check("runner", Group.RUNNER, Status.OK, "running"), ""),
    ],
)
def test_only_what_keeps_a_runner_from_polling_is_a_reason(
    check: Check, trouble: str, tmp_path: Path
) -> None:
    [host] = config_of(tmp_path).hosts
    offer = offer_of(host, HealthReport("forge", (check,)), "aarch64")
    assert (offer.trouble, offer.arch, offer.machine) == (trouble, "arm64", "forge")


# From the documentation and the test table of Go's path/filepath.
@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("octocat/*", "octocat/hello", True),
        ("octocat/*", "octocat/a/b", False),
        ("*", "octocat/hello", False),
        ("*/*", "octocat/hello", True),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("ab[b-d]", "abc", True),
        ("ab[^b-d]", "abc", False),
        ("ab[^e-g]", "abc", True),
        ("a[^a]b", "a/b", True),
        ("a\\*b", "a*b", True),
        ("a\\*b", "axb", False),
        ("[\\]a]", "]", True),
        ("[\\-x]", "-", True),
        ("[]a]", "]", False),
        ("[-]", "-", False),
        ("[x-]", "x", False),
        ("[a-b-c]", "a", False),
        ("[", "a", False),
        ("[^bc", "a", False),
        ("a\\", "a\\", False),
        ("[b-a]", "a", False),
        ("{push,tag}", "push", False),
        ("pull_request", "pull_request", True),
    ],
)
def test_patterns_match_as_in_go(pattern: str, text: str, expected: bool) -> None:
    assert go_match(pattern, text) is expected


@given(st.text(alphabet="ab/[]*?\\-^", max_size=8))
def test_an_escaped_text_matches_itself_alone(text: str) -> None:
    escaped = "".join(f"\\{char}" for char in text)
    assert go_match(escaped, text)
    assert not go_match(escaped, text + "a")


@given(st.text(alphabet="ab/[]*?\\-^", max_size=8), st.text(alphabet="ab/-", max_size=6))
def test_any_pattern_has_an_answer(pattern: str, text: str) -> None:
    assert go_match(pattern, text) in {True, False}
