"""Checks, what they look at, and reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from runnerkit.desired.state import DesiredState
from runnerkit.errors import ExitCode
from runnerkit.facts.host import HostFacts

REACHABLE = "reachable"


class Status(StrEnum):
    """How a check went. `skip` has nothing to look at; `unknown` could not look."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"
    UNKNOWN = "unknown"


class Group(StrEnum):
    """Which part of a runner a check is about; also the order in which they are shown."""

    HOST = "host"
    ENGINE = "engine"
    DIND = "dind"
    RUNNER = "runner"
    CACHE = "cache"
    SERVER = "server"
    SECURITY = "security"


@dataclass(frozen=True)
class Case:
    """One host as it should be and as it is; all that a check may look at."""

    desired: DesiredState
    facts: HostFacts


@dataclass(frozen=True)
class Finding:
    """What a check found. `evidence` is the measured value and its limit; `hint` what to do.

    For skip and unknown the summary is the reason.
    """

    status: Status
    summary: str
    evidence: str = ""
    hint: str = ""


def ok(summary: str, evidence: str = "") -> Finding:
    """As it should be."""
    return Finding(Status.OK, summary, evidence)


def warn(summary: str, evidence: str, hint: str) -> Finding:
    """Builds still work; something wants attention."""
    return Finding(Status.WARN, summary, evidence, hint)


def fail(summary: str, evidence: str, hint: str) -> Finding:
    """Builds fail or wait because of this, or will soon."""
    return Finding(Status.FAIL, summary, evidence, hint)


def skip(reason: str) -> Finding:
    """There is nothing to look at, and another check says why if that is wrong."""
    return Finding(Status.SKIP, reason)


def unknown(reason: str, evidence: str = "", hint: str = "") -> Finding:
    """It could not be found out."""
    return Finding(Status.UNKNOWN, reason, evidence, hint)


CheckFunction = Callable[[Case], Finding]
"""Its name is the id (`gc_policy` is gc-policy), its docstring's first line the meaning."""


def check_id(function: CheckFunction) -> str:
    """The name that reports give a check."""
    return function.__name__.replace("_", "-")


def meaning(function: CheckFunction) -> str:
    """What a check being ok means, in one line."""
    return (function.__doc__ or "").partition("\n")[0]


@dataclass(frozen=True)
class Check:
    """One check's finding in a report."""

    id: str
    group: Group
    status: Status
    summary: str
    evidence: str = ""
    hint: str = ""


def run_check(group: Group, function: CheckFunction, case: Case) -> Check:
    """Let one check look at a host."""
    found = function(case)
    return Check(
        check_id(function), group, found.status, found.summary, found.evidence, found.hint
    )  # fmt: skip


@dataclass(frozen=True)
class HealthReport:
    """All checks of one host."""

    host: str
    checks: tuple[Check, ...]

    @property
    def status(self) -> str:
        """`unreachable`, `unhealthy`, `degraded` (warnings or unknowns) or `healthy`."""
        statuses = {check.status for check in self.checks}
        if any(check.id == REACHABLE and check.status is Status.FAIL for check in self.checks):
            return "unreachable"
        if Status.FAIL in statuses:
            return "unhealthy"
        return "degraded" if statuses & {Status.WARN, Status.UNKNOWN} else "healthy"

    @property
    def exit_code(self) -> ExitCode:
        """What a command about this host alone would exit with."""
        codes = {"unreachable": ExitCode.UNREACHABLE, "unhealthy": ExitCode.UNHEALTHY}
        return codes.get(self.status, ExitCode.OK)

    @property
    def groups(self) -> Mapping[Group, tuple[Check, ...]]:
        """The checks by group, in the order of Group; no group without a check."""
        found = {group: tuple(c for c in self.checks if c.group is group) for group in Group}
        return {group: checks for group, checks in found.items() if checks}


def unreachable(host: str, message: str, hint: str | None) -> HealthReport:
    """The report of a host that could not be asked."""
    check = Check(REACHABLE, Group.HOST, Status.FAIL, message, hint=hint or "")
    return HealthReport(host, (check,))
