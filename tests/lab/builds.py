"""Builds on the lab's Drone server: queue one, wait for its end."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from tests.lab.repositories import BRANCH, Commit
from tests.lab.shell import LabError

FINAL = frozenset({"success", "failure", "killed", "error", "skipped"})


def call(method: str, url: str, body: Mapping[str, Any] | None = None) -> Any:
    """One request of the server's lab API."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data, headers, method=method)
    # No proxy: the server is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        raise LabError(f"{method} {url}: {error.code} {error.read().decode()}") from error
    except OSError as error:
        raise LabError(f"{method} {url}: {error}") from error


def submit(server: str, git: str, commit: Commit, pipeline: str) -> dict[str, Any]:
    """Queue a build of a commit with this pipeline."""
    repo = {
        "namespace": "lab",
        "name": commit.repository,
        "clone_url": f"{git}/lab/{commit.repository}.git",
        "trusted": True,
        "timeout": 60,
    }
    what = {
        "sha": commit.sha,
        "branch": BRANCH,
        "message": commit.message,
        "ref": f"refs/heads/{BRANCH}",
    }
    body = {"repo": repo, "config": pipeline, "commit": what, "event": "push"}
    answer: dict[str, Any] = call("POST", f"{server}/lab/builds", body)
    return answer


def wait(server: str, build: int, seconds: float) -> dict[str, Any]:
    """The build once it has ended."""
    deadline = time.monotonic() + seconds
    while True:
        answer: dict[str, Any] = call("GET", f"{server}/lab/builds/{build}")
        if answer["status"] in FINAL:
            return answer
        if time.monotonic() > deadline:
            raise LabError(f"build {build} is still {answer['status']} after {seconds:g} s")
        time.sleep(0.1)
