"""What the cache commands answer, as text for 80 columns and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from runnerkit.cache.pruning import Choice, Freed, Pruning
from runnerkit.cache.rules import rule_text
from runnerkit.cache.simulate import Simulation
from runnerkit.cache.summary import MOUNTS, CacheSummary, MountOrigin, Part, kind_of, mount_origin
from runnerkit.change.trial import Trial
from runnerkit.facts.builds import Build
from runnerkit.facts.cache import CacheRecord
from runnerkit.report.screens import SCHEMA_VERSION
from runnerkit.units import counted, format_bytes

BAR = 60
_STYLES = {"layers": "blue", "cache mounts": "green", "sources": "yellow", "other cache": "magenta"}


def summary_text(found: CacheSummary, now: float) -> Group:
    """The screen of `cache show`."""
    limit = found.limits.max_bytes
    head = Text(f"{found.host}  ", style="bold")
    head.append(f"cache {format_bytes(found.cache_bytes)} of {format_bytes(limit)}")
    lines: list[Any] = [head, _bar(found.parts, limit), _table(found.parts)]
    if found.disk is not None:
        free, total = format_bytes(found.disk.available), format_bytes(found.disk.total)
        keeps = format_bytes(found.limits.min_free_bytes)
        lines.append(Text(f"disk {found.disk.mount}: {free} free of {total}; keeps {keeps} free"))
    if found.mounts:
        lines += [Text("cache mounts", style="bold"), _mounts(found, now)]
        if found.uses.unknown:
            lines.append(Text(f"which build used a mount last: {found.uses.unknown}", style="dim"))
    if found.biggest:
        lines += [Text("biggest records", style="bold"), _records(found.biggest, now)]
    return Group(*lines)


def summary_json(found: CacheSummary) -> str:
    """The same for programs. Sizes in bytes, ages in seconds, times in seconds since 1970."""
    content = {
        "schema_version": SCHEMA_VERSION,
        "host": found.host,
        "engine": found.engine,
        "cache_bytes": found.cache_bytes,
        "limits": asdict(found.limits),
        "disk": None if found.disk is None else asdict(found.disk),
        "usage": [asdict(part) for part in found.parts],
        "mounts": [
            _record_json(record) | {"last_build": _build_json(found.last_build(record))}
            for record in found.mounts
        ],
        "last_builds_unknown": found.uses.unknown or None,
        "biggest": [_record_json(record) for record in found.biggest],
    }
    return json.dumps(content, indent=2)


def _bar(parts: Iterable[Part], limit: int) -> Text:
    """The cache against its ceiling, each kind in its colour."""
    bar, drawn, total = Text("["), 0, 0
    for part in parts:
        if part.kind in _STYLES:
            total += part.bytes or 0
            upto = min(BAR, round(BAR * total / max(limit, 1)))
            bar.append("█" * (upto - drawn), style=_STYLES[part.kind])
            drawn = max(drawn, upto)
    bar.append("·" * (BAR - drawn), style="dim")
    return bar.append(f"] {100 * total // max(limit, 1)}%")


def _table(parts: Iterable[Part]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(min_width=16)
    table.add_column(justify="right")
    table.add_column(justify="right", min_width=10)
    for part in parts:
        count = "" if part.count is None else str(part.count)
        table.add_row(Text(f"  {part.kind}", style=_STYLES.get(part.kind, "")), count, _size(part))
    return table


def _size(part: Part) -> str:
    return "unknown" if part.bytes is None else format_bytes(part.bytes)


def _records(records: Iterable[CacheRecord], now: float) -> Table:
    table = _record_table()
    for record in records:
        table.add_row(format_bytes(record.size), used(record, now), Text(record_title(record)))
    return table


def _record_table() -> Table:
    """Columns for sizes, when they were used last, and what it is."""
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", min_width=11)
    table.add_column(min_width=8, no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=54)
    return table


def _mounts(found: CacheSummary, now: float) -> Table:
    """Each cache mount, and below it whose build used it last, or else what made it."""
    table = _record_table()
    for record in found.mounts:
        origin, build = mount_origin(record), found.last_build(record)
        if origin is None:
            title = Text(record_title(record))
        else:
            title = Text(_place(origin))
            title.append(f"\n{_user(origin, build)}", style="dim")
        table.add_row(format_bytes(record.size), used(record, now), title)
    return table


def _user(origin: MountOrigin, build: Build | None) -> str:
    if build is None:
        return f"first used by: {origin.command.removeprefix('/bin/sh -c ')}"
    if not build.repository:
        return "last used by a build that tells no repository"
    return f"last used by a build of {build.repository}"


def _place(origin: MountOrigin) -> str:
    return origin.target if origin.id == origin.target else f"{origin.target} id={origin.id}"


def record_title(record: CacheRecord) -> str:
    """One line that says what a record is."""
    origin = mount_origin(record)
    if origin is not None:
        return f"{_place(origin)}  {origin.command}"
    title = " ".join(record.description.split()) or record.id
    return title if kind_of(record) != MOUNTS else f"cache mount {title}"


def used(record: CacheRecord, now: float) -> str:
    """How long ago a record was last used: `12s`, `5m`, `3h`, `14d`."""
    if record.in_use:
        return "in use"
    seconds = max(0, int(now - (record.last_used or record.created)))
    for letter, unit in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= unit:
            return f"{seconds // unit}{letter} ago"
    return f"{seconds}s ago"


def _record_json(record: CacheRecord) -> dict[str, Any]:
    origin = mount_origin(record)
    return asdict(record) | {"mount": None if origin is None else asdict(origin)}


def _build_json(build: Build | None) -> dict[str, Any] | None:
    if build is None:
        return None
    return {"ref": build.ref, "repository": build.repository or None}


def simulation_text(found: Simulation, now: float) -> Group:
    """The screen of `cache simulate`."""
    outcome = found.outcome
    lines: list[Any] = [Text.assemble((f"{found.host}  ", "bold"), f"GC rules: {found.source}")]
    if not found.rules:
        return Group(*lines, Text("garbage collection is off: nothing would be evicted"))
    for number, rule in enumerate(found.rules):
        gone = [e for e in outcome.evictions if e.rule == number]
        if gone:
            lines.append(Text(f"rule {number}: {rule_text(rule)}", style="bold"))
            lines.append(_records((e.record for e in gone), now))
    before, after = format_bytes(outcome.before_bytes), format_bytes(outcome.after_bytes)
    if not outcome.evictions:
        return Group(*lines, Text(f"nothing would be evicted; the cache stays at {before}"))
    freed = format_bytes(outcome.freed_bytes)
    count = counted(len(outcome.evictions), "record")
    lines.append(Text(f"{count} would go, {freed}: from {before} to {after}"))
    if any(e.tied for e in outcome.evictions):
        lines.append(Text("some rank the same: the engine may take others of their kind first"))
    return Group(*lines)


def simulation_json(host: str, found: Simulation) -> str:
    """The same for programs, in the order in which records would go."""
    outcome = found.outcome
    content = {
        "schema_version": SCHEMA_VERSION,
        "host": host,
        "source": found.source,
        "rules": [asdict(rule) for rule in found.rules],
        "before_bytes": outcome.before_bytes,
        "after_bytes": outcome.after_bytes,
        "freed_bytes": outcome.freed_bytes,
        "evictions": [
            {"rule": e.rule, "tied": e.tied, **_record_json(e.record)} for e in outcome.evictions
        ],
    }
    return json.dumps(content, indent=2)


def pruning_text(host: str, choice: Choice, pruning: Pruning, now: float) -> Group:
    """What `cache prune` would delete, each by its name."""
    if not pruning:
        return Group(Text(f"{host}: nothing to delete"))
    lines: list[Any] = []
    if pruning.images:
        table = Table.grid(padding=(0, 2))
        table.add_column(justify="right", min_width=11)
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=64)
        for image in pruning.images:
            table.add_row(format_bytes(image.size), Text(", ".join(image.names) or image.id))
        lines += [Text(counted(len(pruning.images), "image"), style="bold"), table]
    if pruning.records:
        lines += [Text(counted(len(pruning.records), "cache record"), style="bold")]
        lines.append(_records(pruning.records, now))
    expected = format_bytes(pruning.expected_bytes)
    if not pruning.images:
        lines.append(Text(f"about {expected} would be freed"))
    elif choice.layers:
        lines.append(Text("and the layers in the build cache that only these images hold"))
        lines.append(Text(f"at least about {expected} would be freed"))
    else:
        lines.append(Text(f"at most about {expected} would be freed"))
    return Group(*lines)


def freed_text(host: str, freed: Freed) -> Group:
    """What a pruning gave back."""
    text = f"{host}: freed {format_bytes(freed.bytes)}"
    if not freed.kept_by_cache:
        return Group(Text(text))
    limit = " at most" if freed.bytes else ""
    return Group(
        Text(f"{text}{limit}: the build cache still holds layers of these images."),
        Text(f"They go with `runnerkit cache prune {host} --layers`."),
    )


def trial_text(host: str, trial: Trial) -> Group:
    """What a throw-away engine did, and whether that is what it was told."""
    ceiling, filled = format_bytes(trial.max_bytes), format_bytes(trial.filled_bytes)
    lines: list[Any] = [
        Text.assemble((f"{host}  ", "bold"), f"a throw-away engine {trial.engine}"),
        Text(f"filled to {filled} under a ceiling of {ceiling}; {trial.seconds:.0f} s later it has "
             f"{format_bytes(trial.left_bytes)}"),
    ]  # fmt: skip
    evicted = Table.grid(padding=(0, 2))
    evicted.add_column(justify="right", min_width=11)
    evicted.add_column(no_wrap=True, overflow="ellipsis", max_width=64)
    for record in trial.evicted:
        evicted.add_row(format_bytes(record.size), Text(record_title(record)))
    if trial.evicted:
        count = counted(len(trial.evicted), "record")
        lines += [Text(f"{count} evicted", style="bold"), evicted]
    obeyed, kept = trial.ceiling_obeyed, trial.mounts_kept
    lines.append(_verdict(obeyed, "the ceiling is kept", "the ceiling is not kept"))
    lines.append(_verdict(kept, "cache mounts outlive layers", "cache mounts went, too"))
    if trial.free_space_obeyed is None:
        lines.append(Text("- min_free: this engine cannot look at it; the janitor does"))
    else:
        made = trial.free_space_obeyed
        lines.append(_verdict(made, "free space is made", "no free space is made"))
    lines += [Text(f"  {error}", style="red") for error in trial.gc.errors]
    return Group(*lines)


def trial_json(host: str, trial: Trial) -> str:
    """The same for programs."""
    content = {"schema_version": SCHEMA_VERSION, "host": host, "passed": trial.passed}
    return json.dumps(content | asdict(trial), indent=2)


def _verdict(good: bool, well: str, ill: str) -> Text:
    return Text(f"✓ {well}", style="green") if good else Text(f"✗ {ill}", style="red")
