"""The ways of the cache commands: look into a runner's daemon, then judge what was seen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from runnerkit.cache.pruning import Choice, Freed, Pruning, choose, left_by_images, released
from runnerkit.cache.rules import rules_of
from runnerkit.cache.simulate import Simulation, simulate
from runnerkit.cache.summary import CacheSummary, MountUses, last_uses, mount_ids, summary
from runnerkit.change.packages import version_tuple
from runnerkit.change.progress import Progress
from runnerkit.change.service_plans import prune_plan
from runnerkit.change.trial import Trial, TrialEngine
from runnerkit.collect.cache_probe import (
    Place,
    collect_gc,
    collect_place,
    collect_usage,
    list_builds,
    look_at_builds,
)
from runnerkit.config.effective import HostConfig
from runnerkit.desired.gc_policy import CacheLimits, gc_policy
from runnerkit.desired.settings import cache_limits
from runnerkit.desired.state import DIND
from runnerkit.errors import HostError
from runnerkit.facts.builds import Build
from runnerkit.facts.cache import GcRule, Usage
from runnerkit.facts.daemon import DaemonUnavailable
from runnerkit.facts.host import find_container, traits_of
from runnerkit.roads import Access, Changing, Survey, survey

BUILDS_AT_ONCE = 8


@dataclass(frozen=True)
class CacheSurvey:
    """One host and what is in its runner's daemon; `now` is the host's clock."""

    found: Survey
    usage: Usage
    place: Place
    limits: CacheLimits
    engine: str
    now: float


@contextmanager
def cache_survey(host: HostConfig, access: Access) -> Iterator[CacheSurvey]:
    """Look at a host and into its runner's daemon; the connection stays open for the block.

    Raises HostError when that daemon does not answer.
    """
    with survey(host, access) as found:
        yield look_into(found)


def look_into(found: Survey) -> CacheSurvey:
    """What is in the runner's daemon of this host. Raises HostError when it does not answer."""
    inner, host = found.facts.inner, found.host.name
    if isinstance(inner, DaemonUnavailable):
        raise HostError(
            f"{host}: the runner's daemon does not answer: {inner.reason}",
            hint=f"runnerkit status {host}",
        )
    paths = found.desired.paths
    return CacheSurvey(
        found=found,
        usage=collect_usage(found.transport, paths),
        place=collect_place(found.transport, paths),
        limits=cache_limits(found.host, traits_of(found.facts)),
        engine=inner.version,
        now=float(found.facts.system.clock or 0),
    )


def summary_of(seen: CacheSurvey, top: int) -> CacheSummary:
    """What `cache show` says."""
    return summary(
        seen.found.host.name,
        seen.engine,
        seen.usage,
        limits=seen.limits,
        disk=seen.found.facts.system.data_disk,
        logs_bytes=seen.place.logs_bytes,
        top=top,
        uses=_mount_uses(seen),
    )


def _mount_uses(seen: CacheSurvey) -> MountUses:
    """Ask for the newest builds first, and for no more than are needed."""
    wanted = mount_ids(seen.usage.records)
    container = find_container(seen.found.facts, DIND)
    if not wanted or container is None:
        return MountUses()
    where = (seen.found.transport, seen.found.desired.paths, container.id)
    refs = list_builds(*where)
    if refs is None:
        return MountUses(unknown="that takes a docker buildx from 0.21 on, in dind or on the host")
    builds: list[Build] = []
    for start in range(0, len(refs), BUILDS_AT_ONCE):
        builds += look_at_builds(*where, refs[start : start + BUILDS_AT_ONCE])
        if wanted <= last_uses(builds).keys():
            break
    return MountUses(last_uses(builds))


def simulation_of(seen: CacheSurvey, proposal: CacheLimits | None) -> Simulation:
    """Foresee the next GC: under the rules in force, or those that `proposal` would give."""
    found, engine = seen.found, version_tuple(seen.engine)
    rules: tuple[GcRule, ...] | None = None
    source = "read back from the engine"
    if proposal is None:
        container = find_container(found.facts, DIND)
        if container is not None:
            since = container.started_at or "0"
            rules = collect_gc(found.transport, found.desired.paths, container.id, since).rules
    if rules is None:
        source = "proposed" if proposal else "configured; the engine's own cannot be read back"
        rules = rules_of(gc_policy(proposal or seen.limits), engine)
    outcome = simulate(
        seen.usage.records, rules, engine, now=seen.now, free_bytes=seen.place.free_bytes
    )
    return Simulation(found.host.name, rules, source, outcome)


def pruning_of(seen: CacheSurvey, choice: Choice) -> Pruning:
    """What `cache prune` would delete."""
    return choose(seen.usage, choice, seen.now)


def carry_out_pruning(
    change: Changing, seen: CacheSurvey, choice: Choice, pruning: Pruning
) -> Freed:
    """Delete what was named, and say what came back, as the engine counts it.

    Raises ActionError with what stays; what was deleted before that is gone.
    """
    found, executor = change.survey, change.executor
    executor.execute(prune_plan(found.desired, found.facts, pruning))
    if not pruning.images:
        return Freed(executor.freed_bytes)
    after = collect_usage(found.transport, found.desired.paths)
    kept = {record.id: record for record in left_by_images(seen.usage, after)}
    layers = seen.usage.layers_bytes - after.layers_bytes
    unheld = max(0, layers - sum(record.size for record in kept.values()))
    rest = released(seen.usage, after, choice, seen.now)
    if rest:
        executor.execute(prune_plan(found.desired, found.facts, rest))
    gone = {record.id for record in rest.records}
    return Freed(unheld + executor.freed_bytes, kept_by_cache=bool(kept.keys() - gone))


def verify(change: Changing, progress: Progress) -> Trial:
    """Show by trial that an engine of dind's image obeys this host's policy."""
    found = change.survey
    limits = cache_limits(found.host, traits_of(found.facts))
    trial = TrialEngine(found.transport, found.desired.paths, progress)
    return trial.run(str(found.host.docker.image), limits)
