"""Taking a stack off a host: the plan of `down`."""

from __future__ import annotations

from runnerkit.change.actions import Action, ClearUp, Purge, StopServices
from runnerkit.change.journal import interrupted
from runnerkit.change.plan import Plan, drain_action
from runnerkit.desired.state import DesiredState
from runnerkit.facts.host import HostFacts


def teardown(desired: DesiredState, facts: HostFacts, *, purge: tuple[str, ...] = ()) -> Plan:
    """Drain the runner, remove the containers and, when given, delete the directories `purge`."""
    actions: list[Action] = []
    if interrupted(facts.system):
        actions.append(ClearUp(desired.paths, "before the stack goes"))
    actions += drain_action(desired, facts, "it is about to stop")
    if facts.system.files:
        actions.append(StopServices(desired.paths, "asked for"))
    if purge:
        actions.append(Purge(purge, "asked for"))
    return Plan(desired.host, tuple(actions))
