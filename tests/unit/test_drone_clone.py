"""The drone/git stand-in checks out what the runner's variables name."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

CLONE = Path(__file__).parents[1] / "lab" / "drone" / "clone"
WHO = ("-c", "user.name=lab", "-c", "user.email=lab@lab", "-c", "commit.gpgsign=false")


def git(directory: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(directory), *WHO, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=environment(directory.parent),
    )
    return done.stdout.strip()


def environment(home: Path, **extra: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1", **extra}


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """Two commits on main, the first tagged v1, and a pull request 7 upon the first."""
    origin = tmp_path / "origin"
    origin.mkdir()
    git(origin, "init", "-q", "-b", "main")
    for number in ("one", "two"):
        (origin / number).write_text(number)
        git(origin, "add", ".")
        git(origin, "commit", "-qm", number)
    git(origin, "tag", "v1", "main~1")
    git(origin, "checkout", "-q", "-b", "pull", "main~1")
    (origin / "pulled").write_text("pulled")
    git(origin, "add", ".")
    git(origin, "commit", "-qm", "pulled")
    git(origin, "update-ref", "refs/pull/7/head", "pull")
    git(origin, "checkout", "-q", "main")
    return origin


def clone(origin: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    workspace = origin.parent / "workspace"
    roles = ("AUTHOR", "COMMITTER")  # the runner sets both
    identity = {f"GIT_{role}_NAME": "lab" for role in roles}
    identity |= {f"GIT_{role}_EMAIL": "lab@lab" for role in roles}
    given = {
        "DRONE_WORKSPACE": str(workspace),
        "DRONE_REMOTE_URL": f"file://{origin}",
        **identity,
        **variables,
    }
    return subprocess.run(
        ["sh", str(CLONE)],
        capture_output=True,
        text=True,
        check=False,
        cwd=origin.parent,
        env=environment(origin.parent, **given),
    )


def files(origin: Path) -> set[str]:
    return {path.name for path in (origin.parent / "workspace").iterdir()} - {".git"}


def test_a_commit_on_a_branch(origin: Path) -> None:
    sha = git(origin, "rev-parse", "main~1")
    done = clone(origin, DRONE_COMMIT_BRANCH="main", DRONE_COMMIT_SHA=sha)
    assert done.returncode == 0, done.stderr
    assert files(origin) == {"one"}
    assert "+ git checkout -q -B main" in done.stdout
    assert git(origin.parent / "workspace", "rev-parse", "--abbrev-ref", "HEAD") == "main"


def test_depth(origin: Path) -> None:
    done = clone(origin, DRONE_COMMIT_BRANCH="main", PLUGIN_DEPTH="1")
    assert done.returncode == 0, done.stderr
    assert files(origin) == {"one", "two"}
    assert git(origin.parent / "workspace", "rev-list", "--count", "HEAD") == "1"


def test_a_tag(origin: Path) -> None:
    done = clone(origin, DRONE_COMMIT_BRANCH="main", DRONE_COMMIT_REF="refs/tags/v1")
    assert done.returncode == 0, done.stderr
    assert files(origin) == {"one"}


def test_a_pull_request_is_merged(origin: Path) -> None:
    sha = git(origin, "rev-parse", "pull")
    ref = "refs/pull/7/head"
    done = clone(origin, DRONE_COMMIT_BRANCH="main", DRONE_COMMIT_REF=ref, DRONE_COMMIT_SHA=sha)
    assert done.returncode == 0, done.stderr
    assert files(origin) == {"one", "two", "pulled"}


def test_a_commit_without_a_branch(origin: Path) -> None:
    done = clone(origin, DRONE_COMMIT_SHA=git(origin, "rev-parse", "main~1"))
    assert done.returncode == 0, done.stderr
    assert files(origin) == {"one"}


def test_an_unknown_commit_fails(origin: Path) -> None:
    done = clone(origin, DRONE_COMMIT_BRANCH="main", DRONE_COMMIT_SHA="0" * 40)
    assert done.returncode != 0


def test_a_missing_url_is_named(origin: Path) -> None:
    done = clone(origin, DRONE_REMOTE_URL="")
    assert done.returncode != 0
    assert "DRONE_REMOTE_URL" in done.stderr
