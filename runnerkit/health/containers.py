"""What is the same for every container of the stack."""

from __future__ import annotations

from runnerkit.change.outdated import outdated
from runnerkit.config.image_ref import brief
from runnerkit.desired.state import DIND, ServiceName
from runnerkit.facts.daemon import ContainerFacts, DaemonUnavailable, unix_time
from runnerkit.facts.host import find_container
from runnerkit.health.model import Case, Finding, fail, ok, skip, warn
from runnerkit.paths import DAEMON_FILE

# Docker waits longer from restart to restart, at most a minute: a loop is young whenever seen.
LOOP_RESTARTS, LOOP_SECONDS = 3, 90
RECENT_SECONDS = 3600


def container_finding(case: Case, service: ServiceName, last_words: str = "") -> Finding:
    """Whether the container of `service` runs, is healthy and stays up.

    `last_words` is what it said last, as evidence for its restarts.
    """
    facts, host = case.facts, case.desired.host
    if isinstance(facts.outer, DaemonUnavailable):
        return skip("the host's engine does not answer")
    logs, up = f"runnerkit logs {host} {service}", f"runnerkit up {host}"
    container = find_container(facts, service)
    if container is None:
        return fail("not set up", "no container", up)
    age, restarts = seconds_up(case, container), container.restarts or 0
    image = brief(container.image)
    evidence = f"{container.state}, {container.health or 'no health check'}, {image}"
    again = f"restarts: {restarts}" + (f"; it said last: {last_words}" if last_words else "")
    if container.state == "restarting":
        return fail("keeps restarting", again, logs)
    if container.state != "running":
        # Its health is that of when it still ran.
        why = ", out of memory" if container.oom_killed else ""
        ended = f"{container.state}, exit code {container.exit_code}{why}, {image}"
        return fail(f"is {container.state}", ended, up)
    if restarts >= LOOP_RESTARTS and age is not None and age < LOOP_SECONDS:
        return fail("keeps restarting", again, logs)
    if container.health == "unhealthy":
        return fail("runs, but is not healthy", evidence, logs)
    if container.health == "starting":
        return warn("is starting", evidence, logs)
    if restarts and age is not None and age < RECENT_SECONDS:
        return warn(f"ended by itself and was restarted {ago(age)} ago", again, logs)
    since = f" for {ago(age)}" if age is not None else ""
    return ok(f"running{since}: {image}", evidence)


def running(case: Case, service: ServiceName) -> bool:
    """Whether the container of `service` runs, as far as is known."""
    container = find_container(case.facts, service)
    return container is not None and container.state == "running"


def seconds_up(case: Case, container: ContainerFacts) -> float | None:
    """How long a container has been running, by its host's clock."""
    clock = case.facts.system.clock
    if clock is None or not container.started_at:
        return None
    try:
        return max(0.0, clock - unix_time(container.started_at))
    except ValueError:
        return None


def restart_dind(case: Case) -> str:
    """A hint that makes the runner's daemon start anew."""
    return f"on the host: docker restart {case.desired.paths.project}-{DIND}-1 (ends its builds)"


def reconfigure_dind(case: Case) -> str:
    """A hint that makes it run as configured: `up`, unless that would see nothing to do."""
    found, wanted = case.facts.system.file(DAEMON_FILE), case.desired.file(DAEMON_FILE).sha256
    container = find_container(case.facts, DIND)
    if (
        found is None
        or container is None
        or found.sha256 != wanted
        or outdated({DAEMON_FILE: wanted}, case.facts, container)
    ):
        return f"runnerkit up {case.desired.host}"
    return restart_dind(case)


def ago(seconds: float) -> str:
    """A span for people: `40 s`, `12 min`, `3 h`, `5 d`."""
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds / 86400:.0f} d"
