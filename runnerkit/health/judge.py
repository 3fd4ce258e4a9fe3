"""Judging a host: named checks, each with what was measured and what to do about it. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from runnerkit.desired.state import DesiredState
from runnerkit.facts.host import HostFacts
from runnerkit.health import (
    cache,
    changes,
    dind,
    engine,
    gc,
    hardening,
    host,
    janitor,
    mirror,
    network,
    runner,
    server,
)  # fmt: skip
from runnerkit.health.model import (
    Case,
    CheckFunction,
    Group,
    HealthReport,
    check_id,
    run_check,
)

CHECKS: Mapping[Group, tuple[CheckFunction, ...]] = {
    Group.HOST: host.CHECKS + changes.CHECKS,
    Group.ENGINE: engine.CHECKS,
    Group.DIND: dind.CHECKS + network.CHECKS,
    Group.RUNNER: runner.CHECKS,
    Group.CACHE: cache.CHECKS + gc.CHECKS + janitor.CHECKS + mirror.CHECKS,
    Group.SERVER: server.CHECKS,
    Group.SECURITY: hardening.CHECKS,
}

# What may be wrong for some seconds after a start and comes right without help.
SETTLING = frozenset(
    check_id(check)
    for check in (
        dind.dind, dind.dind_api, runner.runner, runner.polling, janitor.janitor, janitor.clean_up,
        mirror.registry_mirror,
    )
)  # fmt: skip


def judge(desired: DesiredState, facts: HostFacts) -> HealthReport:
    """Every check there is, each on its own: one failure never hides another."""
    case = Case(desired, facts)
    checks = tuple(
        run_check(group, check, case) for group, checks in CHECKS.items() for check in checks
    )
    return HealthReport(desired.host, checks)
