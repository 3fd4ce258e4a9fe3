"""The kinds of value in runnerkit.yml: what each may hold, checked one at a time.

Every check returns its value or raises ValueError with a phrase that follows `path: `. Messages
do not repeat values that may be secret (sources, environments, URLs with a password).
"""

from __future__ import annotations

import difflib
import ipaddress
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from runnerkit.config.image_ref import check_image_ref
from runnerkit.units import Amount, ByteSize, Value

Strict = Field(strict=True)


def invalid(message: str, hint: str | None = None) -> PydanticCustomError:
    """An error that pydantic collects, with the hint that a plain ValueError cannot carry."""
    # Braces would be read as placeholders of the template.
    return PydanticCustomError("invalid", "{message}", {"message": message, "hint": hint})


@dataclass(frozen=True)
class SecretSource(Value):
    """Where a secret is to be found: never the secret itself."""

    json_types: ClassVar = (
        {"type": "string", "pattern": r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+|cmd:.+)$"},
    )

    kind: Literal["env", "file", "cmd"]
    place: str

    @classmethod
    def parse(cls, value: object) -> SecretSource:
        """Read `env:NAME`, `file:PATH` or `cmd:COMMAND`. Messages never repeat `value`."""
        kind, colon, place = value.partition(":") if isinstance(value, str) else ("", "", "")
        place = place.strip()
        if colon and place and not re.search(r"[\x00-\x1f\x7f]", place):
            if kind == "env" and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", place):
                return cls("env", place)
            if kind == "file":
                return cls("file", place)
            if kind == "cmd":
                return cls("cmd", place)
        raise invalid(
            "should say where the secret is, not what it is: env:NAME, file:PATH or cmd:COMMAND",
            "put the value into an environment variable and write env:DRONE_RPC_SECRET, "
            "or into a file with mode 600 and write file:PATH",
        )

    def __str__(self) -> str:
        return f"{self.kind}:{self.place}"


@dataclass(frozen=True)
class Bounds:
    """Smallest and largest value allowed, both included; written in the value's own unit."""

    low: str
    high: str | None = None
    hint: str | None = None

    def __str__(self) -> str:
        return f"{self.low} to {self.high}" if self.high else f"at least {self.low}"

    def __call__(self, value: Any) -> Any:
        """Check a ByteSize, a Duration, or an Amount in bytes (percentages are always in)."""
        if isinstance(value, Amount):
            if value.bytes is not None:
                self(ByteSize(value.bytes))
            return value
        kind = type(value)
        low, high = kind.parse(self.low), kind.parse(self.high) if self.high else None
        if value < low or (high is not None and value > high):
            raise invalid(f"should be {self}, not {value}", self.hint)
        return value


def bounded(low: str, high: str | None = None, hint: str | None = None) -> AfterValidator:
    """An annotation that keeps a size or duration within Bounds."""
    return AfterValidator(Bounds(low, high, hint))


@dataclass(frozen=True)
class Pattern:
    """An annotation for text that `pattern` describes wholly; `what` says it in words."""

    pattern: str
    what: str

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return handler(schema) | {"pattern": f"^{self.pattern}$"}

    def _check(self, text: str) -> str:
        if not re.fullmatch(self.pattern, text):
            raise ValueError(f"should be {self.what}")
        return text


