"""What a rule says about one place of a file. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Severity(Enum):
    """How bad it is: an error breaks builds or trust, a warning costs time, a note costs care."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Edit:
    """A change to one line that alters nothing but what the finding is about.

    `old` is replaced by `new` at its first place in the line; with `whole_line` the line itself
    is replaced, or removed when `new` is empty. `new` may hold line ends.
    """

    line: int
    old: str
    new: str
    whole_line: bool = False


@dataclass(frozen=True)
class Finding:
    """One thing wrong at `file`:`line` (counted from 1), and what to write instead."""

    file: str
    line: int
    message: str
    fix: str
    edits: tuple[Edit, ...] = ()
