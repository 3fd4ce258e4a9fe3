"""Reading OpenSSH client configuration: what paramiko's reader leaves out.

`Include` is replaced by the text of the files it names, as it would be read in that place.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from runnerkit.errors import ConfigError

SYSTEM_CONFIG = Path("/etc/ssh/ssh_config")
MAX_DEPTH = 16
_SEPARATOR = re.compile(r"\s*=\s*|\s+")


def read_config() -> str:
    """Return the user's and the system's configuration in one text, the user's first.

    Raises ConfigError for a file that exists but cannot be read.
    """
    user = Path.home() / ".ssh" / "config"
    lines = [
        *_lines(user, user.parent, "Host *", 0),
        "Host *",
        *_lines(SYSTEM_CONFIG, SYSTEM_CONFIG.parent, "Host *", 0),
    ]
    return "\n".join(lines) + "\n"


def _lines(file: Path, base: Path, block: str, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        raise ConfigError(f"{file}: SSH configuration files include each other in a circle")
    try:
        text = file.read_text(encoding="utf-8", errors="surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from None
    for raw in text.splitlines():
        line = raw.strip()
        keyword, _, rest = _SEPARATOR.sub(" ", line, count=1).partition(" ")
        if keyword.lower() in {"host", "match"}:
            block = line
        if keyword.lower() != "include":
            yield line
            continue
        for pattern in _words(file, rest):
            place = base / Path(pattern).expanduser()  # an absolute one stays as it is
            for found in sorted(Path("/").glob(str(place).lstrip("/"))):
                yield from _lines(found, base, block, depth + 1)
                yield block


def _words(file: Path, rest: str) -> list[str]:
    try:
        return shlex.split(rest)
    except ValueError:
        raise ConfigError(f"{file}: an Include line has an unclosed quote") from None
