"""What kind of project a folder holds, told by its files. Pure."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runnerkit.errors import ConfigError
from runnerkit.pipeline.kinds import Language

# The first file that is there decides.
SIGNS = (
    ("go.mod", Language.GO),
    ("Cargo.toml", Language.RUST),
    ("uv.lock", Language.UV),
    ("requirements.txt", Language.PIP),
    ("pyproject.toml", Language.PIP),
    ("pnpm-lock.yaml", Language.PNPM),
    ("yarn.lock", Language.YARN),
    ("package.json", Language.NPM),
    ("apk.txt", Language.APK),
    ("apt.txt", Language.APT),
    ("Aptfile", Language.APT),
    ("Makefile", Language.APT),
)
# What stands beside them when another tool installs.
STRANGERS = {
    "poetry.lock": "Poetry",
    "Pipfile": "Pipenv",
    "bun.lock": "Bun",
    "bun.lockb": "Bun",
    "deno.json": "Deno",
}
# The files whose content decides something, besides Go's at the top.
READ = (
    "go.mod", "Cargo.toml", "pyproject.toml", "requirements.txt", "requirements-dev.txt",
    "package.json", ".yarnrc.yml", ".python-version", ".nvmrc", "Makefile", "go.work",
)  # fmt: skip


@dataclass(frozen=True)
class Listing:
    """A folder: the paths of its files down to the second level, and what some hold."""

    name: str
    paths: frozenset[str]
    texts: Mapping[str, str] = field(default_factory=dict)

    def has(self, path: str) -> bool:
        """Whether there is such a file or folder."""
        return path in self.paths

    def text(self, path: str) -> str:
        """A file's content; empty when it is not there."""
        return self.texts.get(path, "")

    def toml(self, path: str) -> dict[str, Any]:
        """A TOML file's content. Raises ConfigError when it is none."""
        try:
            return tomllib.loads(self.text(path))
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path} is no TOML: {error}") from None

    def package(self) -> dict[str, Any]:
        """The content of package.json. Raises ConfigError when it is none."""
        try:
            content = json.loads(self.text("package.json") or "{}")
        except ValueError as error:
            raise ConfigError(f"package.json is no JSON: {error}") from None
        if not isinstance(content, dict):
            raise ConfigError("package.json should hold an object")
        return content

    def targets(self) -> frozenset[str]:
        """The targets of the Makefile that are written out."""
        return frozenset(
            re.findall(r"^([A-Za-z][\w-]*):(?!=)", self.text("Makefile"), re.MULTILINE)
        )


def detect(listing: Listing) -> Language:
    """The language that a folder's files tell. Raises ConfigError when they tell none."""
    stranger = next((path for path in STRANGERS if listing.has(path)), None)
    if stranger:
        raise ConfigError(
            f"{stranger} is of {STRANGERS[stranger]}, for which there is no template",
            hint="name one that can install the same with --language, or write the files yourself",
        )
    for path, language in SIGNS:
        if listing.has(path):
            return language
    if any(path.endswith(".sh") for path in listing.paths):
        return Language.APT
    below = [x for x in sorted(listing.paths) if x.rpartition("/")[2] in dict(SIGNS)]
    if below:
        folders = dict.fromkeys(x.rpartition("/")[0] for x in below)
        raise ConfigError(
            f"nothing in {listing.name} itself tells what kind of project it is",
            hint=f"write them for a folder in it: {', '.join(folders)}",
        )
    known = ", ".join(path for path, _ in SIGNS)
    raise ConfigError(
        f"nothing in {listing.name} tells what kind of project it is",
        hint=f"name it with --language, or add one of {known}",
    )
