"""Things that are slow to make and can be made again: kept by what they are made from."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path


def cache_dir() -> Path:
    """Where the cache is: $RUNNERKIT_LAB_CACHE, or below the user's cache directory."""
    if chosen := os.environ.get("RUNNERKIT_LAB_CACHE"):
        return Path(chosen).resolve()
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base).resolve() / "runnerkit-lab"


def digest(*parts: object) -> str:
    """A short name for what a thing is made from."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file; the kernel releases it when the process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace a file at one instant: whoever reads it sees the old content or the new."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_bytes(content.encode() if isinstance(content, str) else content)
    new.rename(path)


def entry(name: str, key: str, make: Callable[[Path], None]) -> Path:
    """The directory that `make` filled for this key; made now if there is none.

    It appears complete or not at all, and only once however many processes ask. Entries of the
    same name with other keys stay: a running lab may be using them (`prune` removes them).
    """
    place = cache_dir() / f"{name}-{key}"
    if place.is_dir():
        return place
    with locked(cache_dir() / "locks" / f"{name}-{key}"):
        if place.is_dir():
            return place
        for left in cache_dir().glob(f".{name}-{key}.*"):
            shutil.rmtree(left)
        making = Path(tempfile.mkdtemp(prefix=f".{name}-{key}.", dir=cache_dir()))
        try:
            # A root filesystem must be enterable by its users.
            making.chmod(0o755)
            make(making)
            making.rename(place)
        except BaseException:
            shutil.rmtree(making, ignore_errors=True)
            raise
    return place
