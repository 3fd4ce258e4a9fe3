"""The variables that Drone gives to every step: runner-go v1.12.0, environ/environ.go.

Values are those of a build that the server would make of this checkout now. What only a server
knows (links, avatars, numbers of other builds) is empty, as it is in CI when it is not known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Event = Literal["push", "pull_request", "tag", "cron", "custom", "promote", "rollback"]
EVENTS: tuple[str, ...] = get_args(Event)


@dataclass(frozen=True)
class Checkout:
    """What git says about the sources."""

    owner: str
    name: str
    remote: str
    branch: str
    default_branch: str
    commit: str
    before: str
    message: str
    author_name: str
    author_email: str
    is_dirty: bool = False

    @property
    def slug(self) -> str:
        """`owner/name`."""
        return f"{self.owner}/{self.name}"


@dataclass(frozen=True)
class Build:
    """One build of a checkout: its event, when it began (Unix seconds), and where it runs."""

    checkout: Checkout
    event: str
    started: int
    machine: str
    system_proto: str
    system_host: str
    branch: str
    target: str = ""
    tag: str = ""
    number: int = 1

    @property
    def ref(self) -> str:
        """The git reference that the event is about."""
        if self.tag:
            return f"refs/tags/{self.tag}"
        return "refs/pull/1/head" if self.event == "pull_request" else f"refs/heads/{self.branch}"

    @property
    def link(self) -> str:
        """Where the server would show the build."""
        return f"{self.system_proto}://{self.system_host}/{self.checkout.slug}/{self.number}"


def build_environment(build: Build) -> dict[str, str]:
    """Variables of the system, the repository and the build, before any step has run."""
    return {
        "CI": "true",
        "DRONE": "true",
        **_system(build),
        **_repository(build.checkout),
        **_commit(build),
        **_build(build),
    }


def stage_environment(build: Build, *, number: int, name: str) -> dict[str, str]:
    """Variables of one pipeline of the build."""
    return {
        "DRONE_STAGE_KIND": "pipeline",
        "DRONE_STAGE_TYPE": "docker",
        "DRONE_STAGE_NAME": name,
        "DRONE_STAGE_NUMBER": str(number),
        "DRONE_STAGE_MACHINE": build.machine,
        "DRONE_STAGE_OS": "linux",
        "DRONE_STAGE_ARCH": "amd64",
        "DRONE_STAGE_VARIANT": "",
        "DRONE_STAGE_VERSION": "1",
        "DRONE_STAGE_STARTED": str(build.started),
        "DRONE_STAGE_FINISHED": str(build.started),
        "DRONE_STAGE_DEPENDS_ON": "",
        "DRONE_CARD_PATH": "/dev/stdout",
        **status_environment(()),
    }


def status_environment(failed: Sequence[str]) -> dict[str, str]:
    """What a step sees of those before it; `failed` are the names of the failed ones."""
    status = "failure" if failed else "success"
    found = {
        "DRONE_BUILD_STATUS": status,
        "DRONE_STAGE_STATUS": status,
        "CI_BUILD_STATUS": status,
    }
    return found | ({"DRONE_FAILED_STEPS": ",".join(failed)} if failed else {})


def step_environment(number: int, name: str) -> dict[str, str]:
    """Variables of one step; `number` counts from 1, clone and services included."""
    return {"DRONE_STEP_NAME": name, "DRONE_STEP_NUMBER": str(number)}


def _system(build: Build) -> Mapping[str, str]:
    return {
        "DRONE_SYSTEM_PROTO": build.system_proto,
        "DRONE_SYSTEM_HOST": build.system_host,
        "DRONE_SYSTEM_HOSTNAME": build.system_host,
        "DRONE_SYSTEM_VERSION": "",
    }


def _repository(checkout: Checkout) -> Mapping[str, str]:
    web = re.sub(r"\.git$", "", checkout.remote) if checkout.remote.startswith("http") else ""
    ssh = "" if checkout.remote.startswith("http") else checkout.remote
    return {
        "DRONE_REPO": checkout.slug,
        "DRONE_REPO_SCM": "git",
        "DRONE_REPO_OWNER": checkout.owner,
        "DRONE_REPO_NAMESPACE": checkout.owner,
        "DRONE_REPO_NAME": checkout.name,
        "DRONE_REPO_LINK": web,
        "DRONE_REPO_BRANCH": checkout.default_branch,
        "DRONE_REPO_VISIBILITY": "",
        "DRONE_REPO_PRIVATE": "false",
        "DRONE_REMOTE_URL": checkout.remote,
        "DRONE_GIT_HTTP_URL": checkout.remote if web else "",
        "DRONE_GIT_SSH_URL": ssh,
        "CI_REPO": checkout.slug,
        "CI_REPO_NAME": checkout.slug,
        "CI_REPO_LINK": web,
        "CI_REPO_REMOTE": checkout.remote,
        "CI_REPO_PRIVATE": "false",
        "CI_REMOTE_URL": checkout.remote,
    }


def _commit(build: Build) -> Mapping[str, str]:
    checkout = build.checkout
    found = {
        "COMMIT": checkout.commit,
        "COMMIT_SHA": checkout.commit,
        "COMMIT_BEFORE": checkout.before,
        "COMMIT_AFTER": checkout.commit,
        "COMMIT_REF": build.ref,
        "COMMIT_BRANCH": build.branch,
        "COMMIT_LINK": "",
        "COMMIT_MESSAGE": checkout.message,
        "COMMIT_AUTHOR": checkout.author_name,
        "COMMIT_AUTHOR_NAME": checkout.author_name,
        "COMMIT_AUTHOR_EMAIL": checkout.author_email,
        "COMMIT_AUTHOR_AVATAR": "",
    }
    drone = {f"DRONE_{key}": value for key, value in found.items()}
    only_drone = ("COMMIT", "COMMIT_BEFORE", "COMMIT_AFTER", "COMMIT_LINK")
    return drone | {f"CI_{key}": value for key, value in found.items() if key not in only_drone}


def _build(build: Build) -> Mapping[str, str]:
    number, started = str(build.number), str(build.started)
    found = {
        "DRONE_BRANCH": build.branch,
        "DRONE_SOURCE_BRANCH": build.branch,
        "DRONE_TARGET_BRANCH": build.branch,
        "DRONE_BUILD_EVENT": build.event,
        "DRONE_BUILD_ACTION": "",
        "DRONE_BUILD_TRIGGER": "@hook",
        "DRONE_BUILD_NUMBER": number,
        "DRONE_BUILD_PARENT": "0",
        "DRONE_BUILD_CREATED": started,
        "DRONE_BUILD_STARTED": started,
        "DRONE_BUILD_FINISHED": started,
        "DRONE_BUILD_DEBUG": "false",
        "DRONE_BUILD_LINK": build.link,
        "DRONE_DEPLOY_TO": build.target,
        "DRONE_DEPLOY_ID": "0",
        "CI_BUILD_NUMBER": number,
        "CI_BUILD_EVENT": build.event,
        "CI_BUILD_LINK": "",
        "CI_BUILD_TARGET": build.target,
        "CI_PARENT_BUILD_NUMBER": "0",
        "CI_BUILD_CREATED": started,
        "CI_BUILD_STARTED": started,
        "CI_BUILD_FINISHED": started,
    }
    if build.tag:
        found["DRONE_TAG"] = build.tag
    if build.event == "pull_request":
        found |= {"DRONE_PULL_REQUEST": "1", "DRONE_PULL_REQUEST_TITLE": build.checkout.message}
    return found