def did_you_mean(word: str, known: Any) -> str | None:
    """A hint with the nearest of the `known` words; None when nothing is near."""
    near = difflib.get_close_matches(word, [str(item) for item in known], n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else None


def _check_host_name(name: str) -> str:
    if name.startswith("x-"):
        raise ValueError("is no host name: keys starting with x- are for your own notes")
    if not re.fullmatch(HOST_NAME_PATTERN, name):
        raise ValueError(
            "is no host name; one begins with a letter or digit, goes on with letters, digits, "
            "dots, dashes and underscores, and has at most 63 characters"
        )
    return name


def _check_target(text: str) -> str:
    from runnerkit.target import parse_target  # noqa: PLC0415 - only when a host is read

    parse_target(text)
    return text


def _check_url(text: str) -> str:
    try:
        url = urlsplit(text)
        host, _ = url.hostname, url.port
    except ValueError:
        raise invalid("is no URL", "write it like https://drone.example.com") from None
    if url.username is not None or url.password is not None:
        raise ValueError("should have no user name or password in the URL")
    if url.scheme not in ("http", "https") or not host:
        hint = "write it like https://drone.example.com"
        raise invalid("should be an http:// or https:// URL", hint)
    if url.query or url.fragment or "?" in text or "#" in text:
        raise ValueError("should have no ? or # part")
    good_host = re.fullmatch(r"[A-Za-z0-9._-]+", host) or _is_address(host)
    if not good_host or not re.fullmatch(r"[!-~]+", text) or re.search(r"[\"'\\$,`<>{}|^]", text):
        raise ValueError("has characters that a server's URL cannot have")
    return text


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _check_registry(text: str) -> str:
    host = re.fullmatch(
        r"([A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?", text
    )
    if not host:
        hint = "leave http:// away" if "://" in text else None
        raise invalid("should be host or host:port, such as registry.lan:5000", hint)
    return text


def _check_address(text: str) -> str:
    if not _is_address(text):
        raise ValueError("should be an IP address such as 192.168.1.1")
    return str(ipaddress.ip_address(text))


def _read_network(value: object) -> ipaddress.IPv4Network:
    if isinstance(value, ipaddress.IPv4Network):
        return value
    text = value if isinstance(value, str) else ""
    try:
        interface = ipaddress.IPv4Interface(text if "/" in text else "")
    except ValueError:
        raise ValueError("should be an IPv4 range such as 10.200.0.0/16") from None
    if interface.ip != interface.network.network_address:
        raise invalid("has bits set behind its prefix", f"did you mean {interface.network}?")
    return interface.network


def _read_mtu(value: object) -> object:
    if value == "auto" or (
        isinstance(value, int) and not isinstance(value, bool) and 576 <= value <= 9216
    ):
        return value
    raise ValueError("should be auto or a number from 576 to 9216")


def _read_path(value: object) -> Path:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value or re.search(r"[\x00-\x1f\x7f]", value):
        raise ValueError("should be the path of a file or folder on this machine")
    return Path(value)


# Nobody's data survives there, or somebody else's data lives there already.
_FOREIGN_FOLDERS = (
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/srv/runnerkit",
    "/sys", "/tmp", "/usr", "/var/lib/containerd", "/var/lib/docker", "/var/run",  # noqa: S108
)  # fmt: skip


def _check_data_path(text: str) -> str:
    if not text.startswith("/") or not re.fullmatch(r"[A-Za-z0-9._/@+-]+", text):
        raise ValueError(
            "should be an absolute path on the host, of letters, digits and . _ - @ + only"
        )
    path = "/" + posixpath.normpath(text).lstrip("/")
    if ".." in text.split("/"):
        raise ValueError("should be a path without ..")
    if path == "/":
        raise invalid("should be a folder of its own, not /", "e.g. /var/lib/runnerkit")
    for folder in _FOREIGN_FOLDERS:
        if path == folder or path.startswith(f"{folder}/"):
            hint = "e.g. /var/lib/runnerkit, or a folder on a disk of its own"
            raise invalid(f"cannot be below {folder}", hint)
    return path


def _check_glob(text: str) -> str:
    if not re.fullmatch(r"[^\s,\x00-\x1f]+", text) or text.count("[") != text.count("]"):
        raise ValueError("should be a pattern such as octocat/*, without commas or blanks")
    return text


EVENTS = ("push", "pull_request", "tag", "promote", "rollback", "cron", "custom")


def _check_event(text: str) -> str:
    if not re.search(r"[*?\[]", text) and text not in EVENTS:
        raise invalid(f"should be one of {', '.join(EVENTS)}", did_you_mean(text, EVENTS))
    return _check_glob(text)


def plain(text: str) -> str:
    """Refuse what the runner's `k:v,k:v` settings cannot carry."""
    if re.search(r"[,:\x00-\x1f\x7f]", text):
        raise invalid(
            "cannot hold a comma, a colon or a control character",
            "the runner reads all pairs as one text of the form k:v,k:v",
        )
    return text


def _plain_path(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError("should be an absolute path")
    return plain(text)


def _one_line(text: str) -> str:
    if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", text):
        raise ValueError("cannot hold a line break or control character")
    return text


def _step_value(text: str) -> str:
    if not text:
        raise ValueError("cannot be empty: the runner leaves out a variable without a value")
    return _one_line(text)


HOST_NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"

Text = Annotated[str, Strict]
Flag = Annotated[bool, Strict]
HostName = Annotated[str, Strict, AfterValidator(_check_host_name)]
SshTarget = Annotated[str, Strict, AfterValidator(_check_target)]
Url = Annotated[str, Strict, AfterValidator(_check_url)]
ImageRef = Annotated[str, Strict, AfterValidator(check_image_ref)]
Registry = Annotated[str, Strict, AfterValidator(_check_registry)]
Address = Annotated[str, Strict, AfterValidator(_check_address)]
DataPath = Annotated[str, Strict, AfterValidator(_check_data_path)]
Glob = Annotated[str, Strict, AfterValidator(_check_glob)]
Event = Annotated[str, Strict, AfterValidator(_check_event)]
PlainText = Annotated[str, Strict, AfterValidator(plain)]
PlainPath = Annotated[str, Strict, AfterValidator(_plain_path)]
OneLine = Annotated[str, Strict, AfterValidator(_one_line)]
StepValue = Annotated[str, Strict, AfterValidator(_step_value)]
LocalPath = Annotated[Path, BeforeValidator(_read_path)]
Network = Annotated[ipaddress.IPv4Network, BeforeValidator(_read_network)]
Mtu = Annotated[
    Literal["auto"] | Annotated[int, Field(ge=576, le=9216)], BeforeValidator(_read_mtu)
]
Name = Annotated[
    str,
    Strict,
    Pattern(
        r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}",
        "a name of letters, digits, dots, dashes and underscores, at most 128 characters",
    ),
]
LabelKey = Annotated[str, Strict, Pattern(r"[^,:\s]+", "a label without commas, colons or blanks")]
VariableName = Annotated[
    str, Strict, Pattern(r"[A-Za-z_][A-Za-z0-9_]*", "a variable name such as GOPROXY")
]
Listen = Annotated[
    str,
    Strict,
    Pattern(
        r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}:[0-9]{1,5}", "an address and a port such as 10.0.0.5:5000"
    ),
]
Repository = Annotated[
    str,
    Strict,
    Pattern(
        r"[a-z0-9][a-z0-9.-]*(?::[0-9]{1,5})?(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*",
        "a registry or a place in it such as registry.lan:5000/cache, without a tag",
    ),
]
StackName = Annotated[
    str,
    Strict,
    Pattern(
        r"[a-z0-9][a-z0-9-]{0,30}",
        "lower-case letters, digits and dashes, at most 31, beginning with a letter or digit",
    ),
]
StorageDriver = Annotated[
    str, Strict, Pattern(r"[a-z][a-z0-9-]{0,30}", "a driver's name such as overlay2")
]
