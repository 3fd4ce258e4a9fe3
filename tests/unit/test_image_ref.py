from __future__ import annotations

import pytest

from runnerkit.config.image_ref import familiar

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("written", "listed"),
    [
        ("golang", "golang:latest"),
        ("golang:1.24", "golang:1.24"),
        ("docker.io/library/golang", "golang:latest"),
        ("index.docker.io/drone/git", "drone/git:latest"),
        ("docker.io/drone/git:1", "drone/git:1"),
        ("library/debian", "debian:latest"),
        ("registry.lan:5000/library/app", "registry.lan:5000/library/app:latest"),
        ("registry.lan:5000/app", "registry.lan:5000/app:latest"),
        (f"golang@{DIGEST}", f"golang@{DIGEST}"),
        (f"docker.io/library/golang:1.24@{DIGEST}", f"golang@{DIGEST}"),
    ],
)
def test_a_reference_is_looked_for_as_the_engine_lists_it(written: str, listed: str) -> None:
    assert familiar(written) == listed
