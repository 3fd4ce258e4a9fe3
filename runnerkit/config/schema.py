"""The configuration's JSON Schema and its table for README, both made from the models."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from runnerkit.config.model import ConfigFile, HostEntry, Model
from runnerkit.config.values import HOST_NAME_PATTERN, Bounds
from runnerkit.units import Amount, ByteSize, Duration

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Generator(GenerateJsonSchema):
    """Writes defaults as a person writes them: `50%`, not the object that it becomes."""

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, BaseModel):
            return {}
        if dft is None or isinstance(dft, bool | int | float | str | tuple | Mapping):
            return super().encode_default(dft)
        return str(dft)


def json_schema() -> dict[str, Any]:
    """A JSON Schema (2020-12) of runnerkit.yml; `x-` keys are allowed in every mapping of ours.

    Whatever it refuses, `load` refuses too; rules between values are `load`'s alone.
    """
    schema = ConfigFile.model_json_schema(mode="validation", schema_generator=_Generator)
    for part in (schema, *schema.get("$defs", {}).values()):
        if part.get("additionalProperties") is False:
            part["patternProperties"] = {"^x-": {}}
            # A section whose lines are all commented out is null.
            if part is not schema and "required" not in part:
                part["type"] = ["object", "null"]
    hosts = schema["properties"]["hosts"]
    hosts["propertyNames"] = {"pattern": f"^(?!x-){HOST_NAME_PATTERN}$"}
    return {"$schema": DIALECT, "title": "runnerkit.yml"} | schema


def configuration_table() -> str:
    """Markdown: every key with its default, what it may be and what it does."""
    rows = ["| Key | Default | Allowed | What it does |", "|---|---|---|---|"]
    for path, field in model_leaves(HostEntry):
        default = "required" if field.is_required() else f"`{_shown(field.default)}`"
        description = field.description or ""
        rows.append(f"| `{path}` | {default} | {allowed(field)} | {description} |")
    return "\n".join(rows)


def model_leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key of a host as (dotted path, field); those of sections come last."""
    fields = model.model_fields
    for name in sorted(fields, key=lambda key: (key != "ssh", _is_section(fields[key]))):
        field = fields[name]
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, Model):
            yield from model_leaves(annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def _is_section(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, Model)


def allowed(field: FieldInfo) -> str:
    """The kind and the bounds of a value, as short as a table wants them."""
    parts = list(_parts(field.annotation, field.metadata))
    low = next((x.ge for x in parts if getattr(x, "ge", None) is not None), None)
    high = next((x.le for x in parts if getattr(x, "le", None) is not None), None)
    bounds = next((str(x.func) for x in parts if isinstance(getattr(x, "func", None), Bounds)), "")
    if low is not None:
        return f"{low} to {high}" + (", or auto" if "auto" in parts else "")
    kinds = ((Amount, "size or percentage"), (ByteSize, "size"), (Duration, "duration"))
    for kind, name in kinds:
        if kind in parts:
            return f"{name}, {bounds}" if bounds else name
    if bool in parts:
        return "true, false"
    choices = [x for x in parts if isinstance(x, str)]
    return ", ".join(choices) + (", or a list of base and size" if choices == ["auto"] else "")


def _parts(annotation: Any, metadata: Any = ()) -> Iterator[Any]:
    """Every type, choice and constraint in an annotation."""
    yield annotation
    for extra in metadata:
        yield from getattr(extra, "metadata", None) or (extra,)
    if isinstance(annotation, type) and not get_args(annotation):
        return
    for part in get_args(annotation):
        if part is not annotation and not isinstance(part, FieldInfo):
            yield from _parts(part, getattr(part, "__metadata__", ()))


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
    print(json.dumps(json_schema(), indent=2, sort_keys=True))  # noqa: T201 - that is its purpose
