"""Checks of the registry mirror."""

from __future__ import annotations

from runnerkit.desired.state import MIRROR
from runnerkit.health.containers import container_finding
from runnerkit.health.model import Case, Finding, skip


def registry_mirror(case: Case) -> Finding:
    """The registry mirror, where there is to be one, runs and is healthy."""
    if MIRROR not in case.desired.services:
        return skip("registry.mirror is off")
    return container_finding(case, MIRROR)


CHECKS = (registry_mirror,)
