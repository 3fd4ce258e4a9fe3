"""What the cache commands and `tune` print: whole at 80 columns, and the same for programs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console, RenderableType

from runnerkit.cache.pruning import Choice, Freed, Pruning
from runnerkit.cache.simulate import Simulation, simulate
from runnerkit.cache.summary import CacheSummary, MountUses, summary
from runnerkit.change.trial import Trial
from runnerkit.desired.gc_policy import CacheLimits
from runnerkit.facts.builds import Build
from runnerkit.facts.cache import MOUNT, CacheRecord, GcFacts, GcRule, ImageUse, Usage
from runnerkit.facts.host import Disk
from runnerkit.report.cache_screens import (
    freed_text,
    pruning_text,
    simulation_json,
    simulation_text,
    summary_json,
    summary_text,
    trial_json,
    trial_text,
)
from runnerkit.report.tune_screens import tune_json, tune_text
from runnerkit.tuning.advice import Settings, advise
from runnerkit.tuning.measured import Evicted, Evictions, Measured, Probed

GIB, DAY, NOW = 1 << 30, 86400, 1_800_000_000.0
LIMITS = CacheLimits(40 * GIB, 15 * GIB, 60 * DAY, 14 * DAY)
DISK = Disk("/data", "ext4", 100 * GIB, 60 * GIB, 1000, 900)
LONG = (
    "cached mount /root/.cache/go-build from exec /bin/sh -c " + "go build ./... && " * 9 + "true"
)
MOUNTS = (
    CacheRecord("m1", MOUNT, 3 * GIB, description=LONG, last_used=NOW - 60),
    CacheRecord(
        "m2", MOUNT, GIB, last_used=NOW - 9 * DAY,
        description='cached mount /go from exec /bin/sh -c go test with id "/gocache"',
    ),
)  # fmt: skip
LAYER = CacheRecord("l1", "regular", 2 * GIB, description="[build 3/9] COPY . .", in_use=True)
OLD = CacheRecord("l2", "regular", GIB, description="[build 2/9] RUN x", last_used=NOW - 99 * DAY)
IMAGE = ImageUse("sha256:1", ("app:1", "app:latest"), GIB, GIB // 2, 0, NOW - DAY)
USAGE = Usage((*MOUNTS, LAYER, OLD), (IMAGE,), (), 5 * GIB, 0)


def shown(renderable: RenderableType) -> str:
    """At 80 columns; nothing is wider, and nothing that matters is cut off."""
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(renderable)
    text = capture.get()
    assert max(map(len, text.splitlines())) <= 80
    return text


def looked_at(uses: MountUses) -> CacheSummary:
    return summary(
        "forge", "28.5.2", USAGE, limits=LIMITS, disk=DISK, logs_bytes=None, top=1, uses=uses
    )


def test_show_tells_use_limits_disk_and_whose_the_mounts_are() -> None:
    build = Build("r1", "git.lan/lab/greet", frozenset({"gocache"}))
    text = shown(summary_text(looked_at(MountUses({"gocache": build})), NOW))
    assert "forge  cache 7.0 GiB of 40.0 GiB" in text
    assert "60.0 GiB free of 100.0 GiB; keeps 15.0 GiB free" in text
    assert "container logs unknown" in " ".join(text.split())
    assert "[build 3/9] COPY . ." in text
    assert "/go id=gocache" in text
    assert "last used by a build of git.lan/lab/greet" in text
    assert "first used by: go build ./..." in text
    assert "in use" in text


def test_show_says_why_it_cannot_tell_whose_build_it_was() -> None:
    found = looked_at(MountUses(unknown="nobody could be asked"))
    assert "nobody could be asked" in shown(summary_text(found, NOW))
    answer = json.loads(summary_json(found))
    assert answer["last_builds_unknown"] == "nobody could be asked"
    assert [mount["last_build"] for mount in answer["mounts"]] == [None, None]


def test_a_build_that_tells_no_repository_is_said_to() -> None:
    found = looked_at(MountUses({"gocache": Build("r1", "", frozenset({"gocache"}))}))
    assert "a build that tells no repository" in shown(summary_text(found, NOW))
    last = json.loads(summary_json(found))["mounts"][1]["last_build"]
    assert last == {"ref": "r1", "repository": None}


def test_simulate_names_what_goes_under_which_rule() -> None:
    rules = (GcRule(filters=(("type", "regular"),), unused_seconds=14 * DAY, max_used=1),)
    outcome = simulate(USAGE.records, rules, (28, 5), now=NOW, free_bytes=None)
    found = Simulation("forge", rules, "proposed", outcome)
    text = shown(simulation_text(found, NOW))
    assert "rule 0: type regular unused for 14d" in text
    assert "1 record would go, 1.0 GiB: from 7.0 GiB to 6.0 GiB" in text
    assert json.loads(simulation_json("forge", found))["freed_bytes"] == GIB
    off = Simulation("forge", (), "read back from the engine", replace(outcome, evictions=()))
    assert "garbage collection is off" in shown(simulation_text(off, NOW))


@pytest.mark.parametrize(
    ("choice", "pruning", "words"),
    [
        (Choice(layers=True), Pruning((OLD,)), ("1 cache record", "about 1.0 GiB would be freed")),
        (
            Choice(images=True),
            Pruning((), (IMAGE,)),
            ("1 image", "app:1, app:latest", "at most about 512.0 MiB"),
        ),
        (
            Choice(images=True, layers=True),
            Pruning((OLD,), (IMAGE,)),
            ("only these images hold", "at least about 1.5 GiB"),
        ),
        (Choice(mounts=True), Pruning(), ("forge: nothing to delete",)),
    ],
)
def test_prune_names_what_goes_before_it_asks(
    choice: Choice, pruning: Pruning, words: tuple[str, ...]
) -> None:
    text = shown(pruning_text("forge", choice, pruning, NOW))
    assert all(word in text for word in words), text


@pytest.mark.parametrize(
    ("freed", "first"),
    [
        (Freed(GIB), "forge: freed 1.0 GiB\n"),
        (Freed(GIB, kept_by_cache=True), "forge: freed 1.0 GiB at most: the build cache still"),
        (Freed(0, kept_by_cache=True), "forge: freed 0 B: the build cache still"),
    ],
)
def test_what_the_cache_keeps_of_images_is_not_claimed_as_freed(freed: Freed, first: str) -> None:
    text = shown(freed_text("forge", freed))
    assert text.startswith(first)
    assert ("cache prune forge --layers" in text) is freed.kept_by_cache


def test_a_trial_says_what_was_obeyed_and_what_was_not() -> None:
    good = Trial(
        engine="28.5.2", gc=GcFacts(()), max_bytes=40 << 20, filled_bytes=86 << 20,
        left_bytes=38 << 20, evicted=(OLD,), seconds=3.2, ceiling_obeyed=True, mounts_kept=True,
        free_space_obeyed=True,
    )  # fmt: skip
    text = shown(trial_text("forge", good))
    assert "filled to 86.0 MiB under a ceiling of 40.0 MiB; 3 s later it has 38.0 MiB" in text
    assert "1 record evicted" in text
    assert "✗" not in text
    old = replace(good, engine="20.10.24", free_space_obeyed=None)
    assert "the janitor does" in shown(trial_text("forge", old))
    bad = replace(
        good, ceiling_obeyed=False, mounts_kept=False, free_space_obeyed=False,
        gc=GcFacts((), errors=("gc error: [x] is no filter",)),
    )  # fmt: skip
    text = shown(trial_text("forge", bad))
    assert all(
        words in text
        for words in (
            "✗ the ceiling is not kept", "✗ cache mounts went, too", "✗ no free space is made",
            "gc error: [x] is no filter",
        )
    )  # fmt: skip
    assert json.loads(trial_json("forge", bad))["passed"] is False


@pytest.mark.parametrize(
    ("evictions", "words"),
    [
        (None, "unknown: the janitor has not looked"),
        (Evictions(), "nothing, looked at for 1m"),
        (
            Evictions(layers=Evicted(2, GIB, 7200), janitor=Evicted(1, GIB, 90)),
            "GC: layers 1.0 GiB, some unused for only 2h; janitor: 1.0 GiB",
        ),
    ],
)
def test_tune_shows_what_was_evicted(evictions: Evictions | None, words: str) -> None:
    measured = Measured(8, 16 * GIB, DISK, False, Probed(evictions=evictions))
    settings = Settings(2, 40 * GIB, 15 * GIB, 60 * DAY, 14 * DAY)
    told: tuple[Any, ...] = ("forge", measured, advise(measured, settings))
    assert words in " ".join(shown(tune_text(*told)).split())
    found = json.loads(tune_json(*told))["measured"]["evictions"]
    assert (found is None) is (evictions is None)
