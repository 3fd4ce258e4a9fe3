"""What `status` sees as Prometheus metrics: names, units and labels in one table.

Names follow prometheus.io/docs/practices/naming: base units, `_total` for counters, `_info` for
what is text. A value that is not known is left out, never zero.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from typing import Literal

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from runnerkit import __version__
from runnerkit.facts.daemon import ContainerFacts, DaemonFacts
from runnerkit.facts.host import Disk, HostFacts
from runnerkit.health.look import Look
from runnerkit.health.model import Status

Values = Iterable[tuple[tuple[str, ...], float]]

CHECK_VALUES = {Status.OK: 0, Status.WARN: 1, Status.FAIL: 2, Status.UNKNOWN: 3}
CONTAINER_STATES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")
STAGE_LABELS = ("io.drone.repo.slug", "io.drone.build.number", "io.drone.stage.number")


@dataclass(frozen=True)
class Kind:
    """One metric: what it means and where its values are. `host` is always the first label."""

    name: str
    help: str
    values: Callable[[Look], Values]
    labels: tuple[str, ...] = ()
    type: Literal["gauge", "counter"] = "gauge"

    def family(self, looks: Iterable[Look]) -> Metric:
        """The metric with its values for all hosts."""
        made = CounterMetricFamily if self.type == "counter" else GaugeMetricFamily
        family = made(self.name, self.help, labels=("host", *self.labels))
        for look in looks:
            for labels, value in self.values(look):
                family.add_metric((look.host.name, *labels), value)
        return family


def families(looks: Iterable[Look]) -> Iterator[Metric]:
    """Every metric of these looks."""
    info = GaugeMetricFamily("runnerkit_build_info", "Version of runnerkit.", labels=["version"])
    info.add_metric([__version__], 1)
    yield info
    seen = tuple(looks)
    for kind in KINDS:
        yield kind.family(seen)


def metrics_text(looks: Iterable[Look]) -> str:
    """The metrics in Prometheus' text format."""
    seen = tuple(looks)

    class Once(Collector):
        def collect(self) -> Iterator[Metric]:
            return families(seen)

    registry = CollectorRegistry()
    registry.register(Once())
    return generate_latest(registry).decode()


def dashboard_json() -> str:
    """The Grafana dashboard over these metrics, as shipped."""
    path = files("runnerkit.dashboards").joinpath("runnerkit.json")
    return path.read_text(encoding="utf-8")


def _one(value: float | None) -> Values:
    return () if value is None else (((), float(value)),)


def _checks(look: Look) -> Values:
    for check in look.report.checks:
        if check.status in CHECK_VALUES:
            yield (check.id, check.group.value), CHECK_VALUES[check.status]


def _disks(measure: Callable[[Disk], int]) -> Callable[[Look], Values]:
    def values(look: Look) -> Values:
        if look.facts is None:
            return
        system = look.facts.system
        for role, disk in (("root", system.root_disk), ("data", system.data_disk)):
            if disk is not None:
                yield (role, disk.mount), measure(disk)

    return values


def _daemons(look: Look) -> Iterator[tuple[str, DaemonFacts | None]]:
    if look.facts is not None:
        for role, daemon in (("outer", look.facts.outer), ("inner", look.facts.inner)):
            yield role, daemon if isinstance(daemon, DaemonFacts) else None


def _daemon_up(look: Look) -> Values:
    for role, daemon in _daemons(look):
        yield (role,), float(daemon is not None)


def _daemon_info(look: Look) -> Values:
    for role, daemon in _daemons(look):
        if daemon is not None:
            yield (role, daemon.version, daemon.api_version, daemon.storage_driver), 1


def _services(measure: Callable[[ContainerFacts], float | None]) -> Callable[[Look], Values]:
    def values(look: Look) -> Values:
        for role, daemon in _daemons(look):
            for container in daemon.containers if daemon and role == "outer" else ():
                value = measure(container)
                if container.service and value is not None:
                    yield (container.service,), value

    return values


def _unix(text: str | None) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except ValueError:
        return None


def _inner_containers(look: Look) -> Values:
    if look.facts is None or not isinstance(look.facts.inner, DaemonFacts):
        return
    # None in a state is a value, too: a line that is missing now and then cannot be drawn.
    states = Counter(dict.fromkeys(CONTAINER_STATES, 0))
    states.update(container.state for container in look.facts.inner.containers)
    for state, count in states.items():
        yield (state,), count


def _stages_running(look: Look) -> Values:
    if look.facts is None or not isinstance(look.facts.inner, DaemonFacts):
        return ()
    return _one(
        len(
            {
                tuple(container.labels.get(label, "") for label in STAGE_LABELS)
                for container in _inner(look.facts)
                if container.state == "running" and "io.drone.stage.number" in container.labels
            }
        )
    )


