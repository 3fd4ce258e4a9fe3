"""A repository as its pipeline sees it: Dockerfiles and .drone.yml together. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from runnerkit.pipeline.dockerfile import Dockerfile, Stage
from runnerkit.pipeline.drone import FILE_NAME, Pipeline, Step
from runnerkit.pipeline.shell_text import Command, commands_of

BUILD_WORDS = (
    ("docker", "build"),
    ("docker", "buildx", "build"),
    ("docker", "buildx", "b"),
    ("docker", "image", "build"),
    ("docker", "builder", "build"),
)
# What a build of one commit, and of no other, is called by.
UNIQUE = re.compile(
    r"DRONE_(COMMIT|COMMIT_SHA|COMMIT_AFTER|BUILD_NUMBER|BUILD_CREATED|BUILD_STARTED|STAGE_STARTED)\b"
)
SHELL_VARIABLE = re.compile(r"\$\$?(?:(\w+)|\{(\w+)([^}]*)\})")


@dataclass(frozen=True)
class Build:
    """One `docker build` in a step."""

    pipeline: Pipeline
    step: Step
    command: Command
    line: int

    @cached_property
    def tags(self) -> tuple[str, ...]:
        """The images that it makes, in one spelling."""
        return tuple(reference(tag) for tag in self.command.options("-t", "--tag"))

    @property
    def target(self) -> str:
        """The stage that it builds; empty for the last one."""
        return self.command.option("--target") or ""

    @property
    def dockerfile(self) -> str:
        """The path of its Dockerfile in the repository; empty when that cannot be told."""
        given = self.command.option("-f", "--file")
        if given is not None:
            return "" if "$" in given or given == "-" else posixpath.normpath(given)
        context = self.context
        return posixpath.normpath(posixpath.join(context, "Dockerfile")) if context else ""

    @property
    def context(self) -> str:
        """The folder it sends; empty when it is none of the repository."""
        last = self.command.words[-1]
        return "" if last.startswith("-") or "$" in last or "://" in last else last


@dataclass(frozen=True)
class Project:
    """Everything that the rules look at; paths are relative to the repository.

    `drone` is the text of .drone.yml and `pipelines` what it says; None and none without the file.
    """

    dockerfiles: Mapping[str, Dockerfile] = field(default_factory=dict)
    drone: str | None = None
    pipelines: tuple[Pipeline, ...] = ()
    dockerignore: str | None = None
    trusted: bool = True

    @cached_property
    def texts(self) -> dict[str, str]:
        """The text of every file that rules look into."""
        found = {path: file.text for path, file in self.dockerfiles.items()}
        return found if self.drone is None else found | {FILE_NAME: self.drone}

    def steps(self) -> Iterator[tuple[Pipeline, Step]]:
        """Every step with its pipeline; services are not among them."""
        return ((pipeline, step) for pipeline in self.pipelines for step in pipeline.steps)

    def line(self, file: str, number: int) -> str:
        """A line of a file without its end."""
        return self.texts[file].split("\n")[number - 1].rstrip("\r")

    @cached_property
    def builds(self) -> tuple[Build, ...]:
        """Every `docker build` of every step, in the order of the file."""
        return tuple(self._builds())

    def _builds(self) -> Iterator[Build]:
        for pipeline, step in self.steps():
            for line in step.commands:
                for command in commands_of(line):
                    if any(command.words[: len(x)] == x for x in BUILD_WORDS):
                        yield Build(pipeline, step, command, line.line)

    def is_built_from_top(self, dockerfile: str) -> bool:
        """Whether a build may send the whole repository along with this Dockerfile."""
        contexts = {x.context for x in self.builds if x.dockerfile == dockerfile}
        return not contexts or any(posixpath.normpath(x or ".") == "." for x in contexts)

    def makers(self, pipeline: Pipeline, image: str) -> tuple[Build, ...]:
        """The builds of this pipeline that make an image of this name."""
        wanted = reference(image)
        return tuple(x for x in self.builds if x.pipeline is pipeline and wanted in x.tags)

    def built_stage(self, build: Build) -> tuple[Dockerfile, Stage] | None:
        """The stage that a build ends with; None when it is not among the files."""
        file = self.dockerfiles.get(build.dockerfile)
        if file is None:
            return None
        stage = file.stage(build.target) if build.target else file.stages[-1]
        return None if stage is None else (file, stage)


def reference(image: str) -> str:
    """An image's name in one spelling: with a tag, and variables as `${NAME}`."""
    plain = SHELL_VARIABLE.sub(lambda m: f"${{{m[1] or m[2]}{m[3] or ''}}}", image)
    if "@" in plain:
        return plain
    return plain if ":" in _last_part(plain) else f"{plain}:latest"


def _last_part(image: str) -> str:
    """What stands after the last slash outside of `${…}`; colons inside of them are no tags."""
    return re.sub(r"\$\{[^}]*\}", "", image).rpartition("/")[2]


def is_unique(image: str) -> bool:
    """Whether no other commit's build uses the same name."""
    return UNIQUE.search(image) is not None
