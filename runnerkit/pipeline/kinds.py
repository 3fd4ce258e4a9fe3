"""The names of what `pipeline init` can write for. Imports nothing: `--help` shows them."""

from __future__ import annotations

from enum import StrEnum


class Language(StrEnum):
    """A project by the tool that installs its dependencies."""

    GO = "go"
    RUST = "rust"
    UV = "uv"
    PIP = "pip"
    PNPM = "pnpm"
    YARN = "yarn"
    NPM = "npm"
    APK = "apk"
    APT = "apt"


class Database(StrEnum):
    """A database that tests may ask for."""

    POSTGRES = "postgres"
    MARIADB = "mariadb"
    REDIS = "redis"
