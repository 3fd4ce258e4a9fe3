"""Setting values of one host in the text of a runnerkit.yml. Pure.

Every byte that is not part of a value stays: comments, order, quotes, blank lines. What comes out
is read back and compared, so an edit that would mean anything else is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runnerkit.config.text import parse_yaml
from runnerkit.errors import ConfigError

Value = str | int


def set_values(text: str, host: str, values: Mapping[str, Value]) -> str:
    """`text` with keys such as `cache.max` set for `host`, for no other host.

    Raises ConfigError when `text` is no configuration, has no such host, or when a value cannot
    be set without changing something else, as where several hosts share it by an anchor.
    """
    for key, value in values.items():
        section, _, name = key.partition(".")
        before = parse_yaml(text, "the configuration")
        entry = (before.get("hosts") or {}).get(host)
        if not isinstance(entry, dict):
            raise ConfigError(f"hosts.{host}: there is no such host to set {key} of")
        changed = _set(text, host, section, name, value)
        # As YAML reads it: `50` is a number, and what is no scalar is refused below.
        read = parse_yaml(f"value: {value}", "the value").get("value")
        settings = {**(entry.get(section) or {}), name: read}
        expected = before | {"hosts": before["hosts"] | {host: entry | {section: settings}}}
        if not _reads_as(changed, expected):
            raise ConfigError(
                f"hosts.{host}.{key} cannot be set without changing other lines",
                hint=f"write it yourself: {section}: {{{name}: {value}}}",
            )
        text = changed
    return text


def _reads_as(text: str, expected: object) -> bool:
    try:
        return parse_yaml(text, "the configuration") == expected
    except ConfigError:
        return False


def _set(text: str, host: str, section: str, name: str, value: Value) -> str:
    from ruamel.yaml import YAML  # noqa: PLC0415 - costs 30 ms

    root: Any = YAML(typ="safe", pure=True).compose(text)
    entry = _child(_child(root, "hosts"), host)
    settings = _child(entry, section)
    if settings is None:
        return _added(text, entry, section, (name, value))
    if not hasattr(settings, "value") or not isinstance(settings.value, list):
        # A section whose lines are all commented out: a null, which has no place of its own.
        [key] = [key for key, _ in entry.value if key.value == section]
        place = text.index(":", key.end_mark.index) + 1
        rest = text[place:].removeprefix(" ~").removeprefix(" null")
        return f"{text[:place]} {{{name}: {value}}}{rest}"
    old = _child(settings, name)
    if old is None:
        return _added(text, settings, name, value)
    return text[: old.start_mark.index] + str(value) + text[old.end_mark.index :]


def _child(mapping: Any, name: str) -> Any:
    return next((value for key, value in mapping.value if key.value == name), None)


def _added(text: str, mapping: Any, name: str, value: Value | tuple[str, Value]) -> str:
    """With a new key, behind the first one of a block or before the first one of a flow mapping."""
    if mapping.flow_style or not mapping.value:
        place = mapping.start_mark.index + 1
        inner = value if not isinstance(value, tuple) else f"{{{value[0]}: {value[1]}}}"
        comma = ", " if mapping.value else ""
        return f"{text[:place]}{name}: {inner}{comma}{text[place:]}"
    first_key, first_value = mapping.value[0]
    indent = " " * first_key.start_mark.column
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = (
        f"{name}:{newline}{indent}  {value[0]}: {value[1]}"
        if isinstance(value, tuple)
        else f"{name}: {value}"
    )
    if first_value.start_mark.line != first_key.start_mark.line:
        # Something longer comes first: the new key goes before it.
        place = first_key.start_mark.index
        return f"{text[:place]}{lines}{newline}{indent}{text[place:]}"
    end = text.find("\n", first_value.end_mark.index)
    head = text[: end + 1] if end >= 0 else text + newline
    return f"{head}{indent}{lines}{newline}{text[end + 1 :] if end >= 0 else ''}"
