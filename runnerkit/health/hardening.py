"""Checks of how well builds are kept away from the host, and strangers from builds."""

from __future__ import annotations

import json

from runnerkit.desired.hardening import Weakness, builder_weaknesses, isolation_weaknesses
from runnerkit.facts.host import find_container
from runnerkit.health.model import Case, Finding, fail, ok, skip, unknown, warn
from runnerkit.paths import DAEMON_FILE


def isolation(case: Case) -> Finding:
    """Each container is walled off as it should be, by the engine's own account."""
    found: list[Weakness] = []
    asked = 0
    for service in case.desired.services:
        container = find_container(case.facts, service)
        if container is None:
            continue
        asked += 1
        if container.isolation is None:
            return unknown(f"the engine does not tell how {service} is walled off")
        found += isolation_weaknesses(service, container.isolation)
    if not asked:
        return skip("there is no container")
    found += builder_weaknesses(_daemon_json(case))
    if found:
        evidence = "; ".join(str(item) for item in found)
        return fail(
            "walled off less than it should be",
            evidence,
            f"runnerkit up {case.desired.host}",
        )
    return ok("no port, no host socket, no capability more than needed")


def hardening(case: Case) -> Finding:
    """The configuration lets nobody in who should stay out."""
    risks = [item for item in case.desired.weaknesses if item.risk]
    advice = len(case.desired.weaknesses) - len(risks)
    if risks:
        return warn(
            "the configuration lets strangers in",
            "; ".join(str(item) for item in risks),
            risks[0].hint,
        )
    told = f"; {advice} things could be tighter, `runnerkit plan` names them" if advice else ""
    return ok(f"no risk in the configuration{told}")


def _daemon_json(case: Case) -> object:
    file = case.facts.system.file(DAEMON_FILE)
    try:
        return json.loads(file.content or b"{}") if file else {}
    except ValueError:
        return {}  # an engine does not start with that, and `files` tells it


CHECKS = (isolation, hardening)
