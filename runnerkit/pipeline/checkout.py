"""The sources as CI would get them: a clone of the repository with what is not committed yet.

git makes it, in a folder of its own: ignored files stay out, modes and line ends are those of a
checkout. Uncommitted changes become a commit there, never in the author's repository; its hash is
the same for the same content, so an image tagged with it can be found again.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from runnerkit.errors import ConfigError, HostError
from runnerkit.pipeline.environment import Checkout

_FIRST_BRANCH = "main"
_WHO = ("runnerkit", "runnerkit@localhost")
_WHEN = "2000-01-01T00:00:00Z"


def make_checkout(source: Path, target: Path, *, depth: int = 0) -> Checkout:
    """Fill the new folder `target` from the sources in `source`; `depth` 0 is all of history.

    A folder that is not the top of a repository counts as one with a single commit. Raises
    HostError without git, and ConfigError when git cannot make sense of the folder.
    """
    if shutil.which("git") is None:
        raise HostError("there is no git on this machine", hint="install git")
    top = _ask(source, "rev-parse", "--show-toplevel")
    head = _ask(source, "rev-parse", "--verify", "HEAD")
    if head and Path(top) == source.resolve():
        _clone(source, target, depth)
        branch = _ask(source, "symbolic-ref", "--short", "HEAD")
    else:
        head, branch = "", _FIRST_BRANCH
        _git(source, "init", "--quiet", "--initial-branch", _FIRST_BRANCH, str(target))
    _take_over(source, target)
    is_dirty = _ask(target, "write-tree") != _ask(target, "rev-parse", "HEAD^{tree}")
    if is_dirty:
        _commit(target, head)
    _git(target, "reset", "--quiet", "--hard")
    return _describe(source, target, branch or "HEAD", is_dirty=is_dirty)


def _clone(source: Path, target: Path, depth: int) -> None:
    shallow = [f"--depth={depth}"] if depth else []
    where = source.resolve().as_uri() if depth else str(source.resolve())
    _git(source, "clone", "--quiet", "--no-checkout", *shallow, "--", where, str(target))
    remote = _remote(source)
    _git(target, "reset", "--quiet")  # what is tracked stays so, even where it is ignored
    _git(target, "remote", "set-url", "origin", remote or "https://localhost/unknown.git")
    # What only this clone ignores is as private as what everybody ignores.
    exclude = _ask(source, "rev-parse", "--git-path", "info/exclude")
    if exclude and (source / exclude).is_file():
        (target / ".git/info").mkdir(exist_ok=True)
        shutil.copy(source / exclude, target / ".git/info/exclude")


def _take_over(source: Path, target: Path) -> None:
    """Put the files of `source` into the index of `target`."""
    git_dir = f"--git-dir={target.resolve() / '.git'}"
    _git(source, git_dir, f"--work-tree={source.resolve()}", "add", "--all")


def _commit(target: Path, head: str) -> None:
    when = _ask(target, "log", "-1", "--format=%cI", "HEAD") if head else _WHEN
    name, email = _WHO
    names = {"GIT_AUTHOR_NAME": name, "GIT_COMMITTER_NAME": name}
    emails = {"GIT_AUTHOR_EMAIL": email, "GIT_COMMITTER_EMAIL": email}
    dates = {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when}
    _git(
        target, "-c", "core.hooksPath=/dev/null", "commit", "--quiet", "--no-gpg-sign",
        "--allow-empty", "--message", "not committed yet",
        more=names | emails | dates,
    )  # fmt: skip


def _describe(source: Path, target: Path, branch: str, *, is_dirty: bool) -> Checkout:
    shown = _ask(target, "log", "-1", "--format=%H%x00%an%x00%ae%x00%B", "HEAD").split("\0")
    commit, author, email, message = shown
    if is_dirty:  # the person at the keyboard, not the name of a commit that is none
        author = _ask(source, "config", "user.name") or author
        email = _ask(source, "config", "user.email") or email
    remote = _remote(source)
    owner, name = _slug(remote, source)
    default = _ask(source, "symbolic-ref", "--short", "refs/remotes/origin/HEAD")
    return Checkout(
        owner=owner,
        name=name,
        remote=remote,
        branch=branch,
        default_branch=default.removeprefix("origin/") or _FIRST_BRANCH,
        commit=commit,
        before=_ask(target, "rev-parse", "--verify", "HEAD~1"),
        message=message.strip(),
        author_name=author,
        author_email=email,
        is_dirty=is_dirty,
    )


def _remote(source: Path) -> str:
    """The URL of `origin`, without a user's name and password; "" when there is none."""
    url = _ask(source, "remote", "get-url", "origin")
    if "://" not in url:
        return url
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _slug(remote: str, source: Path) -> tuple[str, str]:
    parts = [part for part in re.split(r"[/:]", re.sub(r"\.git/?$", "", remote)) if part]
    if len(parts) >= 2:
        return parts[-2], parts[-1]
    return "local", source.resolve().name


def _ask(folder: Path, *arguments: str) -> str:
    """What git answers; "" when it cannot."""
    return _run(folder, arguments, {}).stdout.decode(errors="replace").strip()


def _git(folder: Path, *arguments: str, more: Mapping[str, str] | None = None) -> None:
    done = _run(folder, arguments, more or {})
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise ConfigError(
            f"{folder}: git could not read the sources: {said[-1] if said else 'it said nothing'}",
            hint=f"git -C {folder} status",
        )


def _run(
    folder: Path, arguments: tuple[str, ...], more: Mapping[str, str]
) -> subprocess.CompletedProcess[bytes]:
    # Whoever calls from a git hook has these set, for another repository.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    environment |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"} | dict(more)
    return subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
