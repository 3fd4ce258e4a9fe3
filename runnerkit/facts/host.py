"""What is true on a host, typed. Parsers only: nothing here reaches out.

Unknown is not absent: None stands for "could not be found out", never for "is not there".
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Network, NetmaskValueError, ip_address, ip_network

from runnerkit.desired.addresses import AddressPool
from runnerkit.desired.pins import Pins, pins_of
from runnerkit.desired.traits import ARCHITECTURES, DEFAULT_MTU, HostTraits
from runnerkit.facts.cache import GcFacts
from runnerkit.facts.daemon import ContainerFacts, DaemonFacts, DaemonUnavailable
from runnerkit.facts.inside import InsideFacts
from runnerkit.facts.janitor import JanitorReport, parse_janitor_report
from runnerkit.paths import DAEMON_FILE, ENV_FILE

Daemon = DaemonFacts | DaemonUnavailable


@dataclass(frozen=True)
class RemoteFile:
    """A file of the stack's directory. `content` is None where it was not read: secrets."""

    name: str
    mode: int
    owner: str
    sha256: str
    content: bytes | None


@dataclass(frozen=True)
class MountedFile:
    """A file of the stack's directory as it is seen in a running container of `service`.

    A container keeps the file that it was started with, whatever is put in its place by a rename.
    So this is what the service read at its start, unless it was `written` later: in Unix seconds
    of the host, and 0 for a file that runnerkit wrote.
    """

    service: str
    name: str
    sha256: str
    written: int


@dataclass(frozen=True)
class Disk:
    """A filesystem: sizes in bytes; inode counts are 0 where the filesystem has none."""

    mount: str
    kind: str
    total: int
    available: int
    inodes: int
    inodes_available: int


@dataclass(frozen=True)
class SystemFacts:
    """The host itself, from one run of facts.sh."""

    os_id: str = ""
    os_version: str = ""
    os_name: str = ""
    kernel: str = ""
    arch: str = ""
    uid: int | None = None
    systemd: bool = False
    apt: bool = False
    cpus: int | None = None
    memory_bytes: int | None = None
    memory_available_bytes: int | None = None
    swap_bytes: int | None = None
    swap_free_bytes: int | None = None
    clock: int | None = None
    mtu: int | None = None
    routes: tuple[IPv4Network, ...] = ()
    nameservers: tuple[str, ...] = ()
    docker_cli: bool = False
    compose_version: str | None = None
    root_disk: Disk | None = None
    data_disk: Disk | None = None
    directory_mode: int | None = None
    data_before: str | None = None
    """The data-root that the files in force name, when something lies in it."""
    data_filled: bool = False
    """Whether something lies in the desired data-root that no move of ours left there."""
    data_kept: str | None = None
    """What a move left behind, as long as it is there."""
    data_beside: tuple[str, ...] = ()
    """What else of the stack lies beside the data-root: the mirror's data, leftovers of imports."""
    draining: str | None = None
    journal: str | None = None
    lock_owner: str | None = None
    janitor: JanitorReport | None = None
    files: tuple[RemoteFile, ...] = ()

    def file(self, name: str) -> RemoteFile | None:
        """The stack's file called `name`, or None where there is none."""
        return next((file for file in self.files if file.name == name), None)


@dataclass(frozen=True)
class Span:
    """From when to when something took, in Unix seconds of this machine's clock."""

    began: float
    ended: float

    def distance(self, clock: float, precision: float = 1.0) -> float:
        """How far another clock, read in this span and cut to `precision`, is ahead (+) or behind.

        0 where both may be right.
        """
        if clock + precision < self.began:
            return clock + precision - self.began
        return max(0.0, clock - self.ended)


@dataclass(frozen=True)
class ServerFacts:
    """What the Drone server answered to a ping from the runner's place.

    `distrust` is why its certificate was not accepted; `certificate_ends` is in Unix seconds, None
    without TLS or when nothing was verified. `clock` is the server's Unix time as it gave it.
    """

    status: int | None
    error: str | None = None
    distrust: str | None = None
    certificate_ends: float | None = None
    clock: float | None = None
    asked: Span | None = None


