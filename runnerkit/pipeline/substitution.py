r"""`${NAME}` in a `.drone.yml`, replaced before the file is read as YAML.

The dialect is github.com/drone/envsubst (parse/scan.go, parse/parse.go, funcs.go): unknown names
become empty, also those of the shell inside commands; `$NAME` is left alone; `$$`, `\\` and `\/`
lose their first character, everywhere in the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from runnerkit.pipeline.globs import matches
from runnerkit.pipeline.yaml_lines import PipelineError

_NAME = re.compile(r"[\w-]+")
_OPERATOR = re.compile(r":[=?+-]|=|\^\^?|,,?|##?|%%?|//|/#|/%|/|:")
_ESCAPED = ("$$", "\\\\", "\\/")


def substitute(text: str, values: Mapping[str, str]) -> str:
    """`text` with every `${…}` replaced. Raises PipelineError for one that cannot be read."""
    return _Reader(text, values).read()


class _Reader:
    def __init__(self, text: str, values: Mapping[str, str]) -> None:
        self._text = text
        self._values = values
        self._at = 0

    def read(self) -> str:
        parts: list[str] = []
        while self._at < len(self._text):
            parts.append(self._piece(escapes=True))
        return "".join(parts)

    def _piece(self, *, escapes: bool) -> str:
        """An expansion, or one character."""
        if escapes and self._text.startswith(_ESCAPED, self._at):
            self._at += 2
            return self._text[self._at - 1]
        if self._text.startswith("${", self._at):
            return self._expansion()
        self._at += 1
        return self._text[self._at - 1]

    def _expansion(self) -> str:
        begin = self._at
        self._at += 2
        if self._text.startswith("#", self._at):
            self._at += 1
            value = str(len(self._value(begin).encode()))
        else:
            value = self._operated(self._value(begin), begin)
        if not self._text.startswith("}", self._at):
            raise self._error(begin)
        self._at += 1
        return value

    def _value(self, begin: int) -> str:
        name = _NAME.match(self._text, self._at)
        if name is None:
            raise self._error(begin)
        self._at = name.end()
        return self._values.get(name[0], "")

    def _operated(self, value: str, begin: int) -> str:
        found = _OPERATOR.match(self._text, self._at)
        if found is None:
            return value
        self._at = found.end()
        operator = found[0]
        if operator in _CASES:
            return _CASES[operator](value)
        if operator[0] == "/":
            old = self._argument("/", begin, escapes=True)
            self._at += 1
            return _replaced(value, operator, old, self._argument("}", begin, escapes=True))
        if operator == ":":
            start = self._argument(":}", begin)
            length = None
            if self._text[self._at] == ":":
                self._at += 1
                length = self._argument("}", begin)
            return _slice(value, start, length)
        argument = self._argument("}", begin)
        if operator[0] in "#%":
            return _trimmed(value, operator, argument)
        return value or argument

    def _argument(self, stops: str, begin: int, *, escapes: bool = False) -> str:
        parts: list[str] = []
        while self._at < len(self._text):
            if self._text[self._at] in stops:
                return "".join(parts)
            parts.append(self._piece(escapes=escapes))
        raise self._error(begin)

    def _error(self, begin: int) -> PipelineError:
        line = self._text.count("\n", 0, begin) + 1
        shown = self._text[begin : begin + 20].partition("\n")[0]
        return PipelineError(
            f"bad substitution at {shown}",
            line,
            hint="write $${…} for what the shell should expand",
        )


_CASES: Mapping[str, Callable[[str], str]] = {
    "^^": str.upper,
    ",,": str.lower,
    "^": lambda value: value[:1].upper() + value[1:],
    ",": lambda value: value[:1].lower() + value[1:],
}


def _replaced(value: str, operator: str, old: str, new: str) -> str:
    if operator == "//":
        return value.replace(old, new)
    if operator == "/#":
        return new + value.removeprefix(old) if value.startswith(old) else value
    if operator == "/%":
        return value.removesuffix(old) + new if value.endswith(old) else value
    return value.replace(old, new, 1)


def _slice(value: str, start: str, length: str | None) -> str:
    try:
        first, count = int(start), len(value) if length is None else int(length)
    except ValueError:
        return value
    if first < 0:
        first = max(0, len(value) + first)
    return value[first : first + max(0, count)]


def _trimmed(value: str, operator: str, pattern: str) -> str:
    """Without the shortest (`#`, `%`) or longest (`##`, `%%`) matching beginning or end."""
    # Here `*` goes through slashes, unlike in conditions.
    pattern = re.sub(r"\*+", "**", pattern)
    cuts = range(1, len(value) + 1)
    sizes = cuts if len(operator) == 1 else reversed(cuts)
    if operator[0] == "#":
        return next((value[n:] for n in sizes if matches(pattern, value[:n])), value)
    return next((value[:-n] for n in sizes if matches(pattern, value[-n:])), value)
