"""Rules about cache mounts: that they are there, at the right place, for this user. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from runnerkit.pipeline.dockerfile import Dockerfile, Instruction, Mount, Stage
from runnerkit.pipeline.finding import Edit, Finding, Severity
from runnerkit.pipeline.project import Project
from runnerkit.pipeline.rule import rule
from runnerkit.pipeline.shell_text import Command
from runnerkit.pipeline.tools import (
    APK,
    APT,
    CARGO_REGISTRY,
    CARGO_TARGET,
    GO_BUILD,
    GO_MODULES,
    TOOLS,
    Surroundings,
    Tool,
    cache_places,
    is_at,
    surroundings,
)

LOCKED = (APT, APK)
APT_LISTS = ("/var/lib/apt", "/var/lib/apt/lists")
OWN_SETTINGS = ("uid", "mode")


def caches(run: Instruction) -> tuple[Mount, ...]:
    """The cache mounts of a RUN."""
    return tuple(mount for mount in run.mounts if mount.kind == "cache")


def needs(
    file: Dockerfile, stage: Stage, run: Instruction, at: Surroundings
) -> Iterator[tuple[Tool, Command, tuple[str, ...]]]:
    """The tools of a RUN that keep something, with the command and the places they keep it at."""
    spared = {CARGO_TARGET} if _is_cooked(file, stage, run) else set()
    for command in run.commands:
        for tool in TOOLS:
            if tool is CARGO_REGISTRY and _is_offline(command):
                continue
            if tool not in spared and tool.is_used(command):
                yield tool, command, cache_places(tool, command, at)
        if GO_BUILD.is_used(command) and _modules_are_mounted(file, stage, run):
            yield GO_MODULES, command, cache_places(GO_MODULES, command, at)


def _is_offline(command: Command) -> bool:
    return command.has("--offline", "--frozen")


def _is_cooked(file: Dockerfile, stage: Stage, run: Instruction) -> bool:
    """Whether cargo-chef built the dependencies before, into a layer that a mount would hide."""
    return any(
        command.words[:3] == ("cargo", "chef", "cook")
        for item in _before(file, stage, run)
        for command in item.commands
    )


def _before(file: Dockerfile, stage: Stage, run: Instruction) -> Iterator[Instruction]:
    """The RUNs of a stage, and of those that it begins from, that came earlier."""
    for ancestor in file.lineage(stage):
        yield from (item for item in ancestor.of("RUN") if item.first < run.first)


def _modules_are_mounted(file: Dockerfile, stage: Stage, run: Instruction) -> bool:
    """Whether `go mod download` filled a cache mount before, so that no layer has the modules."""
    return any(
        GO_MODULES.is_used(command) and caches(item)
        for item in _before(file, stage, run)
        for command in item.commands
    )


def _unmet(
    file: Dockerfile, stage: Stage, run: Instruction
) -> Iterator[tuple[Tool, tuple[str, ...], Mount | None]]:
    """Tools of a RUN without a mount at their place, and a mount that serves none of its tools."""
    at = surroundings(file, stage, run)
    wanted = {tool: places for tool, _, places in needs(file, stage, run, at)}
    every = [place for places in wanted.values() for place in (*places, *APT_LISTS)]
    stray = [x for x in caches(run) if not is_at(x.target, tuple(every), at)]
    for tool, places in wanted.items():
        if not any(is_at(mount.target, places, at) for mount in caches(run)):
            yield tool, places, stray.pop(0) if stray else None


def _shown(place: str) -> str:
    return place.replace("*", "$HOME", 1)


@rule("cache-mount-missing", Severity.WARNING)
def cache_mount_missing(project: Project) -> Iterator[Finding]:
    """A package manager or compiler runs without its cache mount.

    When anything above it changes, all is downloaded or compiled again; with the mount only what
    is new. Each RUN that calls the tool needs the mount: it is not part of any layer.
    """
    for path, file in project.dockerfiles.items():
        for stage, run in file.runs():
            for tool, places, stray in _unmet(file, stage, run):
                if stray is None:
                    extra = ",sharing=locked" if tool.locked else ""
                    yield Finding(
                        path,
                        run.first,
                        f"{tool.name} keeps {_shown(places[0])}, which is no cache mount here",
                        f"RUN --mount=type=cache,target={_shown(places[0])}{extra} …",
                    )


@rule("cache-mount-target", Severity.ERROR)
def cache_mount_target(project: Project) -> Iterator[Finding]:
    """A cache mount lies where the tool does not look.

    The place depends on the tool, the user's home, the working directory and variables such as
    GOCACHE. At any other place the mount stays empty, and nobody notices but the clock.
    """
    for path, file in project.dockerfiles.items():
        for stage, run in file.runs():
            for tool, places, stray in _unmet(file, stage, run):
                if stray is not None:
                    at = surroundings(file, stage, run)
                    yield Finding(
                        path,
                        run.first,
                        f"{tool.name} of user {at.user} keeps {_shown(places[0])},"
                        f" the mount is at {stray.target or 'no target'}",
                        f"target={_shown(places[0])}",
                    )


@rule("cache-mount-owner", Severity.ERROR)
def cache_mount_owner(project: Project) -> Iterator[Finding]:
    """A cache mount that the user of the stage cannot write to.

    BuildKit makes the mount's folder for root with mode 0755 unless uid, gid or mode say
    otherwise. For any other user the tool then fails, or goes on without its cache.
    """
    for path, file in project.dockerfiles.items():
        for stage, run in file.runs():
            user = surroundings(file, stage, run).user
            if user in ("root", "0", "") or "$" in user:
                continue
            for mount in caches(run):
                if not mount.get(*OWN_SETTINGS):
                    owner = user if user.isdecimal() else "1000"
                    yield Finding(
                        path,
                        run.first,
                        f"{mount.target} belongs to root, the RUN to {user}",
                        f"add uid={owner},gid={owner}, the numbers of {user}",
                    )


@rule("cache-sharing", Severity.ERROR)
def cache_sharing(project: Project) -> Iterator[Finding]:
    """The cache of apt or apk is open to several builds at once.

    Both lock their folders and fail when another build holds the lock, as happens on a runner with
    a capacity above one. `sharing=locked` makes the second build wait.
    """
    for path, file in project.dockerfiles.items():
        for stage, run in file.runs():
            at = surroundings(file, stage, run)
            tools = {tool for tool, _, _ in needs(file, stage, run, at)}
            places = [x for tool in LOCKED if tool in tools for x in tool.caches]
            places += APT_LISTS if APT in tools else ()
            for mount in caches(run):
                sharing = mount.get("sharing") or "shared"
                if sharing == "shared" and is_at(mount.target, tuple(places), at):
                    yield Finding(
                        path,
                        run.first,
                        f"{mount.target} is shared by builds that run at the same time",
                        "add sharing=locked to the mount",
                        _locked(project, path, run, mount),
                    )


def _locked(project: Project, path: str, run: Instruction, mount: Mount) -> tuple[Edit, ...]:
    old = "--mount=" + ",".join(f"{name}={value}" for name, value in mount.options)
    new = old.replace("sharing=shared", "sharing=locked")
    new = new if new != old else f"{old},sharing=locked"
    for number in range(run.first, run.last + 1):
        if f"{old} " in f"{project.line(path, number)} ":
            return (Edit(number, old, new),)
    return ()


@rule("docker-clean", Severity.WARNING)
def docker_clean(project: Project) -> Iterator[Finding]:
    """The apt cache is emptied after each installation by the image itself.

    Debian's and Ubuntu's images have /etc/apt/apt.conf.d/docker-clean, which deletes downloaded
    packages. The cache mount then never holds any.
    """
    for path, file in project.dockerfiles.items():
        for stage, run in file.runs():
            at = surroundings(file, stage, run)
            uses_apt = any(APT.is_used(command) for command in run.commands)
            mounted = any(is_at(mount.target, APT.caches, at) for mount in caches(run))
            if not uses_apt or not mounted or _clean_is_gone(file, stage, run):
                continue
            yield Finding(
                path,
                run.first,
                "docker-clean deletes what apt has downloaded into the cache mount",
                "rm -f /etc/apt/apt.conf.d/docker-clean before apt-get update",
                _remove_clean(project, path, run),
            )


def _clean_is_gone(file: Dockerfile, stage: Stage, run: Instruction) -> bool:
    return any(
        "docker-clean" in word
        for ancestor in file.lineage(stage)
        for item in ancestor.of("RUN")
        if item.first <= run.first
        for word in (*item.words, *item.heredocs)
    )


def _remove_clean(project: Project, path: str, run: Instruction) -> tuple[Edit, ...]:
    old = "apt-get update"
    for number in range(run.first, run.last + 1):
        if old in project.line(path, number):
            return (Edit(number, old, f"rm -f /etc/apt/apt.conf.d/docker-clean && {old}"),)
    return ()
