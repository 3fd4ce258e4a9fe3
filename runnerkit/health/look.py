"""What one look at a host gave."""

from __future__ import annotations

from dataclasses import dataclass

from runnerkit.config.effective import HostConfig
from runnerkit.facts.host import HostFacts
from runnerkit.health.model import HealthReport


@dataclass(frozen=True)
class Look:
    """A report with the facts it was made from.

    `facts` and `changes`, the number of changes that `up` would make, are None for a host that
    could not be asked; its report says why. `seconds` is how long it took, `at` when it ended in
    Unix seconds.
    """

    host: HostConfig
    report: HealthReport
    facts: HostFacts | None
    changes: int | None
    seconds: float
    at: float