@dataclass(frozen=True)
class BuildCache:
    """What BuildKit keeps in dind, in bytes; `unknown` is why it could not be measured."""

    bytes: int = 0
    unknown: str | None = None


@dataclass(frozen=True)
class HostFacts:
    """Everything collected from one host, all of one moment."""

    system: SystemFacts
    outer: Daemon
    inner: Daemon
    asked: Span | None = None
    """When facts.sh ran."""
    runner_log: str = ""
    server: ServerFacts | None = None
    inside: InsideFacts | None = None
    build_cache: BuildCache | None = None
    newest: Mapping[str, str | None] | None = None
    """Image reference to the digest its registry has now, None where it did not say."""
    gc: GcFacts | None = None
    mounted: tuple[MountedFile, ...] = ()


def find_container(facts: HostFacts, service: str) -> ContainerFacts | None:
    """The stack's container for `service`, if the engine has one."""
    if not isinstance(facts.outer, DaemonFacts):
        return None
    return next((item for item in facts.outer.containers if item.service == service), None)


class FactsError(ValueError):
    """The answer of facts.sh is not one."""


@dataclass
class _Raw:
    values: dict[str, str] = field(default_factory=dict)
    routes: list[IPv4Network] = field(default_factory=list)
    nameservers: list[str] = field(default_factory=list)
    files: list[RemoteFile] = field(default_factory=list)
    disks: dict[str, Disk] = field(default_factory=dict)
    janitor: dict[str, str] = field(default_factory=dict)
    data_beside: list[str] = field(default_factory=list)


def parse_system(answer: str) -> SystemFacts:
    """Facts from the `key<TAB>value…` lines of facts.sh. Raises FactsError on a cut answer."""
    raw = _Raw()
    lines = answer.splitlines()
    if not lines or lines[-1] != "end":
        raise FactsError("the host's answer was cut short")
    for line in lines[:-1]:
        key, _, rest = line.partition("\t")
        _take(raw, key, rest.split("\t"))
    values = raw.values
    return SystemFacts(
        os_id=values.get("os_id", ""),
        os_version=values.get("os_version", ""),
        os_name=values.get("os_name", ""),
        kernel=values.get("kernel", ""),
        arch=values.get("arch", ""),
        uid=_number(values.get("uid")),
        systemd=values.get("systemd") == "1",
        apt=values.get("apt") == "1",
        cpus=_number(values.get("cpus")),
        memory_bytes=_scaled(values.get("memory_kib"), 1024),
        memory_available_bytes=_scaled(values.get("memory_available_kib"), 1024),
        swap_bytes=_scaled(values.get("swap_kib"), 1024),
        swap_free_bytes=_scaled(values.get("swap_free_kib"), 1024),
        clock=_number(values.get("clock")),
        mtu=_number(values.get("mtu")),
        routes=tuple(raw.routes),
        nameservers=tuple(dict.fromkeys(raw.nameservers)),
        docker_cli=values.get("docker_cli") == "1",
        compose_version=values.get("compose_version") or None,
        root_disk=raw.disks.get("root"),
        data_disk=raw.disks.get("data"),
        directory_mode=_octal(values.get("directory_mode")),
        data_before=values.get("data_before") or None,
        data_filled=values.get("data_filled") == "1",
        data_kept=values.get("data_kept") or None,
        data_beside=tuple(raw.data_beside),
        draining=values.get("draining") or None,
        journal=values.get("journal") or None,
        lock_owner=values.get("lock_owner") or None,
        janitor=parse_janitor_report(raw.janitor),
        files=tuple(raw.files),
    )


