"""What differs from the configuration."""

from __future__ import annotations

from runnerkit.change.plan import diff
from runnerkit.desired.state import DesiredState
from runnerkit.facts.host import HostFacts
from runnerkit.health.model import Check, Status


def drift_check(desired: DesiredState, facts: HostFacts) -> Check:
    """Whether `up` would change anything."""
    plan = diff(desired, facts)
    if plan.blockers:
        return Check("drift", Status.FAIL, plan.blockers[0].message, hint=plan.blockers[0].hint)
    if not plan.actions:
        return Check("drift", Status.OK, "as configured")
    titles = [action.title for action in plan.actions]
    return Check(
        "drift", Status.WARN, f"differs from the configuration: {len(titles)} changes pending",
        "; ".join(titles), f"runnerkit plan {desired.host}",
    )  # fmt: skip
