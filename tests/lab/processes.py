"""Processes that outlive the command that started them, told apart from later ones of their pid."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.lab.shell import LabError


@dataclass(frozen=True)
class Process:
    """One process: its pid and when it began, in clock ticks since boot."""

    pid: int
    began: int

    @property
    def alive(self) -> bool:
        """Whether it still runs (a zombie does not)."""
        return _began(self.pid) == self.began

    def save(self, file: Path) -> None:
        """Record it, at one instant."""
        new = file.with_suffix(".new")
        new.write_text(json.dumps(asdict(self)))
        new.rename(file)


def _began(pid: int) -> int | None:
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        if fields[0] not in "ZX":
            return int(fields[19])
    return None


def of_pid(pid: int) -> Process:
    """The process that has this pid now."""
    began = _began(pid)
    if began is None:
        raise LabError(f"there is no process {pid}")
    return Process(pid, began)


def recorded(file: Path) -> Process | None:
    """The process that was saved in this file, if it still runs."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        process = Process(**json.loads(file.read_text()))
        if process.alive:
            return process
    return None


JOIN = 'for file in $0; do echo 0 >"$file"; done; exec "$@"'


def joining(groups: Sequence[Path], argv: Sequence[str]) -> list[str]:
    """The program as one that joins these control groups (their cgroup.procs) before it begins."""
    return ["sh", "-euc", JOIN, " ".join(str(file) for file in groups), *argv]


def start(
    argv: Sequence[str], groups: Sequence[Path], *, log: Path, env: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start a program in its own session, with pipes for stdin and stdout, stderr to `log`."""
    with log.open("ab") as errors:
        return subprocess.Popen(
            joining(groups, argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=os.environ | dict(env),
            start_new_session=True,
        )


def start_service(argv: Sequence[str], groups: Sequence[Path], *, log: Path, cwd: Path) -> Process:
    """Start a program that needs nobody, its output in `log`."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            joining(groups, argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=cwd,
            start_new_session=True,
        )
    return of_pid(process.pid)
