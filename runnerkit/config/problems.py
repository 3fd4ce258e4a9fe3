"""What pydantic found wrong, in the words of this program. Pure.

No message repeats a value of the file: only keys, and what is allowed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from runnerkit.config.model import ConfigFile, HostEntry, PoolSettings
from runnerkit.config.text import step
from runnerkit.config.values import did_you_mean
from runnerkit.errors import Problem

_SHAPES = {
    "bool_type": ("should be true or false", None),
    "int_type": ("should be a whole number", "write it without quotes and without a unit"),
    "float_type": ("should be a number", "write it without quotes and without a unit"),
    "finite_number": ("should be a finite number", None),
    "string_type": ("should be text", "put it in quotes"),
    "string_unicode": ("should be text", None),
    "string_sub_type": ("should be text", None),
    "tuple_type": ("should be a list", "write [one, two], or lines that begin with a dash"),
    "too_short": ("names no host", "runnerkit init USER@HOST --server URL"),
}
_MAPPING_TYPES = ("model_type", "mapping_type", "dict_type", "model_attributes_type")


def problems_of(error: ValidationError) -> tuple[Problem, ...]:
    """Every wrong place of a ConfigFile, once each, in the order of the file's keys."""
    found: dict[str, Problem] = {}
    for item in error.errors(include_url=False):
        problem = _problem(item)
        found.setdefault(problem.path, problem)
    return tuple(found.values())


def _problem(item: ErrorDetails) -> Problem:
    steps = _steps(item["loc"])
    path = ".".join(map(step, steps))
    kind, context = item["type"], item.get("ctx") or {}
    if kind == "extra_forbidden":
        return Problem(path, "is not a key that runnerkit knows", _unknown_key_hint(steps))
    if kind == "missing":
        return Problem(path, "is missing", _missing_hint(steps[-1]))
    if kind in _MAPPING_TYPES:
        return Problem(path, "should be keys with values below it", _mapping_hint(steps))
    if kind in _SHAPES:
        return Problem(path, *_SHAPES[kind])
    if kind in ("greater_than_equal", "less_than_equal"):
        return Problem(path, f"should be {_bounds(steps)}")
    if kind == "literal_error":
        allowed = _choices(steps)
        hint = did_you_mean(str(item["input"])[:40], allowed)
        return Problem(path, f"should be one of {', '.join(allowed)}", hint)
    return Problem(path, item["msg"].removeprefix("Value error, "), context.get("hint"))


def _steps(location: Sequence[int | str]) -> list[str]:
    """The keys of a location, without the marks that pydantic adds between them."""
    steps: list[str] = []
    for index, part in enumerate(location):
        # A mark follows the union that it is for; elsewhere the same word is a person's key.
        union = index > 0 and location[index - 1] == "address_pools" and part in ("auto", "pools")
        marks_key = part == "[key]" and index == len(location) - 1 and index > 1
        if not union and not marks_key:
            steps.append(str(part))
    return steps


def _unknown_key_hint(steps: Sequence[str]) -> str:
    key, model = steps[-1], _model_at(steps[:-1])
    here = list(model.model_fields) if model else []
    known = {path.rpartition(".")[2]: path for path in _paths(HostEntry)}
    if key in known:
        return f"did you mean {known[key]}?"
    near = did_you_mean(key, here) or did_you_mean(key, known)
    if near is not None:
        return near
    return f"known here: {', '.join(sorted(here))}; keys of your own begin with x-"


def _missing_hint(key: str) -> str:
    hints = {
        "hosts": "runnerkit init USER@HOST --server URL",
        "ssh": "say where to log in, e.g. ssh: root@forge.lan, or ssh: local",
        "base": "give a range, e.g. base: 10.200.0.0/16",
    }
    return hints.get(key, f"add {key}:")


def _mapping_hint(steps: Sequence[str]) -> str | None:
    if len(steps) == 2 and steps[0] == "hosts":
        return f"write {step(steps[1])}: {{ssh: USER@HOST}}"
    return None


def _bounds(steps: Sequence[str]) -> str:
    field = _field_at(steps)
    values: dict[str, Any] = {}
    for constraint in _metadata(field):
        for name in ("ge", "le"):
            if getattr(constraint, name, None) is not None:
                values[name] = getattr(constraint, name)
    low, high = values.get("ge"), values.get("le")
    return f"from {low} to {high}" if high is not None else f"at least {low}"


def _choices(steps: Sequence[str]) -> list[str]:
    field = _field_at(steps)
    if steps[-1:] == ["address_pools"]:
        return ["auto", "a list of {base: RANGE, size: BITS}"]
    return [str(choice) for choice in get_args(field.annotation)] if field else []


def _metadata(field: Any) -> Iterator[Any]:
    """The constraints of a field, also those within `X | None`."""
    if field is None:
        return
    yield from field.metadata
    for part in get_args(field.annotation):
        for extra in getattr(part, "__metadata__", ()):
            yield from getattr(extra, "metadata", ()) or (extra,)


def _field_at(steps: Sequence[str]) -> Any:
    model = _model_at(steps[:-1])
    return model.model_fields.get(steps[-1]) if model and steps else None


def _model_at(steps: Sequence[str]) -> type[BaseModel] | None:
    """The model whose keys stand at a path of the file; None below something else."""
    model: type[BaseModel] = ConfigFile
    rest = list(steps)
    while rest:
        key = rest.pop(0)
        if model is ConfigFile and key == "hosts":
            model, rest = HostEntry, rest[1:]
            continue
        if key == "address_pools" and rest:
            model, rest = PoolSettings, rest[1:]
            continue
        field = model.model_fields.get(key)
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return None
        model = annotation
    return model


def _paths(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for key, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from _paths(annotation, f"{prefix}{key}.")
        yield f"{prefix}{key}"
