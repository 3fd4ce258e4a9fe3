"""The ways of `cache export` and `cache import`: a data-root leaves its host, or comes to one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runnerkit import __version__
from runnerkit.change.copying import check_room, check_writable, open_export
from runnerkit.change.export_file import ExportHead, misfit
from runnerkit.change.plan import with_patience
from runnerkit.change.progress import Progress
from runnerkit.change.scripts import script
from runnerkit.change.service_plans import (
    drain_plan,
    export_plan,
    purge_plan,
    restore_data_plan,
    start_plan,
    swap_plan,
    unpack_plan,
)
from runnerkit.desired.state import DIND
from runnerkit.errors import ActionError, ConnectionLostError, HostError, LockedError
from runnerkit.facts.daemon import DaemonFacts
from runnerkit.facts.host import find_container
from runnerkit.health.model import HealthReport
from runnerkit.lifecycle import insist
from runnerkit.roads import Changing, Survey, refuse_if_blocked, wait_until_well


@dataclass(frozen=True)
class Import:
    """A file that fits its host, before anything is changed."""

    change: Changing
    file: Path
    head: ExportHead
    replaced_bytes: int


def carry_out_export(
    change: Changing, file: Path, progress: Progress, *, force: bool = False
) -> HealthReport:
    """Drain, halt, copy the data-root to `file`, start again.

    The services start again however the copy ends, as long as the host can be reached; `file` is
    there whole or not at all. Raises ConfigError for a place that cannot take it, ActionError.
    """
    check_writable(file)
    found = change.survey
    engine = _engine(found)
    size = _data_bytes(found)
    check_room(file, size)
    head = ExportHead(
        kit=__version__,
        host=found.host.name,
        stack=found.desired.paths.stack,
        engine=engine.version,
        storage_driver=engine.storage_driver,
        arch=engine.arch,
        made=found.facts.system.clock or 0,
        data_bytes=size,
    )
    _drain(change, found, force=force)
    try:
        change.executor.execute(export_plan(found.desired, file, head))
    except (ConnectionLostError, LockedError) as error:
        raise _left_halted(error, found) from None
    except BaseException:
        change.executor.execute(start_plan(found.desired, "the copy failed"))
        raise
    return wait_until_well(found, progress)


def plan_import(change: Changing, file: Path) -> Import:
    """See whether `file` fits the host. Raises ConfigError or HostError where it does not."""
    head = open_export(file)
    found = change.survey
    engine = _engine(found)
    if why := misfit(head, engine):
        raise HostError(
            f"{found.host.name}: {file} does not fit: {why}",
            hint="import it on a host like the one it comes from, or one with a newer engine",
        )
    return Import(change, file, head, _data_bytes(found))


def carry_out_import(what: Import, progress: Progress, *, force: bool = False) -> HealthReport:
    """Unpack beside the data-root while builds go on; then drain, halt, swap and start.

    The former data is deleted once the host is well with the new one, and put back when it does
    not become so. Raises ActionError; the host then has its former data.
    """
    change, found = what.change, what.change.survey
    desired = found.desired
    change.executor.execute(unpack_plan(desired, found.facts, what.file, what.head))
    try:
        _drain(change, found, force=force)
    except (ConnectionLostError, LockedError):
        raise
    except BaseException:
        change.executor.execute(
            purge_plan(desired, str(desired.paths.data_incoming), "it was not used")
        )
        raise
    try:
        change.executor.execute(swap_plan(desired))
        report = wait_until_well(found, progress)
        insist(report)
    except (ConnectionLostError, LockedError) as error:
        raise _left_halted(error, found) from None
    except ActionError as failure:
        change.executor.execute(restore_data_plan(desired))
        raise ActionError(
            f"{failure.message}\nthe former data is back in its place, and the services run",
            hint=f"see `runnerkit status {found.host.name}`; the file may be of no use",
        ) from None
    except BaseException:
        change.executor.execute(restore_data_plan(desired))
        raise
    reason = "the host is well with the imported data"
    change.executor.execute(purge_plan(desired, str(desired.paths.data_before_import), reason))
    return report


def _engine(found: Survey) -> DaemonFacts:
    refuse_if_blocked(found.plan)
    if find_container(found.facts, DIND) is None:
        raise HostError(
            f"{found.host.name}: it is not set up", hint=f"runnerkit up {found.host.name}"
        )
    inner = found.facts.inner
    if not isinstance(inner, DaemonFacts):
        raise HostError(
            f"{found.host.name}: the runner's daemon does not answer: {inner.reason}",
            hint=f"runnerkit status {found.host.name}",
        )
    return inner


def _data_bytes(found: Survey) -> int:
    argv = ["sh", "-c", script("data_size"), "sh", str(found.desired.paths.data)]
    answer = found.transport.run(argv).stdout.strip()
    return int(answer) if answer.isdigit() else 0


def _drain(change: Changing, found: Survey, *, force: bool) -> None:
    plan = drain_plan(found.desired, found.facts, None)
    change.executor.execute(with_patience(plan, 0) if force else plan, force=force)


def _left_halted(error: ConnectionLostError | LockedError, found: Survey) -> Exception:
    return type(error)(
        f"{error.message}; the services may be halted",
        hint=f"`runnerkit up {found.host.name}` starts them again and clears up",
    )
