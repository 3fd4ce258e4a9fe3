"""What package managers and compilers keep, and where: the knowledge behind the cache rules. Pure.

Places are those of each tool's own documentation; `~` is the home of the stage's user.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass

from runnerkit.pipeline.dockerfile import Dockerfile, Instruction, Stage, expand
from runnerkit.pipeline.shell_text import Command


@dataclass(frozen=True)
class Tool:
    """A tool with the folders that a cache mount has to cover, and what moves them.

    `verbs` are its commands that fill or read the cache; `caches` the places that are right,
    best first; `variables` and `options` name another place when they are set.
    """

    name: str
    programs: tuple[str, ...]
    verbs: tuple[str, ...]
    caches: tuple[str, ...]
    variables: tuple[tuple[str, str], ...] = ()
    options: tuple[str, ...] = ()
    locked: bool = False

    def is_used(self, command: Command) -> bool:
        """Whether a command fills or reads the cache."""
        words = _module(command.words)
        if words[0].rpartition("/")[2] not in self.programs:
            return False
        rest = [word for word in words[1:] if not word.startswith(("-", "+"))]
        verbs = [verb.split() for verb in self.verbs]
        return any(rest[: len(verb)] == verb if verb else not rest for verb in verbs)


APT = Tool(
    "apt",
    ("apt-get", "apt", "aptitude"),
    ("install", "upgrade", "dist-upgrade", "full-upgrade", "build-dep"),
    ("/var/cache/apt",),
    locked=True,
)
# https://wiki.alpinelinux.org/wiki/Local_APK_cache: /etc/apk/cache leads to the packages' folder.
APK = Tool(
    "apk",
    ("apk",),
    ("add", "upgrade"),
    ("/var/cache/apk", "/etc/apk/cache"),
    options=("--cache-dir",),
    locked=True,
)
PIP = Tool(
    "pip",
    ("pip", "pip3"),
    ("install", "wheel", "download"),
    ("~/.cache/pip",),
    variables=(("PIP_CACHE_DIR", "."),),
    options=("--cache-dir",),
)
UV = Tool(
    "uv",
    ("uv",),
    ("sync", "pip install", "pip sync", "tool install", "build"),
    ("~/.cache/uv",),
    variables=(("UV_CACHE_DIR", "."),),
    options=("--cache-dir",),
)
POETRY = Tool(
    "poetry",
    ("poetry",),
    ("install", "add"),
    ("~/.cache/pypoetry",),
    variables=(("POETRY_CACHE_DIR", "."),),
)
NPM = Tool(
    "npm",
    ("npm",),
    ("ci", "install", "i", "install-ci-test", "clean-install"),
    ("~/.npm",),
    variables=(("npm_config_cache", "."), ("NPM_CONFIG_CACHE", ".")),
    options=("--cache",),
)
# Yarn 1 keeps root's packages apart: https://classic.yarnpkg.com/lang/en/docs/cli/cache/
YARN = Tool(
    "yarn",
    ("yarn", "yarnpkg"),
    ("install", "workspaces focus", ""),
    ("~/.cache/yarn", "/usr/local/share/.cache/yarn", "~/.yarn/berry/cache", "~/.yarn/berry"),
    variables=(("YARN_CACHE_FOLDER", "."), ("YARN_GLOBAL_FOLDER", "cache")),
    options=("--cache-folder",),
)
PNPM = Tool(
    "pnpm",
    ("pnpm",),
    ("install", "i", "fetch"),
    ("~/.local/share/pnpm/store", "~/.pnpm-store"),
    variables=(
        ("PNPM_HOME", "store"),
        ("npm_config_store_dir", "."),
        ("XDG_DATA_HOME", "pnpm/store"),
    ),
    options=("--store-dir",),
)
GO_MODULES = Tool(
    "go modules",
    ("go",),
    ("mod download",),
    ("~/go/pkg/mod", "/go/pkg/mod"),
    variables=(("GOMODCACHE", "."), ("GOPATH", "pkg/mod")),
)
GO_BUILD = Tool(
    "go build",
    ("go",),
    ("build", "test", "vet", "install", "generate", "run"),
    ("~/.cache/go-build",),
    variables=(("GOCACHE", "."),),
)
CARGO_REGISTRY = Tool(
    "cargo registry",
    ("cargo",),
    ("build", "test", "check", "clippy", "run", "bench", "doc", "fetch", "install", "b", "t"),
    ("~/.cargo/registry", "~/.cargo", "/usr/local/cargo/registry", "/usr/local/cargo"),
    variables=(("CARGO_HOME", "registry"), ("CARGO_HOME", ".")),
)
CARGO_TARGET = Tool(
    "cargo build",
    ("cargo",),
    ("build", "test", "check", "clippy", "run", "bench", "doc", "b", "t"),
    ("./target",),
    variables=(("CARGO_TARGET_DIR", "."),),
    options=("--target-dir",),
)
TOOLS = (
    APT, APK, PIP, UV, POETRY, NPM, YARN, PNPM, GO_MODULES, GO_BUILD, CARGO_REGISTRY, CARGO_TARGET,
)  # fmt: skip
INSTALLERS = (PIP, UV, POETRY, NPM, YARN, PNPM, GO_MODULES)


@dataclass(frozen=True)
class Surroundings:
    """What a RUN finds: its user, home, working directory and environment, as far as is written."""

    user: str
    home: str
    workdir: str
    env: Mapping[str, str]


def surroundings(file: Dockerfile, stage: Stage, instruction: Instruction) -> Surroundings:
    """The user, home, working directory and variables in force at an instruction of a stage."""
    user, workdir = "root", "/"
    env = dict(_known_env(file.root_image(stage)))
    for ancestor in file.lineage(stage):
        for item in ancestor.instructions:
            if ancestor is stage and item.first >= instruction.first:
                break
            if item.name in ("ENV", "ARG"):
                env |= {
                    name: expand(value or file.args.get(name, ""), env)
                    for name, value in item.pairs
                    if value or name in file.args
                }
            elif item.name == "USER" and item.words:
                user = expand(item.words[0], env).partition(":")[0]
            elif item.name == "WORKDIR" and item.words:
                workdir = posixpath.join(workdir, expand(item.words[0], env))
    return Surroundings(user, env.get("HOME") or _home(user), workdir, env)


def _known_env(image: str) -> Mapping[str, str]:
    """What the official images of toolchains set, as their Dockerfiles show."""
    name = image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    known = {"golang": {"GOPATH": "/go"}, "rust": {"CARGO_HOME": "/usr/local/cargo"}}
    return known.get(name, {})


def _home(user: str) -> str:
    if user in ("root", "0", ""):
        return "/root"
    # Without a name there is no telling.
    return "" if user.isdecimal() or "$" in user else f"/home/{user}"


def cache_places(tool: Tool, command: Command, at: Surroundings) -> tuple[str, ...]:
    """Where the tool keeps its cache in this command; a variable that is set decides alone."""
    given = command.options(*tool.options) if tool.options else ()
    if given:
        return tuple(absolute(expand(x, at.env), at) for x in given)
    env = {**at.env, **dict(command.env)}
    moved = [
        posixpath.normpath(posixpath.join(expand(env[name], env), below))
        for name, below in tool.variables
        if env.get(name)
    ]
    return tuple(absolute(x, at) for x in moved or tool.caches)


def absolute(place: str, at: Surroundings) -> str:
    """`place` seen from the working directory, with the home and known variables put in."""
    place = expand(place, at.env)
    if place.startswith("~"):
        place = f"{at.home}{place[1:]}" if at.home else f"*{place[1:]}"
    return place if place.startswith("*") else posixpath.normpath(posixpath.join(at.workdir, place))


def is_at(target: str, places: tuple[str, ...], at: Surroundings) -> bool:
    """Whether a mount's target is one of the places, or holds one; unknown variables may be."""
    path = expand(target, at.env).replace("~", at.home or "~", 1)
    if "$" in path:
        return True
    path = posixpath.normpath(posixpath.join(at.workdir, path))
    for place in places:
        if place.startswith("*"):
            if path.endswith(place[1:]):
                return True
        elif (
            path == place
            or path.startswith(f"{place}/")
            or (path != "/" and place.startswith(f"{path}/"))
        ):
            return True
    return False


def _is_below(path: str, folder: str) -> bool:
    return f"{path}/".startswith(f"{folder}/")


def _module(words: tuple[str, ...]) -> tuple[str, ...]:
    """`python -m pip …` and `corepack pnpm …` as the program that they run."""
    program = words[0].rpartition("/")[2]
    if program.startswith("python") and words[1:2] == ("-m",) and len(words) > 2:
        return words[2:]
    return words[1:] if program == "corepack" and len(words) > 1 else words
