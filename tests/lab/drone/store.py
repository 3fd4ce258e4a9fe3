"""What the Drone server stand-in knows: repositories, builds, stages, steps and their logs.

Every method is atomic and leaves the state file complete: a server that is killed at any moment
and started again on the same directory goes on with the same builds. Live log lines are the one
exception, they last until the step's full log is uploaded.

Sources: S = harness/drone@v2.24.0, T = drone/drone-go@v1.7.1 (the JSON of all records).
"""

from __future__ import annotations

import base64
import copy
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

JSON = dict[str, Any]

WAITING, PENDING, RUNNING = "waiting_on_dependencies", "pending", "running"
SUCCESS, FAILURE, ERROR, KILLED, SKIPPED = "success", "failure", "error", "killed", "skipped"
DONE = frozenset({SUCCESS, FAILURE, ERROR, KILLED, SKIPPED})
FAILED = frozenset({FAILURE, ERROR, KILLED})
UNTRUSTED = "linter: untrusted repositories cannot mount host volumes"

# A poller that got a stage and never accepted it must not keep it. Upstream offers it again at
# the next turn of the queue, within a minute; tests should not have to wait for that.
OFFER_SECONDS = 5.0

_ADMIN_ONLY = frozenset({"trusted", "timeout", "throttle", "counter"})
_PATCHABLE = _ADMIN_ONLY | {
    "config_path",
    "protected",
    "visibility",
    "ignore_forks",
    "ignore_pull_requests",
    "auto_cancel_pull_requests",
    "auto_cancel_pushes",
    "auto_cancel_running",
}


class UnknownRecordError(Exception):
    """404: no such build, stage, step or repository."""


class ConflictError(Exception):
    """409: the stage belongs to a runner already."""


class BadRequestError(Exception):
    """400: a payload without the fields that are needed."""


