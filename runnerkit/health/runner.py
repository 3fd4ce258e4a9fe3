"""Checks of the Drone runner."""

from __future__ import annotations

import re

from runnerkit.change.packages import version_tuple
from runnerkit.config.image_ref import brief
from runnerkit.desired.state import RUNNER
from runnerkit.facts.daemon import DaemonFacts, unix_time
from runnerkit.facts.host import find_container
from runnerkit.health.containers import container_finding, running
from runnerkit.health.model import Case, Finding, fail, ok, skip, warn

# drone-runner-docker 1.5.0 to 1.8.4 are built on a client that does not negotiate.
RUNNER_API = (1, 40)
COMPLAINT = re.compile(r"cannot (ping|request stage|accept stage)|panic:|required key|level=fatal")
# It asks again at once, or pings once a second, and writes each failure down.
COMPLAINT_SECONDS = 10
STAGE_LABELS = ("io.drone.repo.slug", "io.drone.build.number", "io.drone.stage.number")


def runner(case: Case) -> Finding:
    """The runner's container runs, stays up and takes new builds."""
    container = find_container(case.facts, RUNNER)
    if container is not None and case.facts.system.draining == container.id:
        return warn(
            "draining: takes no new builds",
            f"{container.state}, {brief(container.image)}",
            f"runnerkit up {case.desired.host}",
        )
    lines = case.facts.runner_log.strip().splitlines()
    return container_finding(case, RUNNER, last_words=lines[-1][:200] if lines else "")


def runner_api(case: Case) -> Finding:
    """The runner's daemon accepts the API version that the runner speaks."""
    inner = case.facts.inner
    if not isinstance(inner, DaemonFacts):
        return skip("the runner's daemon does not answer")
    evidence = f"dind {inner.version} accepts API {inner.min_api_version} to {inner.api_version}"
    if version_tuple(inner.min_api_version) > RUNNER_API:
        return fail(
            "the daemon refuses API 1.40, which is all that the runner speaks",
            evidence,
            "set docker.image to docker:28-dind, or to 29.3 or newer",
        )
    return ok("API 1.40 is accepted", evidence)


def polling(case: Case) -> Finding:
    """The runner asks the server for work: by its connections, and by its log."""
    server, inside, log = case.facts.server, case.facts.inside, case.facts.runner_log
    container = find_container(case.facts, RUNNER)
    if container is None or not running(case, RUNNER):
        return skip("the runner is not running")
    if case.facts.system.draining == container.id:
        return skip("the runner is draining")
    if server is not None and server.status != 200:
        return skip("the server does not let it in")
    hint = f"runnerkit logs {case.desired.host} runner"
    if complaint := recent_complaint(log, case.facts.system.clock):
        return fail("gets no work from the server", complaint, hint)
    links = inside.runner_links if inside else None
    if links is None:
        return ok("no complaint in its log")
    if not links:
        return warn("does not ask for work", "no connection to the server in the last minute", hint)
    return ok("asks the server for work", f"{links} connections in the last minute")


def recent_complaint(log: str, clock: int | None) -> str:
    """The last complaint about the server within ten seconds before `clock`, or ""."""
    for line in reversed(log.splitlines()):
        if not COMPLAINT.search(line):
            continue
        stamp = re.search(r'time="?([^" ]+)', line)
        try:
            old = stamp and clock is not None and clock - unix_time(stamp[1]) > COMPLAINT_SECONDS
        except ValueError:
            old = False
        return "" if old else line.strip()[:300]
    return ""


def slots(case: Case) -> Finding:
    """No more pipelines run than the runner's capacity."""
    inner, capacity = case.facts.inner, case.desired.capacity
    if not isinstance(inner, DaemonFacts):
        return skip("the runner's daemon does not answer")
    stages = {
        tuple(item.labels.get(label, "") for label in STAGE_LABELS)
        for item in inner.containers
        if item.state == "running" and item.labels.get("io.drone") == "true"
    }
    evidence = f"{len(stages)} running, capacity {capacity}"
    if len(stages) > capacity:
        hint = f"runnerkit docker {case.desired.host} -- ps --filter label=io.drone"
        return warn("pipelines run that no runner looks after", evidence, hint)
    return ok(f"{len(stages)} of {capacity} busy")


def selection(case: Case) -> Finding:
    """Labels and limits let some pipeline through."""
    settings = case.desired.config.runner
    deaf = [pattern for pattern in settings.limit.repos if pattern.count("/") != 1]
    if settings.limit.repos and len(deaf) == len(settings.limit.repos):
        return fail(
            "no repository can match",
            f"runner.limit.repos: {', '.join(deaf)}; a * stands for no slash",
            "write owner/name, e.g. octocat/*",
        )
    if deaf:
        hint = "write owner/name, e.g. octocat/*"
        return warn("a pattern that can never match", f"runner.limit.repos: {deaf[0]}", hint)
    if settings.labels:
        pairs = ", ".join(f"{key}: {value}" for key, value in settings.labels.items())
        return ok(f"only pipelines with exactly `node: {{{pairs}}}`")
    return ok("only pipelines without `node:`")


CHECKS = (runner, runner_api, polling, slots, selection)
