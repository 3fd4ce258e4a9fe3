from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from runnerkit.cache.rules import rules_of
from runnerkit.desired.state import DesiredState
from runnerkit.facts.cache import GcFacts, GcRule, parse_inspect
from runnerkit.facts.daemon import DaemonUnavailable
from runnerkit.facts.host import HostFacts
from runnerkit.health.gc import gc_errors, gc_policy
from runnerkit.health.model import Case, Finding, Status
from tests.unit.builders import converged, desired_for

INSPECTED = """\
Name:   default
Driver: docker

Nodes:
Name:             default
Status:           running
GC Policy rule#0:
 All:            false
 Filters:        type==source.local
 Keep Duration:  48h0m0.809688967s
 Reserved Space: 512MiB
 Max Used Space: 512MiB
GC Policy rule#1:
 All:            true
 Filters:
 Max Used Space: 126GiB
 Min Free Space: 15GiB
"""


@pytest.fixture
def desired(tmp_path: Path) -> DesiredState:
    return desired_for(tmp_path)


def judged(desired: DesiredState, gc: GcFacts | None, **changes: object) -> Finding:
    facts: HostFacts = replace(converged(desired), gc=gc, **changes)  # type: ignore[arg-type]
    return gc_policy(Case(desired, facts))


def meant(desired: DesiredState) -> tuple[GcRule, ...]:
    options = json.loads(desired.file("daemon.json").content)
    return rules_of(options["builder"]["gc"], (28, 5, 2))


def test_rules_are_read_from_what_buildx_prints() -> None:
    [sources, ceiling] = parse_inspect(INSPECTED)
    assert (sources.filters, round(sources.unused_seconds)) == (
        (("type", "source.local"),), 172801,
    )  # fmt: skip
    assert ceiling == GcRule(all=True, max_used=126 << 30, min_free=15 << 30)
    with pytest.raises(ValueError, match="no running builder"):
        parse_inspect("unanswered")


def test_the_configured_rules_in_force_are_well(desired: DesiredState) -> None:
    assert judged(desired, GcFacts(meant(desired))).status is Status.OK


def test_ages_grow_and_sizes_are_rounded_where_they_are_printed(desired: DesiredState) -> None:
    printed = tuple(
        replace(
            rule,
            unused_seconds=rule.unused_seconds and rule.unused_seconds + 1.8,
            max_used=round(rule.max_used * 1.0004),
        )
        for rule in meant(desired)
    )
    assert judged(desired, GcFacts(printed)).status is Status.OK


def test_rules_that_are_not_those_of_the_file_fail(desired: DesiredState) -> None:
    found = judged(desired, GcFacts(meant(desired)[:-1]))
    assert found.status is Status.FAIL
    assert "rule 9 is missing" in found.evidence
    assert found.hint.endswith("docker restart runnerkit-main-dind-1 (ends its builds)")


def test_gc_that_is_off_fails(desired: DesiredState) -> None:
    assert judged(desired, GcFacts(())).evidence == "garbage collection is off"


@pytest.mark.parametrize("gc", [GcFacts(None, "no buildx"), GcFacts((), one_size=True)])
def test_what_cannot_be_read_back_is_unknown_with_a_way_to_prove_it(
    gc: GcFacts, desired: DesiredState
) -> None:
    found = judged(desired, gc)
    assert found.status is Status.UNKNOWN
    assert "cache verify" in found.hint


def test_a_trap_fails_even_when_the_daemon_is_dead_of_it(desired: DesiredState) -> None:
    facts = converged(desired)
    content = (desired.file("daemon.json").content).replace(b"type=regular", b"type==regular")
    files = tuple(
        replace(file, content=content) if file.name == "daemon.json" else file
        for file in facts.system.files
    )
    system = replace(facts.system, files=files)
    found = judged(desired, None, system=system, inner=DaemonUnavailable("refused"))
    assert found.status is Status.FAIL
    assert "double-equals" in found.summary


def test_a_failed_gc_in_the_log_fails(desired: DesiredState) -> None:
    line = 'level=error msg="gc error: unsupported operator'
    facts = replace(
        converged(desired), gc=GcFacts(meant(desired), errors=(rf'{line}\ngithub.com/moby"',))
    )
    found = gc_errors(Case(desired, facts))
    assert (found.status, found.evidence) == (Status.FAIL, line)
    assert "docker restart" in found.hint
    other = replace(facts, system=replace(facts.system, files=()))
    assert gc_errors(Case(desired, other)).hint == "runnerkit up forge"
