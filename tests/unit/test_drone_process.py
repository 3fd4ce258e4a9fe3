"""The stand-in runner as a process: what it says and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

RUNNER = Path(__file__).parents[1] / "lab" / "drone" / "runner.py"


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A runner whose Docker daemon is not there."""
    (tmp_path / "runner.env").write_text("DRONE_RPC_HOST='127.0.0.1:1'\nDRONE_RPC_SECRET='s'\n")
    process = subprocess.Popen(
        [sys.executable, str(RUNNER), "daemon", "runner.env"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "DOCKER_HOST": f"unix://{tmp_path}/docker.sock"},
    )
    yield process
    process.kill()
    process.communicate()


def test_it_keeps_pinging_docker_until_the_signal(waiting: subprocess.Popen[str]) -> None:
    assert waiting.stderr is not None
    first = waiting.stderr.readline()
    assert 'level=error msg="cannot ping the docker daemon"' in first
    assert "Is the docker daemon running?" in first
    waiting.send_signal(signal.SIGTERM)
    rest = waiting.stderr.read()
    assert waiting.wait() == 1
    assert "received signal, terminating process" in rest
    assert "drone-runner-docker: error: context canceled" in rest


def test_a_second_signal_ends_it_on_the_spot(waiting: subprocess.Popen[str]) -> None:
    assert waiting.stderr is not None
    waiting.stderr.readline()
    waiting.send_signal(signal.SIGTERM)
    while "received signal" not in waiting.stderr.readline():
        pass
    waiting.send_signal(signal.SIGTERM)
    # 1 if the pause between two pings was over first.
    assert waiting.wait() in {-signal.SIGTERM, 1}


def test_a_command_that_is_not_emulated_says_so() -> None:
    done = subprocess.run(
        [sys.executable, str(RUNNER), "exec"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "not part of this stand-in" in done.stderr
