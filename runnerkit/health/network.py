"""Checks of the network as pipelines have it, seen from inside dind."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Network

from runnerkit.desired import settings
from runnerkit.desired.state import DIND
from runnerkit.facts.daemon import DaemonFacts
from runnerkit.facts.host import traits_of
from runnerkit.facts.inside import InsideFacts, Way, place_of, registry_of
from runnerkit.facts.names import NameAnswer, asked_name
from runnerkit.health.containers import reconfigure_dind, restart_dind, running
from runnerkit.health.host import worst_of
from runnerkit.health.model import Case, Finding, fail, ok, skip, unknown, warn

BRIDGE = "docker0"
FIREWALL = re.compile(
    r"ip6?tables failed|[Ff]ailed to (program|add|create).*(iptables|bridge|NAT|DNAT)"
    r"|failed to create NAT chain|bridge .*creation failed|unable to (remove|insert) jump",
)
BLIND = "the host lacks bash, nsenter or unshare, or took too long"


def inside_or_why(case: Case) -> InsideFacts | Finding:
    """What was seen from inside dind, or the finding that stands for its absence."""
    if not running(case, DIND):
        return skip("dind is not running")
    return case.facts.inside or unknown("could not look from inside dind", BLIND)


def address_pools(case: Case) -> Finding:
    """Networks are left for as many builds as may run, twice over."""
    inner, capacity = case.facts.inner, case.desired.capacity
    if not isinstance(inner, DaemonFacts):
        return skip("the runner's daemon does not answer")
    if not inner.pools:
        return skip("the daemon does not tell its address pools")
    total = sum(1 << max(0, pool.size - pool.base.prefixlen) for pool in inner.pools)
    used = sum(_taken(pool.base, pool.size, inner.subnets) for pool in inner.pools)
    left = total - used
    evidence = f"{left} of {total} networks left; each running pipeline takes one"
    host = case.desired.host
    hint = f"runnerkit docker {host} -- network prune; or widen docker.address_pools"
    if left < capacity:
        return fail("no networks are left for pipelines", evidence, hint)
    if left < 2 * capacity:
        return warn("few networks are left for pipelines", evidence, hint)
    return ok(f"{left} of {total} networks left")


def _taken(base: IPv4Network, prefix: int, subnets: Iterable[str]) -> int:
    taken = 0
    for text in subnets:
        if ":" in text:
            continue
        subnet = IPv4Network(text, strict=False)
        if subnet.overlaps(base):
            taken += 1 << max(0, prefix - max(subnet.prefixlen, base.prefixlen))
    return taken


def mtu(case: Case) -> Finding:
    """Packets of pipelines fit through the host's network."""
    inside = inside_or_why(case)
    if isinstance(inside, Finding):
        return inside
    way_out = {name: size for name, size in inside.devices.items() if name.startswith("eth")}
    bridge = inside.devices.get(BRIDGE)
    if not way_out or bridge is None:
        return unknown("dind's network devices could not be read")
    limits = dict(way_out)
    if case.facts.system.mtu:
        limits["the host"] = case.facts.system.mtu
    wanted = settings.mtu(case.desired.config, traits_of(case.facts))
    narrow = min(limits, key=lambda name: limits[name])
    evidence = f"{BRIDGE} {bridge}, " + ", ".join(f"{name} {mtu}" for name, mtu in limits.items())
    if max(bridge, wanted) > limits[narrow]:
        hint = f"set docker.mtu: {limits[narrow]} and run runnerkit up {case.desired.host}"
        return fail(f"larger packets than {narrow} passes on: transfers hang", evidence, hint)
    return ok(f"{bridge} bytes")


def egress(case: Case) -> Finding:
    """Packets from inside dind get out, and answers come back."""
    inside = inside_or_why(case)
    if isinstance(inside, Finding):
        return inside
    if not inside.ways:
        return unknown("nothing was tried", BLIND)
    if _gets_out(inside):
        return ok("dind reaches the network")
    return fail(
        "nothing can be reached from inside dind",
        "; ".join(_tried(way) for way in inside.ways),
        "on the host: iptables -S FORWARD, sysctl net.ipv4.ip_forward, systemctl restart docker",
    )


