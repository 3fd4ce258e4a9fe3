"""The way of `tune`: measure a host, then advise."""

from __future__ import annotations

from dataclasses import dataclass

from runnerkit.collect.tune_probe import collect_probe
from runnerkit.desired.settings import cache_limits
from runnerkit.desired.state import DIND
from runnerkit.errors import HostError
from runnerkit.facts.host import find_container, traits_of
from runnerkit.roads import Survey
from runnerkit.tuning.advice import Advice, Settings, advise
from runnerkit.tuning.measured import Measured, Probed


@dataclass(frozen=True)
class Tuning:
    """One host measured, and what it should be set to."""

    host: str
    measured: Measured
    advice: tuple[Advice, ...]


def tune_host(found: Survey) -> Tuning:
    """Measure and advise. Raises HostError where the runner's daemon does not answer."""
    container = find_container(found.facts, DIND)
    if container is None or container.state != "running":
        raise HostError(
            f"{found.host.name}: there is no running daemon to measure",
            hint=f"runnerkit up {found.host.name}",
        )
    paths = found.desired.paths
    probed = collect_probe(found.transport, container.id, str(paths.directory))
    limits = cache_limits(found.host, traits_of(found.facts))
    now = Settings(
        capacity=found.host.runner.capacity,
        cache_max=limits.max_bytes,
        min_free=limits.min_free_bytes,
        keep_mounts=limits.keep_mounts_seconds,
        keep_layers=limits.keep_layers_seconds,
        written={
            "cache.max": str(found.host.cache.max),
            "cache.min_free": str(found.host.cache.min_free),
        },
    )
    measured = _measured(found, probed)
    return Tuning(found.host.name, measured, advise(measured, now))


def _measured(found: Survey, probed: Probed) -> Measured:
    system, docker = found.facts.system, found.host.docker
    # The least of what the machine has, its own control group allows, and dind is given.
    cpus = [n for n in (system.cpus, probed.cpu_limit, docker.cpus) if n]
    memory = [n for n in (system.memory_bytes, probed.memory_limit, int(docker.memory or 0)) if n]
    root, data = system.root_disk, system.data_disk
    return Measured(
        cpus=min(cpus, default=None),
        memory=min(memory, default=None),
        disk=data,
        shared_with_root=bool(root and data and root.mount == data.mount),
        probed=probed,
    )
