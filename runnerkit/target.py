"""Where a host is: `root@forge.lan`, `ops@10.0.0.7:2222`, an alias of ~/.ssh/config, or `local`."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*\$?")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_PORT = re.compile(r"[0-9]{1,5}")
_ZONE = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class SshTarget:
    """A host to log in to. `None` leaves user or port to ~/.ssh/config and its defaults."""

    user: str | None
    host: str
    port: int | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        user = f"{self.user}@" if self.user is not None else ""
        port = f":{self.port}" if self.port is not None else ""
        return f"{user}{host}{port}"


@dataclass(frozen=True)
class LocalTarget:
    """The machine runnerkit runs on, without SSH."""

    def __str__(self) -> str:
        return "local"


LOCAL: Final = LocalTarget()

Target = SshTarget | LocalTarget


def parse_target(text: str) -> Target:
    """Read a target as it stands in runnerkit.yml.

    Understands `host`, `user@host`, `user@host:port`, `user@[ipv6]:port`, `ssh://user@host:port`
    and `local`. Raises ValueError with a sentence that says what is wrong with `text`.
    """
    if not text:
        raise ValueError("the SSH target is empty; write user@host or local")
    if text == "local":
        return LOCAL
    rest = text.removeprefix("ssh://")
    if rest != text:
        rest = rest.removesuffix("/")
    elif "://" in text:
        raise ValueError(f"{text!r} is not an SSH target; only ssh:// addresses can be reached")
    user: str | None = None
    if "@" in rest:
        user, _, rest = rest.rpartition("@")
        _check_user(text, user)
    host, port = _split_port(text, rest)
    return SshTarget(user, _checked_host(text, host), port)


def _check_user(text: str, user: str) -> None:
    if not user:
        raise ValueError(f"{text!r} has an empty user name before the @")
    if ":" in user:
        raise ValueError("an SSH target cannot hold a password; use a key or an agent")
    if not _USER.fullmatch(user):
        raise ValueError(f"{text!r} has the user name {user!r}, which no Linux login can have")


def _split_port(text: str, rest: str) -> tuple[str, int | None]:
    if rest.startswith("["):
        host, closed, after = rest[1:].partition("]")
        if not closed or (after and not after.startswith(":")):
            raise ValueError(f"{text!r} has brackets that do not close; write user@[fd00::1]:22")
        if ":" not in host:
            raise ValueError(f"{text!r} has brackets around something that is no IPv6 address")
        return host, _port(text, after[1:]) if after else None
    if rest.count(":") > 1:
        return rest, None
    host, colon, port = rest.partition(":")
    return host, _port(text, port) if colon else None


def _port(text: str, digits: str) -> int:
    if not _PORT.fullmatch(digits) or not 1 <= int(digits) <= 65535:
        raise ValueError(f"{text!r} has the port {digits!r}; a port is a number from 1 to 65535")
    return int(digits)


def _checked_host(text: str, host: str) -> str:
    if not host:
        raise ValueError(f"{text!r} names no host")
    if host.startswith("-"):
        raise ValueError(f"{text!r} has a host that begins with a dash, like an option")
    if ":" in host:
        address, percent, zone = host.partition("%")
        try:
            ipaddress.IPv6Address(address)
        except ValueError:
            raise ValueError(f"{text!r} is neither host:port nor an IPv6 address") from None
        if percent and not _ZONE.fullmatch(zone):
            raise ValueError(f"{text!r} has an IPv6 zone that is no interface name")
        return host
    if not _HOST.fullmatch(host):
        raise ValueError(
            f"{text!r} has the host {host!r}; a host name is made of letters, digits, dots, "
            "dashes and underscores"
        )
    return host
