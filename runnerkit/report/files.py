"""Files and texts for the admin's own machine."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from runnerkit.config.effective import Config, HostConfig, Origin, leaves
from runnerkit.desired.state import ManagedFile
from runnerkit.errors import RunnerkitError


def write_rendered(files: Collection[ManagedFile], out: Path, *, redact: bool) -> None:
    """Write the stack's files below `out`, with the modes that they have on the host.

    With `redact` the secret's line is replaced. Raises RunnerkitError when `out` cannot be
    written or holds something else already.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        strangers = {path.name for path in out.iterdir()} - {file.name for file in files}
        if strangers:
            raise RunnerkitError(
                f"{out} holds other files: {', '.join(sorted(strangers)[:3])}",
                hint="name an empty or new directory with --out",
            )
        for file in files:
            _write(out / file.name, _redacted(file) if redact else file.content, file.mode)
    except OSError as error:
        raise RunnerkitError(f"{out} cannot be written: {error.strerror}") from None


def write_text(path: Path, text: str) -> None:
    """Replace a file of this machine in one step. Raises RunnerkitError."""
    try:
        with NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
            new = Path(file.name)
            try:
                # NamedTemporaryFile makes it 0600; what is written here is for all to read.
                os.fchmod(file.fileno(), 0o644)
                file.write(text)
                file.close()
                new.replace(path)
            except BaseException:
                new.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise RunnerkitError(
            f"{path} cannot be written: {error.strerror}",
            hint="name a file in a directory that is there and may be written to",
        ) from None


def write_texts(files: Mapping[str, str], out: Path) -> None:
    """Write texts below `out`, which must be new or empty. Raises RunnerkitError."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise RunnerkitError(
                f"{out} is not empty", hint="name an empty or new directory with --out"
            )
        for name, text in files.items():
            place = out / name
            place.parent.mkdir(exist_ok=True)
            place.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RunnerkitError(f"{out} cannot be written: {error.strerror}") from None


def _write(path: Path, content: bytes, mode: int) -> None:
    path.unlink(missing_ok=True)
    # Made with its final mode: a secret is at no moment readable by others.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(content)


def _redacted(file: ManagedFile) -> bytes:
    if not file.secret:
        return file.content
    # Only a line feed ends a line: a secret may hold what else Unicode calls the end of one.
    lines = file.content.split(b"\n")
    name = b"DRONE_RPC_SECRET="
    return b"\n".join(name if line.startswith(name) else line for line in lines)


def effective_text(path: Path, config: Config, *, as_json: bool) -> str:
    """Every setting of every host with its value and where that comes from. No secrets.

    Secrets show as the place they are kept in, which is all that the configuration holds.
    """
    hosts = {host.name: _settings(host) for host in config.hosts}
    if as_json:
        shown = {
            name: {key: {"value": value, "from": origin} for key, (value, origin) in found.items()}
            for name, found in hosts.items()
        }
        return json.dumps({"schema_version": 1, "hosts": shown}, indent=2) + "\n"
    lines = [f"# {path}"]
    for name, found in hosts.items():
        lines.append(f"{name}:")
        for key, (value, origin) in found.items():
            text = f"  {key}: {json.dumps(value, ensure_ascii=False)}"
            lines.append(text if origin == "host" else f"{text:<50}  # {origin}")
    return "\n".join(lines) + "\n"


def _settings(host: HostConfig) -> dict[str, tuple[Any, Origin]]:
    values = host.model_dump(mode="json", exclude={"name"})
    return {
        path: (_at(values, path.split(".")), host.origin(path))
        for path, _ in leaves(host)
        if path != "name"
    }


def _at(values: Any, steps: list[str]) -> Any:
    for step in steps:
        values = values[step]
    return values
