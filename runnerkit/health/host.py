"""Checks of the machine itself and of the stack's files on it."""

from __future__ import annotations

from runnerkit.change.plan import diff
from runnerkit.health.model import Case, Finding, fail, ok, warn


def reachable(case: Case) -> Finding:
    """The host answers and lets us in."""
    return ok(f"logged in; {case.facts.system.os_name or 'unknown system'}")


def drift(case: Case) -> Finding:
    """Files and services are what the configuration says: `up` would change nothing."""
    plan = diff(case.desired, case.facts)
    if plan.blockers:
        return fail(plan.blockers[0].message, "", plan.blockers[0].hint)
    if not plan.actions:
        return ok("as configured")
    titles = [action.title for action in plan.actions]
    return warn(
        f"differs from the configuration: {len(titles)} changes pending",
        "; ".join(titles),
        f"runnerkit plan {case.desired.host}",
    )


CHECKS = (reachable, drift)
