"""Address pools for the networks of pipelines, disjoint from everything the host can route to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network

SUBNET_BITS = 24

# High in 10/8: outside Docker's own defaults (172.17-31, 192.168) that the host's engine will
# hand out later, and away from the low numbers that home networks and VPNs like.
_CANDIDATES = tuple(IPv4Network(f"10.{second}.0.0/16") for second in range(231, 255))


@dataclass(frozen=True)
class AddressPool:
    """A range from which an engine cuts networks of `size` prefix bits."""

    base: IPv4Network
    size: int


def choose_pools(
    occupied: Iterable[IPv4Network], current: tuple[AddressPool, ...] = ()
) -> tuple[AddressPool, ...]:
    """256 networks that overlap nothing in `occupied`.

    `current` pools are kept while they are free: a pool that moves restarts the daemon.
    Raises ValueError when every candidate overlaps.
    """
    taken = tuple(occupied)
    if current and not any(_overlaps(pool.base, taken) for pool in current):
        return current
    for candidate in _CANDIDATES:
        if not _overlaps(candidate, taken):
            return (AddressPool(candidate, SUBNET_BITS),)
    raise ValueError("every candidate range for pipeline networks overlaps the host's routes")


def _overlaps(network: IPv4Network, others: Iterable[IPv4Network]) -> bool:
    return any(network.overlaps(other) for other in others)
