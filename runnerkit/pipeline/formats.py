"""Findings as text, JSON, SARIF 2.1.0 and annotations of a code host. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from textwrap import fill

from runnerkit.pipeline.finding import Severity
from runnerkit.pipeline.lint import Hit

SCHEMA_VERSION = 1
WIDTH = 80


def as_text(hits: Sequence[Hit]) -> str:
    """For people: the place, what, and the fix below it; each rule's reason once, at the end."""
    if not hits:
        return "nothing to complain about\n"
    lines = []
    for hit in hits:
        found = hit.finding
        head = f"{found.file}:{found.line}: {hit.rule.severity.value}: {found.message}"
        lines += [f"{head} [{hit.rule.id}]", f"    fix: {found.fix}"]
    lines.append("")
    for rule in sorted({hit.rule for hit in hits}, key=lambda rule: rule.id):
        lines.append(fill(f"{rule.id}: {rule.why}", WIDTH, subsequent_indent="  "))
    counts = Counter(hit.rule.severity for hit in hits)
    total = ", ".join(f"{counts[x]} {x.value}{'s' * (counts[x] > 1)}" for x in counts)
    return "\n".join([*lines, "", total, ""])


def as_json(hits: Sequence[Hit]) -> str:
    """For programs; versioned by `schema_version`."""
    found = [
        {
            "rule": hit.rule.id,
            "severity": hit.rule.severity.value,
            "file": hit.finding.file,
            "line": hit.finding.line,
            "message": hit.finding.message,
            "why": hit.rule.why,
            "fix": hit.finding.fix,
            "fixable": bool(hit.finding.edits),
        }
        for hit in hits
    ]
    return json.dumps({"schema_version": SCHEMA_VERSION, "findings": found}, indent=2) + "\n"


def as_sarif(hits: Sequence[Hit]) -> str:
    """SARIF 2.1.0, which code hosts and editors read."""
    rules = sorted({hit.rule for hit in hits}, key=lambda rule: rule.id)
    driver = {
        "name": "runnerkit",
        "rules": [
            {
                "id": rule.id,
                "shortDescription": {"text": rule.title},
                "fullDescription": {"text": rule.why},
                "defaultConfiguration": {"level": rule.severity.value},
            }
            for rule in rules
        ],
    }
    results = [
        {
            "ruleId": hit.rule.id,
            "level": hit.rule.severity.value,
            "message": {"text": f"{hit.finding.message}; {hit.finding.fix}"},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": hit.finding.file},
                        "region": {"startLine": hit.finding.line},
                    }
                }
            ],
        }
        for hit in hits
    ]
    log = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }
    return json.dumps(log, indent=2) + "\n"


def as_github(hits: Iterable[Hit]) -> str:
    """Workflow commands of GitHub and Gitea Actions, one line a finding."""
    names = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}
    return "".join(
        f"::{names[hit.rule.severity]} file={_property(hit.finding.file)},"
        f"line={hit.finding.line},title={hit.rule.id}"
        f"::{_data(f'{hit.finding.message}; {hit.finding.fix}')}\n"
        for hit in hits
    )


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


FORMATS: Mapping[str, Callable[[Sequence[Hit]], str]] = {
    "text": as_text,
    "json": as_json,
    "sarif": as_sarif,
    "github": as_github,
}
