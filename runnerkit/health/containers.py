"""What is the same for every container of the stack."""

from __future__ import annotations

from runnerkit.change.plan import find_container
from runnerkit.desired.state import ServiceName
from runnerkit.facts.daemon import DaemonUnavailable
from runnerkit.health.model import Case, Finding, fail, ok, unknown, warn


def container_finding(case: Case, service: ServiceName) -> Finding:
    """Whether the container of `service` runs and is healthy."""
    facts, host = case.facts, case.desired.host
    if isinstance(facts.outer, DaemonUnavailable):
        return unknown("the host's engine does not answer")
    logs, up = f"runnerkit logs {host} {service}", f"runnerkit up {host}"
    container = find_container(facts, service)
    if container is None:
        return fail("not set up", "", up)
    evidence = f"{container.state}, {container.health or 'no health check'}, {container.image}"
    if container.state == "restarting":
        return fail("keeps restarting", evidence, logs)
    if container.state != "running":
        return fail(f"is {container.state}", evidence, up)
    if container.health == "unhealthy":
        return fail("runs, but is not healthy", evidence, logs)
    if container.health == "starting":
        return warn("is starting", evidence, logs)
    return ok(f"running {container.image}", evidence)
