"""Go: modules before sources, and one compilation for tests and program. Pure."""

from __future__ import annotations

import posixpath
import re

from runnerkit.errors import ConfigError
from runnerkit.pipeline.detect import Listing
from runnerkit.pipeline.recipes.filling import Filling

VERSION = "1.24"


def go(listing: Listing) -> Filling:
    """A Go module."""
    version = re.search(r"^go (\d+\.\d+)", listing.text("go.mod"), re.MULTILINE)
    program = _program(listing)
    values = {
        "image": f"golang:{version[1] if version else VERSION}",
        "lists": _lists(listing),
        "build": f"go build -o /app {program}" if program else "go build ./...",
        "ignored": "*.test",
    }
    return Filling("go.Dockerfile", values, has_program=bool(program))


def _program(listing: Listing) -> str:
    """The package of the program; empty for a library."""
    sources = [x for x in listing.texts if x.endswith(".go") and not x.endswith("_test.go")]
    if any(re.search(r"^package main\b", listing.text(x), re.MULTILINE) for x in sources):
        return "."
    commands = sorted(x for x in listing.paths if re.fullmatch(r"cmd/[^/.]+", x))
    return f"./{commands[0]}" if commands else "./cmd" if listing.has("cmd/main.go") else ""


def _lists(listing: Listing) -> str:
    """COPY for the lists of this module and of those beside it that it replaces others with."""
    lists = " ".join(x for x in ("go.mod", "go.sum", "go.work") if listing.has(x))
    used = "\n".join(listing.text(x) for x in ("go.mod", "go.work"))
    beside = re.findall(r"(?:=>|\buse|^)\s*(\.\.?(?:/[\w.-]+)*)\s*$", used, re.MULTILINE)
    folders = sorted({posixpath.normpath(x) for x in beside} - {"."})
    if outside := next((x for x in folders if x.startswith("..")), None):
        raise ConfigError(
            f"go.mod takes {outside}, which lies outside of the folder that is built",
            hint="write these files for the folder that holds both",
        )
    copies = [f"COPY {lists} ./", *(f"COPY {x}/go.* {x}/" for x in folders)]
    return "\n".join(copies)
