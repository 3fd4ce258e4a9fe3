"""Rules about what steps do in an image that was built for them. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from runnerkit.pipeline.drone import FILE_NAME
from runnerkit.pipeline.finding import Finding, Severity
from runnerkit.pipeline.project import Project
from runnerkit.pipeline.rule import rule
from runnerkit.pipeline.rules.images import users
from runnerkit.pipeline.shell_text import commands_of
from runnerkit.pipeline.tools import TOOLS


@rule("rebuilt-at-run-time", Severity.WARNING)
def rebuilt_at_run_time(project: Project) -> Iterator[Finding]:
    """A step compiles or installs in the image that was built for it.

    Cache mounts exist while an image is built, not while it runs: here everything is compiled or
    downloaded from nothing, in every pipeline. Do it in a stage, and only run the result.
    """
    for _, step, makers in users(project):
        for line in step.commands if makers else ():
            for command in commands_of(line):
                if any(tool.is_used(command) for tool in TOOLS):
                    yield Finding(
                        FILE_NAME,
                        line.line,
                        f"{' '.join(command.words[:3])} has no cache in {step.name}",
                        "do it in a RUN with the cache mounts, and let the step run what it made",
                    )
