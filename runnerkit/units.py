"""Sizes, shares of a disk and durations as a person writes them.

Sizes are binary, as Docker's engine reads them (go-units RAMInBytes): 10GB is 10 GiB.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

SIZE_PATTERN = r"^\d+(\.\d+)?\s*([kKmMgGtTpP][iI]?)?[bB]?$"
PERCENT_PATTERN = r"^\d{1,3}(\.\d+)?%$"
DURATION_PATTERN = r"^(\d+[wdhms])+$"

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_SECONDS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_MOST_BYTES = 1 << 60
_MOST_SECONDS = 100 * 365 * 86_400


class _FromText:
    """A value written as text (or a plain number) in YAML."""

    @classmethod
    def parse(cls, value: Any) -> Any:
        raise NotImplementedError

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        del source, handler
        return core_schema.no_info_plain_validator_function(
            cls.parse, serialization=core_schema.to_string_ser_schema()
        )


class ByteSize(int, _FromText):
    """A number of bytes, at least 1."""

    @classmethod
    def parse(cls, value: Any) -> ByteSize:
        """`8GB`, `512MiB`, `1.5g` or a plain number of bytes. Raises ValueError."""
        if isinstance(value, ByteSize):
            return value
        text = _text(value)
        match = re.match(SIZE_PATTERN, text)
        if not match:
            raise ValueError(f"{text[:40]!r} is not a size; write it like 512MB or 8GB")
        number, unit = re.match(r"([\d.]+)\s*([a-zA-Z]?)", text).groups()  # type: ignore[union-attr]
        unit = unit.lower() if unit.lower() != "b" else ""
        count = int(float(number) * _UNITS[unit])
        if not 1 <= count <= _MOST_BYTES:
            raise ValueError(f"{text[:40]!r} is out of range; a size is 1 byte to 1024 PB")
        return cls(count)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """A string with a unit, or a number of bytes."""
        del schema, handler
        return {"anyOf": [{"type": "string", "pattern": SIZE_PATTERN}, {"type": "integer"}]}

    def __str__(self) -> str:
        for unit, factor in (("PB", 1 << 50), ("TB", 1 << 40), ("GB", 1 << 30), ("MB", 1 << 20)):
            if self >= factor and int(self) % factor == 0:
                return f"{int(self) // factor}{unit}"
        return f"{int(self)}B"

    __repr__ = __str__


@dataclass(frozen=True)
class Amount(_FromText):
    """Bytes, or a percentage of a disk."""

    size: int | None = None
    percent: float | None = None

    @classmethod
    def parse(cls, value: Any) -> Amount:
        """`50%`, or what ByteSize takes. Raises ValueError."""
        if isinstance(value, Amount):
            return value
        text = _text(value)
        if not text.endswith("%"):
            return cls(size=int(ByteSize.parse(value)))
        if not re.match(PERCENT_PATTERN, text) or not 1 <= float(text[:-1]) <= 100:
            raise ValueError(f"{text[:40]!r} is not a percentage from 1% to 100%")
        return cls(percent=float(text[:-1]))

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """A size or a percentage."""
        del schema, handler
        patterns = [{"type": "string", "pattern": p} for p in (SIZE_PATTERN, PERCENT_PATTERN)]
        return {"anyOf": [*patterns, {"type": "integer"}]}

    def of(self, disk_bytes: int) -> int:
        """Bytes, the percentage taken of `disk_bytes`."""
        if self.size is not None:
            return self.size
        return int(disk_bytes * (self.percent or 0) / 100)

    def __str__(self) -> str:
        return f"{self.percent:g}%" if self.percent is not None else str(ByteSize(self.size or 0))


class Duration(int, _FromText):
    """A number of seconds, at least 1."""

    @classmethod
    def parse(cls, value: Any) -> Duration:
        """`60d`, `72h`, `1h30m`, `2w`. Raises ValueError; a number needs its unit."""
        if isinstance(value, Duration):
            return value
        text = value if isinstance(value, str) else repr(value)
        if not re.match(DURATION_PATTERN, text):
            raise ValueError(f"{text[:40]!r} is not a duration; write it like 45s, 1h30m or 14d")
        parts = re.findall(r"(\d+)([wdhms])", text)
        seconds = sum(int(number) * _SECONDS[unit] for number, unit in parts)
        if not 1 <= seconds <= _MOST_SECONDS:
            raise ValueError(f"{text[:40]!r} is out of range; a duration is 1s to 100 years")
        return cls(seconds)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Numbers with their units."""
        del schema, handler
        return {"type": "string", "pattern": DURATION_PATTERN}

    def __str__(self) -> str:
        left, text = int(self), ""
        for unit in "dhms":
            count, left = divmod(left, _SECONDS[unit])
            text += f"{count}{unit}" if count else ""
        return text

    __repr__ = __str__


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("expected a number with a unit")
    return str(value).strip()
