"""The file that `cache export` writes: what stands at its head, and who may take it in. Pure.

It is one tar archive. The first member says what the rest is: from which engine, and its length
and SHA-256. That member has a fixed size, so that it can be filled in when the rest is written.
"""

from __future__ import annotations

import json
import tarfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from runnerkit.change.packages import version_tuple
from runnerkit.facts.daemon import DaemonFacts
from runnerkit.units import format_bytes

MEMBER = "runnerkit-export.json"
FORMAT = 1
_BLOCK = 512
_TEXT_BYTES = 4096
HEAD_BYTES = _BLOCK + _TEXT_BYTES
"""How long the head is; the tar stream of the data-root begins behind it."""


class NotAnExportError(ValueError):
    """The bytes are not the head of a file that `cache export` wrote."""


@dataclass(frozen=True)
class ExportHead:
    """What an export holds.

    `made` is in Unix seconds; `data_bytes` is what the data takes on a disk, `body_bytes` and
    `sha256` are the length and digest of all that comes after the head.
    """

    kit: str
    host: str
    stack: str
    engine: str
    storage_driver: str
    arch: str
    made: int
    data_bytes: int
    body_bytes: int = 0
    sha256: str = ""

    @property
    def told(self) -> str:
        """One line for a person who is to decide about it."""
        day = datetime.fromtimestamp(self.made, UTC).strftime("%Y-%m-%d %H:%M UTC")
        size = format_bytes(self.data_bytes)
        return f"{size} of {self.host}, engine {self.engine} ({self.arch}), made {day}"

    def to_bytes(self) -> bytes:
        """The head as the archive's first member, always HEAD_BYTES long."""
        text = json.dumps({"format": FORMAT} | asdict(self), indent=1).encode()
        member = tarfile.TarInfo(MEMBER)
        member.size, member.mode, member.mtime = _TEXT_BYTES, 0o600, self.made
        # The room that is left is white space, which JSON allows.
        return member.tobuf(tarfile.USTAR_FORMAT) + text.ljust(_TEXT_BYTES - 1) + b"\n"


def read_head(data: bytes) -> ExportHead:
    """Read the first HEAD_BYTES of a file. Raises NotAnExportError."""
    if len(data) < HEAD_BYTES:
        raise NotAnExportError("it is too short for one")
    try:
        member = tarfile.TarInfo.frombuf(data[:_BLOCK], "utf-8", "strict")
        values: Any = json.loads(data[_BLOCK:HEAD_BYTES])
    except (tarfile.TarError, ValueError):
        raise NotAnExportError("it does not begin as an export does") from None
    if member.name != MEMBER or not isinstance(values, dict):
        raise NotAnExportError("it does not begin as an export does")
    if values.pop("format", None) != FORMAT:
        raise NotAnExportError("another version of runnerkit wrote it")
    try:
        head = ExportHead(**values)
    except TypeError:
        raise NotAnExportError("its head is damaged") from None
    wanted = {name: type(value) for name, value in asdict(_SAMPLE).items()}
    if any(type(value) is not wanted[name] for name, value in asdict(head).items()):
        raise NotAnExportError("its head is damaged")
    return head


_SAMPLE = ExportHead("", "", "", "", "", "", 0, 0)


def misfit(head: ExportHead, engine: DaemonFacts) -> str | None:
    """Why `engine` cannot use the exported data; None when it can.

    Data goes to the same or a newer engine: Docker promises nothing for the way back.
    """
    if head.arch != engine.arch:
        return f"it holds images for {head.arch}, and the host's engine runs {engine.arch}"
    if head.storage_driver != engine.storage_driver:
        return (
            f"it is in the format of the storage driver {head.storage_driver}, "
            f"and the host's engine uses {engine.storage_driver}"
        )
    if version_tuple(engine.version)[:2] < version_tuple(head.engine)[:2]:
        return (
            f"it comes from engine {head.engine}, and the host's engine {engine.version} is older"
        )
    return None


def incomplete(head: ExportHead, file_bytes: int) -> str | None:
    """Why a file of that length cannot be what was exported; None when it can."""
    whole = HEAD_BYTES + head.body_bytes
    if file_bytes == whole and head.sha256:
        return None
    return (
        f"it is not whole: {format_bytes(file_bytes)} ({file_bytes} bytes) "
        f"of {format_bytes(whole)} ({whole} bytes)"
    )