def _inner(facts: HostFacts | None) -> tuple[ContainerFacts, ...]:
    daemon = facts.inner if facts else None
    return daemon.containers if isinstance(daemon, DaemonFacts) else ()


def _images(look: Look) -> Values:
    for role, daemon in _daemons(look):
        if daemon is not None:
            yield (role,), len(set(daemon.images.values()))


def _server_up(look: Look) -> Values:
    server = look.facts.server if look.facts else None
    return _one(None if server is None else float(server.status == 200))


def _build_cache(look: Look) -> Values:
    cache = look.facts.build_cache if look.facts else None
    return _one(None if cache is None or cache.unknown else cache.bytes)


def _certificate(look: Look) -> Values:
    server = look.facts.server if look.facts else None
    return _one(server.certificate_ends if server else None)


def _sweep(look: Look) -> Values:
    janitor = look.facts.system.janitor if look.facts else None
    return _one(janitor.swept_at if janitor else None)


KINDS = (
    Kind("runnerkit_host_up", "Whether the host could be asked.",
         lambda look: _one(float(look.facts is not None))),
    Kind("runnerkit_host_healthy", "Whether no check failed.",
         lambda look: _one(float(look.report.status in {"healthy", "degraded"}))),
    Kind("runnerkit_check_status", "Finding of a check: 0 ok, 1 warn, 2 fail, 3 unknown.",
         _checks, ("check", "group")),
    Kind("runnerkit_collect_duration_seconds", "How long the collection took.",
         lambda look: _one(look.seconds)),
    Kind("runnerkit_collect_timestamp_seconds", "When the collection ended, in Unix time.",
         lambda look: _one(look.at)),
    Kind("runnerkit_pending_changes", "Changes that `up` would make.",
         lambda look: _one(look.changes)),
    Kind("runnerkit_cpus", "Processors of the host.",
         lambda look: _one(look.facts.system.cpus if look.facts else None)),
    Kind("runnerkit_memory_size_bytes", "Memory of the host.",
         lambda look: _one(look.facts.system.memory_bytes if look.facts else None)),
    Kind("runnerkit_memory_available_bytes", "What of it programs could still take.",
         lambda look: _one(look.facts.system.memory_available_bytes if look.facts else None)),
    Kind("runnerkit_swap_size_bytes", "Swap space of the host.",
         lambda look: _one(look.facts.system.swap_bytes if look.facts else None)),
    Kind("runnerkit_swap_free_bytes", "What of it is free.",
         lambda look: _one(look.facts.system.swap_free_bytes if look.facts else None)),
    Kind("runnerkit_disk_size_bytes", "Size of the filesystem of / and of the runner's data.",
         _disks(lambda disk: disk.total), ("disk", "mount")),
    Kind("runnerkit_disk_available_bytes", "What of it is free for use.",
         _disks(lambda disk: disk.available), ("disk", "mount")),
    Kind("runnerkit_disk_inodes", "Inodes of the filesystem; 0 where they are not limited.",
         _disks(lambda disk: disk.inodes), ("disk", "mount")),
    Kind("runnerkit_disk_inodes_available", "What of them is free.",
         _disks(lambda disk: disk.inodes_available), ("disk", "mount")),
    Kind("runnerkit_daemon_up", "Whether the engine of the host (outer) or runner (inner) answers.",
         _daemon_up, ("daemon",)),
    Kind("runnerkit_daemon_info", "Versions of the Docker daemons.",
         _daemon_info, ("daemon", "version", "api_version", "storage_driver")),
    Kind("runnerkit_service_up", "Whether a container of the stack runs.",
         _services(lambda container: float(container.state == "running")), ("service",)),
    Kind("runnerkit_service_restarts_total", "Restarts of a container by its restart policy.",
         _services(lambda container: container.restarts), ("service",), "counter"),
    Kind("runnerkit_service_start_time_seconds", "When it started, in Unix time.",
         _services(lambda container: _unix(container.started_at)), ("service",)),
    Kind("runnerkit_inner_containers", "Containers of the runner's daemon.",
         _inner_containers, ("state",)),
    Kind("runnerkit_images", "Images of a daemon, each counted once.", _images, ("daemon",)),
    Kind("runnerkit_build_cache_bytes", "What BuildKit keeps in the runner's daemon.",
         _build_cache),
    Kind("runnerkit_janitor_sweep_timestamp_seconds", "When the janitor last swept, in Unix time.",
         _sweep),
    Kind("runnerkit_stages_running", "Pipelines that have a running container.", _stages_running),
    Kind("runnerkit_stages_capacity", "Pipelines that the runner takes at the same time.",
         lambda look: _one(look.host.runner.capacity)),
    Kind("runnerkit_server_up", "Whether the Drone server answers the runner and takes its secret.",
         _server_up),
    Kind("runnerkit_server_certificate_expiry_timestamp_seconds",
         "When the certificate of the Drone server ends, in Unix time.", _certificate),
)  # fmt: skip
