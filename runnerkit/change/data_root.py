"""Where the runner's daemon keeps its data, and what a change of that place means. Pure."""

from __future__ import annotations

from pathlib import PurePosixPath

from runnerkit.change.packages import Blocker
from runnerkit.desired.state import DesiredState
from runnerkit.facts.daemon import DaemonFacts
from runnerkit.facts.host import Disk, HostFacts

# On these overlay2 does not work, or a daemon's data is not safe.
UNFIT = frozenset(
    {
        "9p", "aufs", "cifs", "ecryptfs", "exfat", "fuse", "fuseblk", "msdos", "nfs", "nfs4",
        "ntfs", "ntfs3", "overlay", "ramfs", "smb3", "tmpfs", "vfat",
    }
)  # fmt: skip


def data_to_move(desired: DesiredState, facts: HostFacts) -> str | None:
    """The directory that the files in force name, when it holds data and is not the desired one."""
    before = facts.system.data_before
    return before if before != str(desired.paths.data) else None


def data_blockers(desired: DesiredState, facts: HostFacts, *, move: bool) -> tuple[Blocker, ...]:
    """Why this data-root cannot be used as it is."""
    system, data = facts.system, desired.paths.data
    blockers = []
    outer = facts.outer
    own = {item.name for item in outer.containers} if isinstance(outer, DaemonFacts) else set()
    users = outer.data_users if isinstance(outer, DaemonFacts) else ()
    others = [name for name in users if name not in own]
    if others:
        blockers.append(
            Blocker(
                f"{data} is in use by the container {others[0]}",
                "two daemons on one data-root destroy it: stop that container, "
                "or set another docker.data",
            )
        )
    if isinstance(outer, DaemonFacts) and _within(data, outer.data_root):
        blockers.append(
            Blocker(
                f"{data} lies in {outer.data_root}, the data-root of the host's own Docker",
                "set docker.data to a directory of its own",
            )
        )
    old = data_to_move(desired, facts)
    if old is not None and not move:
        blockers.append(
            Blocker(
                f"docker.data says {data}, but the images and caches are in {old}",
                f"`runnerkit up {desired.host} --move-data` takes them along; "
                f"to begin without them rename {old} on the host",
            )
        )
    elif old is not None and system.data_filled:
        blockers.append(
            Blocker(
                f"{data} is not empty, so the data in {old} cannot be moved there",
                "empty it, or set another docker.data",
            )
        )
    return tuple(blockers)


def unfit(disk: Disk | None) -> str | None:
    """Why a filesystem is no good place for a daemon's data; None when it is one."""
    if disk is None:
        return None
    if disk.kind in UNFIT or disk.kind.startswith("fuse."):
        return f"{disk.mount} is {disk.kind}, on which overlay2 does not work well or at all"
    return None


def data_notes(facts: HostFacts) -> tuple[str, ...]:
    """What to know of the place before the first data lies there."""
    disk, root = facts.system.data_disk, facts.system.root_disk
    notes = []
    if why := unfit(disk):
        notes.append(f"{why}; ext4 and xfs are fit")
    if disk is not None and root is not None and disk.mount == root.mount:
        notes.append("the data shares a disk with the system: builds that fill it stop both")
    return tuple(notes)


def _within(path: PurePosixPath, folder: str) -> bool:
    return bool(folder) and path.is_relative_to(folder)
