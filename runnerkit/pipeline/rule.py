"""Rules by their ids: each is one pure function, and its docstring is its documentation. Pure."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from runnerkit.pipeline.finding import Finding, Severity
from runnerkit.pipeline.project import Project

Check = Callable[[Project], Iterator[Finding]]


@dataclass(frozen=True)
class Rule:
    """A check with what its docstring says: one line of what, a paragraph of why."""

    id: str
    severity: Severity
    title: str
    why: str
    check: Check


_RULES: dict[str, Rule] = {}


def rule(id_: str, severity: Severity) -> Callable[[Check], Check]:
    """Make a function a rule. Its docstring: a first line, an empty one, and the reason."""

    def register(check: Check) -> Check:
        title, _, why = (inspect.getdoc(check) or "").partition("\n\n")
        if not title or not why or id_ in _RULES:
            raise ValueError(f"rule {id_} is there already, or lacks its title or its reason")
        _RULES[id_] = Rule(id_, severity, title.rstrip("."), " ".join(why.split()), check)
        return check

    return register


def all_rules() -> tuple[Rule, ...]:
    """Every rule, by id."""
    from runnerkit.pipeline import rules  # noqa: PLC0415 - they register themselves here

    del rules
    return tuple(_RULES[name] for name in sorted(_RULES))
