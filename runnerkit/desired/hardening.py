"""What makes a stack weaker than it need be, each with its item of the CIS Docker Benchmark. Pure.

Numbers are those of the benchmark's version 1.5.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from runnerkit.config.effective import HostConfig

SOCKETS = ("/var/run/docker.sock", "/run/docker.sock")
# What must stay out of every container of the stack, dind included.
HOST_PLACES = ("/", "/boot", "/dev", "/etc", "/lib", "/proc", "/run", "/sys", "/usr", "/var/run")
NEEDS_PRIVILEGE = "dind"
# The registry mirror listens where registry.listen says, and on loopback without it.
MAY_PUBLISH = "mirror"


@dataclass(frozen=True)
class Weakness:
    """One thing that could be tighter. `where` is a key of the configuration, or a service.

    A `risk` lets somebody in who should stay out; without it, it is advice. `benchmark` is an
    item's number, "" where the benchmark has none.
    """

    where: str
    problem: str
    hint: str
    benchmark: str = ""
    risk: bool = False

    def __str__(self) -> str:
        item = f" (CIS Docker {self.benchmark})" if self.benchmark else ""
        return f"{self.where}: {self.problem}{item}"


@dataclass(frozen=True)
class Isolation:
    """How one container is walled off: as a compose file says, or as an engine tells."""

    privileged: bool
    read_only: bool
    capabilities_dropped: bool
    no_new_privileges: bool
    publishes: bool
    namespaces_of_host: tuple[str, ...]
    mounts: tuple[str, ...]


def isolation_of(service: Mapping[str, Any]) -> Isolation:
    """What a service of a compose file asks for."""
    volumes = [item for item in service.get("volumes") or [] if isinstance(item, Mapping)]
    shares = {key: service.get(f"{key}_mode" if key == "network" else key) for key in _NAMESPACES}
    return Isolation(
        privileged=bool(service.get("privileged")),
        read_only=bool(service.get("read_only")),
        capabilities_dropped="ALL" in (service.get("cap_drop") or []),
        no_new_privileges=any(
            str(option).startswith("no-new-privileges") and not str(option).endswith("false")
            for option in service.get("security_opt") or []
        ),
        publishes=bool(service.get("ports")),
        namespaces_of_host=tuple(key for key, value in shares.items() if value == "host"),
        mounts=tuple(str(item.get("source", "")) for item in volumes),
    )


# Each with the item that forbids sharing it.
_NAMESPACES = {"network": "5.9", "pid": "5.15", "ipc": "5.16", "uts": "5.20"}


def isolation_weaknesses(service: str, found: Isolation) -> Iterator[Weakness]:
    """Where a container's wall has a hole. Only dind may be privileged: it could not work else."""

    def risk(problem: str, benchmark: str) -> Weakness:
        hint = "put compose.yml back with `runnerkit up`"
        return Weakness(service, problem, hint, benchmark, risk=True)

    if found.publishes and service != MAY_PUBLISH:
        yield risk("publishes a port", "5.8")
    if any(mount in SOCKETS for mount in found.mounts):
        yield risk("has the host's Docker socket: whoever is in it is root here", "5.31")
    for place in found.mounts:
        if place in HOST_PLACES:
            yield risk(f"has {place} of the host", "5.5")
    for namespace in found.namespaces_of_host:
        yield risk(f"shares the host's {namespace} namespace", _NAMESPACES[namespace])
    if service != NEEDS_PRIVILEGE:
        for problem, benchmark in _powers(found):
            yield risk(problem, benchmark)


def builder_weaknesses(daemon: object) -> Iterator[Weakness]:
    """What a daemon.json allows build steps beyond what engines do by themselves."""
    entitlements: object = daemon
    for key in ("builder", "entitlements", "security-insecure"):
        entitlements = entitlements.get(key) if isinstance(entitlements, Mapping) else None
    if entitlements is True:
        problem = "lets a `RUN --security=insecure` do what root in dind may"
        hint = "put daemon.json back with `runnerkit up`"
        yield Weakness(NEEDS_PRIVILEGE, problem, hint, "5.4", risk=True)


def _powers(found: Isolation) -> Iterator[tuple[str, str]]:
    if found.privileged:
        yield "is privileged", "5.4"
    if not found.capabilities_dropped:
        yield "keeps capabilities that it does not need", "5.3"
    if not found.read_only:
        yield "can write to its root filesystem", "5.12"
    if not found.no_new_privileges:
        yield "can gain privileges", "5.25"


def weaknesses(host: HostConfig, compose: Mapping[str, Any]) -> tuple[Weakness, ...]:
    """Everything in a configuration and its compose file that could be tighter, risks first."""
    found = [*_access(host), *_limits(host), *_wires(host)]
    for name, service in compose["services"].items():
        found += isolation_weaknesses(name, isolation_of(service))
    return tuple(sorted(found, key=lambda weakness: not weakness.risk))


def _access(host: HostConfig) -> Iterator[Weakness]:
    runner = host.runner
    limited = bool(runner.limit.repos) or runner.limit.trusted
    limit = "set runner.limit.repos to the repositories you trust, or runner.limit.trusted"
    for place in runner.volumes:
        reaches_daemon = place in (*SOCKETS, "/", "/run", "/var/run", "/run/runnerkit")
        if reaches_daemon:
            yield Weakness(
                "runner.volumes",
                f"{place} goes to every step of every repository, trusted or not: whoever can "
                "push to one is root in dind",
                limit,
                "5.31",
                risk=not limited,
            )
        else:
            yield Weakness(
                "runner.volumes",
                f"{place} goes to every step of every repository, trusted or not",
                "mount it in the pipelines of trusted repositories instead",
                "5.5",
                risk=not limited,
            )
    for image in runner.privileged_images:
        yield Weakness(
            "runner.privileged_images",
            f"{image} runs privileged in every repository, trusted or not",
            limit,
            "5.4",
            risk=not limited,
        )


def _limits(host: HostConfig) -> Iterator[Weakness]:
    if host.docker.memory is None:
        yield Weakness(
            "docker.memory",
            "builds may take all the memory of the host",
            "set docker.memory, e.g. to three quarters of what the host has",
            "5.10",
        )
    if host.docker.pids is None:
        yield Weakness(
            "docker.pids",
            "one build may take every process id of the host",
            "set docker.pids, e.g. to 8192",
            "5.28",
        )


def _wires(host: HostConfig) -> Iterator[Weakness]:
    if host.server.startswith("http://"):
        yield Weakness(
            "server", "the RPC secret and the build logs travel in the clear", "use https://"
        )
    elif not host.tls_verify:
        yield Weakness(
            "tls_verify",
            "whoever sits on the way to the server can read the RPC secret",
            "give the server a certificate that the runner trusts",
        )
    for registry in host.docker.insecure_registries:
        yield Weakness(
            "docker.insecure_registries",
            f"images of {registry} may be anybody's",
            "give the registry a certificate",
            "2.4",
        )
    for mirror in host.docker.mirrors:
        if mirror.startswith("http://"):
            yield Weakness(
                "docker.mirrors",
                f"images from {mirror} may be changed on their way",
                "use https:// where the mirror is not on your own network",
                "2.4",
            )
