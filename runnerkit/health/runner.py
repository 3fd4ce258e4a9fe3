"""Checks of the Drone runner."""

from __future__ import annotations

import re

from runnerkit.change.plan import find_container
from runnerkit.desired.state import RUNNER
from runnerkit.facts.host import HostFacts
from runnerkit.health.model import Check, Status

POLLING = "polling the remote server"


def polling_check(host: str, facts: HostFacts) -> Check:
    """Whether the runner asks the server for work, by its own log."""
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


def _last_complaint(log: str) -> str:
    lines = [line for line in log.splitlines() if re.search(r"level=(error|fatal)|panic", line)]
    return lines[-1].strip()[:200] if lines else ""