def parse_mounted(answer: str) -> tuple[MountedFile, ...]:
    """Read the lines of mounted.sh; a line that is none of its own is left out."""
    fields = (line.split("\t") for line in answer.splitlines())
    return tuple(
        MountedFile(service, name, sha256, int(written))
        for service, name, sha256, written in (line for line in fields if len(line) == 4)
        if written.isdigit()
    )


def traits_of(facts: HostFacts, *, move_pins: bool = False) -> HostTraits:
    """What the desired state depends on. The inner daemon's own networks are not in the way.

    With `move_pins` a pin gives way where its tag means another image on the host by now.
    """
    occupied = list(facts.system.routes)
    if isinstance(facts.outer, DaemonFacts):
        occupied += [net for text in facts.outer.subnets if (net := _ipv4_network(text))]
    disk = facts.system.data_disk
    pins = _pins(facts)
    return HostTraits(
        mtu=facts.system.mtu or DEFAULT_MTU,
        data_disk_bytes=disk.total if disk else None,
        occupied=tuple(occupied),
        nameservers=facts.system.nameservers,
        current_pools=_current_pools(facts.system.file(DAEMON_FILE)),
        arch=ARCHITECTURES.get(facts.system.arch, "amd64"),
        pins=pins.moved() if move_pins else pins,
    )


def _pins(facts: HostFacts) -> Pins:
    env = facts.system.file(ENV_FILE)
    images = facts.outer.images if isinstance(facts.outer, DaemonFacts) else {}
    return pins_of(env.content if env else None, images)


def _take(raw: _Raw, key: str, fields: list[str]) -> None:
    match key, fields:
        case "route", [destination, mask]:
            if network := _kernel_route(destination, mask):
                raw.routes.append(network)
        case "nameserver", [address]:
            if _usable_nameserver(address):
                raw.nameservers.append(address)
        case "disk", [role, mount, kind, *sizes]:
            total, available, inodes, inodes_available = (_number(size) or 0 for size in sizes)
            raw.disks[role] = Disk(
                mount, kind, total * 1024, available * 1024, inodes, inodes_available
            )
        case "file", [name, mode, owner, sha256, content]:
            raw.files.append(RemoteFile(name, int(mode, 8), owner, sha256, _decoded(content)))
        case "data_beside", [place]:
            raw.data_beside.append(place)
        case "janitor", [name, value]:
            raw.janitor[name] = value
        case _, [value]:
            raw.values[key] = value
        case _:
            raise FactsError(f"the host's answer has an unreadable line: {key}")


def _kernel_route(destination: str, mask: str) -> IPv4Network | None:
    """A line of /proc/net/route: little-endian hex words. The default route occupies nothing."""
    try:
        words = (int.from_bytes(bytes.fromhex(text), "little") for text in (destination, mask))
        address, netmask = words
        network = IPv4Network((address, netmask.bit_count()), strict=False)
    except (ValueError, AddressValueError, NetmaskValueError):
        return None
    return network if network.prefixlen else None


def _usable_nameserver(text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return not address.is_loopback and not address.is_link_local


def _ipv4_network(text: str) -> IPv4Network | None:
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        return None
    return network if isinstance(network, IPv4Network) else None


def _current_pools(file: RemoteFile | None) -> tuple[AddressPool, ...]:
    if file is None or file.content is None:
        return ()
    try:
        pools = json.loads(file.content)["default-address-pools"]
        return tuple(AddressPool(IPv4Network(pool["base"]), int(pool["size"])) for pool in pools)
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()  # a file that a person broke gets pools chosen anew


def _decoded(content: str) -> bytes | None:
    if content == "-":
        return None
    try:
        return base64.b64decode(content, validate=True)
    except binascii.Error as error:
        raise FactsError("the host's answer has a damaged file in it") from error


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def _octal(text: str | None) -> int | None:
    return int(text, 8) if text and text.isdigit() else None


def _scaled(text: str | None, factor: int) -> int | None:
    number = _number(text)
    return None if number is None else number * factor
