"""What takes the space, what a cache mount is, and what a pruning names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runnerkit.cache.pruning import Choice, Pruning, batches, choose, released
from runnerkit.cache.summary import MountOrigin, MountUses, mount_origin, summary
from runnerkit.change.service_plans import prune_plan
from runnerkit.desired.gc_policy import CacheLimits
from runnerkit.facts.cache import MOUNT, CacheRecord, ImageUse, Usage, parse_record, parse_usage
from tests.unit.builders import converged, desired_for

NOW = 1_000_000.0
LIMITS = CacheLimits(1000, 0, 1, 1)


def record(name: str, kind: str = "regular", **values: Any) -> CacheRecord:
    return CacheRecord(id=name, type=kind, **{"size": 10, "last_used": NOW - 100} | values)


def usage(*records: CacheRecord, images: tuple[ImageUse, ...] = ()) -> Usage:
    return Usage(records, images, (), layers_bytes=0, containers_bytes=0)


def test_the_parent_is_found_in_each_engines_spelling() -> None:
    old = parse_record({"ID": "a", "Parent": "b", "Size": 1})
    new = parse_record({"ID": "a", " Parents": ["b"], "Size": 1})
    assert old.parents == new.parents == ("b",)


def test_times_have_up_to_nine_digits() -> None:
    item = {"ID": "a", "CreatedAt": "2026-01-02T03:04:05.123456789Z", "LastUsedAt": None}
    found = parse_record(item)
    assert found.created == pytest.approx(1767323045.123456789)
    assert found.last_used is None


def test_volumes_without_a_size_are_unknown_not_empty() -> None:
    volumes = [{"Name": "v", "UsageData": {"Size": -1, "RefCount": 1}}]
    found = summary(
        "forge", "28.5.2", parse_usage({"Volumes": volumes}),
        limits=LIMITS, disk=None, logs_bytes=None, top=3, uses=MountUses(),
    )  # fmt: skip
    assert {part.kind: part.bytes for part in found.parts}["volumes"] is None


def test_shared_layers_count_as_the_images_and_not_against_the_limit() -> None:
    found = summary(
        "forge", "28.5.2", usage(record("own"), record("shared", shared=True, size=500)),
        limits=LIMITS, disk=None, logs_bytes=0, top=3, uses=MountUses(),
    )  # fmt: skip
    assert found.cache_bytes == 10
    assert [item.id for item in found.biggest] == ["own"]


@pytest.mark.parametrize(
    ("description", "origin"),
    [
        (
            "cached mount /root/.cache/go-build from exec /bin/sh -c go build ./...",
            MountOrigin("/root/.cache/go-build", "/root/.cache/go-build",
                        "/bin/sh -c go build ./..."),
        ),
        (
            'cached mount /go from exec /bin/sh -c go  test with id "/gocache"',
            MountOrigin("/go", "gocache", "/bin/sh -c go test"),
        ),
        ("something else", None),
    ],
)  # fmt: skip
def test_what_a_cache_mount_belongs_to(description: str, origin: MountOrigin | None) -> None:
    assert mount_origin(record("m", MOUNT, description=description)) == origin


def test_layers_go_without_mounts_and_what_others_stand_on_goes_last() -> None:
    found = choose(
        usage(record("base"), record("top", parents=("base",)), record("m", MOUNT)),
        Choice(layers=True), NOW,
    )  # fmt: skip
    assert [item.id for item in found.records] == ["top", "base"]


def test_what_a_running_build_or_an_image_uses_is_never_named() -> None:
    records = (record("base"), record("top", parents=("base",), in_use=True),
               record("shared", shared=True))  # fmt: skip
    assert not choose(usage(*records), Choice(layers=True, mounts=True), NOW)


def test_an_age_spares_the_young_with_all_that_they_stand_on() -> None:
    records = (record("base"), record("young", parents=("base",), last_used=NOW - 1),
               record("old"))  # fmt: skip
    found = choose(usage(*records), Choice(layers=True, unused_seconds=50), NOW)
    assert [item.id for item in found.records] == ["old"]


def test_a_plan_says_how_much_goes_and_lets_the_daemon_work(tmp_path: Path) -> None:
    desired = desired_for(tmp_path)
    pruning = Pruning((record("a"), record("b")), (ImageUse("i", ("a:1",), 10, 10, 0, NOW),))
    [action] = prune_plan(desired, converged(desired), pruning).actions
    assert action.title == "delete 1 image and 2 cache records"


def test_layers_that_only_deleted_images_held_go_after_them() -> None:
    held = (record("base", shared=True), record("top", shared=True, parents=("base",)))
    before = usage(*held, record("other", shared=True))
    after = usage(*(replace(item, shared=False) for item in held), record("other", shared=True),
                  record("new"))  # fmt: skip
    rest = released(before, after, Choice(layers=True, images=True), NOW)
    assert [item.id for item in rest.records] == ["top", "base"]
    assert not released(before, after, Choice(images=True), NOW)
    young = Choice(layers=True, images=True, unused_seconds=200)
    assert not released(before, after, young, NOW)


def test_images_with_containers_stay_and_age_is_that_of_the_image() -> None:
    images = (
        ImageUse("used", ("a:1",), 10, 10, 1, NOW - 900),
        ImageUse("new", ("b:1",), 10, 10, 0, NOW - 1),
        ImageUse("old", ("c:1",), 10, 10, 0, NOW - 900),
    )
    found = choose(usage(images=images), Choice(images=True, unused_seconds=50), NOW)
    assert [image.id for image in found.images] == ["old"]


def test_many_records_are_asked_for_in_several_requests_in_order() -> None:
    found = choose(usage(*(record(f"{n:04}") for n in range(450))), Choice(layers=True), NOW)
    parts = batches(found)
    assert [len(part) for part in parts] == [200, 200, 50]
    assert [item for part in parts for item in part] == [item.id for item in found.records]
