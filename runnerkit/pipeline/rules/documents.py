"""Rules about the documents of `.drone.yml`. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from runnerkit.pipeline.drone import FILE_NAME, untyped
from runnerkit.pipeline.finding import Edit, Finding, Severity
from runnerkit.pipeline.project import Project
from runnerkit.pipeline.rule import rule


@rule("type-missing", Severity.ERROR)
def type_missing(project: Project) -> Iterator[Finding]:
    """A pipeline without a type, which no runner finds.

    The server takes it for `type: docker` and gives it to a Docker runner, which looks for the type
    as it is written: every build ends with an error before its first step.
    """
    for line in untyped(project.drone or ""):
        yield Finding(
            FILE_NAME,
            line,
            "the pipeline has no type, so the runner does not find it",
            "write type: docker below kind: pipeline",
            (Edit(line, "kind: pipeline", "kind: pipeline\ntype: docker"),),
        )
