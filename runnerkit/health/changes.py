"""Changes to the host: one under way, one that was interrupted."""

from __future__ import annotations

from runnerkit.change.journal import interrupted, under_way
from runnerkit.health.model import Case, Finding, ok, warn


def change(case: Case) -> Finding:
    """No change to the host was left half done."""
    system = case.facts.system
    if begun := under_way(system):
        return ok(f"{begun.owner} is changing it: step {begun.number} of {begun.of}, {begun.step}")
    if begun := interrupted(system):
        return warn(
            f"a change was interrupted at step {begun.number} of {begun.of}: {begun.step}",
            f"by {begun.owner}",
            f"runnerkit up {case.desired.host}",
        )
    return ok("nothing was left half done")


CHECKS = (change,)
