"""Checks of the runner's own daemon."""

from __future__ import annotations

from runnerkit.change.packages import version_tuple
from runnerkit.desired.state import DIND
from runnerkit.facts.daemon import DaemonUnavailable
from runnerkit.health.containers import container_finding
from runnerkit.health.model import Case, Finding, fail, ok

RUNNER_API = (1, 40)


def dind(case: Case) -> Finding:
    """The container of the runner's daemon runs and is healthy."""
    return container_finding(case, DIND)


def dind_api(case: Case) -> Finding:
    """The runner's daemon answers, in an API version that the runner speaks."""
    inner = case.facts.inner
    if isinstance(inner, DaemonUnavailable):
        hint = f"runnerkit logs {case.desired.host} dind"
        return fail("the runner's daemon does not answer", inner.reason, hint)
    evidence = f"engine {inner.version}, API {inner.min_api_version}-{inner.api_version}"
    if version_tuple(inner.min_api_version) > RUNNER_API:
        return fail(
            "refuses API 1.40, which is all that the runner speaks",
            evidence,
            "use docker.image 29.3 or newer, or 28",
        )
    return ok(f"Docker {inner.version} answers", evidence)


CHECKS = (dind, dind_api)
