"""What a runner refuses although it took it: runner.limit, by the runner's own rules.

The runner looks only after it has taken a stage, and then ends it with an error
(drone-runner-docker 1.8.4, internal/match).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from runnerkit.config.effective import LimitSettings


def refusal(limit: LimitSettings, *, repo: str, event: str, trusted: bool) -> tuple[str, str]:
    """The setting that refuses such a build and the reason; two empty texts when none does."""
    if limit.trusted and not trusted:
        return "runner.limit.trusted", f"{repo} is not trusted in Drone"
    if not _any(limit.repos, repo):
        return "runner.limit.repos", f"{repo} matches none of {', '.join(limit.repos)}"
    if not _any(limit.events, event):
        return "runner.limit.events", f"the event {event} is none of {', '.join(limit.events)}"
    return "", ""


def _any(patterns: Iterable[str], text: str) -> bool:
    given = tuple(patterns)
    return not given or any(go_match(pattern, text) for pattern in given)


def go_match(pattern: str, text: str) -> bool:
    """Go's filepath.Match: `*` and `?` stop at slashes, a broken pattern matches nothing."""
    expression = _compiled(pattern)
    return expression is not None and expression.fullmatch(text) is not None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str] | None:
    parts: list[str] = []
    rest = pattern
    try:
        while rest:
            head, rest = rest[0], rest[1:]
            if head in "*?":
                parts.append("[^/]*" if head == "*" else "[^/]")
            elif head == "[":
                expression, rest = _class(rest)
                parts.append(expression)
            elif head == "\\":
                parts.append(re.escape(rest[0]))
                rest = rest[1:]
            else:
                parts.append(re.escape(head))
    except (IndexError, ValueError):
        return None
    return re.compile("".join(parts), re.DOTALL)


def _class(rest: str) -> tuple[str, str]:
    """What stands between brackets, and what follows. Raises IndexError, ValueError if broken."""
    negated = rest[0] == "^"
    rest = rest[1:] if negated else rest
    ranges: list[str] = []
    while not ranges or rest[0] != "]":
        low, rest = _character(rest)
        high = low
        if rest[0] == "-":
            high, rest = _character(rest[1:])
        if low <= high:  # one the wrong way round holds nothing
            ranges.append(f"{re.escape(low)}-{re.escape(high)}")
        else:
            ranges.append("")
    inside = "".join(ranges)
    if not inside:
        return ("." if negated else "(?!)"), rest[1:]
    return f"[{'^' if negated else ''}{inside}]", rest[1:]


def _character(rest: str) -> tuple[str, str]:
    if rest[0] in "-]":
        raise ValueError("a range begins with - or ]")
    if rest[0] == "\\":
        rest = rest[1:]
    return rest[0], rest[1:]
