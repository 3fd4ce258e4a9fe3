"""Checks of the janitor and of the room that it keeps on the data disk."""

from __future__ import annotations

from runnerkit.desired.state import JANITOR
from runnerkit.facts.host import find_container
from runnerkit.health.containers import container_finding
from runnerkit.health.model import Case, Finding, ok, skip, warn
from runnerkit.units import format_bytes, format_duration

# It sweeps every five minutes; one that is busy freeing a full disk may take longer.
SILENT_SECONDS = 30 * 60


def janitor(case: Case) -> Finding:
    """The janitor's container runs and is healthy."""
    return container_finding(case, JANITOR)


def clean_up(case: Case) -> Finding:
    """The janitor cleaned up a short while ago and left the disk enough room."""
    report, now = case.facts.system.janitor, case.facts.system.clock
    logs = f"runnerkit logs {case.desired.host} janitor"
    container = find_container(case.facts, JANITOR)
    if container is None or container.state != "running":
        return skip("the janitor is not running")
    if now is None:
        return skip("the host does not tell its time")
    if report is None:
        return warn("the janitor has not reported yet", "", logs)
    age = max(0, now - report.swept_at)
    if report.freed_at is None:
        freed = "nothing had to go so far"
    else:
        freed = f"last freed {format_bytes(report.freed_bytes)}, {_ago(now - report.freed_at)}"
    evidence = f"last sweep {_ago(age)}"
    if report.freed_what:
        evidence += f"; last removed: {report.freed_what}"
    if age > SILENT_SECONDS:
        return warn(f"the janitor has not swept for {_coarse(age)}", evidence, logs)
    if report.lack_bytes or report.lack_inodes:
        lack = format_bytes(report.lack_bytes) if report.lack_bytes else ""
        lack = lack or f"{report.lack_inodes} inodes"
        return warn(
            f"the disk lacks {lack} below cache.min_free, and nothing more can go",
            evidence,
            f"lower cache.min_free, or give docker.data a larger disk; {logs}",
        )
    return ok(f"swept {_ago(age)}; {freed}", evidence)


def _ago(seconds: int) -> str:
    return f"{_coarse(seconds)} ago"


def _coarse(seconds: int) -> str:
    """A span in its largest unit: nobody needs the seconds of a day."""
    for unit in (86400, 3600, 60):
        if seconds >= unit:
            return format_duration(seconds // unit * unit)
    return format_duration(max(0, seconds))


CHECKS = (janitor, clean_up)
