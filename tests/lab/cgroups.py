"""Control groups of the lab: each host has one in every hierarchy, so has each lab's services.

Membership is inherited by every process, so it is also how `down` finds what is left of a lab
whose records are lost.
"""

from __future__ import annotations

import contextlib
import os
import signal
from functools import partial
from pathlib import Path

from tests.lab.machine import CgroupMount, cgroup_mounts
from tests.lab.shell import wait_until

TOP = "runnerkit-lab"
# No host can have this name.
SERVICES = "_services"


def places(lab: str, group: str = "") -> list[Path]:
    """The group's directory in every hierarchy."""
    return [mount.path / TOP / lab / group for mount in cgroup_mounts()]


def create(lab: str, group: str, memory: int | None = None) -> list[Path]:
    """Make the group everywhere and return the cgroup.procs files that a member writes 0 to."""
    files = []
    for mount in cgroup_mounts():
        path = mount.path
        for part in (TOP, lab, group):
            _delegate(mount, path)
            path = path / part
            path.mkdir(exist_ok=True)
            if mount.options == "cpuset":
                for name in ("cpuset.cpus", "cpuset.mems"):
                    (path / name).write_text((path.parent / name).read_text())
        if memory is not None and mount.options == "memory":
            (path / "memory.limit_in_bytes").write_text(str(memory))
        if memory is not None and mount.version == 2 and (path / "memory.max").exists():
            (path / "memory.max").write_text(str(memory))
        files.append(path / "cgroup.procs")
    return files


def _delegate(mount: CgroupMount, path: Path) -> None:
    """Version 2: children get the controllers that this level has."""
    if mount.version == 1:
        return
    for name in (path / "cgroup.controllers").read_text().split():
        with contextlib.suppress(OSError):
            (path / "cgroup.subtree_control").write_text(f"+{name}")


def members(lab: str, group: str = "") -> set[int]:
    """Every process in the group or below it, by any hierarchy."""
    found: set[int] = set()
    for place in places(lab, group):
        for file in place.rglob("cgroup.procs"):
            with contextlib.suppress(OSError):
                found.update(int(line) for line in file.read_text().split())
    # Processes of a pid namespace that is not ours show as 0.
    return found - {0}


def kill(lab: str, group: str = "", *, spare: frozenset[int] = frozenset()) -> None:
    """SIGKILL every member and return when none is left."""

    def gone() -> bool:
        left = members(lab, group) - spare
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    wait_until(gone, 30, f"the processes of {lab}/{group or '*'} end")


def remove(lab: str, group: str = "") -> None:
    """Remove the group's directories, which must be without processes."""
    for place in places(lab, group):
        # The kernel frees a group's last member a moment after it was reaped.
        wait_until(partial(_remove_tree, place), 10, f"{place} is empty")
        if group == "":
            # Not while another lab's group is in it.
            with contextlib.suppress(OSError):
                place.parent.rmdir()


def _remove_tree(place: Path) -> bool:
    for folder, _, _ in os.walk(place, topdown=False):
        with contextlib.suppress(OSError):
            Path(folder).rmdir()
    return not place.exists()
