"""Checks of BuildKit's cache in dind."""

from __future__ import annotations

from runnerkit.desired import settings
from runnerkit.facts.daemon import DaemonUnavailable
from runnerkit.facts.host import traits_of
from runnerkit.health.model import Case, Finding, ok, skip, unknown, warn
from runnerkit.units import format_bytes

# The GC runs at most once a minute, after a build; builds in flight hold what they use.
TOLERANCE = 1.1


def cache_use(case: Case) -> Finding:
    """The build cache stays below its ceiling."""
    if isinstance(case.facts.inner, DaemonUnavailable):
        return skip("the runner's daemon does not answer")
    cache = case.facts.build_cache
    if cache is None:
        return skip("not measured: costly on this engine; `runnerkit cache show` does it")
    if cache.unknown:
        return unknown("the cache could not be measured", cache.unknown)
    ceiling = settings.cache_limits(case.desired.config, traits_of(case.facts)).max_bytes
    evidence = f"{format_bytes(cache.bytes)} of {format_bytes(ceiling)} (cache.max)"
    if cache.bytes > ceiling * TOLERANCE:
        hint = f"runnerkit logs {case.desired.host} dind; does its GC run?"
        return warn("larger than its ceiling", evidence, hint)
    return ok(evidence)


CHECKS = (cache_use,)
