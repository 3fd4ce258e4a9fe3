"""What a desired state needs to know of the host it is for. Measured once, then plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network

from runnerkit.desired.addresses import AddressPool
from runnerkit.desired.pins import Pins

DEFAULT_MTU = 1500

# What `uname -m` says, and what Docker and Drone call it.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}


@dataclass(frozen=True)
class HostTraits:
    """Facts that shape the files of a stack.

    `data_disk_bytes` is the size of the filesystem that will hold the data-root; None is
    unknown. `occupied` are IPv4 ranges that the host routes to or gave to its own Docker
    networks. `current_pools` are those in force in an existing daemon.json. `arch` is the
    architecture by Docker's name for it. `pins` are the digests that the host knows.
    """

    mtu: int = DEFAULT_MTU
    data_disk_bytes: int | None = None
    occupied: tuple[IPv4Network, ...] = ()
    nameservers: tuple[str, ...] = ()
    current_pools: tuple[AddressPool, ...] = ()
    arch: str = "amd64"
    pins: Pins = field(default_factory=Pins)


UNKNOWN_HOST = HostTraits()