class Store:
    """The server's state. `changed` is its lock, notified after every change."""

    def __init__(self, path: Path, system: JSON, clock: Callable[[], float] = time.time) -> None:
        self.changed = threading.Condition(threading.RLock())
        self._path = path
        self._system = system
        self._clock = clock
        self._offers: dict[int, tuple[float, str]] = {}
        self._live: dict[int, list[JSON]] = {}
        self._state: JSON = {
            "last_id": 0,
            "paused": False,
            "repos": {},
            "builds": {},
            "logs": {},
        }
        if path.exists():
            self._state.update(json.loads(path.read_text(encoding="utf-8")))

    # --- Builds, for the tests ------------------------------------------------------------------

    def create_build(self, payload: JSON) -> JSON:
        """A new build with one stage per Docker pipeline of the configuration.

        Triggers are not evaluated, apart from `trigger.status` for dependent stages. A broken
        configuration makes a build in status `error`, as upstream, and so does a host volume in
        a repository that is not trusted (S trigger/trigger.go, linter.Manifest).
        """
        with self.changed:
            repo = self.put_repo(_required(payload, "repo"))
            repo["counter"] += 1
            build = self._new_build(repo, payload)
            try:
                pipelines = list(_docker_pipelines(str(_required(payload, "config"))))
            except yaml.YAMLError as problem:
                build.update(status=ERROR, error=f"yaml: {problem}", finished=self._now())
                pipelines = []
            if not repo["trusted"] and any(map(_has_host_volume, pipelines)):
                build.update(status=ERROR, error=UNTRUSTED, finished=self._now())
                pipelines = []
            for number, pipeline in enumerate(pipelines, 1):
                build["stages"].append(self._new_stage(build, number, pipeline))
            self._state["builds"][str(build["id"])] = build
            self._save()
            return {"build": build["id"], "number": build["number"]}

    def put_repo(self, given: JSON) -> JSON:
        """Create the repository or overwrite the given fields of a known one."""
        with self.changed:
            namespace, name = str(_required(given, "namespace")), str(_required(given, "name"))
            slug = f"{namespace}/{name}"
            repo: JSON = self._state["repos"].setdefault(slug, self._new_repo(namespace, name))
            for key, value in given.items():
                repo["git_http_url" if key == "clone_url" else key] = value
            self._save()
            return repo

    def view(self, build_id: int) -> JSON:
        """The build with stages, steps and logs, as the tests read it."""
        with self.changed:
            build = self._build(build_id)
            plain = ("id", "number", "status", "repo", "error", "event", "started", "finished")
            return {
                **{key: build.get(key) for key in plain},
                "stages": [self._view_stage(stage) for stage in build["stages"]],
            }

    def summaries(self) -> list[JSON]:
        """Every build without its steps, newest first."""
        with self.changed:
            keys = ("id", "number", "status", "repo", "event", "created", "finished")
            builds = reversed(list(self._state["builds"].values()))
            return [{key: build.get(key) for key in keys} for build in builds]

    def cancel(self, build_id: int) -> None:
        """Kill what runs and skip what waits; the runner hears of it through its watch."""
        with self.changed:
            build, now = self._build(build_id), self._now()
            if build["status"] in DONE:
                return
            build.update(status=KILLED, finished=now, cancelled=True)
            for stage in build["stages"]:
                _stop(stage, now)
                for step in stage["steps"]:
                    _stop(step, now, exit_code=130)
            self._save()

    # --- RPC ------------------------------------------------------------------------------------

    def take(self, poller: str, wanted: JSON) -> JSON | None:
        """A pending stage for this poller, or None. It stays pending until it is accepted."""
        with self.changed:
            now = self._clock()
            if self._state["paused"]:
                return None
            for stage in self._stages():
                if stage["status"] != PENDING or stage["machine"] or not _fits(stage, wanted):
                    continue
                if self._held_back(stage):
                    continue
                if now < self._offers.get(stage["id"], (0.0, ""))[0] + OFFER_SECONDS:
                    continue
                self._offers[stage["id"]] = (now, poller)
                return copy.deepcopy(stage)
            return None

    def withdraw_offer(self, stage_id: int) -> None:
        """The poller was gone before it got the stage: offer it to the next one at once."""
        with self.changed:
            self._offers.pop(stage_id, None)
            self.changed.notify_all()

    def accept(self, stage_id: int, machine: str) -> tuple[JSON, str]:
        """The stage, now owned by `machine`, and the poller that it was offered to."""
        with self.changed:
            stage = self._stage(stage_id)
            if stage["machine"] or stage["status"] != PENDING:
                raise ConflictError
            stage.update(machine=machine, updated=self._now(), version=stage["version"] + 1)
            _, poller = self._offers.pop(stage_id, (0.0, ""))
            self._save()
            return copy.deepcopy(stage), poller

    def detail(self, stage_id: int) -> JSON:
        """All that a runner needs to run the stage."""
        with self.changed:
            stage = self._stage(stage_id)
            build = self._build(stage["build_id"])
            text = build["config"].encode()
            public = {k: v for k, v in build.items() if k not in {"config", "secrets", "stages"}}
            secrets = [{"name": k, "data": v} for k, v in build["secrets"].items()]
            return copy.deepcopy(
                {
                    "build": public | {"stages": [_without_steps(s) for s in build["stages"]]},
                    "stage": stage,
                    "config": {"Data": base64.b64encode(text).decode(), "Hash": None},
                    "netrc": None,
                    "repository": self._state["repos"][build["repo"]],
                    "secrets": secrets,
                    "system": self._system,
                }
            )

    def update_stage(self, stage_id: int, given: JSON) -> JSON:
        """Take over the runner's report. New steps get ids, which the reply tells by number."""
        with self.changed:
            stage = self._stage(stage_id)
            # What an admin cancelled stays killed, whatever a runner says that did not know yet.
            if stage["status"] not in DONE:
                for key in ("status", "error", "exit_code", "started", "stopped"):
                    stage[key] = given.get(key, stage[key])
            stage.update(updated=self._now(), version=stage["version"] + 1)
            for step in given.get("steps") or ():
                self._put_step(stage, step)
            self._advance(self._build(stage["build_id"]))
            self._save()
            return copy.deepcopy(stage)

    def update_step(self, step_id: int, given: JSON) -> JSON:
        with self.changed:
            step = self._step(step_id)
            _merge_step(step, given)
            self._save()
            return copy.deepcopy(step)

    def append_log(self, step_id: int, lines: list[JSON]) -> None:
        with self.changed:
            self._step(step_id)
            self._live.setdefault(step_id, []).extend(lines)
            self.changed.notify_all()

    def replace_log(self, step_id: int, lines: list[JSON]) -> None:
        with self.changed:
            self._step(step_id)
            self._live.pop(step_id, None)
            self._state["logs"][str(step_id)] = lines
            self._save()

    def put_card(self, step_id: int, card: JSON) -> None:
        with self.changed:
            self._step(step_id)["schema"] = card.get("schema", "")
            self._save()

    def is_cancelled(self, build_id: int) -> bool:
        with self.changed:
            return bool(self._build(build_id).get("cancelled"))

    def machine_of(self, *, stage: int = 0, step: int = 0) -> str:
        """The runner that owns the stage or step; empty when nobody does."""
        with self.changed:
            for each in self._stages():
                if each["id"] == stage or any(s["id"] == step for s in each["steps"]):
                    return str(each["machine"])
            return ""

    # --- The server's own API ---------------------------------------------------------------------

    def queue(self) -> list[JSON]:
        """Stages that wait for a runner or run on one: S handler/api/queue/items.go."""
        with self.changed:
            live = [s for s in self._stages() if s["status"] in {PENDING, RUNNING}]
            return [_without_steps(stage) for stage in live]

    def incomplete(self) -> list[JSON]:
        """Repositories, each with one unfinished build."""
        with self.changed:
            return [
                {**self._state["repos"][build["repo"]], "build": self._public(build)}
                for build in self._state["builds"].values()
                if build["status"] not in DONE
            ]

    def incomplete_stages(self) -> list[JSON]:
        """The v2 form: one entry per unfinished stage, with its machine."""
        with self.changed:
            return [
                self._stage_row(build, stage)
                for build in self._state["builds"].values()
                for stage in build["stages"]
                if stage["status"] not in DONE
            ]

    def recent(self) -> list[JSON]:
        """Repositories, each with its latest build: S handler/api/user/builds.go."""
        with self.changed:
            latest = {build["repo"]: build for build in self._state["builds"].values()}
            return [
                {**self._state["repos"][slug], "build": self._public(build)}
                for slug, build in reversed(latest.items())
            ]

    def build_of(self, slug: str, number: int) -> JSON:
        """One build with its stages: S handler/api/repos/builds/find.go."""
        with self.changed:
            for build in self._state["builds"].values():
                if (build["repo"], build["number"]) == (slug, number):
                    return copy.deepcopy(self._public(build) | {"stages": build["stages"]})
            raise UnknownRecordError

    def pause(self, *, paused: bool) -> None:
        with self.changed:
            self._state["paused"] = paused
            self._save()

    def repo(self, slug: str) -> JSON:
        with self.changed:
            return copy.deepcopy(self._repo(slug))

    def patch_repo(self, slug: str, given: JSON, *, admin: bool) -> JSON:
        """Apply what the token may change. The rest is dropped without a word: S repos/update.go"""
        with self.changed:
            repo = self._repo(slug)
            allowed = _PATCHABLE if admin else _PATCHABLE - _ADMIN_ONLY
            repo.update({key: given[key] for key in allowed & given.keys()})
            repo["updated"] = self._now()
            self._save()
            return copy.deepcopy(repo)

    # --- Internals --------------------------------------------------------------------------------

    def _now(self) -> int:
        return int(self._clock())

    def _new_id(self) -> int:
        """One sequence for everything: a test that confuses two kinds of id fails."""
        self._state["last_id"] += 1
        return int(self._state["last_id"])

    def _new_repo(self, namespace: str, name: str) -> JSON:
        root = f"{self._system['proto']}://{self._system['host']}"
        return {
            "id": self._new_id(),
            "uid": f"{namespace}-{name}",
            "namespace": namespace,
            "name": name,
            "slug": f"{namespace}/{name}",
            "scm": "git",
            "git_http_url": "",
            "git_ssh_url": "",
            "link": f"{root}/{namespace}/{name}",
            "default_branch": "main",
            "private": False,
            "visibility": "public",
            "active": True,
            "config_path": ".drone.yml",
            "trusted": False,
            "protected": False,
            "throttle": 0,
            # Minutes. With 0 a runner kills the stage the moment it starts.
            "timeout": 60,
            "counter": 0,
            "created": self._now(),
            "updated": self._now(),
            "version": 1,
        }

    def _new_build(self, repo: JSON, payload: JSON) -> JSON:
        commit, now = payload.get("commit") or {}, self._now()
        branch = commit.get("branch") or repo["default_branch"]
        return {
            "id": self._new_id(),
            "repo_id": repo["id"],
            "repo": repo["slug"],
            "trigger": "lab",
            "number": repo["counter"],
            "status": PENDING,
            "error": "",
            "event": payload.get("event") or "push",
            "action": payload.get("action") or "",
            "link": "",
            "timestamp": now,
            "title": commit.get("title") or "",
            "message": commit.get("message") or "",
            "before": commit.get("before") or "",
            "after": commit.get("sha") or "",
            "ref": commit.get("ref") or f"refs/heads/{branch}",
            "source_repo": "",
            "source": branch,
            "target": branch,
            "author_login": "lab",
            "author_name": commit.get("author_name") or "",
            "author_email": commit.get("author_email") or "",
            "author_avatar": "",
            "sender": "lab",
            "params": payload.get("params") or {},
            "deploy_to": payload.get("deploy_to") or "",
            "debug": False,
            "started": 0,
            "finished": 0,
            "created": now,
            "updated": now,
            "version": 1,
            "stages": [],
            "config": str(payload.get("config") or ""),
            "secrets": payload.get("secrets") or {},
        }

    def _new_stage(self, build: JSON, number: int, pipeline: JSON) -> JSON:
        platform = pipeline.get("platform") or {}
        depends_on = [str(name) for name in pipeline.get("depends_on") or ()]
        status = (pipeline.get("trigger") or {}).get("status")
        statuses = _as_list(status.get("include") if isinstance(status, dict) else status)
        return {
            "id": self._new_id(),
            "build_id": build["id"],
            "repo_id": build["repo_id"],
            "number": number,
            "name": str(pipeline.get("name") or "default"),
            "kind": "pipeline",
            "type": "docker",
            "status": WAITING if depends_on else PENDING,
            "error": "",
            "errignore": False,
            "exit_code": 0,
            "machine": "",
            "os": platform.get("os") or "linux",
            "arch": platform.get("arch") or "amd64",
            "variant": platform.get("variant") or "",
            "kernel": platform.get("version") or "",
            "started": 0,
            "stopped": 0,
            "created": self._now(),
            "updated": self._now(),
            "version": 1,
            "on_success": not statuses or SUCCESS in statuses,
            "on_failure": FAILURE in statuses,
            "depends_on": depends_on,
            "labels": {str(k): str(v) for k, v in (pipeline.get("node") or {}).items()},
            "limit": int((pipeline.get("concurrency") or {}).get("limit") or 0),
            "throttle": int(self._repo(build["repo"])["throttle"]),
            "steps": [],
        }

    def _held_back(self, stage: JSON) -> bool:
        """Limits of the pipeline and of its repository: S scheduler/queue/queue.go."""
        others = [
            other
            for other in self._stages()
            if other["status"] in {PENDING, RUNNING}
            and other["repo_id"] == stage["repo_id"]
            and other["id"] != stage["id"]
        ]
        same = [
            other
            for other in others
            if other["name"] == stage["name"]
            and (other["id"] < stage["id"] or other["status"] == RUNNING)
        ]
        earlier = [other for other in others if other["id"] < stage["id"]]
        limit, throttle = int(stage["limit"]), int(stage["throttle"])
        return 0 < limit <= len(same) or 0 < throttle <= len(earlier)

    def _put_step(self, stage: JSON, given: JSON) -> None:
        for step in stage["steps"]:
            if step["number"] == given["number"]:
                _merge_step(step, given)
                return
        step = {**given, "id": self._new_id(), "step_id": stage["id"], "version": 1}
        stage["steps"].append(step)

    def _advance(self, build: JSON) -> None:
        """Release or skip dependent stages and close the build: S operator/manager/teardown.go."""
        stages, now = build["stages"], self._now()
        for stage in stages:
            self._release(stage, stages, now)
        if build["status"] in DONE:
            return
        if any(stage["status"] not in DONE for stage in stages):
            if any(stage["started"] for stage in stages):
                build["status"] = RUNNING
                build["started"] = build["started"] or now
            return
        verdicts = [s["status"] for s in stages if s["status"] in FAILED]
        build.update(status=verdicts[0] if verdicts else SUCCESS, finished=now)
        build["started"] = build["started"] or now

    def _release(self, stage: JSON, stages: list[JSON], now: int) -> None:
        by_name = {each["name"]: each for each in stages}
        needed = [by_name[name] for name in stage["depends_on"] if name in by_name]
        if stage["status"] != WAITING or any(s["status"] not in DONE for s in needed):
            return
        failed = any(each["status"] in FAILED for each in stages)
        if stage["on_failure"] if failed else stage["on_success"]:
            stage.update(status=PENDING, updated=now)
        else:
            stage.update(status=SKIPPED, started=now, stopped=now)

    def _view_stage(self, stage: JSON) -> JSON:
        keys = ("id", "name", "status", "machine", "error", "exit_code", "started", "stopped")
        return {
            **{key: stage.get(key) for key in keys},
            "steps": [self._view_step(step) for step in stage["steps"]],
        }

    def _view_step(self, step: JSON) -> JSON:
        keys = ("id", "number", "name", "image", "status", "exit_code", "started", "stopped")
        stored = self._state["logs"].get(str(step["id"]))
        return {
            **{key: step.get(key) for key in keys},
            "error": step.get("error") or "",
            "log": copy.deepcopy(self._live.get(step["id"], []) if stored is None else stored),
        }

    def _stage_row(self, build: JSON, stage: JSON) -> JSON:
        repo = self._state["repos"][build["repo"]]
        row = {f"repo_{key}": repo[key] for key in ("namespace", "name", "slug")}
        row |= {f"build_{key}": build[key] for key in ("number", "started", "finished", "created")}
        keys = ("name", "kind", "type", "status", "machine", "os", "arch", "started", "stopped")
        return row | {f"stage_{key}": stage[key] for key in keys}

    def _public(self, build: JSON) -> JSON:
        return {k: v for k, v in build.items() if k not in {"config", "secrets", "stages"}}

    def _stages(self) -> Iterator[JSON]:
        for build in self._state["builds"].values():
            yield from build["stages"]

    def _build(self, build_id: int) -> JSON:
        try:
            found: JSON = self._state["builds"][str(build_id)]
        except KeyError as problem:
            raise UnknownRecordError from problem
        return found

    def _repo(self, slug: str) -> JSON:
        try:
            found: JSON = self._state["repos"][slug]
        except KeyError as problem:
            raise UnknownRecordError from problem
        return found

    def _stage(self, stage_id: int) -> JSON:
        for stage in self._stages():
            if stage["id"] == stage_id:
                return stage
        raise UnknownRecordError

    def _step(self, step_id: int) -> JSON:
        for stage in self._stages():
            for step in stage["steps"]:
                if step["id"] == step_id:
                    found: JSON = step
                    return found
        raise UnknownRecordError

    def _save(self) -> None:
        """Replace the state file in one step and wake everyone who waits for a change."""
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps(self._state), encoding="utf-8")
        fresh.replace(self._path)
        self.changed.notify_all()


