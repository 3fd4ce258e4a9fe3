"""The safe fixes of findings, applied to a file's text; all else stays byte for byte. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from runnerkit.pipeline.finding import Edit
from runnerkit.pipeline.lint import Hit


def fixed(texts: Mapping[str, str], hits: Iterable[Hit]) -> dict[str, str]:
    """The files that the findings' edits change, with their new text."""
    edits: dict[str, list[Edit]] = {}
    for hit in hits:
        edits.setdefault(hit.finding.file, []).extend(hit.finding.edits)
    changed = {name: _edited(texts[name], found) for name, found in edits.items() if found}
    return {name: text for name, text in changed.items() if text != texts[name]}


def diff(name: str, before: str | None, after: str) -> str:
    """A unified diff; `before` is None for a file that is not there."""
    old = [] if before is None else before.splitlines(keepends=True)
    lines = difflib.unified_diff(
        old,
        after.splitlines(keepends=True),
        "/dev/null" if before is None else f"a/{name}",
        f"b/{name}",
    )
    return "".join(x if x.endswith("\n") else f"{x}\n\\ No newline at end of file\n" for x in lines)


def _edited(text: str, edits: Iterable[Edit]) -> str:
    lines = text.splitlines(keepends=True)
    for edit in dict.fromkeys(edits):
        place = edit.line - 1
        if place >= len(lines):
            continue
        line = lines[place]
        body = line.rstrip("\r\n")
        end = line[len(body) :]
        new = edit.new.replace("\n", end or "\n")
        if not edit.whole_line:
            lines[place] = body.replace(edit.old, new, 1) + end
        elif body == edit.old:
            lines[place] = f"{new}{end}" if new else ""
    return "".join(lines)
