"""drain.sh, with a docker that answers from a file and notes its calls."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from runnerkit.change.scripts import script

DOCKER = """#!/bin/sh
cd "$(dirname "$0")"
echo "$1" >>calls
case "$*" in
    *RestartCount*) cat state ;;
    inspect*) cut -d ' ' -f 1 state ;;
    *) true ;;
esac
"""


def drain(place: Path, state: str) -> tuple[str, list[str]]:
    """What a call answers while the container is in `state`, and all calls of docker so far.

    The state is: running, restarts, health.
    """
    (place / "docker").write_text(DOCKER)
    (place / "docker").chmod(0o755)
    (place / "state").write_text(state)
    done = subprocess.run(
        ["sh", "-c", script("drain"), "sh", str(place / "sockets"), "id-of-runner"],
        env=os.environ | {"PATH": f"{place}:{os.environ['PATH']}"},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip(), (place / "calls").read_text().split()


@pytest.mark.parametrize("state", ["true 0 healthy", "true 0 unhealthy", "true 3 starting"])
def test_a_runner_is_signalled_once_in_its_life(tmp_path: Path, state: str) -> None:
    for _ in range(3):
        answer, calls = drain(tmp_path, state)
        assert (answer, calls.count("kill")) == ("true", 1)
    answer, calls = drain(tmp_path, "false 0 unhealthy")
    assert (answer, calls.count("kill")) == ("false", 1)


def test_a_runner_that_is_just_starting_is_signalled_when_it_has_come_up(tmp_path: Path) -> None:
    for _ in range(2):
        answer, calls = drain(tmp_path, "true 0 starting")
        assert (answer, calls.count("kill")) == ("true", 0)
    answer, calls = drain(tmp_path, "true 0 healthy")
    assert (answer, calls.count("kill")) == ("true", 1)


def test_one_that_ended_while_starting_is_waited_for_no_longer(tmp_path: Path) -> None:
    drain(tmp_path, "true 0 starting")
    answer, _ = drain(tmp_path, "false 0 starting")
    assert answer == "false"
