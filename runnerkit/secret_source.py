"""Where a secret is kept. The configuration names the place, never the secret itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

Kind = Literal["env", "file", "cmd"]
PATTERN = r"^(env|file|cmd):.+$"


@dataclass(frozen=True)
class SecretSource:
    """`env:NAME`, `file:PATH` or `cmd:COMMAND`."""

    kind: Kind
    argument: str

    @classmethod
    def parse(cls, value: Any) -> SecretSource:
        """Read the text form. Raises ValueError that does not repeat what was given."""
        if isinstance(value, SecretSource):
            return value
        kind, colon, argument = value.partition(":") if isinstance(value, str) else ("", "", "")
        if kind not in ("env", "file", "cmd") or not colon or not argument.strip():
            raise ValueError(
                "is not the name of a place: write env:NAME, file:PATH or cmd:COMMAND "
                "(a secret itself does not belong into this file)"
            )
        return cls(kind, argument.strip())

    def __str__(self) -> str:
        return f"{self.kind}:{self.argument}"

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        del source, handler
        return core_schema.no_info_plain_validator_function(
            cls.parse, serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """A string of one of the three forms."""
        del schema, handler
        return {"type": "string", "pattern": PATTERN}
