"""All rules over one project, less what the files say to ignore. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from runnerkit.pipeline.finding import Finding, Severity
from runnerkit.pipeline.project import Project
from runnerkit.pipeline.rule import Rule, all_rules

IGNORE = re.compile(r"#\s*runnerkit:\s*ignore\s+(?P<rule>[a-z0-9-]+)(?P<reason>[^\n]*)")
IGNORE_RULE = Rule(
    "ignore-comment",
    Severity.WARNING,
    "A comment that ignores nothing, or does not say why",
    "Whoever reads the file next has to know why a rule does not hold here, and a comment that"
    " ignores nothing any more hides the next finding.",
    lambda _project: iter(()),
)


@dataclass(frozen=True)
class Hit:
    """A finding with the rule that made it."""

    rule: Rule
    finding: Finding


@dataclass(frozen=True)
class _Comment:
    file: str
    line: int
    rule: str
    reason: str
    covers: frozenset[int]


def lint(project: Project) -> tuple[Hit, ...]:
    """Every finding by file and line, those left out that a comment ignores.

    `# runnerkit: ignore RULE reason` covers the line that it is on and, on a line of its own, the
    instruction or line that follows.
    """
    comments = list(_comments(project))
    used: set[_Comment] = set()
    hits = []
    for rule in all_rules():
        for finding in rule.check(project):
            covering = [x for x in comments if _covers(x, rule.id, finding)]
            used.update(covering)
            if not covering:
                hits.append(Hit(rule, finding))
    hits += [Hit(IGNORE_RULE, x) for x in _complaints(comments, used)]
    return tuple(sorted(set(hits), key=_order))


def _order(hit: Hit) -> tuple[str, int, str, str]:
    return (hit.finding.file, hit.finding.line, hit.rule.id, hit.finding.message)


def _covers(comment: _Comment, rule: str, finding: Finding) -> bool:
    same = comment.file == finding.file and comment.rule == rule
    return same and finding.line in comment.covers


def _complaints(comments: list[_Comment], used: set[_Comment]) -> Iterator[Finding]:
    known = {rule.id for rule in all_rules()}
    for comment in comments:
        if comment.rule not in known:
            message, fix = f"there is no rule {comment.rule}", "name a rule, or remove the comment"
        elif comment not in used:
            message, fix = f"{comment.rule} finds nothing here", "remove the comment"
        elif not comment.reason:
            message, fix = f"{comment.rule} is ignored without a reason", "write why after its name"
        else:
            continue
        yield Finding(comment.file, comment.line, message, fix)


def _comments(project: Project) -> Iterator[_Comment]:
    for path, text in project.texts.items():
        lines = text.split("\n")
        for number, line in enumerate(lines, 1):
            found = IGNORE.search(line)
            if found and line[: found.start()].strip():
                covers = frozenset({number})
            elif found:
                covers = _following(lines, number)
            else:
                continue
            yield _Comment(path, number, found["rule"], found["reason"].strip(), covers)


def _following(lines: list[str], number: int) -> frozenset[int]:
    """The next line that is no comment, with its continuations."""
    covered: set[int] = set()
    for place in range(number + 1, len(lines) + 1):
        text = lines[place - 1].strip()
        if text.startswith("#") or (not text and not covered):
            continue
        covered.add(place)
        if not text.endswith("\\"):
            break
    return frozenset(covered)
