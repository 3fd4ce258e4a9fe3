"""Checks and reports."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from runnerkit.errors import ExitCode


class Status(StrEnum):
    """How a check went. `skip` has nothing to look at; `unknown` could not look."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Check:
    """One named finding. `evidence` is the measured value; `hint` a command or a sentence."""

    id: str
    status: Status
    summary: str
    evidence: str = ""
    hint: str = ""


@dataclass(frozen=True)
class HealthReport:
    """All checks of one host."""

    host: str
    checks: tuple[Check, ...]

    @property
    def status(self) -> str:
        """`unreachable`, `unhealthy`, `degraded` (warnings or unknowns) or `healthy`."""
        statuses = {check.status for check in self.checks}
        if any(check.id == "reachable" and check.status is Status.FAIL for check in self.checks):
            return "unreachable"
        if Status.FAIL in statuses:
            return "unhealthy"
        return "degraded" if statuses & {Status.WARN, Status.UNKNOWN} else "healthy"

    @property
    def exit_code(self) -> ExitCode:
        """What a command about this host alone would exit with."""
        codes = {"unreachable": ExitCode.UNREACHABLE, "unhealthy": ExitCode.UNHEALTHY}
        return codes.get(self.status, ExitCode.OK)


def unreachable(host: str, message: str, hint: str | None) -> HealthReport:
    """The report of a host that could not be asked."""
    return HealthReport(host, (Check("reachable", Status.FAIL, message, hint=hint or ""),))
