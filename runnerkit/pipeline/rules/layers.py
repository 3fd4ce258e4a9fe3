"""Rules about the order of layers: what changes often must not stand above what costs. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from runnerkit.pipeline.dockerfile import Dockerfile, Instruction, Stage, dockerignore_leaves_out
from runnerkit.pipeline.finding import Finding, Severity
from runnerkit.pipeline.project import Project
from runnerkit.pipeline.rule import rule
from runnerkit.pipeline.shell_text import Command
from runnerkit.pipeline.tools import CARGO_REGISTRY, INSTALLERS, Tool

# What makes an installation need more than the list of dependencies: the project itself.
OF_PROJECT = ("-e", "--editable", ".", "./")


def copies_all(item: Instruction) -> bool:
    """Whether an instruction copies the whole context."""
    if item.name not in ("COPY", "ADD") or item.flag("from"):
        return False
    return any(word.rstrip("/") in (".", "") for word in item.words[:-1])


def _dependency_tool(command: Command) -> Tool | None:
    """The tool that installs what a list names; None when it needs the sources."""
    if command.program == "cargo" and command.words[1:2] == ("fetch",):
        return CARGO_REGISTRY
    for tool in INSTALLERS:
        if tool.is_used(command) and not command.has(*OF_PROJECT, "-g", "--global"):
            return tool
    return None


@rule("dependencies-after-sources", Severity.WARNING)
def dependencies_after_sources(project: Project) -> Iterator[Finding]:
    """Dependencies are installed after all sources were copied.

    A layer is made again when anything above it changes. With `COPY . .` above it, a change to any
    line of code installs every dependency again; copy only the lists of dependencies first.
    """
    for path, file in project.dockerfiles.items():
        for stage in file.stages:
            copied, installed = 0, set[Tool]()
            for item in _whole(file, stage):
                copied = item.first if copies_all(item) and not copied else copied
                for command in item.commands:
                    tool = _dependency_tool(command)
                    if tool and not copied:
                        installed.add(tool)
                    elif tool and tool not in installed and item in stage.instructions:
                        yield Finding(
                            path,
                            item.first,
                            f"{' '.join(command.words[:3])} runs again after every change, as"
                            f" line {copied} copies everything",
                            "COPY the lists of dependencies, install, then COPY the rest",
                        )


def _whole(file: Dockerfile, stage: Stage) -> Iterator[Instruction]:
    """The instructions of a stage after those of the stages that it begins from."""
    return (item for ancestor in file.lineage(stage) for item in ancestor.instructions)


@rule("apt-update-alone", Severity.WARNING)
def apt_update_alone(project: Project) -> Iterator[Finding]:
    """Package lists are fetched in a layer of their own.

    The layer stays in the cache while the archive moves on: a later installation then asks for
    packages that are gone. Update and install in one RUN.
    """
    for path, file in project.dockerfiles.items():
        for _, run in file.runs():
            verbs = {
                command.words[1]
                for command in run.commands
                if command.program in ("apt-get", "apt") and len(command.words) > 1
            }
            if verbs == {"update"}:
                yield Finding(
                    path,
                    run.first,
                    "apt-get update has a layer of its own",
                    "RUN apt-get update && apt-get install …",
                )


@rule("git-in-context", Severity.WARNING)
def git_in_context(project: Project) -> Iterator[Finding]:
    """The whole context is copied, .git with it.

    Every clone has a different .git, so the layer never comes from the cache and neither does
    anything below it, also when no source has changed.
    """
    ignored = project.dockerignore
    if ignored is not None and dockerignore_leaves_out(ignored, ".git/HEAD"):
        return
    from_top = {x: y for x, y in project.dockerfiles.items() if project.is_built_from_top(x)}
    for path, file in from_top.items():
        for stage in file.stages:
            for item in stage.instructions:
                if copies_all(item):
                    what = "is missing" if ignored is None else "does not name it"
                    yield Finding(
                        path,
                        item.first,
                        f"{item.name} takes .git along: .dockerignore {what}",
                        "write .git into .dockerignore",
                    )
