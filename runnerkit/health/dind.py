"""Checks of the runner's own daemon."""

from __future__ import annotations

from runnerkit.change.packages import version_tuple
from runnerkit.facts.daemon import DaemonUnavailable
from runnerkit.facts.host import HostFacts
from runnerkit.health.model import Check, Status


def api_check(facts: HostFacts) -> Check:
    """Whether the runner's daemon answers, in an API version that the runner speaks."""
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
