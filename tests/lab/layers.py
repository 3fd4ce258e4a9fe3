"""A directory of an overlay file system as a layer of an image: one tar and its digest."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

# What a package manager leaves behind, and what Docker puts over it anyway.
LEFT_OUT = (
    "var/lib/apt/lists/",
    "var/cache/apt/",
    "var/cache/debconf/",
    "var/cache/ldconfig/",
    "var/log/",
    "dev/",
    "run/",
    "etc/resolv.conf",
    "etc/hostname",
)


@dataclass(frozen=True)
class Layer:
    """An uncompressed layer in the cache; being uncompressed, its digest is its diff ID too."""

    path: Path
    digest: str
    size: int


class _Hashing(io.RawIOBase):
    def __init__(self, target: IO[bytes]) -> None:
        self.target = target
        self.sha = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.sha.update(data)
        self.size += len(data)
        return self.target.write(data)


def write_layer(tree: Path, place: Path) -> None:
    """Write `tree` as place/layer.tar and its digest as place/layer.json.

    Deleted files and replaced directories become the whiteouts that images use for them.
    """
    with (place / "layer.tar").open("wb") as file:
        hashing = _Hashing(file)
        with tarfile.open(fileobj=hashing, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            links: dict[tuple[int, int], str] = {}
            for path in _walk(tree):
                _add(archive, path, path.relative_to(tree).as_posix(), links)
    facts = {"digest": f"sha256:{hashing.sha.hexdigest()}", "size": hashing.size}
    (place / "layer.json").write_text(json.dumps(facts))


def read_layer(place: Path) -> Layer:
    """The layer that write_layer left in this directory."""
    facts = json.loads((place / "layer.json").read_text())
    return Layer(place / "layer.tar", facts["digest"], facts["size"])


def _walk(folder: Path) -> Iterator[Path]:
    for item in sorted(os.scandir(folder), key=lambda item: item.name):
        path = Path(item.path)
        yield path
        if item.is_dir(follow_symlinks=False):
            yield from _walk(path)


def _add(
    archive: tarfile.TarFile, path: Path, name: str, links: dict[tuple[int, int], str]
) -> None:
    if any(name.startswith(prefix) for prefix in LEFT_OUT):
        return
    facts = path.lstat()
    if stat.S_ISSOCK(facts.st_mode):
        return
    if stat.S_ISCHR(facts.st_mode) and facts.st_rdev == 0:
        folder, _, base = name.rpartition("/")
        archive.addfile(tarfile.TarInfo(f"{folder}/.wh.{base}".lstrip("/")))
        return
    info = archive.gettarinfo(path, arcname=name)
    info.uname = info.gname = ""
    inode = (facts.st_dev, facts.st_ino)
    if info.isreg() and facts.st_nlink > 1 and inode in links:
        info.type, info.linkname, info.size = tarfile.LNKTYPE, links[inode], 0
    elif info.islnk():
        # The first of a group of hard links that this archive really contains is a file.
        info.type, info.linkname, info.size = tarfile.REGTYPE, "", facts.st_size
    if info.isreg():
        links[inode] = name
        with path.open("rb") as file:
            archive.addfile(info, file)
        return
    archive.addfile(info)
    if info.isdir() and _opaque(path):
        archive.addfile(tarfile.TarInfo(f"{name}/.wh..wh..opq"))


def _opaque(path: Path) -> bool:
    try:
        return os.getxattr(path, "trusted.overlay.opaque") == b"y"
    except OSError:
        return False
