"""Checks of the build cache's garbage collection."""

from __future__ import annotations

import json

from runnerkit.cache.gc_lint import lint
from runnerkit.cache.rules import THREE_SIZES, differences, rules_of
from runnerkit.change.packages import version_tuple
from runnerkit.desired.state import DesiredState
from runnerkit.facts.cache import GcRule
from runnerkit.facts.daemon import DaemonUnavailable
from runnerkit.facts.host import HostFacts
from runnerkit.health.containers import reconfigure_dind
from runnerkit.health.model import Case, Finding, fail, ok, skip, unknown, warn
from runnerkit.paths import DAEMON_FILE


def gc_policy(case: Case) -> Finding:
    """The engine runs the garbage-collection rules that are configured, as it tells itself."""
    inner, gc = case.facts.inner, case.facts.gc
    engine = None if isinstance(inner, DaemonUnavailable) else version_tuple(inner.version)
    host = case.desired.host
    file = case.facts.system.file(DAEMON_FILE)
    traps = lint(file.content, engine) if file is not None and file.content is not None else ()
    if traps:
        return fail(
            f"daemon.json has a setting that engines misread: {traps[0].name}",
            "; ".join(map(str, traps[:3])),
            f"runnerkit up {host} writes the file anew",
        )
    if engine is None:
        return skip("the runner's daemon does not answer")
    if gc is None:
        return skip("not asked")
    if gc.rules is None:
        return unknown("the rules in force cannot be read back", gc.reason, _proof(host))
    if gc.one_size and engine >= THREE_SIZES:
        reason = "docker buildx on the host is older than 0.18 and shows one size of three"
        return unknown("the rules in force cannot be read back", reason, _proof(host))
    wrong = differences(_meant(case.desired, engine), gc.rules)
    if not wrong:
        return ok(f"{len(gc.rules)} rules in force, as configured")
    evidence = "; ".join(wrong[:3])
    on_host = _on_host(case.facts, engine)
    if on_host and not differences(on_host, gc.rules):
        return warn("runs an earlier configuration", evidence, f"runnerkit up {host}")
    if on_host and not differences(on_host, _meant(case.desired, engine)):
        return fail(
            "runs other rules than those of its daemon.json", evidence, reconfigure_dind(case)
        )
    return fail("the engine runs other rules than configured", evidence, f"runnerkit up {host}")


def gc_errors(case: Case) -> Finding:
    """The daemon's log has no failed garbage collection since its start."""
    gc = case.facts.gc
    if gc is None:
        return skip("not asked")
    if gc.errors:
        return fail(
            "garbage collection fails: nothing limits the cache",
            gc.errors[-1].partition(r"\n")[0][:300],
            reconfigure_dind(case),
        )
    return ok("no failed GC in dind's log")


CHECKS = (gc_policy, gc_errors)


def _proof(host: str) -> str:
    return f"runnerkit cache verify {host} shows it by trial"


def _meant(desired: DesiredState, engine: tuple[int, ...]) -> tuple[GcRule, ...]:
    return rules_of(json.loads(desired.file(DAEMON_FILE).content)["builder"]["gc"], engine)


def _on_host(facts: HostFacts, engine: tuple[int, ...]) -> tuple[GcRule, ...] | None:
    file = facts.system.file(DAEMON_FILE)
    try:
        gc = json.loads(file.content or b"")["builder"]["gc"] if file else None
        return rules_of(gc, engine) if gc else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
