"""The patterns of Drone's conditions: github.com/bmatcuk/doublestar, as runner-go uses it."""

from __future__ import annotations

import re
from functools import lru_cache

_TOKEN = re.compile(r"/\*\*(?=/|\Z)|\*\*/?|\*|\?|\[[!^]?[^\]]+\]|\\.|[{},]|.", re.DOTALL)


def matches(pattern: str, text: str) -> bool:
    """Whether all of `text` matches.

    `*` stays within slashes, `**` does not, `{a,b}` is either. A pattern that is none matches
    nothing.
    """
    expression = _compiled(pattern)
    return expression is not None and expression.fullmatch(text) is not None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str] | None:
    parts: list[str] = []
    depth = 0
    for part in _TOKEN.findall(pattern):
        if part == "{":
            depth += 1
            parts.append("(?:")
        elif part == "}" and depth:
            depth -= 1
            parts.append(")")
        elif part == "," and depth:
            parts.append("|")
        else:
            parts.append(_expression(part))
    try:
        return re.compile("".join(parts), re.DOTALL)
    except re.error:
        return None


def _expression(part: str) -> str:
    known = {"/**": "(?:/.*)?", "**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    if part in known:
        return known[part]
    if len(part) > 2 and part.startswith("["):
        return "[^" + part[2:] if part[1] in "!^" else part
    return re.escape(part[1:] if len(part) == 2 and part[0] == "\\" else part)
