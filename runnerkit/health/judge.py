"""Judging a host: named checks, each with what was measured and what to do about it. Pure."""

from __future__ import annotations

from runnerkit.desired.state import DIND, RUNNER, DesiredState
from runnerkit.facts.host import HostFacts
from runnerkit.health.dind import api_check
from runnerkit.health.drift import drift_check
from runnerkit.health.engine import engine_check
from runnerkit.health.model import Check, HealthReport, Status
from runnerkit.health.runner import polling_check
from runnerkit.health.server import server_check
from runnerkit.health.service import service_check


def judge(desired: DesiredState, facts: HostFacts) -> HealthReport:
    """Every check there is, each on its own: one failure never hides another."""
    host = desired.host
    checks = (
        Check("reachable", Status.OK, f"logged in; {facts.system.os_name or 'unknown system'}"),
        engine_check(facts.outer),
        service_check(desired, facts, DIND, "dind"),
        api_check(facts),
        service_check(desired, facts, RUNNER, "runner"),
        polling_check(host, facts),
        server_check(facts.server),
        drift_check(desired, facts),
    )
    return HealthReport(host, checks)
