"""Env files whose values arrive unchanged.

Two readers, two dialects. Compose reads `.env` with compose-go's dotenv; the runner reads
`runner.env` with joho/godotenv 1.3.0, which is line based, expands `$` outside single quotes,
finds comments by counting quote characters between `#` signs, and whose failure the runner
ignores (drone-runner-docker 1.8.4, command/daemon/daemon.go). So every line written for it
is read back here by the same rules before it is used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class UnwritableValueError(ValueError):
    """No spelling of this value survives the reader. The message never holds the value."""


def compose_env(values: Mapping[str, str]) -> str:
    """`.env` text that compose-go's dotenv reads back as exactly `values`."""
    return "".join(f"{_name(key)}={_compose_quote(key, value)}\n" for key, value in values.items())


def runner_env(values: Mapping[str, str]) -> str:
    """`runner.env` text that godotenv 1.3.0 reads back as exactly `values`.

    Raises UnwritableValueError where its reader cannot express a value.
    """
    return "".join(f"{_runner_line(_name(key), value)}\n" for key, value in values.items())


def _name(key: str) -> str:
    if not _NAME.match(key):
        raise UnwritableValueError(f"{key!r} is not a variable name")
    return key


def _compose_quote(key: str, value: str) -> str:
    if _CONTROL.search(value):
        raise UnwritableValueError(f"{key} holds a line break or control character")
    if re.fullmatch(r"[A-Za-z0-9_./:@%+,-]*", value):
        return value
    if "'" not in value and not value.endswith("\\"):
        return f"'{value}'"
    return '"' + re.sub(r'([\\"$])', r"\\\1", value) + '"'


def _runner_line(key: str, value: str) -> str:
    if _CONTROL.search(value):
        raise UnwritableValueError(f"{key} holds a line break or control character")
    escaped = re.sub(r'([\\"$])', r"\\\1", value)
    for spelling in (f"'{value}'", value, f'"{escaped}"', f'"{value}"'):
        line = f"{key}={spelling}"
        if read_godotenv_line(line) == (key, value):
            return line
    raise UnwritableValueError(f"{key} mixes '#' with quotes in a way that the runner cannot read")


def read_godotenv_line(line: str) -> tuple[str, str] | None:
    """The pair that godotenv 1.3.0 makes of one line that expands no other variable, or None.

    None stands for everything it would not read: an error, or an expansion of `$name`.
    """
    line = _strip_comment(line)
    equals, colon = line.find("="), line.find(":")
    if equals < 0 or (0 <= colon < equals):
        return None
    key = line[:equals].removeprefix("export").strip()
    value = line[equals + 1 :].strip(" ")
    if len(value) > 1:
        single = re.fullmatch(r"'(.*)'", value)
        double = re.fullmatch(r'"(.*)"', value)
        if single or double:
            value = value[1:-1]
        if double:
            value = re.sub(r"\\.", _expand_newline, value)
            value = re.sub(r"\\([^$])", r"\1", value)
        if not single:
            return _without_expansion(key, value)
    return key, value


def _strip_comment(line: str) -> str:
    if "#" not in line:
        return line
    open_quotes = False
    kept: list[str] = []
    for segment in line.split("#"):
        if segment.count('"') == 1 or segment.count("'") == 1:
            if open_quotes:
                open_quotes = False
                kept.append(segment)
            else:
                open_quotes = True
        if not kept or open_quotes:
            kept.append(segment)
    return "#".join(kept)


def _expand_newline(match: re.Match[str]) -> str:
    return {r"\n": "\n", r"\r": "\r"}.get(match.group(), match.group())


def _without_expansion(key: str, value: str) -> tuple[str, str] | None:
    plain = re.sub(r"\\\$", "", value)
    if "$" in plain:
        return None
    return key, value.replace(r"\$", "$")
