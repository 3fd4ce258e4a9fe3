"""What fills the template of a Dockerfile, and what the recipes share. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runnerkit.errors import ConfigError

Values = dict[str, str]


@dataclass(frozen=True)
class Filling:
    """A template of a Dockerfile and the values for its places.

    Without a program the last stage, the small image for it, is left out.
    """

    template: str
    values: Values
    has_program: bool = True


def exec_form(*words: str) -> str:
    """Words in the form of CMD that needs no shell."""
    return json.dumps(list(words))


def table(content: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The table at a key; an empty one when there is none."""
    value = content.get(key)
    return value if isinstance(value, dict) else {}


def plain_word(value: object, otherwise: str) -> str:
    """A name that comes from a file, if it can stand in a command as it is."""
    if value is None:
        return otherwise
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][\w.-]*", value):
        raise ConfigError(f"{value!r} cannot name a program")
    return value
