"""Commands about a repository's own build: pipeline lint."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from runnerkit.errors import ExitCode

# What a command needs is imported in it: `--help` must not wait for a parser.
# ruff: noqa: PLC0415

app = typer.Typer(
    name="pipeline",
    no_args_is_help=True,
    help="A repository's Dockerfile and .drone.yml: written right, found wrong.",
)

DirArgument = Annotated[Path, typer.Argument(metavar="[DIR]", help="The repository.")]


class Format(StrEnum):
    """How findings are printed."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    GITHUB = "github"


@app.command()
def lint(
    folder: DirArgument = Path(),
    form: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.TEXT,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what can safely be mended.")] = False,
    untrusted: Annotated[
        bool, typer.Option("--untrusted", help="The repository is not trusted in Drone.")
    ] = False,
) -> None:
    """Find what is wrong in the Dockerfile and .drone.yml; exit 1 on errors and warnings."""
    from runnerkit.pipeline.files import load_project, write_texts
    from runnerkit.pipeline.finding import Severity
    from runnerkit.pipeline.fixing import diff, fixed
    from runnerkit.pipeline.formats import FORMATS
    from runnerkit.pipeline.lint import lint as findings_of

    project = load_project(folder, trusted=not untrusted)
    hits = findings_of(project)
    if fix:
        changed = fixed(project.texts, hits)
        for name, text in changed.items():
            typer.echo(diff(name, project.texts[name], text), nl=False, err=True)
        write_texts(folder, changed)
        hits = findings_of(load_project(folder, trusted=not untrusted))
    typer.echo(FORMATS[form](hits), nl=False)
    if any(hit.rule.severity is not Severity.NOTE for hit in hits):
        raise typer.Exit(ExitCode.ERROR)
