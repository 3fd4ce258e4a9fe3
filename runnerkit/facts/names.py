"""DNS, as far as a check needs it: one question, and what a name server's answer says. Pure."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import ip_address
from urllib.parse import urlsplit

_ID = 0x524B
_RECURSE = 0x0100
_HEADER = 12


STAND_IN = "registry-1.docker.io"


def asked_name(server: str) -> str:
    """The name to ask name servers for: the Drone server's, or a registry's if it has none."""
    name = urlsplit(server).hostname or ""
    try:
        ip_address(name)
    except ValueError:
        return name
    return STAND_IN


class NameAnswer(StrEnum):
    """What a name server said to a question. NO_SUCH_NAME is an answer, too: it works."""

    FOUND = "found"
    NO_SUCH_NAME = "no such name"
    REFUSED = "refused"
    SILENT = "no answer"


def question(name: str) -> bytes:
    """A query for the IPv4 address of `name`, as RFC 1035 puts it into a datagram."""
    labels = name.rstrip(".").encode("idna").split(b".")
    words = (_ID, _RECURSE, 1, 0, 0, 0)
    header = b"".join(word.to_bytes(2, "big") for word in words)
    body = b"".join(bytes([len(label)]) + label for label in labels if label)
    return header + body + b"\0\0\1\0\1"


def answer(datagram: bytes) -> NameAnswer:
    """Read a name server's answer to `question`; anything else is silence."""
    if len(datagram) < _HEADER or datagram[:2] != _ID.to_bytes(2, "big"):
        return NameAnswer.SILENT
    match datagram[3] & 0x0F:
        case 0:
            return NameAnswer.FOUND
        case 3:
            return NameAnswer.NO_SUCH_NAME
    return NameAnswer.REFUSED
