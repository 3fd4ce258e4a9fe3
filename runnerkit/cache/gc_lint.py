"""The traps of `builder.gc`: what engines drop, misread, refuse or die of, each by its name.

Engines validate next to nothing of this section. What they do with it stands in moby's
daemon/config/builder.go and builder/builder-next; every trap here was seen on a real engine.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from runnerkit.cache.rules import AGES, Engine, go_seconds
from runnerkit.units import ByteSize

SIZE_KEYS = ("keepStorage", "reservedSpace", "maxUsedSpace", "minFreeSpace")
RULE_KEYS = ("all", "filter", *SIZE_KEYS)
DEFAULT_SIZE_KEYS = (
    "defaultKeepStorage", "defaultReservedSpace", "defaultMaxUsedSpace", "defaultMinFreeSpace",
)  # fmt: skip
GC_KEYS = ("enabled", "policy", *DEFAULT_SIZE_KEYS)

# Of the keys that BuildKit knows, those that work from daemon.json.
FILTER_KEYS = ("type", "id", "description", *AGES)
BOOLEAN_KEYS = ("inuse", "shared", "private", "mutable", "immutable")
TYPES = (
    "regular", "internal", "frontend", "source.local", "source.git.checkout", "exec.cachemount",
)  # fmt: skip

THREE_SIZES = (28,)
SIZE_OPTIONAL = (27, 5)
ON_BY_DEFAULT = (28, 2)
MIN_FREE_ALONE_IS_SAFE = (28, 5, 2)


@dataclass(frozen=True)
class Trap:
    """One thing that does not do what it says. `where` is a path in daemon.json."""

    name: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


def lint(content: bytes, engine: Engine | None) -> tuple[Trap, ...]:
    """Every trap in the text of a daemon.json. Without an `engine`, those of any version."""
    try:
        options = json.loads(content)
    except ValueError as error:
        return (Trap("invalid-json", "daemon.json", f"is no JSON, the engine stops: {error}"),)
    if not isinstance(options, dict):
        return (Trap("invalid-json", "daemon.json", "is no JSON object, the engine stops"),)
    return tuple(_top(options, engine))


def _top(options: Mapping[str, Any], engine: Engine | None) -> Iterator[Trap]:
    for key in options:
        if key != "builder" and key.lower() == "builder":
            yield Trap("builder-case", key, "the engine knows only `builder` and refuses to start")
    if "builder" not in options:
        if not _from(engine, ON_BY_DEFAULT):
            yield Trap("gc-off", "builder", "is missing, so nothing limits the cache")
        return
    builder = options["builder"]
    if not isinstance(builder, dict):
        yield Trap("wrong-type", "builder", "should be an object; the engine refuses to start")
        return
    yield from _unknown(builder, ("gc", "entitlements", "history"), "builder")
    gc = _get(builder, "gc")
    if not isinstance(gc, dict):
        yield Trap("gc-off", "builder.gc", "is missing, so the configured limits do not hold")
        return
    yield from _gc(gc, engine)


def _gc(gc: Mapping[str, Any], engine: Engine | None) -> Iterator[Trap]:
    yield from _unknown(gc, GC_KEYS, "builder.gc")
    enabled = _get(gc, "enabled")
    if enabled is False or (enabled is None and not _from(engine, ON_BY_DEFAULT)):
        yield Trap("gc-off", "builder.gc.enabled", "is not true, so nothing limits the cache")
    for key in DEFAULT_SIZE_KEYS:
        yield from _size(_get(gc, key), f"builder.gc.{key}")
    policy = _get(gc, "policy") or []
    if not isinstance(policy, list) or not all(isinstance(rule, dict) for rule in policy):
        yield Trap("wrong-type", "builder.gc.policy", "should be a list of objects")
        return
    for number, rule in enumerate(policy):
        yield from _rule(rule, f"builder.gc.policy[{number}]", engine)


def _rule(rule: Mapping[str, Any], where: str, engine: Engine | None) -> Iterator[Trap]:
    yield from _unknown(rule, RULE_KEYS, where)
    sizes = {key: _get(rule, key) for key in SIZE_KEYS}
    for key, value in sizes.items():
        yield from _size(value, f"{where}.{key}")
    yield from _caps(sizes, where, engine)
    entries = _get(rule, "filter") or []
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        yield Trap("wrong-type", f"{where}.filter", "should be a list of texts; the engine stops")
        return
    yield from _filters(entries, f"{where}.filter")


def _caps(sizes: Mapping[str, Any], where: str, engine: Engine | None) -> Iterator[Trap]:
    given = {key for key, value in sizes.items() if value}
    zero = {key for key in given if _is_zero(sizes[key])}
    if "keepStorage" not in given and not _from(engine, SIZE_OPTIONAL):
        message = "is missing; engines before 27.5 stop with `invalid size: ''`"
        yield Trap("missing-keep-storage", f"{where}.keepStorage", message)
    elif not _from(engine, THREE_SIZES) and "keepStorage" in zero:
        message = 'is "0", which engines up to 27 read as defaultKeepStorage'
        yield Trap("zero-size", f"{where}.keepStorage", message)
    if engine is not None and engine < THREE_SIZES:
        return
    caps = {"maxUsedSpace"} | ({"reservedSpace"} & given or {"keepStorage"})
    if caps & (given - zero):
        return
    if "minFreeSpace" not in given - zero:
        message = "has no size but zero: engines from 28 on delete all that it matches at each GC"
        yield Trap("zero-size", where, message)
    elif engine is not None and engine < MIN_FREE_ALONE_IS_SAFE:
        message = "has minFreeSpace alone: engines before 28.5.2 then delete all that it matches"
        yield Trap("min-free-alone", where, message)


def _size(value: object, where: str) -> Iterator[Trap]:
    if value is None or value == "":
        return
    if not isinstance(value, str):
        yield Trap("size-not-text", where, f"{value!r} is no text; the engine refuses to start")
    elif value.strip().endswith("%"):
        yield Trap("percentage", where, f"{value!r}: no engine takes percentages; it stops")
    elif not _is_size(value):
        yield Trap("bad-size", where, f"{value!r} is no size; the engine refuses to start")


def _filters(entries: list[str], where: str) -> Iterator[Trap]:
    pairs = []
    for entry in entries:
        key, separator, value = entry.partition("=")
        if not separator:
            yield Trap("filter-without-value", where, f"{entry!r} ends in an error or a panic")
            continue
        pairs.append((key, value))
    for key, count in Counter(key for key, _ in pairs).items():
        if count > 1:
            message = f"{key} stands there {count} times; the engine refuses to start"
            yield Trap("repeated-filter", where, message)
    if {key for key, _ in pairs} >= set(AGES):
        yield Trap("two-ages", where, "has both until and unused-for; the engine refuses to start")
    for key, value in pairs:
        yield from _pair(key, value, where)


def _pair(key: str, value: str, where: str) -> Iterator[Trap]:
    if value.startswith("="):
        message = f"`{key}==` aborts every GC with `gc error: unsupported operator`; write one ="
        yield Trap("double-equals", where, message)
    elif key == "type" and "," in value:
        message = f"{value!r}: a list of types aborts every GC or matches nothing; one a rule"
        yield Trap("comma-types", where, message)
    elif key == "type" and value not in TYPES:
        yield Trap("unknown-type", where, f"{value!r} is no type of record; it matches nothing")
    elif key in AGES and not _is_age(value):
        yield Trap("bad-age", where, f"{value!r} is no Go duration (no days); the engine stops")
    elif key in BOOLEAN_KEYS:
        yield Trap("boolean-filter", where, f"{key}={value} matches nothing")
    elif key in ("parent", "parents"):
        yield Trap("parent-filter", where, f"{key}={value} never matches")
    elif key not in FILTER_KEYS:
        message = f"{key!r} is ignored, so the rule matches everything"
        yield Trap("unknown-filter", where, message)


def _unknown(values: Mapping[str, Any], known: tuple[str, ...], where: str) -> Iterator[Trap]:
    lower = {key.lower() for key in known}
    for key in values:
        if key.lower() in lower:
            continue
        if key.lower() == "keepduration":
            message = "no engine has this key; an age stands in filter, as unused-for=48h"
            yield Trap("keep-duration", f"{where}.{key}", message)
        else:
            yield Trap("unknown-key", f"{where}.{key}", "engines drop it without a word")


def _get(values: Mapping[str, Any], key: str) -> Any:
    """Nested keys match in any case, as Go's JSON does."""
    return next((value for name, value in values.items() if name.lower() == key.lower()), None)


def _is_size(text: str) -> bool:
    try:
        ByteSize.parse(text)
    except ValueError:
        return False
    return True


def _is_zero(value: object) -> bool:
    return isinstance(value, str) and _is_size(value) and int(ByteSize.parse(value)) == 0


def _is_age(text: str) -> bool:
    if re.fullmatch(r"\d{4}-\d\d-\d\d.*|\d+(\.\d+)?", text):
        return True  # a time instead of a span, from engine 24 on
    try:
        go_seconds(text)
    except ValueError:
        return False
    return True


def _from(engine: Engine | None, version: Engine) -> bool:
    return engine is not None and engine >= version
