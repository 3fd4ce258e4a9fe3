"""The ways of the cache commands: look into a runner's daemon, then judge what was seen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from runnerkit.cache.pruning import Choice, Pruning, batches, choose
from runnerkit.cache.rules import rules_of
from runnerkit.cache.simulate import Simulation, simulate
from runnerkit.cache.summary import CacheSummary, summary
from runnerkit.change.packages import version_tuple
from runnerkit.change.progress import Progress
from runnerkit.change.trial import Trial, TrialEngine
from runnerkit.collect.cache_probe import Place, collect_gc, collect_place, collect_usage
from runnerkit.config.effective import HostConfig
from runnerkit.desired.gc_policy import CacheLimits, gc_policy
from runnerkit.desired.settings import cache_limits
from runnerkit.desired.state import DIND
from runnerkit.engine.port import DockerPort
from runnerkit.errors import HostError
from runnerkit.facts.cache import GcRule, Usage
from runnerkit.facts.daemon import DaemonUnavailable
from runnerkit.facts.host import find_container, traits_of
from runnerkit.roads import Access, Survey, survey


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
        inner = found.facts.inner
        if isinstance(inner, DaemonUnavailable):
            raise HostError(
                f"{host.name}: the runner's daemon does not answer: {inner.reason}",
                hint=f"runnerkit status {host.name}",
            )
        paths = found.desired.paths
        yield CacheSurvey(
            found=found,
            usage=collect_usage(found.transport, paths),
            place=collect_place(found.transport, paths),
            limits=cache_limits(host, traits_of(found.facts)),
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
    )


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


def carry_out_pruning(seen: CacheSurvey, pruning: Pruning, progress: Progress) -> int:
    """Delete what was named; returns the bytes freed, as the engine counts them.

    Raises ActionError with what stays; what was deleted before that is gone.
    """
    found = seen.found
    port = DockerPort(found.transport, str(found.desired.paths.docker_socket))
    host = found.host.name
    try:
        progress.begin(host, "delete")
        for image in pruning.images:
            progress.detail(host, next(iter(image.names), image.id))
            port.remove_image(image.id)
        freed = sum(port.prune_records(ids) for ids in batches(pruning))
        if pruning.images:
            freed += max(0, seen.usage.layers_bytes - port.usage().layers_bytes)
    except BaseException:
        progress.end(host, ok=False)
        raise
    finally:
        port.close()
    progress.end(host, ok=True)
    return freed


def verify(host: HostConfig, access: Access, progress: Progress) -> Trial:
    """Show by trial that an engine of dind's image obeys this host's policy."""
    with survey(host, access) as found:
        limits = cache_limits(host, traits_of(found.facts))
        trial = TrialEngine(found.transport, found.desired.paths, progress)
        return trial.run(str(host.docker.image), limits)
