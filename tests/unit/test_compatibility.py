from __future__ import annotations

from pathlib import Path

import pytest

from runnerkit.change.compatibility import compatibility, tag_version
from runnerkit.facts.daemon import DaemonUnavailable
from tests.unit.builders import desired_for, outer_daemon


@pytest.mark.parametrize(
    ("ref", "version"),
    [
        ("docker:28-dind", (28,)),
        ("docker:28.5.2-dind", (28, 5, 2)),
        ("docker:20.10-dind", (20, 10)),
        ("registry.lan:5000/library/docker:29", (29,)),
        ("docker:dind", ()),
        ("docker:latest", ()),
        ("docker@sha256:" + "0" * 64, ()),
        ("docker:2026-dind", ()),
    ],
)
def test_what_a_tag_tells_of_the_version(ref: str, version: tuple[int, ...]) -> None:
    assert tag_version(ref) == version


@pytest.mark.parametrize(
    ("now", "driver", "then", "refusal", "warning"),
    [
        ("26.1.5", "overlay2", (26, 1, 6), "", ""),
        ("26.1.5", "overlay2", (26,), "", ""),
        ("26.1.5", "overlay2", (28, 5), "", "cache.min_free"),
        ("28.5.2", "overlay2", (29, 3), "", "only on an empty disk"),
        ("28.5.2", "overlay2", (29, 0, 1), "", "only on an empty disk"),
        ("28.5.2", "overlay2", (26,), "", "goes back from engine 28.5.2 to 26"),
        ("28.5.2", "overlay2", (20, 10), "caches would be lost", "goes back"),
        ("29.3.0", "overlayfs", (28, 5), "containerd's store", "goes back"),
        ("29.3.0", "overlay2", (28, 5), "", "goes back"),
        ("28.5.2", "overlay2", (19, 3), "older than 20.10", "goes back"),
        ("28.5.2", "overlay2", (31,), "", "newer than any"),
        ("28.5.2", "overlay2", (), "", "tells no version"),
    ],
)
def test_what_stands_against_another_engine(
    now: str, driver: str, then: tuple[int, ...], refusal: str, warning: str, tmp_path: Path
) -> None:
    daemon = outer_daemon(version=now, storage_driver=driver)
    told = compatibility(daemon, then, desired_for(tmp_path))
    refusals, warnings = " ".join(told.refusals), " ".join(told.warnings)
    assert refusal in refusals
    assert bool(refusals) is bool(refusal)
    assert warning in warnings
    assert bool(warnings) is bool(warning)


def test_a_changed_storage_driver_would_hide_everything(tmp_path: Path) -> None:
    desired = desired_for(tmp_path, docker={"storage_driver": "vfs"})
    told = compatibility(outer_daemon(version="28.5.2"), (28, 5), desired)
    assert "not vfs" in told.refusals[0]


def test_a_daemon_that_does_not_answer_forbids_nothing(tmp_path: Path) -> None:
    told = compatibility(DaemonUnavailable("gone"), (28,), desired_for(tmp_path))
    assert told.refusals == ()
