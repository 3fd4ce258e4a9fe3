"""Checks of the Drone runner."""

from __future__ import annotations

import re

from runnerkit.change.plan import find_container
from runnerkit.desired.state import RUNNER
from runnerkit.health.containers import container_finding
from runnerkit.health.model import Case, Finding, fail, ok, skip, warn

POLLING = "polling the remote server"


def runner(case: Case) -> Finding:
    """The runner's container runs and takes new builds."""
    container = find_container(case.facts, RUNNER)
    if container is not None and case.facts.system.draining == container.id:
        return warn(
            "draining: takes no new builds",
            f"{container.state}, {container.image}",
            f"runnerkit up {case.desired.host}",
        )
    return container_finding(case, RUNNER)


def polling(case: Case) -> Finding:
    """The runner asks the server for work, by its own log."""
    container = find_container(case.facts, RUNNER)
    if container is None or container.state != "running":
        return skip("the runner is not running")
    log = case.facts.runner_log
    if POLLING in log:
        return ok("asks the server for work")
    complaint = _last_complaint(log)
    if complaint:
        hint = f"runnerkit logs {case.desired.host} runner"
        return fail("does not ask for work yet", complaint, hint)
    # The ready line is written once; in a long log it has scrolled away.
    return ok("no complaint in its log")


def _last_complaint(log: str) -> str:
    lines = [line for line in log.splitlines() if re.search(r"level=(error|fatal)|panic", line)]
    return lines[-1].strip()[:200] if lines else ""


CHECKS = (runner, polling)
