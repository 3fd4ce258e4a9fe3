"""manifest.json: what was written to a stack's directory, by which version, and when."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

from runnerkit import __version__
from runnerkit.desired.state import ManagedFile
from runnerkit.facts.host import RemoteFile
from runnerkit.paths import MANIFEST


@dataclass(frozen=True)
class Manifest:
    """`files` maps names to sha256; `written_at` is Unix seconds.

    `restored_from` is the generation whose files these are, where they are an earlier one's.
    """

    files: dict[str, str]
    version: str
    generation: int
    written_at: int
    restored_from: int | None = None

    def to_bytes(self) -> bytes:
        """The file's content."""
        record = {
            "files": self.files,
            "generation": self.generation,
            "runnerkit": self.version,
            "written_at": self.written_at,
        }
        if self.restored_from is not None:
            record["restored_from"] = self.restored_from
        return (json.dumps(record, indent=2, sort_keys=True) + "\n").encode()


def read_manifest(file: RemoteFile | None) -> Manifest | None:
    """The manifest in `file`; None where there is none that can be read."""
    return parse_manifest(file.content) if file and file.content is not None else None


def parse_manifest(content: bytes) -> Manifest | None:
    """The manifest with this content; None when it is none."""
    try:
        record = json.loads(content)
        restored_from = record.get("restored_from")
        return Manifest(
            files={str(name): str(digest) for name, digest in record["files"].items()},
            version=str(record["runnerkit"]),
            generation=int(record["generation"]),
            written_at=int(record["written_at"]),
            restored_from=None if restored_from is None else int(restored_from),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def manifest_is_current(file: RemoteFile | None, files: Iterable[ManagedFile]) -> bool:
    """Whether the manifest on the host speaks of exactly these files."""
    manifest = read_manifest(file)
    return manifest is not None and manifest.files == {item.name: item.sha256 for item in files}


def next_manifest(generation: int, files: Iterable[ManagedFile], now: int) -> Manifest:
    """The manifest for `files` that follows `generation`. `now` is Unix seconds."""
    return Manifest(
        files={item.name: item.sha256 for item in files},
        version=__version__,
        generation=generation + 1,
        written_at=now,
    )


def restored_manifest(old: Manifest, generation: int, now: int) -> Manifest:
    """The manifest that follows `generation` with the files of `old`."""
    return replace(
        old,
        version=__version__,
        generation=generation + 1,
        written_at=now,
        restored_from=old.restored_from or old.generation,
    )


def manifest_file(
    found: RemoteFile | None, files: tuple[ManagedFile, ...], now: int
) -> ManagedFile:
    """The manifest that belongs beside `files`: `found` while it speaks of them, else the next."""
    if found is not None and found.content is not None and manifest_is_current(found, files):
        return ManagedFile(MANIFEST, found.content, 0o644)
    before = read_manifest(found)
    following = next_manifest(before.generation if before else 0, files, now)
    return ManagedFile(MANIFEST, following.to_bytes(), 0o644)
