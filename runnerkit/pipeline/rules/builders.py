"""Rules about what a pipeline does with the runner's daemon. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from runnerkit.pipeline.drone import FILE_NAME
from runnerkit.pipeline.finding import Edit, Finding, Severity
from runnerkit.pipeline.project import Project
from runnerkit.pipeline.rule import rule
from runnerkit.pipeline.shell_text import commands_of

DESTROYERS = (
    ("docker", "system", "prune"),
    ("docker", "builder", "prune"),
    ("docker", "buildx", "prune"),
    ("docker", "image", "prune"),
    ("docker", "volume", "prune"),
)


@rule("prune-in-pipeline", Severity.WARNING)
def prune_in_pipeline(project: Project) -> Iterator[Finding]:
    """A pipeline cleans up the daemon that all pipelines share.

    It deletes the caches of every other repository, and images that a build at the same time is
    about to run. Clean-up is the runner's own business.
    """
    for _, step in project.steps():
        for line in step.commands:
            for command in commands_of(line):
                if any(command.words[: len(x)] == x for x in DESTROYERS):
                    yield Finding(
                        FILE_NAME,
                        line.line,
                        f"{' '.join(command.words[:3])} reaches every repository's caches",
                        "leave it out; remove your own tag with docker image rm, if you must",
                    )


@rule("builder-without-cache", Severity.WARNING)
def builder_without_cache(project: Project) -> Iterator[Finding]:
    """A builder of the pipeline's own, away from the daemon's cache and images.

    `buildx create` starts a BuildKit container that is empty each time, and what it builds is not
    among the daemon's images, so that no later step can run it.
    """
    for _, step in project.steps():
        for line in step.commands:
            for command in commands_of(line):
                if command.words[:3] == ("docker", "buildx", "create"):
                    yield Finding(
                        FILE_NAME,
                        line.line,
                        "docker buildx create makes a builder that knows no cache",
                        "build with the default builder, which is the daemon's own",
                    )


@rule("build-without-cache", Severity.WARNING)
def build_without_cache(project: Project) -> Iterator[Finding]:
    """A build that is told not to use the layers it has.

    Everything is made again in every pipeline, and each RUN gets empty cache mounts, whatever
    the ones of other builds hold. To refresh base images, --pull is enough.
    """
    for build in project.builds:
        if build.command.has("--no-cache"):
            text = project.line(FILE_NAME, build.line)
            edit = Edit(build.line, " --no-cache ", " ")
            yield Finding(
                FILE_NAME,
                build.line,
                "--no-cache builds every layer again",
                "leave it out",
                (edit,) if text.count(edit.old) == 1 else (),
            )


@rule("buildkit-off", Severity.ERROR)
def buildkit_off(project: Project) -> Iterator[Finding]:
    """BuildKit is switched off.

    The old builder knows neither cache mounts nor secret mounts: a Dockerfile with RUN --mount
    does not build, and stages that nobody asked for are built.
    """
    for pipeline, step in project.steps():
        lines: list[tuple[int, object]] = [
            (step.line_of("environment"), step.environment.get("DOCKER_BUILDKIT")),
            (pipeline.lines.get("environment", 1), pipeline.environment.get("DOCKER_BUILDKIT")),
        ]
        for line in step.commands:
            values = [dict(command.env).get("DOCKER_BUILDKIT") for command in commands_of(line)]
            lines += [(line.line, value) for value in values]
        for number, value in lines:
            if value == "0":
                yield Finding(
                    FILE_NAME,
                    number,
                    "DOCKER_BUILDKIT=0 switches to the builder without cache mounts",
                    "leave it out",
                )
