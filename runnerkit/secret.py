"""Values that must never be shown."""

from __future__ import annotations

import base64
import hmac
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

HIDDEN = "********"


class Secret:
    """Text that hides itself in `str`, `repr`, f-strings and JSON; only `reveal()` gives it out."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the text. Call it only where the value leaves for its destination."""
        return self._value

    def __str__(self) -> str:
        return HIDDEN

    def __repr__(self) -> str:
        return f"Secret({HIDDEN})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> str:
        raise TypeError("a Secret is never serialised")


def mask(text: str, secrets: Iterable[Secret]) -> str:
    """`text` of a program that knows `secrets`, without them.

    Also hides them as they look in JSON, in a quoted log line or shell word, in a URL, and in
    base64 of their own.
    """
    spellings = {spelling for secret in secrets for spelling in _spellings(secret.reveal())}
    # The longest first: a spelling may hold another one.
    for spelling in sorted(spellings - {""}, key=len, reverse=True):
        text = text.replace(spelling, HIDDEN)
    return text


def _spellings(value: str) -> Iterator[str]:
    yield value
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield re.sub(r'([\\"$])', r"\\\1", value)
    yield quote(value)
    yield quote(value, safe="")
    yield quote_plus(value)
    yield base64.b64encode(value.encode()).decode()
