"""What a row of the results says, and how the results are written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from runnerkit.bench.stats import Samples


@dataclass(frozen=True)
class Goal:
    """How far ours may be from the other's.

    `at most` as many times as long, `faster` at least as many times, `up to` so many more of them.
    """

    kind: Literal["at most", "faster", "up to"]
    bound: float

    def __str__(self) -> str:
        match self.kind:
            case "at most":
                return f"at most {self.bound:g} x"
            case "faster":
                return f"at least {self.bound:g} x faster"
        return f"at most {self.bound:g} more"


@dataclass(frozen=True)
class Row:
    """One comparison: ours against something, as medians."""

    name: str
    compared_with: str
    ours: Samples
    against: Samples
    goal: Goal | None
    unit: str = "s"
    note: str = ""

    @property
    def ratio(self) -> float:
        """Ours by the other's; the other's by ours, or the difference, where the goal says so."""
        ours, against = self.ours.median, self.against.median
        if self.goal is not None and self.goal.kind == "up to":
            return ours - against
        faster = self.goal is not None and self.goal.kind == "faster"
        return against / ours if faster else ours / against

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None where there is none."""
        if self.goal is None:
            return None
        if self.goal.kind == "faster":
            return self.ratio >= self.goal.bound
        return self.ratio <= self.goal.bound

    def record(self) -> dict[str, object]:
        """The row for results.json."""
        return {
            "name": self.name,
            "compared_with": self.compared_with,
            "unit": self.unit,
            "ours": round(self.ours.median, 4),
            "against": round(self.against.median, 4),
            "ours_spread": [round(self.ours.low, 4), round(self.ours.high, 4)],
            "against_spread": [round(self.against.low, 4), round(self.against.high, 4)],
            "ratio": round(self.ratio, 3),
            "goal": str(self.goal) if self.goal else None,
            "met": self.met,
            "note": self.note,
        }


def results_json(rows: Sequence[Row], about: dict[str, object]) -> str:
    """tests/bench/results.json."""
    return json.dumps({"about": about, "rows": [row.record() for row in rows]}, indent=2) + "\n"


def readme_table(results: str) -> str:
    """The rows of results.json for README, in short."""
    lines = ["| | ours | against | | ratio | goal | met |", "|---|---|---|---|---|---|---|"]
    for row in json.loads(results)["rows"]:
        met = {True: "yes", False: "no", None: ""}[row["met"]]
        lines.append(
            f"| {row['name']} | {row['ours']:.2f} {row['unit']} | {row['compared_with']} "
            f"| {row['against']:.2f} {row['unit']} | {row['ratio']:.2f} | {row['goal'] or ''} "
            f"| {met} |"
        )
    return "\n".join(lines)


def results_markdown(groups: Mapping[str, Sequence[Row]], about: dict[str, object]) -> str:
    """tests/bench/RESULTS.md: one table a group."""
    lines = [
        "# Measured",
        "",
        "Written by `make bench`. Medians (smallest to largest); both sides of a row take turns on",
        "the same host in the same run.",
        "",
        ", ".join(f"{key}: {value}" for key, value in about.items()) + ".",
    ]
    for title, rows in groups.items():
        lines += ["", f"## {title}", "", "| | ours | against | | ratio | goal | met |"]
        lines.append("|---|---|---|---|---|---|---|")
        for row in rows:
            met = {True: "yes", False: "**no**", None: ""}[row.met]
            goal = str(row.goal) if row.goal else ""
            lines.append(
                f"| {row.name} | {_shown(row.ours, row.unit)} | {row.compared_with} "
                f"| {_shown(row.against, row.unit)} | {row.ratio:.2f} | {goal} | {met} |"
            )
        lines += [f"\n{row.name}: {row.note}" for row in rows if row.note]
    return "\n".join(lines) + "\n"


def _shown(samples: Samples, unit: str) -> str:
    return f"{samples.median:.2f} {unit} ({samples.low:.2f} to {samples.high:.2f})"
