"""Judging a host: named checks, each with what was measured and what to do about it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from runnerkit.daemon_facts import DaemonFacts, DaemonUnavailable
from runnerkit.desired import DIND, RUNNER, DesiredState, ServiceName
from runnerkit.errors import ExitCode
from runnerkit.facts import HostFacts, ServerFacts
from runnerkit.packages import MIN_ENGINE, version_tuple
from runnerkit.plan import diff, find_container

POLLING = "polling the remote server"


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


def judge(desired: DesiredState, facts: HostFacts) -> HealthReport:
    """Every check there is, each on its own: one failure never hides another."""
    host = desired.host
    checks = (
        Check("reachable", Status.OK, f"logged in; {facts.system.os_name or 'unknown system'}"),
        _engine(facts.outer),
        _service(desired, facts, DIND, "dind"),
        _inner_api(facts),
        _service(desired, facts, RUNNER, "runner"),
        _polling(host, facts),
        _server(facts.server),
        _drift(desired, facts),
    )
    return HealthReport(host, checks)


def _engine(outer: DaemonFacts | DaemonUnavailable) -> Check:
    if isinstance(outer, DaemonUnavailable):
        return Check(
            "engine",
            Status.FAIL,
            "the host's Docker engine does not answer",
            outer.reason,
            "runnerkit up installs and starts it; on the host: `systemctl status docker`",
        )
    evidence = f"engine {outer.version}, API {outer.api_version}, {outer.storage_driver}"
    if version_tuple(outer.version) < MIN_ENGINE:
        return Check(
            "engine", Status.FAIL, "the host's Docker engine is too old", evidence, "upgrade it"
        )
    return Check("engine", Status.OK, f"Docker {outer.version}", evidence)


def _service(desired: DesiredState, facts: HostFacts, service: ServiceName, check: str) -> Check:
    if isinstance(facts.outer, DaemonUnavailable):
        return Check(check, Status.UNKNOWN, "the engine does not answer", facts.outer.reason)
    logs = f"runnerkit logs {desired.host} {service}"
    container = find_container(facts, service)
    if container is None:
        return Check(check, Status.FAIL, "not set up", hint=f"runnerkit up {desired.host}")
    evidence = f"{container.state}, {container.health or 'no health check'}, {container.image}"
    if service == RUNNER and facts.system.draining == container.id:
        return Check(
            check, Status.WARN, "draining: takes no new builds", evidence,
            f"runnerkit up {desired.host}",
        )  # fmt: skip
    if container.state == "restarting":
        return Check(check, Status.FAIL, "keeps restarting", evidence, logs)
    if container.state != "running":
        hint = f"runnerkit up {desired.host}"
        return Check(check, Status.FAIL, f"is {container.state}", evidence, hint)
    if container.health == "unhealthy":
        return Check(check, Status.FAIL, "runs, but is not healthy", evidence, logs)
    if container.health == "starting":
        return Check(check, Status.WARN, "is starting", evidence, logs)
    return Check(check, Status.OK, f"running {container.image}", evidence)


def _inner_api(facts: HostFacts) -> Check:
    inner = facts.inner
    if isinstance(inner, DaemonUnavailable):
        return Check(
            "dind-api", Status.FAIL, "the runner's daemon does not answer", inner.reason,
            "look into its log with `runnerkit logs HOST dind`",
        )  # fmt: skip
    evidence = f"engine {inner.version}, API {inner.min_api_version}-{inner.api_version}"
    if version_tuple(inner.min_api_version) > (1, 40):
        return Check(
            "dind-api",
            Status.FAIL,
            "refuses API 1.40, which is all that the runner speaks",
            evidence,
            "use docker.image 29.3 or newer, or 28",
        )
    return Check("dind-api", Status.OK, f"Docker {inner.version} answers", evidence)


def _polling(host: str, facts: HostFacts) -> Check:
    container = find_container(facts, RUNNER)
    if container is None or container.state != "running":
        return Check("polling", Status.SKIP, "the runner is not running")
    if POLLING in facts.runner_log:
        return Check("polling", Status.OK, "asks the server for work")
    complaint = _last_complaint(facts.runner_log)
    if complaint:
        return Check(
            "polling", Status.FAIL, "does not ask for work yet", complaint,
            f"runnerkit logs {host} runner",
        )  # fmt: skip
    # The ready line is written once; in a long log it has scrolled away.
    return Check("polling", Status.OK, "no complaint in its log")


def _server(server: ServerFacts | None) -> Check:
    if server is None:
        return Check("server", Status.SKIP, "not asked")
    if server.status is None:
        return Check(
            "server", Status.FAIL, "cannot be reached from the runner", server.error or "",
            "check `server:` and that the host's network can reach it",
        )  # fmt: skip
    evidence = f"HTTP {server.status}"
    match server.status:
        case 200:
            return Check("server", Status.OK, "reached; it accepts the secret", evidence)
        case 401:
            hint = "compare the source of `secret:` with the server's DRONE_RPC_SECRET"
            return Check("server", Status.FAIL, "does not accept the secret", evidence, hint)
        case 403:
            hint = "set DRONE_RPC_SECRET on the server"
            return Check("server", Status.FAIL, "has no RPC secret itself", evidence, hint)
        case 404 | 405:
            hint = "check `server:`; it should be the URL that the web interface has"
            return Check("server", Status.FAIL, "is not a Drone server", evidence, hint)
    return Check("server", Status.FAIL, "answers with an error", evidence, "see the server's log")


def _drift(desired: DesiredState, facts: HostFacts) -> Check:
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


def _last_complaint(log: str) -> str:
    lines = [line for line in log.splitlines() if re.search(r"level=(error|fatal)|panic", line)]
    return lines[-1].strip()[:200] if lines else ""
