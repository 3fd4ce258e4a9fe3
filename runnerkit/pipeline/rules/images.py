"""Rules about images that one step builds and another one runs. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from runnerkit.pipeline.drone import FILE_NAME, Pipeline, Step
from runnerkit.pipeline.finding import Edit, Finding, Severity
from runnerkit.pipeline.order import before, is_graph
from runnerkit.pipeline.project import Build, Project, is_unique, reference
from runnerkit.pipeline.rule import rule

# Words of commands that may build an image without saying so.
OPAQUE = ("bake", "compose", "make ", ".sh")
NEVER_PULLED = ("never", "if-not-exists")


def users(project: Project) -> Iterator[tuple[Pipeline, Step, tuple[Build, ...]]]:
    """Steps and services with the builds of their pipeline that make their image."""
    for pipeline in project.pipelines:
        for step in (*pipeline.steps, *pipeline.services):
            if step.image:
                yield pipeline, step, project.makers(pipeline, step.image)


def _is_pulled(step: Step) -> bool:
    return reference(step.image).endswith(":latest") and step.pull not in NEVER_PULLED


@rule("built-image-pulled", Severity.ERROR)
def built_image_pulled(project: Project) -> Iterator[Finding]:
    """An image that was just built is asked for at a registry.

    Drone pulls an image without a tag, or with :latest, before each step, and the step fails with
    the pull. Another tag is pulled only when it is missing.
    """
    for _, step, makers in users(project):
        if not makers or not _is_pulled(step):
            continue
        line = step.line_of("image")
        text = project.line(FILE_NAME, line)
        indent = text[: len(text) - len(text.lstrip(" -"))].replace("-", " ")
        plain = text.strip(" -").startswith("image:") and "pull" not in step.lines
        yield Finding(
            FILE_NAME,
            line,
            f"{step.image} is built here, and pulled before {step.name} runs",
            "tag it by ${DRONE_COMMIT_SHA}, or add pull: if-not-exists",
            (Edit(line, text, f"{text}\n{indent}pull: if-not-exists", whole_line=True),)
            if plain
            else (),
        )


@rule("tag-not-unique", Severity.WARNING)
def tag_not_unique(project: Project) -> Iterator[Finding]:
    """Two builds at the same time give their images the same name.

    All pipelines of a runner share one daemon. While one commit's image waits to be run, the build
    of another commit takes its tag, and the tests run somebody else's code.
    """
    for _, step, makers in users(project):
        if makers and not is_unique(step.image) and not _is_pulled(step):
            yield Finding(
                FILE_NAME,
                step.line_of("image"),
                f"{step.image} is the same for every commit",
                "tag it by ${DRONE_COMMIT_SHA}, where it is built and where it is run",
            )


@rule("image-never-built", Severity.ERROR)
def image_never_built(project: Project) -> Iterator[Finding]:
    """A step runs an image of this commit that no step builds.

    A tag made of the commit cannot be in a registry before something built it. Drone looks for it
    there and the step fails.
    """
    for _, step, makers in users(project):
        if is_unique(step.image) and not makers and not _pushed(project, step.image):
            yield Finding(
                FILE_NAME,
                step.line_of("image"),
                f"no step builds {step.image}",
                "docker build --tag with exactly this name in an earlier step",
            )


def _pushed(project: Project, image: str) -> bool:
    """Whether another pipeline of the file makes it, or a plugin or script that cannot be read."""
    wanted = reference(image)
    repository = wanted.rpartition(":")[0]
    if any(wanted in build.tags for build in project.builds):
        return True
    for _, step in project.steps():
        if str(step.settings.get("repo") or "") == repository:
            return True
        if any(word in line for line in step.commands for word in OPAQUE):
            return True
    return False


@rule("image-built-later", Severity.ERROR)
def image_built_later(project: Project) -> Iterator[Finding]:
    """A step runs an image before the step that builds it.

    Without `depends_on` steps run in the order of the file; the image is not there yet, or still
    the one of an earlier build.
    """
    for pipeline, step, makers in users(project):
        if not makers or is_graph(pipeline) or step not in pipeline.steps:
            continue
        ended = before(pipeline, step)
        if not any(build.step in ended for build in makers):
            yield Finding(
                FILE_NAME,
                step.line_of("image"),
                f"{step.image} is built by {makers[0].step.name}, which does not run before"
                f" {step.name}",
                f"move {makers[0].step.name} above it",
            )


@rule("depends-on-missing", Severity.ERROR)
def depends_on_missing(project: Project) -> Iterator[Finding]:
    """Steps run at the same time although one needs the other's image.

    One `depends_on` anywhere turns the pipeline into a graph: every step without one starts at
    once, wherever it stands in the file.
    """
    for pipeline, step, makers in users(project):
        if not makers or not is_graph(pipeline) or step not in pipeline.steps:
            continue
        ended = before(pipeline, step)
        if not any(build.step in ended for build in makers):
            yield Finding(
                FILE_NAME,
                step.line_of("depends_on") if step.depends_on else step.line,
                f"{step.name} does not wait for {makers[0].step.name}, which builds its image",
                f"depends_on: [{makers[0].step.name}]",
            )


@rule("depends-on-unknown", Severity.ERROR)
def depends_on_unknown(project: Project) -> Iterator[Finding]:
    """A step waits for one that is not there.

    Drone refuses the pipeline, or leaves the step out, as the name leads nowhere.
    """
    for pipeline, step in project.steps():
        names = {str(other.name) for other in pipeline.steps} | {"clone"}
        names |= {str(other.name) for other in pipeline.services}
        for name in step.depends_on:
            if name not in names:
                yield Finding(
                    FILE_NAME,
                    name.line,
                    f"{step.name} depends on {name}, which is no step of {pipeline.title}",
                    f"one of: {', '.join(sorted(names - {step.name}))}",
                )


@rule("image-not-substituted", Severity.ERROR)
def image_not_substituted(project: Project) -> Iterator[Finding]:
    """A variable in `image:` that Drone does not put in.

    Drone replaces `${NAME}` before it reads the file; `$NAME` and `$${NAME}` are left for a shell,
    and `image:` has none.
    """
    for _, step, _ in users(project):
        plain = step.image.replace("${", "")
        if "$" in plain:
            yield Finding(
                FILE_NAME,
                step.line_of("image"),
                f"{step.image} holds a variable without braces, or with $$",
                "write ${NAME}",
            )


@rule("target-unknown", Severity.ERROR)
def target_unknown(project: Project) -> Iterator[Finding]:
    """A build asks for a stage that its Dockerfile does not have.

    The build fails at once; it is found here before it is pushed.
    """
    for build in project.builds:
        file = project.dockerfiles.get(build.dockerfile)
        if file and build.target and "$" not in build.target and not file.stage(build.target):
            names = (
                ", ".join(stage.name for stage in file.stages if stage.name) or "none with a name"
            )
            yield Finding(
                FILE_NAME,
                build.line,
                f"{build.dockerfile} has no stage {build.target}",
                f"its stages: {names}",
            )
