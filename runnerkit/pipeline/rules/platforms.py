"""Rules about builds for more than one platform. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from runnerkit.pipeline.dockerfile import Dockerfile, Instruction, Mount, Stage
from runnerkit.pipeline.drone import FILE_NAME
from runnerkit.pipeline.finding import Finding, Severity
from runnerkit.pipeline.project import Build, Project
from runnerkit.pipeline.rule import rule
from runnerkit.pipeline.tools import (
    APT,
    CARGO_TARGET,
    Surroundings,
    Tool,
    cache_places,
    is_at,
    surroundings,
)

PLATFORM_VARIABLES = ("TARGETARCH", "TARGETPLATFORM", "TARGETOS", "TARGETVARIANT")


def _platforms(build: Build) -> list[str]:
    return [x for given in build.command.options("--platform") for x in given.split(",") if x]


@rule("platform-fixed", Severity.WARNING)
def platform_fixed(project: Project) -> Iterator[Finding]:
    """A stage is tied to one platform.

    On a runner of another architecture it is emulated, at a tenth of the speed, or does not start
    at all. `--platform=$BUILDPLATFORM` is for stages that cross-compile.
    """
    for path, file in project.dockerfiles.items():
        for stage in file.stages:
            if stage.platform and "$" not in stage.platform:
                yield Finding(
                    path,
                    stage.line,
                    f"FROM --platform={stage.platform} runs only there without emulation",
                    "leave --platform out, or use $BUILDPLATFORM and cross-compile",
                )


@rule("platform-foreign", Severity.WARNING)
def platform_foreign(project: Project) -> Iterator[Finding]:
    """A build for a platform that the runner does not have.

    The runner's daemon runs foreign programs only where the host has emulation registered with the
    kernel, and then slowly. A pipeline for each architecture builds natively.
    """
    for build in project.builds:
        own = build.pipeline.arch or "amd64"
        foreign = [x for x in _platforms(build) if "$" not in x and x.split("/")[1:2] != [own]]
        if foreign and not _cross_compiles(project, build):
            yield Finding(
                FILE_NAME,
                build.line,
                f"{', '.join(foreign)} is built on {own}",
                "one pipeline with platform: {arch: …} for each, or FROM --platform=$BUILDPLATFORM",
            )


def _cross_compiles(project: Project, build: Build) -> bool:
    file = project.dockerfiles.get(build.dockerfile)
    return file is None or any("BUILDPLATFORM" in stage.platform for stage in file.stages)


@rule("platforms-share-cache", Severity.WARNING)
def platforms_share_cache(project: Project) -> Iterator[Finding]:
    """Builds for several platforms write to one cache mount.

    A cache mount is one folder whatever the platform. Packages of apt and Cargo's target folder
    for one architecture then meet those of another: they overwrite each other, or fail.
    """
    wanted = {build.dockerfile for build in project.builds if len(set(_platforms(build))) > 1}
    for path, file in project.dockerfiles.items():
        for stage, run in file.runs() if path in wanted else ():
            if not stage.platform:
                for target in _unseparated(file, stage, run):
                    yield Finding(
                        path,
                        run.first,
                        f"{target} is the same folder for every platform",
                        "ARG TARGETPLATFORM, and id=NAME-$TARGETPLATFORM in the mount",
                    )


def _unseparated(file: Dockerfile, stage: Stage, run: Instruction) -> Iterator[str]:
    at = surroundings(file, stage, run)
    tools = [x for x in (APT, CARGO_TARGET) if any(x.is_used(y) for y in run.commands)]
    for mount in run.mounts:
        separate = f"{mount.get('id')} {mount.target}".replace("{", "")
        if any(f"${name}" in separate for name in PLATFORM_VARIABLES):
            continue
        if mount.kind == "cache" and any(_serves(tool, run, mount, at) for tool in tools):
            yield mount.target


def _serves(tool: Tool, run: Instruction, mount: Mount, at: Surroundings) -> bool:
    return any(
        is_at(mount.target, cache_places(tool, command, at), at)
        for command in run.commands
        if tool.is_used(command)
    )
