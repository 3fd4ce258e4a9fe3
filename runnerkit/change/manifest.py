"""manifest.json: what was written to a stack's directory, by which version, and when."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from runnerkit import __version__
from runnerkit.desired.state import ManagedFile
from runnerkit.facts.host import RemoteFile


@dataclass(frozen=True)
class Manifest:
    """`files` maps names to sha256; `written_at` is Unix seconds."""

    files: dict[str, str]
    version: str
    generation: int
    written_at: int

    def to_bytes(self) -> bytes:
        """The file's content."""
        record = {
            "files": self.files,
            "generation": self.generation,
            "runnerkit": self.version,
            "written_at": self.written_at,
        }
        return (json.dumps(record, indent=2, sort_keys=True) + "\n").encode()


def read_manifest(file: RemoteFile | None) -> Manifest | None:
    """The manifest in `file`; None where there is none that can be read."""
    if file is None or file.content is None:
        return None
    try:
        record = json.loads(file.content)
        return Manifest(
            files={str(name): str(digest) for name, digest in record["files"].items()},
            version=str(record["runnerkit"]),
            generation=int(record["generation"]),
            written_at=int(record["written_at"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def manifest_is_current(file: RemoteFile | None, files: Iterable[ManagedFile]) -> bool:
    """Whether the manifest on the host speaks of exactly these files."""
    manifest = read_manifest(file)
    return manifest is not None and manifest.files == {item.name: item.sha256 for item in files}


def next_manifest(previous: Manifest | None, files: Iterable[ManagedFile], now: int) -> Manifest:
    """The manifest for `files`, one generation on. `now` is Unix seconds."""
    return Manifest(
        files={item.name: item.sha256 for item in files},
        version=__version__,
        generation=(previous.generation if previous else 0) + 1,
        written_at=now,
    )
