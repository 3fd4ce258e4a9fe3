"""Rules about how a build uses its cache mounts. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from runnerkit.pipeline.dockerfile import Dockerfile, Instruction, Mount, Stage
from runnerkit.pipeline.finding import Edit, Finding, Severity
from runnerkit.pipeline.project import Project
from runnerkit.pipeline.rule import rule
from runnerkit.pipeline.rules.cache_mounts import caches
from runnerkit.pipeline.shell_text import Command
from runnerkit.pipeline.tools import (
    GO_BUILD,
    GO_MODULES,
    TOOLS,
    Surroundings,
    Tool,
    absolute,
    cache_places,
    is_at,
    surroundings,
)

# Flags and variables that switch a cache off, by the tool's program.
SWITCHES = {
    "pip": "--no-cache-dir",
    "pip3": "--no-cache-dir",
    "apk": "--no-cache",
    "uv": "--no-cache",
}
SWITCH_VARIABLES = {"pip": "PIP_NO_CACHE_DIR", "pip3": "PIP_NO_CACHE_DIR", "uv": "UV_NO_CACHE"}
READERS = ("cp", "mv", "install", "cat", "strip", "ln")
CLEANERS = (
    ("apt-get", "clean"),
    ("apt", "clean"),
    ("npm", "cache", "clean"),
    ("yarn", "cache", "clean"),
    ("pnpm", "store", "prune"),
    ("pip", "cache", "purge"),
    ("uv", "cache", "clean"),
    ("go", "clean", "-cache"),
    ("go", "clean", "-modcache"),
)


@rule("cache-defeated", Severity.WARNING)
def cache_defeated(project: Project) -> Iterator[Finding]:
    """A cache is mounted and then switched off or emptied.

    Options and clean-ups that keep layers small are for builds without cache mounts. A mount is in
    no layer, so they save nothing here and cost everything that was kept.
    """
    for path, file in project.dockerfiles.items():
        for stage, run in file.runs():
            if not caches(run):
                continue
            at = surroundings(file, stage, run)
            for command in run.commands:
                why = _defeats(command, caches(run), at)
                if why:
                    yield Finding(
                        path, run.first, why, "leave it out", _without(project, path, run, command)
                    )


def _defeats(command: Command, mounts: tuple[Mount, ...], at: Surroundings) -> str:
    words = command.words
    program = words[3] if words[1:3] == ("-m", "pip") and len(words) > 3 else command.program
    name = "pip" if words[1:3] == ("-m", "pip") else program
    installs = any(tool.is_used(command) for tool in TOOLS)
    if installs and SWITCHES.get(name) in words:
        return f"{name} {SWITCHES[name]} does not use the cache that is mounted"
    if installs and at.env.get(SWITCH_VARIABLES.get(name, ""), "") not in ("", "0", "off"):
        return f"{SWITCH_VARIABLES[name]} switches off the cache that is mounted"
    if any((name, *words[1 : len(cleaner)]) == cleaner for cleaner in CLEANERS):
        return f"{' '.join(words)} empties the cache that is mounted"
    if name == "rm":
        for word in words[1:]:
            path = absolute(word, at)
            if any(f"{path}/".startswith(f"{absolute(x.target, at)}/") for x in mounts):
                return f"rm deletes {word}, which is in a cache mount"
    return ""


def _without(project: Project, path: str, run: Instruction, command: Command) -> tuple[Edit, ...]:
    flag = next((word for word in command.words if word in SWITCHES.values()), "")
    for number in range(run.first, run.last + 1) if flag else ():
        line = project.line(path, number)
        if line.count(f" {flag} ") == 1:
            return (Edit(number, f" {flag} ", " "),)
    return ()


@rule("artifact-in-cache", Severity.ERROR)
def artifact_in_cache(project: Project) -> Iterator[Finding]:
    """A result is left in a cache mount and looked for outside of it.

    The content of a cache mount is in no layer: `COPY --from`, a later RUN and the running
    container find an empty folder. Copy the result out in the RUN that makes it.
    """
    for path, file in project.dockerfiles.items():
        for stage in file.stages:
            for item in stage.instructions:
                for word, owner in _paths_used(file, stage, item):
                    target = _mounted_earlier(file, owner, item, word)
                    if target:
                        yield Finding(
                            path,
                            item.first,
                            f"{word} is in the cache mount {target}, not in the image",
                            f"cp {word} elsewhere in the RUN with the mount",
                        )


def _paths_used(file: Dockerfile, stage: Stage, item: Instruction) -> Iterator[tuple[str, Stage]]:
    """Paths that an instruction reads, and the stage whose files they are."""
    source = file.stage(item.flag("from")) if item.name == "COPY" and item.flag("from") else None
    if source is not None:
        yield from ((posixpath.join("/", word), source) for word in item.words[:-1])
    elif item.name in ("CMD", "ENTRYPOINT"):
        yield from ((word, stage) for word in item.words if word.startswith("/"))
    elif item.name == "RUN":
        at = surroundings(file, stage, item)
        mine = [absolute(mount.target, at) for mount in item.mounts]
        for command in item.commands:
            if command.program in READERS or "/" in command.words[0]:
                for word in command.words:
                    place = absolute(word, at)
                    if "/" in word and not any(_is_below(place, x) for x in mine):
                        yield place, stage


def _mounted_earlier(file: Dockerfile, stage: Stage, item: Instruction, path: str) -> str:
    for ancestor in file.lineage(stage):
        for run in ancestor.of("RUN"):
            if ancestor is stage and stage.index == _index(file, item) and run.first >= item.first:
                break
            at = surroundings(file, ancestor, run)
            for mount in caches(run):
                if _is_below(path, absolute(mount.target, at)):
                    return mount.target
    return ""


def _index(file: Dockerfile, item: Instruction) -> int:
    return max(stage.index for stage in file.stages if stage.line < item.first)


def _is_below(path: str, folder: str) -> bool:
    return folder not in ("", "/") and f"{path}/".startswith(f"{folder}/")


OFFLINE_VARIABLES = {"GOPROXY": "off", "CARGO_NET_OFFLINE": "true", "UV_OFFLINE": "1"}


@rule("warm-cache-needed", Severity.ERROR)
def warm_cache_needed(project: Project) -> Iterator[Finding]:
    """A build that works only while its cache is warm.

    Offline, the packages have to be in the cache mount. But the garbage collector may empty it at
    any time, another runner never had it, and the layer that filled it is not run again.
    """
    for path, file in project.dockerfiles.items():
        for stage, run in file.runs():
            at = surroundings(file, stage, run)
            for command in run.commands:
                how = _offline(command, at)
                kept = [
                    mount.target
                    for tool in (*_installers(command),)
                    for mount in caches(run)
                    if is_at(mount.target, cache_places(tool, command, at), at)
                ]
                if how and kept and not _fetched(file, stage, command):
                    yield Finding(
                        path,
                        run.first,
                        f"{command.program} with {how} finds nothing when {kept[0]} is empty",
                        f"leave out {how}: with a warm cache nothing is downloaded anyway",
                    )


def _installers(command: Command) -> Iterator[Tool]:
    if command.program == "go":
        yield GO_MODULES
    yield from (tool for tool in TOOLS if tool.is_used(command) and tool is not GO_BUILD)


def _offline(command: Command, at: Surroundings) -> str:
    flags = ("--offline", "--frozen") if command.program == "cargo" else ("--offline",)
    if command.program in ("pip", "pip3") and not command.options("--find-links", "-f"):
        flags = ("--no-index",)
    for word in command.words:
        if word in flags:
            return word
    env = {**at.env, **dict(command.env)}
    program = {"go": "GOPROXY", "cargo": "CARGO_NET_OFFLINE", "uv": "UV_OFFLINE"}
    name = program.get(command.program, "")
    return f"{name}={env[name]}" if name and env.get(name) == OFFLINE_VARIABLES[name] else ""


def _fetched(file: Dockerfile, stage: Stage, command: Command) -> bool:
    """`pnpm fetch` leaves what it fetched in node_modules too, so in a layer."""
    return command.program == "pnpm" and any(
        x.words[:2] == ("pnpm", "fetch")
        for ancestor in file.lineage(stage)
        for run in ancestor.of("RUN")
        for x in run.commands
    )
