"""Data-roots on their way between a host and a file of this machine."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from runnerkit.change.export_file import (
    HEAD_BYTES,
    ExportHead,
    NotAnExportError,
    incomplete,
    read_head,
)
from runnerkit.change.progress import Progress
from runnerkit.change.remote import Remote, last_lines
from runnerkit.errors import ActionError, ConfigError
from runnerkit.paths import StackPaths
from runnerkit.units import format_bytes

CHUNK = 1 << 20


def check_writable(file: Path) -> None:
    """Raise ConfigError where `file` cannot be made. Nothing that is there is written over."""
    # Unlike `exists` this takes a folder that may not be entered for one without the file.
    if os.path.lexists(file):
        raise ConfigError(f"{file} is there already", hint="name another file, or remove it")
    if not os.path.isdir(file.parent):  # noqa: PTH112 - likewise
        raise ConfigError(f"{file.parent} is not a directory", hint="name a file in one that is")
    if not os.access(file.parent, os.W_OK | os.X_OK):
        raise ConfigError(f"{file.parent} cannot be written", hint="name a file elsewhere")


def check_room(file: Path, data_bytes: int) -> None:
    """Raise ConfigError where the disk that gets `file` has less than `data_bytes` free."""
    free = shutil.disk_usage(file.parent).free
    if data_bytes > free:
        size, room = format_bytes(data_bytes), format_bytes(free)
        raise ConfigError(
            f"{size} do not fit: {room} are free in {file.parent}",
            hint="name a file on another disk",
        )


def open_export(file: Path) -> ExportHead:
    """The head of a whole export. Raises ConfigError for any other file."""
    try:
        with file.open("rb") as source:
            head = read_head(source.read(HEAD_BYTES))
            size = os.fstat(source.fileno()).st_size
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from None
    except NotAnExportError as error:
        raise ConfigError(
            f"{file} is not a file of `runnerkit cache export`: {error}",
            hint="runnerkit cache export HOST FILE",
        ) from None
    if why := incomplete(head, size):
        raise ConfigError(f"{file} cannot be used: {why}", hint="copy it again, or export anew")
    return head


def export_data(
    remote: Remote, paths: StackPaths, file: Path, head: ExportHead, progress: Progress
) -> None:
    """Write the host's data-root to `file`, which is there whole or not at all, mode 0600.

    Raises ActionError.
    """
    digest, done, said = hashlib.sha256(), 0, bytearray()
    with _new_file(file) as out:
        out.write(head.to_bytes())

        def keep(data: bytes) -> None:
            nonlocal done
            out.write(data)
            digest.update(data)
            done += len(data)
            progress.update(remote.host, done, max(done, head.data_bytes))

        code = remote.follow("export_data", str(paths.data), on_output=keep, on_error=said.extend)
        if code:
            raise ActionError(
                f"{remote.host}: {paths.data} could not be read: {last_lines(bytes(said))}",
                hint="mend what the message names, then run the same command again",
            )
        out.seek(0)
        out.write(replace(head, body_bytes=done, sha256=digest.hexdigest()).to_bytes())


@contextmanager
def _new_file(file: Path) -> Iterator[BinaryIO]:
    """A file that gets its name when the block ends well, synced; else it is gone."""
    partial = file.with_name(f"{file.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as out:
                yield out
                out.flush()
                os.fsync(out.fileno())
            partial.rename(file)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ActionError(
            f"{file} cannot be written: {error.strerror}", hint="name a file on another disk"
        ) from None


def unpack_data(
    remote: Remote, paths: StackPaths, file: Path, head: ExportHead, progress: Progress
) -> None:
    """Unpack `file` beside the host's data-root, and compare it with its digest on the way.

    What is there when this returns is whole; when it raises, nothing is. Raises ActionError.
    """
    sent = hashlib.sha256()

    def body() -> Iterator[bytes]:
        done = 0
        with file.open("rb") as source:
            source.seek(HEAD_BYTES)
            while data := source.read(CHUNK):
                sent.update(data)
                yield data
                done += len(data)
                progress.update(remote.host, done, head.body_bytes)

    try:
        completed = remote.attempt(
            "unpack_data", str(paths.data), str(head.data_bytes), stdin=body()
        )
        if completed.code:
            raise ActionError(
                f"{remote.host}: {file} could not be unpacked: {last_lines(completed.stderr)}",
                hint="nothing was changed; mend what the message names and repeat",
            )
        if sent.hexdigest() != head.sha256:
            raise ActionError(
                f"{remote.host}: {file} is damaged: it is not what was exported",
                hint="nothing was changed; copy the file again, or export anew",
            )
    except OSError as error:
        discard_unpacked(remote, paths)
        raise ActionError(f"{file} cannot be read: {error.strerror}") from None
    except (ActionError, KeyboardInterrupt):
        discard_unpacked(remote, paths)
        raise


def discard_unpacked(remote: Remote, paths: StackPaths) -> None:
    """Delete what was unpacked and not used."""
    remote.script("purge", str(paths.data_incoming), doing="delete the unpacked data")
