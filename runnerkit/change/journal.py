"""What a change writes about itself on the host: who began what, how far it came, how it ended.

Two files in the stack's directory: journal.json is there only while a change is under way, so
one that is found later tells of an interruption; history.jsonl has a line for each that ended.
Neither holds a secret.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from runnerkit.facts.host import SystemFacts


@dataclass(frozen=True)
class Owner:
    """Who changes a host: a login on a machine, a process there, and the command's name."""

    who: str
    pid: int
    command: str

    def __str__(self) -> str:
        return f"{self.who} (`runnerkit {self.command}`, process {self.pid})"

    def to_line(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Begun:
    """A change under way. `since` is Unix seconds; `step` is the title of the action begun last."""

    owner: Owner
    since: int
    step: str
    number: int
    of: int

    def to_line(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Ended:
    """A change that is over. `before` and `after` are generations, 0 where there was none yet.

    `at` is Unix seconds; `result` is `done`, or what went wrong in which step; `steps` are the
    titles of what was done, in order.
    """

    owner: Owner
    at: int
    before: int
    after: int
    result: str
    steps: tuple[str, ...] = ()

    def to_line(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))


def read_owner(line: str | None) -> Owner | None:
    """The owner in `line`; None where there is none that can be read."""
    return _owner(_record(line))


def read_begun(line: str | None) -> Begun | None:
    """The change in a journal's line; None where there is none that can be read."""
    record = _record(line)
    owner = _owner(record.get("owner"))
    if owner is None:
        return None
    try:
        numbers = (int(record["number"]), int(record["of"]))
        return Begun(owner, int(record["since"]), str(record["step"]), *numbers)
    except (KeyError, TypeError, ValueError):
        return None


def read_history(text: str) -> tuple[Ended, ...]:
    """Every change in a history, oldest first; a line that a power cut tore is left out."""
    found = []
    for line in text.splitlines():
        record = _record(line)
        owner = _owner(record.get("owner"))
        try:
            at, before, after = (int(record[key]) for key in ("at", "before", "after"))
            if owner:
                steps = tuple(str(step) for step in record.get("steps", ()))
                found.append(Ended(owner, at, before, after, str(record["result"]), steps))
        except (KeyError, TypeError, ValueError):
            continue
    return tuple(found)


def under_way(facts: SystemFacts) -> Begun | None:
    """The change that somebody is carrying out on the host at this moment."""
    begun = read_begun(facts.journal)
    return begun if begun and begun.owner == read_owner(facts.lock_owner) else None


def interrupted(facts: SystemFacts) -> Begun | None:
    """The change that was begun and never ended; None when there is none, or it goes on."""
    begun = read_begun(facts.journal)
    return begun if begun and not under_way(facts) else None


def _record(line: str | None) -> dict[str, Any]:
    try:
        record = json.loads(line or "")
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _owner(record: Any) -> Owner | None:
    try:
        return Owner(str(record["who"]), int(record["pid"]), str(record["command"]))
    except (KeyError, TypeError, ValueError):
        return None
