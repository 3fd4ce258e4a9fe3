"""The lab's git repositories: a directory's present content as the next commit of its branch."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.lab.shell import run

BRANCH = "main"
PERSON = {
    "GIT_AUTHOR_NAME": "lab",
    "GIT_AUTHOR_EMAIL": "lab@example.invalid",
    "GIT_COMMITTER_NAME": "lab",
    "GIT_COMMITTER_EMAIL": "lab@example.invalid",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
}


@dataclass(frozen=True)
class Commit:
    """A commit in a repository of the lab."""

    repository: str
    sha: str
    message: str


def commit(root: Path, folder: Path | None) -> Commit:
    """Commit a directory into its own bare repository below `root`/lab.

    What .gitignore names stays out, as with `git add`. An unchanged directory is the same commit.
    Without a directory it is a small built-in project.
    """
    if folder is None:
        with tempfile.TemporaryDirectory() as empty:
            project = Path(empty) / "hello"
            project.mkdir()
            (project / "README.md").write_text("A project to run pipelines on.\n")
            return commit(root, project)
    name = folder.resolve().name
    bare = root / "lab" / f"{name}.git"
    if not bare.exists():
        run(["git", "init", "-q", "--bare", f"--initial-branch={BRANCH}", bare], env=PERSON)
        run(["git", "-C", bare, "config", "uploadpack.allowAnySHA1InWant", "true"])
    with tempfile.TemporaryDirectory() as scratch:
        env = {**PERSON, "GIT_INDEX_FILE": f"{scratch}/index"}
        git = ["git", f"--git-dir={bare}"]
        run([*git, f"--work-tree={folder.resolve()}", "add", "--all", "."], env=env, cwd=folder)
        tree = run([*git, "write-tree"], env=env).strip()
        head = run([*git, "rev-parse", "-q", "--verify", BRANCH], env=env, check=False).strip()
        parent = run([*git, "rev-parse", f"{head}^{{tree}}"], env=env).strip() if head else ""
        number = 1
        if head:
            number += int(run([*git, "rev-list", "--count", head], env=env))
        if parent == tree:
            return Commit(name, head, f"change {number - 1}")
        message = f"change {number}"
        parents = ["-p", head] if head else []
        sha = run([*git, "commit-tree", tree, *parents, "-m", message], env=env).strip()
        run([*git, "update-ref", f"refs/heads/{BRANCH}", sha], env=env)
    return Commit(name, sha, message)
