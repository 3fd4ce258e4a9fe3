"""Plans for what is there already, its files as they are: drain, down, prune, export, import."""

from __future__ import annotations

from pathlib import Path

from runnerkit.cache.pruning import Pruning
from runnerkit.change.actions import (
    Action,
    Drain,
    ExportData,
    HaltServices,
    PruneCache,
    Purge,
    RestoreData,
    StartServices,
    StopServices,
    SwapData,
    UnpackData,
)
from runnerkit.change.export_file import ExportHead
from runnerkit.change.plan import Plan, clear_up, drain_action
from runnerkit.desired.state import RUNNER, DesiredState
from runnerkit.facts.host import HostFacts, find_container


def drain_plan(desired: DesiredState, facts: HostFacts, timeout_seconds: int | None) -> Plan:
    """End polling and wait for the running stages; None is the configured patience.

    A runner that a power cut ended in mid-drain has nothing to finish, but is to be marked.
    """
    seconds = desired.drain_seconds if timeout_seconds is None else timeout_seconds
    runner = find_container(facts, RUNNER)
    before = clear_up(desired, facts)
    if runner is None or (runner.state == "exited" and facts.system.draining == runner.id):
        return Plan(desired.host, before)
    return Plan(desired.host, (*before, Drain(desired.paths, runner.id, seconds, "asked for")))


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


def prune_plan(desired: DesiredState, facts: HostFacts, pruning: Pruning) -> Plan:
    """Delete what was chosen from the runner's daemon, which goes on working."""
    deleting = PruneCache(desired.paths, pruning, "asked for")
    return Plan(desired.host, (*clear_up(desired, facts), deleting))


def purge_places(desired: DesiredState, facts: HostFacts) -> tuple[str, ...]:
    """Every directory that the stack has on its host."""
    paths, beside = desired.paths, facts.system.data_beside
    return (str(paths.directory), str(paths.data), *beside, str(paths.sockets))


def start_plan(desired: DesiredState, reason: str) -> Plan:
    """Start all services again, with the files that lie on the host."""
    return Plan(desired.host, (StartServices(desired.paths, (), desired.health_seconds, reason),))


def export_plan(desired: DesiredState, file: Path, head: ExportHead) -> Plan:
    """Copy the data-root of a drained host; nothing writes to it meanwhile."""
    paths = desired.paths
    copying = (HaltServices(paths, "a copy is made"), ExportData(paths, file, head, "asked for"))
    return Plan(desired.host, (*copying, *start_plan(desired, "the copy is made").actions))


def unpack_plan(desired: DesiredState, facts: HostFacts, file: Path, head: ExportHead) -> Plan:
    """What of an import can be done while builds run: all but the change itself."""
    unpacking = UnpackData(desired.paths, file, head, "asked for")
    return Plan(desired.host, (*clear_up(desired, facts), unpacking))


def swap_plan(desired: DesiredState) -> Plan:
    """Put what was unpacked in force on a drained host; the former data stays beside it."""
    paths, reason = desired.paths, "the data was unpacked"
    swapping = (HaltServices(paths, reason), SwapData(paths, reason))
    return Plan(desired.host, (*swapping, *start_plan(desired, reason).actions))


def restore_data_plan(desired: DesiredState) -> Plan:
    """The way back from `swap_plan`, from wherever it ended."""
    paths, reason = desired.paths, "the import failed"
    restoring = (HaltServices(paths, reason), RestoreData(paths, reason))
    return Plan(desired.host, (*restoring, *start_plan(desired, reason).actions))


def purge_plan(desired: DesiredState, place: str, reason: str) -> Plan:
    """Delete one directory that an import made."""
    return Plan(desired.host, (Purge((place,), reason),))
