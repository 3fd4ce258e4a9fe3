"""The configuration's JSON Schema and its table for README, both made from the models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from runnerkit.config_model import ConfigFile, HostEntry, Model


def json_schema() -> dict[str, Any]:
    """A JSON Schema (2020-12) of runnerkit.yml; `x-` keys are allowed in every mapping."""
    schema = ConfigFile.model_json_schema(mode="validation")
    for part in (schema, *schema.get("$defs", {}).values()):
        if part.get("additionalProperties") is False:
            part["patternProperties"] = {"^x-": {}}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def configuration_table() -> str:
    """Markdown: every key with its default and meaning."""
    rows = ["| Key | Default | |", "|---|---|---|"]
    for path, field in _leaves(HostEntry):
        default = "required" if field.is_required() else f"`{_shown(field.default)}`"
        rows.append(f"| `{path}` | {default} | {field.description or ''} |")
    return "\n".join(rows)


def known_keys() -> set[str]:
    """Every key that may stand somewhere."""
    keys = set(ConfigFile.model_fields)
    return keys | {step for path, _ in _leaves(HostEntry) for step in path.split(".")}


def leaves() -> tuple[str, ...]:
    """The dotted paths of every setting of a host, in the order of the models."""
    return tuple(path for path, _ in _leaves(HostEntry))


def _leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    fields = model.model_fields
    for name in sorted(fields, key=lambda key: (key != "ssh", _is_section(fields[key]))):
        field = fields[name]
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, Model):
            yield from _leaves(annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def _is_section(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, Model)


def _shown(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case tuple():
            return "[]"
        case dict():
            return "{}"
    return str(value)


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=2))  # noqa: T201 - that is what it is for
