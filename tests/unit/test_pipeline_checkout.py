"""What CI would clone, made from a folder with real git."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from runnerkit.pipeline.checkout import make_checkout


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=Ada", "-c", "user.email=ada@lan", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch", "trunk")
    (folder / "main.go").write_text("package main\n")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("main.go")
    (folder / ".gitignore").write_text("ignored\n")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "First\n\nwith a body")
    git(folder, "remote", "add", "origin", "https://user:hunter2@git.lan/octo/app.git")
    return folder


def test_a_clean_repository_is_its_last_commit(repository: Path, tmp_path: Path) -> None:
    found = make_checkout(repository, tmp_path / "out")
    assert found.commit == git(repository, "rev-parse", "HEAD")
    assert (found.slug, found.branch, found.is_dirty) == ("octo/app", "trunk", False)
    assert (found.author_name, found.author_email) == ("Ada", "ada@lan")
    assert found.message == "First\n\nwith a body"
    assert found.remote == "https://git.lan/octo/app.git"
    out = tmp_path / "out"
    assert (out / "run.sh").stat().st_mode & 0o111
    assert (out / "link").is_symlink()
    assert git(out, "status", "--porcelain") == ""
    assert "hunter2" not in (out / ".git/config").read_text()


def test_changes_come_along_as_a_commit_that_the_repository_never_sees(
    repository: Path, tmp_path: Path
) -> None:
    head, objects = git(repository, "rev-parse", "HEAD"), git(repository, "count-objects")
    (repository / "main.go").write_text("package changed\n")
    (repository / "new.txt").write_text("new\n")
    (repository / "ignored").write_text("secret\n")
    (repository / ".git/info/exclude").write_text("private\n")
    (repository / "private").write_text("secret\n")
    (repository / "run.sh").unlink()
    found = make_checkout(repository, tmp_path / "out")
    assert found.is_dirty
    assert (found.commit != head, found.before) == (True, head)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {".git", ".gitignore", "link", "main.go", "new.txt"}
    assert (tmp_path / "out/main.go").read_text() == "package changed\n"
    assert git(repository, "rev-parse", "HEAD") == head
    assert git(repository, "count-objects") == objects
    again = make_checkout(repository, tmp_path / "again")
    assert again.commit == found.commit
    (repository / "new.txt").write_text("newer\n")
    assert make_checkout(repository, tmp_path / "third").commit != found.commit


def test_a_tracked_file_that_is_also_ignored_stays(repository: Path, tmp_path: Path) -> None:
    (repository / "ignored").write_text("tracked\n")
    git(repository, "add", "--force", "ignored")
    git(repository, "commit", "--quiet", "--message", "tracked")
    found = make_checkout(repository, tmp_path / "out")
    assert not found.is_dirty
    assert (tmp_path / "out/ignored").read_text() == "tracked\n"


def test_a_folder_without_a_repository_is_one_commit(tmp_path: Path) -> None:
    folder = tmp_path / "sample"
    folder.mkdir()
    (folder / "file").write_text("content\n")
    found = make_checkout(folder, tmp_path / "out")
    assert (found.slug, found.branch, found.before) == ("local/sample", "main", "")
    assert git(tmp_path / "out", "rev-list", "--count", "HEAD") == "1"
    assert make_checkout(folder, tmp_path / "again").commit == found.commit
    assert not (folder / ".git").exists()


def test_a_folder_in_a_repository_counts_alone(repository: Path, tmp_path: Path) -> None:
    folder = repository / "part"
    folder.mkdir()
    (folder / "file").write_text("content\n")
    found = make_checkout(folder, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {".git", "file"}
    assert found.before == ""


def test_depth_cuts_the_history(repository: Path, tmp_path: Path) -> None:
    for number in range(3):
        git(repository, "commit", "--quiet", "--allow-empty", "--message", str(number))
    make_checkout(repository, tmp_path / "out", depth=2)
    assert git(tmp_path / "out", "rev-list", "--count", "HEAD") == "2"
