"""Plans that only stop and start what is there: `drain`, `resume` and `down`."""

from __future__ import annotations

from dataclasses import replace

from runnerkit.change.actions import Action, Purge, StartServices, StopServices
from runnerkit.change.plan import Plan, clear_up, drain_action, find_container
from runnerkit.desired.state import RUNNER, DesiredState
from runnerkit.facts.host import HostFacts


def drain_plan(desired: DesiredState, facts: HostFacts, timeout_seconds: int | None) -> Plan:
    """End polling and wait for the running stages; None is the configured patience."""
    seconds = desired.drain_seconds if timeout_seconds is None else timeout_seconds
    draining = (
        replace(action, timeout_seconds=seconds)
        for action in drain_action(desired, facts, "asked for")
    )
    return Plan(desired.host, (*clear_up(desired, facts), *draining))


def resume_plan(desired: DesiredState, facts: HostFacts) -> Plan:
    """Take the runner back into service, with the files that lie on the host.

    A runner that still drains cannot be told to poll again: its stages end first, then it starts.
    """
    runner = find_container(facts, RUNNER)
    draining = runner is not None and facts.system.draining == runner.id
    if runner is not None and runner.state == "running" and not draining:
        return Plan(desired.host, clear_up(desired, facts))
    return Plan(
        desired.host,
        (
            *clear_up(desired, facts),
            *drain_action(desired, facts, "it drains already, and cannot poll again before"),
            StartServices(desired.paths, (), desired.health_seconds, "asked for"),
        ),
    )


def teardown(desired: DesiredState, facts: HostFacts, *, purge: tuple[str, ...] = ()) -> Plan:
    """Drain the runner, remove the containers and, when given, delete the directories `purge`."""
    actions: list[Action] = [*clear_up(desired, facts)]
    actions += drain_action(desired, facts, "it is about to stop")
    if facts.system.files:
        actions.append(StopServices(desired.paths, "asked for"))
    if purge:
        actions.append(Purge(purge, "asked for"))
    return Plan(desired.host, tuple(actions))
