"""Sizes, shares of a disk and spans of time, as a person writes them in runnerkit.yml.

Sizes are *binary*, because those of the Docker engine are (go-units `RAMInBytes`): `10GB`, `10G`
and `10GiB` are all 10 x 1024^3 bytes. Every value is frozen, and `str()` of it is canonical text
that reads back as the same value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

_SIZE = re.compile(r"([0-9]{1,19}(?:\.[0-9]{1,9})?) ?([kmgtp]?)(?:(?<=[kmgtp])i)?b?", re.IGNORECASE)
_PERCENT = re.compile(r"([0-9]{1,3}) ?%")
_DURATION = re.compile(
    r"(?:([0-9]{1,9})w)?(?:([0-9]{1,9})d)?(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9})s)?"
)
_UNITS = ("", "k", "m", "g", "t", "p")
_SECONDS = (7 * 86400, 86400, 3600, 60, 1)

# What engines hold in a signed 64-bit number.
MAX_BYTES = (1 << 63) - 1
# Go durations are signed 64-bit nanoseconds: about 292 years.
MAX_SECONDS = MAX_BYTES // 10**9

_SIZE_PATTERN = r"[0-9]{1,19}(\.[0-9]{1,9})? ?([kKmMgGtTpP][iI]?)?[bB]?"


class Value:
    """What the types here have in common: they read text, and pydantic knows how."""

    json_types: ClassVar[tuple[dict[str, Any], ...]]

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read `value`; raises ValueError with a sentence that says what is allowed."""
        raise NotImplementedError

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        del source, handler
        return core_schema.no_info_plain_validator_function(
            lambda value: value if isinstance(value, cls) else cls.parse(value),
            serialization=core_schema.to_string_ser_schema(when_used="json"),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        del schema, handler
        [first, *others] = cls.json_types
        return {"anyOf": [dict(first), *map(dict, others)]} if others else dict(first)


@dataclass(frozen=True, order=True)
class ByteSize(Value):
    """A number of bytes, 0 to 2^63-1. Fractions of a byte are cut off, as engines do."""

    json_types: ClassVar = (
        {"type": "string", "pattern": f"^{_SIZE_PATTERN}$"},
        {"type": "integer", "minimum": 0, "maximum": MAX_BYTES},
    )

    count: int

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read `8GB`, `512MiB`, `1.5g`, or a plain whole number of bytes."""
        count = _count(value)
        if count is None:
            raise ValueError(
                "should be a size such as 8GB, 512MiB or 1.5g, or a whole number of bytes"
            )
        if count > MAX_BYTES:
            raise ValueError(f"is too large; a size is below {cls(1 << 63)}")
        return cls(count)

    def __int__(self) -> int:
        return self.count

    def __str__(self) -> str:
        count, power = self.count, 0
        while count and count % 1024 == 0 and power < len(_UNITS) - 1:
            count, power = count // 1024, power + 1
        return f"{count}{_UNITS[power].upper()}iB" if power else f"{count}B"


@dataclass(frozen=True)
class Amount(Value):
    """A part of the data disk: `bytes`, or `percent` of the disk's size (1 to 100), never both."""

    json_types: ClassVar = (
        {"type": "string", "pattern": f"^({_SIZE_PATTERN}|(100|[1-9][0-9]?) ?%)$"},
        {"type": "integer", "minimum": 0, "maximum": MAX_BYTES},
    )

    bytes: int | None = None
    percent: int | None = None

    def __post_init__(self) -> None:
        if (self.bytes is None) == (self.percent is None):
            raise ValueError("an Amount is either bytes or a percentage")

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read `50%`, or anything that a ByteSize reads."""
        match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
        if match:
            percent = int(match[1])
            if not 1 <= percent <= 100:
                raise ValueError("should be from 1% to 100% of the data disk")
            return cls(percent=percent)
        if _count(value) is None:
            raise ValueError("should be a size such as 15GB, or from 1% to 100% of the data disk")
        return cls(bytes=ByteSize.parse(value).count)

    def of(self, disk_bytes: int) -> int:
        """The amount in bytes on a disk of that size; percentages are rounded down."""
        if self.bytes is not None:
            return self.bytes
        assert self.percent is not None  # noqa: S101 - __post_init__ made sure
        return disk_bytes * self.percent // 100

    def __str__(self) -> str:
        return str(ByteSize(self.bytes)) if self.bytes is not None else f"{self.percent}%"


@dataclass(frozen=True, order=True)
class Duration(Value):
    """A span of time in whole seconds, 0 to about 292 years."""

    json_types: ClassVar = (
        {
            "type": "string",
            "pattern": r"^(?=.)([0-9]{1,9}w)?([0-9]{1,9}d)?([0-9]{1,9}h)?"
            r"([0-9]{1,9}m)?([0-9]{1,9}s)?$",
        },
    )

    seconds: int

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read `45s`, `1h30m`, `72h`, `60d` or `2w`; a number without a unit is refused."""
        match = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
        if match is None:
            number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
            example = f" (a unit is missing: {value}s?)" if number else ""
            raise ValueError(f"should be a duration such as 45s, 1h30m, 14d or 2w{example}")
        seconds = sum(
            int(part or 0) * unit for part, unit in zip(match.groups(), _SECONDS, strict=True)
        )
        if seconds > MAX_SECONDS:
            raise ValueError("is too long; a duration is at most 292 years")
        return cls(seconds)

    def __int__(self) -> int:
        return self.seconds

    def __str__(self) -> str:
        return format_duration(self.seconds)


def _count(value: object) -> int | None:
    """Bytes that `value` stands for; None when it is no size."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if value >= 0 else None
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    return int(Decimal(match[1]) * 1024 ** _UNITS.index(match[2].lower()))


def format_bytes(count: int) -> str:
    """`count` bytes for a screen, in binary units with one decimal: `8.0 GiB`, `512 B`."""
    if abs(count) < 1024:
        return f"{count} B"
    value, power = float(count), 0
    # 1023.95 and more would be shown as 1024.0 of the smaller unit.
    while abs(value) >= 1023.95 and power < len(_UNITS) - 1:
        value, power = value / 1024, power + 1
    return f"{value:.1f} {_UNITS[power].upper()}iB"


def format_duration(seconds: int) -> str:
    """Whole `seconds` >= 0 in days and smaller units: `60d`, `1h30m`, `45s`, `0s`."""
    parts = []
    for letter, unit in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        amount, seconds = divmod(seconds, unit)
        if amount:
            parts.append(f"{amount}{letter}")
    return "".join(parts) or "0s"


def go_duration(seconds: int) -> str:
    """Whole `seconds` >= 0 as Go prints and reads them: no days, `336h0m0s`, `1m30s`, `45s`."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def counted(count: int, noun: str) -> str:
    """A number of things for people: `1 image`, `2 images`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
