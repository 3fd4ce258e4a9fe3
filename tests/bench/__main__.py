"""`make bench`: measures, and writes results.json, RESULTS.md and the picture in README."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

from runnerkit import __version__
from runnerkit.report.bench import bars_svg
from tests import docs
from tests.bench import build_rows, daily_rows, kit_rows
from tests.bench.profile import parts_table, status_parts
from tests.bench.rows import Row, results_json, results_markdown
from tests.e2e.kit import Lab, lab_command

HERE = Path(__file__).parent
PARTS = ("converged", "far", "many", "profile", "first-up", "builds", "daily")


def main(arguments: Sequence[str]) -> None:
    """Measure what was asked for, in a lab that is gone afterwards."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", choices=PARTS, action="append", help="print, and write nothing")
    options = parser.parse_args(arguments)
    name = os.environ.get("RUNNERKIT_LAB", "bench")
    began = time.monotonic()
    answer = lab_command(name, "up", "--hosts", "3", "--systemd", "--owner", str(os.getpid()))
    try:
        with tempfile.TemporaryDirectory() as folder:
            lab = Lab(name, json.loads(answer.stdout))
            config = yaml.safe_load(Path(lab.info["config"]).read_text())
            machine = kit_rows.Machine(lab, Path(folder), config)
            parts = options.only or PARTS
            groups = measure(machine, options.rounds, parts)
            profile = status_profile(machine) if "profile" in parts else ""
    finally:
        lab_command(name, "down")
    about: dict[str, object] = {
        "runnerkit": __version__,
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "rounds": options.rounds,
        "minutes": round((time.monotonic() - began) / 60, 1),
    }
    text = results_markdown(groups, about) + profile
    sys.stdout.write(text)
    if not options.only:
        rows = [row for group in groups.values() for row in group]
        (HERE / "results.json").write_text(results_json(rows, about))
        (HERE / "RESULTS.md").write_text(text)
        docs.main()  # README quotes the table


def measure(machine: kit_rows.Machine, rounds: int, parts: Sequence[str]) -> dict[str, list[Row]]:
    """The rows of these parts, by the heading they come under."""
    say("provisioning")
    kit_rows.seconds(machine.kit("up", "--yes"))
    kit: list[Row] = []
    steps: dict[str, Callable[[], list[Row]]] = {
        "converged": lambda: kit_rows.converged_rows(machine, rounds),
        "far": lambda: kit_rows.far_rows(machine, rounds),
        "many": lambda: [kit_rows.many_hosts_row(machine, rounds)],
        "first-up": lambda: [kit_rows.first_up_row(machine, rounds)],
    }
    for name, step in steps.items():
        if name in parts:
            say(name)
            kit += step()
    groups = {"The kit": kit} if kit else {}
    if "builds" in parts:
        say("builds")
        found = build_rows.compare(machine, rounds)
        groups["Builds"] = build_rows.build_rows(found)
        picture = bars_svg("A build of the same project", build_rows.bars(found))
        (HERE / "builds.svg").write_text(picture)
    if "daily" in parts:
        say("daily")
        groups["Day by day"] = daily_rows.daily_rows(machine, rounds)
    return groups


def status_profile(machine: kit_rows.Machine) -> str:
    """A section for RESULTS.md: what `status` of one host is made of."""
    say("profile")
    table = parts_table(status_parts(machine.file()))
    title = "Where the time of `status` goes"
    about = "Each part done for itself, ten times; within a look they are done side by side."
    return f"\n## {title}\n\n{about}\n\n{table}\n"


def say(text: str) -> None:
    """Progress, with the time."""
    sys.stderr.write(f"[{time.strftime('%H:%M:%S')}] {text}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
