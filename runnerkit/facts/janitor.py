"""What the janitor wrote about itself. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class JanitorReport:
    """The janitor's last sweep, and the last one that removed something.

    Times are Unix seconds of the host. `lack_bytes` and `lack_inodes` are what was missing below
    cache.min_free when it ended, 0 when nothing was. `freed_at` is None when it never removed
    anything; `freed_bytes` is by how much the disk's free space grew meanwhile.
    """

    swept_at: int
    lack_bytes: int
    lack_inodes: int
    freed_at: int | None = None
    freed_bytes: int = 0
    freed_what: str = ""


def parse_janitor_report(values: Mapping[str, str]) -> JanitorReport | None:
    """The report in the `key value` lines of janitor/report; None when they hold none."""
    try:
        return JanitorReport(
            swept_at=int(values["swept_at"]),
            lack_bytes=int(values["lack_bytes"]),
            lack_inodes=int(values["lack_inodes"]),
            freed_at=int(values["freed_at"]) if "freed_at" in values else None,
            freed_bytes=int(values.get("freed_bytes", 0)),
            freed_what=values.get("freed_what", ""),
        )
    except (KeyError, ValueError):
        return None  # none yet, or damaged: the next sweep writes it anew