def dns(case: Case) -> Finding:
    """Name servers of pipelines answer from inside dind, and know the Drone server."""
    inside = inside_or_why(case)
    if isinstance(inside, Finding):
        return inside
    if not inside.names:
        return skip("no name server is set: Docker's own choice is in force")
    if not _gets_out(inside):
        return skip("there is no way out of dind")
    name = asked_name(case.desired.config.server)
    evidence = ", ".join(f"{server}: {said}" for server, said in inside.names.items())
    hint = "set docker.dns to name servers that containers can reach"
    said = next((said for said in inside.names.values() if _told(said)), None)
    if said is None:
        return fail("no name server answers inside dind", evidence, hint)
    if said is NameAnswer.NO_SUCH_NAME and name == place_of(case.desired.config.server)[0]:
        return fail(f"{name} is not known inside dind", evidence, hint)
    if not all(_told(said) for said in inside.names.values()):
        return warn("a name server does not answer: lookups are slow", evidence, hint)
    return ok(f"{len(inside.names)} answering: {', '.join(inside.names)}")


def mirror(case: Case) -> Finding:
    """The configured registry mirrors are in use and answer from inside dind."""
    wanted, inner = case.desired.config.docker.mirrors, case.facts.inner
    if not wanted:
        return skip("none is configured")
    inside = inside_or_why(case)
    if isinstance(inside, Finding):
        return inside
    if isinstance(inner, DaemonFacts):
        used = {url.rstrip("/") for url in inner.registry_mirrors}
        unused = [url for url in wanted if url.rstrip("/") not in used]
        if unused:
            evidence = f"in use: {', '.join(used) or 'none'}"
            return fail(f"{unused[0]} is not in use", evidence, reconfigure_dind(case))
    if not _gets_out(inside):
        return skip("there is no way out of dind")
    return worst_of([_mirror(url, inside.way(place_of(url))) for url in wanted])


def _mirror(url: str, way: Way | None) -> Finding:
    if way is None:
        return unknown(f"{url} was not tried", BLIND)
    hint = f"start the mirror at {url}, or take it out of docker.mirrors"
    if way.error is not None:
        return fail("does not answer: pulls are slow or fail", f"{url}: {way.error}", hint)
    if way.status is not None and not re.match(r"HTTP/\S+ (200|401)\b", way.status):
        return fail("is not a registry", f"{url}: {way.status or 'no answer'}", hint)
    return ok(url)


def layer_cache(case: Case) -> Finding:
    """The registry of shared layers, where there is to be one, answers from inside dind."""
    repository = case.desired.config.registry.cache
    if not repository:
        return skip("registry.cache is not set")
    inside = inside_or_why(case)
    if isinstance(inside, Finding):
        return inside
    if not _gets_out(inside):
        return skip("there is no way out of dind")
    way = inside.way(registry_of(repository))
    if way is None:
        return unknown(f"{repository} was not tried", BLIND)
    if way.error is not None:
        hint = f"start the registry of {repository}, or take registry.cache out"
        return warn("does not answer: layers are not shared", _tried(way), hint)
    return ok(repository)


def firewall(case: Case) -> Finding:
    """The daemon's log has no failures of iptables or bridges since it started."""
    inside = inside_or_why(case)
    if isinstance(inside, Finding):
        return inside
    if inside.dind_log is None:
        return unknown("dind's log could not be read")
    lines = [line for line in inside.dind_log if FIREWALL.search(line)]
    if lines:
        return fail("the daemon cannot set up networks", lines[-1], restart_dind(case))
    return ok("no failures in the log")


def _gets_out(inside: InsideFacts) -> bool:
    return any(way.answered for way in inside.ways) or _any_name(inside)


def _told(said: NameAnswer) -> bool:
    return said in (NameAnswer.FOUND, NameAnswer.NO_SUCH_NAME)


def _any_name(inside: InsideFacts) -> bool:
    return any(said is not NameAnswer.SILENT for said in inside.names.values())


def _tried(way: Way) -> str:
    return f"{way.host}:{way.port}: {way.error}"


CHECKS = (address_pools, mtu, egress, dns, mirror, layer_cache, firewall)