def _docker_pipelines(text: str) -> Iterator[JSON]:
    for document in yaml.safe_load_all(text):
        if (
            isinstance(document, dict)
            and document.get("kind") == "pipeline"
            and document.get("type", "docker") == "docker"
        ):
            yield document


def _has_host_volume(pipeline: JSON) -> bool:
    return any("host" in volume for volume in pipeline.get("volumes") or ())


def _fits(stage: JSON, wanted: JSON) -> bool:
    """S scheduler/queue: kind, type, os and arch equal, labels the same set exactly.

    Variant and kernel only count where the stage names them.
    """
    if any(stage[key] != wanted.get(key) for key in ("kind", "type", "os", "arch")):
        return False
    if any(stage[key] and stage[key] != wanted.get(key) for key in ("variant", "kernel")):
        return False
    return bool(stage["labels"] == (wanted.get("labels") or {}))


def _merge_step(step: JSON, given: JSON) -> None:
    if step["status"] in DONE and given.get("status") not in DONE:
        return
    for key in ("status", "error", "exit_code", "started", "stopped"):
        step[key] = given.get(key, step.get(key))
    step["version"] = step.get("version", 0) + 1


def _stop(record: JSON, now: int, **extra: int) -> None:
    if record["status"] in DONE:
        return
    record["status"] = KILLED if record.get("started") else SKIPPED
    record["started"] = record.get("started") or now
    record.update(stopped=now, **extra)


def _without_steps(stage: JSON) -> JSON:
    return {key: value for key, value in stage.items() if key != "steps"}


def _as_list(value: object) -> list[str]:
    if value is None:
        return []
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def _required(source: JSON, key: str) -> Any:
    if not source.get(key):
        raise BadRequestError(f"{key}: missing")
    return source[key]
