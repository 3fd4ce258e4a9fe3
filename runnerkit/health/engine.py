"""Checks of the host's own Docker engine."""

from __future__ import annotations

from runnerkit.change.packages import MIN_ENGINE, version_tuple
from runnerkit.facts.daemon import DaemonUnavailable
from runnerkit.health.model import Case, Finding, fail, ok


def engine(case: Case) -> Finding:
    """The host's Docker engine answers and is new enough."""
    outer = case.facts.outer
    if isinstance(outer, DaemonUnavailable):
        hint = f"runnerkit up {case.desired.host}; on the host: `systemctl status docker`"
        return fail("the host's Docker engine does not answer", outer.reason, hint)
    evidence = f"engine {outer.version}, API {outer.api_version}, {outer.storage_driver}"
    if version_tuple(outer.version) < MIN_ENGINE:
        return fail("the host's Docker engine is too old", evidence, "upgrade it")
    return ok(f"Docker {outer.version}", evidence)


CHECKS = (engine,)
