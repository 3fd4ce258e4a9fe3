"""How the world looks from inside dind and from the runner's place, typed. Parsers only."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlsplit

from runnerkit.facts.names import NameAnswer, answer

T = TypeVar("T")

HUB = ("registry-1.docker.io", 443)
"""Where images come from without a mirror."""

_ESTABLISHED, _TIME_WAIT = "01", "06"
_LOOPBACK = ("0100007F:", "00000000000000000000000001000000:", "0000000000000000FFFF00000100007F:")
_NOWHERE = ("00000000:0000", f"{'0' * 32}:0000")


def place_of(url: str) -> tuple[str, int]:
    """Return the host and port that `url` stands for."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def registry_of(repository: str) -> tuple[str, int]:
    """Return the host and port of the registry that holds `repository`, by Docker's rules."""
    first = repository.partition("/")[0]
    if "." not in first and ":" not in first and first != "localhost":
        return HUB
    host, _, port = first.partition(":")
    return host, int(port or 443)


@dataclass(frozen=True)
class Way:
    """An attempt to connect from inside dind. `error` is None where somebody answered.

    A refused connection is an answer: packets went there and back. `status` is the first line of
    an HTTP answer, where one was asked for.
    """

    host: str
    port: int
    error: str | None
    refused: bool = False
    status: str | None = None

    @property
    def answered(self) -> bool:
        """Whether anything came back."""
        return self.error is None or self.refused


@dataclass(frozen=True)
class InsideFacts:
    """What was seen from inside. None and empty stand for what could not be looked at.

    `devices` maps dind's network devices to their MTU; `oom_kills` are seconds ago and the
    program's name; `data_seen` and `data_there` identify the data-root as dind and as the host
    see it; `runner_links` counts connections of the runner to others, open or just ended.
    """

    devices: Mapping[str, int] = field(default_factory=dict)
    names: Mapping[str, NameAnswer] = field(default_factory=dict)
    ways: tuple[Way, ...] = ()
    data_seen: str | None = None
    data_there: str | None = None
    oom_kills: tuple[tuple[float, str], ...] | None = None
    dind_log: tuple[str, ...] | None = None
    runner_links: int | None = None

    def way(self, place: tuple[str, int]) -> Way | None:
        """The attempt to reach this place, if there was one."""
        return next((way for way in self.ways if (way.host, way.port) == place), None)


class _Lines:
    def __init__(self, text: str) -> None:
        self.found: dict[str, list[list[str]]] = {}
        for line in text.splitlines():
            key, *fields = line.split("\t")
            self.found.setdefault(key, []).append(fields)

    def all(self, key: str, count: int) -> list[list[str]]:
        return [fields for fields in self.found.get(key, []) if len(fields) == count]

    def one(self, key: str) -> str | None:
        return next((fields[0] or None for fields in self.all(key, 1)), None)


def parse_inside(text: str) -> InsideFacts | None:
    """Read the answer of inside.sh; None where it was cut short."""
    if not text.endswith("end\n"):
        return None
    lines = _Lines(text)
    return InsideFacts(
        devices={name: int(mtu) for name, mtu in lines.all("device", 2) if mtu.isdigit()},
        names={server: answer(_decoded(reply)) for server, reply in lines.all("name_answer", 2)},
        ways=tuple(_ways(lines)),
        data_seen=lines.one("data_seen"),
        data_there=lines.one("data_there"),
        oom_kills=_oom_kills(lines),
        dind_log=_if(lines, "dind_log_read", tuple(f[0] for f in lines.all("dind_log", 1))),
        runner_links=_if(lines, "runner_links_read", _count_links(lines)),
    )


def _if(lines: _Lines, key: str, value: T) -> T | None:
    return value if lines.one(key) else None


def _ways(lines: _Lines) -> list[Way]:
    found = [_way(host, port, code, why, None) for host, port, code, why in lines.all("way", 4)]
    for host, port, code, line in lines.all("reply", 4):
        good = code == "0"
        found.append(_way(host, port, code, "" if good else line, line.strip() if good else None))
    return found


def _way(host: str, port: str, code: str, why: str, status: str | None) -> Way:
    if code == "0":
        return Way(host, int(port), None, status=status)
    if code == "124":
        return Way(host, int(port), "no answer within 5 s")
    # bash says it twice: `HOST: connect: Connection refused`, then `HOST: line 1: /dev/tcp/…: …`
    text = why.strip().rpartition("bash: ")[2].rpartition(": ")[2] or f"exit code {code}"
    if "Invalid argument" in text:
        text = "the name does not resolve"
    return Way(host, int(port), text, refused="refused" in text)


def _oom_kills(lines: _Lines) -> tuple[tuple[float, str], ...] | None:
    uptime = lines.one("uptime")
    if uptime is None or lines.one("kernel_log") is None:
        return None
    kills = []
    for stamp, task in lines.all("oom_kill", 2):
        try:
            kills.append((max(0.0, float(uptime) - float(stamp)), task or "a program"))
        except ValueError:
            continue
    return tuple(kills)


def _count_links(lines: _Lines) -> int:
    return sum(
        1
        for remote, state in lines.all("runner_link", 2)
        if state in (_ESTABLISHED, _TIME_WAIT)
        and not remote.startswith(_LOOPBACK)
        and remote not in _NOWHERE
    )


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""
