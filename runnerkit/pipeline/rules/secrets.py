"""Rules about secrets that end up in images. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from runnerkit.pipeline.drone import FILE_NAME
from runnerkit.pipeline.finding import Finding, Severity
from runnerkit.pipeline.project import Project
from runnerkit.pipeline.rule import rule

SECRET = re.compile(
    r"(?:^|_)(?:PASSWORD|PASSWD|SECRET|SECRET_KEY|TOKEN|API_?KEY|PRIVATE_KEY|ACCESS_KEY|CREDENTIALS?)$",
    re.IGNORECASE,
)
WHERE_IT_IS = re.compile(r"(?:_FILE|_PATH|_URL|_NAME|_DIR)$", re.IGNORECASE)
FIX = "RUN --mount=type=secret,id=NAME …, and docker build --secret id=NAME,env=VARIABLE"


def _is_secret(name: str) -> bool:
    return SECRET.search(name) is not None and WHERE_IT_IS.search(name) is None


@rule("secret-in-image", Severity.ERROR)
def secret_in_image(project: Project) -> Iterator[Finding]:
    """A secret is given to a build as ARG or ENV.

    Both stay in the image's history, which everybody who can pull the image can read, and in the
    daemon's cache. A secret mount is there for one RUN and in no layer.
    """
    for path, file in project.dockerfiles.items():
        for stage in file.stages:
            for item in stage.of("ARG", "ENV"):
                for name, value in item.pairs:
                    if _is_secret(name) and (item.name == "ARG" or value):
                        yield Finding(
                            path,
                            item.first,
                            f"{item.name} {name} stays in the image's history",
                            FIX,
                        )


@rule("secret-in-build-arg", Severity.ERROR)
def secret_in_build_arg(project: Project) -> Iterator[Finding]:
    """A secret is handed over with --build-arg.

    The value is in the image's history and, expanded by the shell, in the arguments that every
    process of the host can list.
    """
    for build in project.builds:
        for value in build.command.options("--build-arg"):
            name = value.partition("=")[0]
            if _is_secret(name):
                yield Finding(FILE_NAME, build.line, f"--build-arg {name} is no place for it", FIX)
