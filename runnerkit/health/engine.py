"""Checks of the host's own Docker engine."""

from __future__ import annotations

from runnerkit.change.packages import MIN_ENGINE, version_tuple
from runnerkit.facts.daemon import DaemonFacts, DaemonUnavailable
from runnerkit.health.model import Check, Status


def engine_check(outer: DaemonFacts | DaemonUnavailable) -> Check:
    """Whether the host's engine answers and is new enough."""
    if isinstance(outer, DaemonUnavailable):
        return Check(
            "engine",
            Status.FAIL,
            "the host's Docker engine does not answer",
            outer.reason,
            "runnerkit up installs and starts it; on the host: `systemctl status docker`",
        )
    evidence = f"engine {outer.version}, API {outer.api_version}, {outer.storage_driver}"
    if version_tuple(outer.version) < MIN_ENGINE:
        return Check(
            "engine", Status.FAIL, "the host's Docker engine is too old", evidence, "upgrade it"
        )
    return Check("engine", Status.OK, f"Docker {outer.version}", evidence)
