"""What people install is the wheel, alone in an environment of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.kit import ROOT, Kit, Lab

pytestmark = pytest.mark.lab


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `runnerkit` of an otherwise empty environment."""
    place = tmp_path_factory.mktemp("wheel")
    build = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(place), str(ROOT)]
    subprocess.run([sys.executable, *build], check=True, capture_output=True)
    [wheel] = place.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(place / "venv")], check=True)
    pip = [str(place / "venv/bin/pip"), "install", "--quiet", str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    return place / "venv/bin/runnerkit"


def test_the_installed_program_renders_and_provisions(
    installed: Path, fleet: Kit, lab: Lab, tmp_path: Path
) -> None:
    kit = Kit(fleet.config, (str(installed),))
    kit("render", "host1", "--out", str(tmp_path / "stack"))
    for name in ("compose.yml", ".env", "daemon.json", "runner.env"):
        there = lab.on("host1", "sha256sum", f"/srv/runnerkit/main/{name}").stdout.split()[0]
        here = subprocess.run(
            ["sha256sum", tmp_path / "stack" / name], capture_output=True, text=True, check=True
        )
        assert here.stdout.split()[0] == there
    kit("down", "host1", "--yes")
    kit("up", "host1", "--yes")
    kit("status", "host1")
