"""Checks of the stack's containers."""

from __future__ import annotations

from runnerkit.change.plan import find_container
from runnerkit.desired.state import RUNNER, DesiredState, ServiceName
from runnerkit.facts.daemon import DaemonUnavailable
from runnerkit.facts.host import HostFacts
from runnerkit.health.model import Check, Status


def service_check(
    desired: DesiredState, facts: HostFacts, service: ServiceName, check: str
) -> Check:
    """Whether the container of `service` runs and is healthy; `check` is the check's id."""
    if isinstance(facts.outer, DaemonUnavailable):
        return Check(check, Status.UNKNOWN, "the engine does not answer", facts.outer.reason)
    logs = f"runnerkit logs {desired.host} {service}"
    container = find_container(facts, service)
    if container is None:
        return Check(check, Status.FAIL, "not set up", hint=f"runnerkit up {desired.host}")
    evidence = f"{container.state}, {container.health or 'no health check'}, {container.image}"
    if service == RUNNER and facts.system.draining == container.id:
        return Check(
            check, Status.WARN, "draining: takes no new builds", evidence,
            f"runnerkit up {desired.host}",
        )  # fmt: skip
    if container.state == "restarting":
        return Check(check, Status.FAIL, "keeps restarting", evidence, logs)
    if container.state != "running":
        hint = f"runnerkit up {desired.host}"
        return Check(check, Status.FAIL, f"is {container.state}", evidence, hint)
    if container.health == "unhealthy":
        return Check(check, Status.FAIL, "runs, but is not healthy", evidence, logs)
    if container.health == "starting":
        return Check(check, Status.WARN, "is starting", evidence, logs)
    return Check(check, Status.OK, f"running {container.image}", evidence)
