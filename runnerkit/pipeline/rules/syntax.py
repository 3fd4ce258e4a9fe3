"""Rules about parser directives. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from runnerkit.pipeline.finding import Edit, Finding, Severity
from runnerkit.pipeline.project import Project
from runnerkit.pipeline.rule import rule


@rule("custom-syntax", Severity.NOTE)
def custom_syntax(project: Project) -> Iterator[Finding]:
    """A `# syntax` line fetches the Dockerfile's parser from a registry.

    Every build then asks a registry for the frontend's image, also when everything else is in the
    cache: without a way to it, or over a pull limit, nothing builds. The engine's own parser has
    cache and secret mounts and, from Docker 23 on, heredocs.
    """
    for path, file in project.dockerfiles.items():
        if file.syntax:
            line = file.syntax_line
            yield Finding(
                path,
                line,
                f"{file.syntax} is fetched for every build",
                "remove the line, unless you need what only that frontend knows",
                (Edit(line, project.line(path, line), "", whole_line=True),),
            )
