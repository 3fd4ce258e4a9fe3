"""Commands about a repository's own build: pipeline init, lint, run, trust."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from runnerkit.commands.pipeline_run import run
from runnerkit.commands.shared import ConfigOption, accounts, load, select
from runnerkit.errors import ConfigError, ExitCode, RunnerkitError
from runnerkit.pipeline.kinds import Database, Language

# What a command needs is imported in it: `--help` must not wait for a parser.
# ruff: noqa: PLC0415

app = typer.Typer(
    name="pipeline",
    no_args_is_help=True,
    help="A repository's Dockerfile and .drone.yml: written, found wrong, run as CI does.",
)

app.command()(run)

DirArgument = Annotated[Path, typer.Argument(metavar="DIR", help="The repository.")]


class Format(StrEnum):
    """How findings are printed."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    GITHUB = "github"


@app.command()
def init(
    folder: DirArgument = Path(),
    language: Annotated[
        Language | None, typer.Option(help="What installs the dependencies; else by the files.")
    ] = None,
    database: Annotated[
        Database | None, typer.Option(help="A service that the tests need.")
    ] = None,
    cache_registry: Annotated[
        str | None,
        typer.Option(
            metavar="REF", help="An image that shares layers; auto: each runner's registry.cache."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show it, write nothing.")] = False,
) -> None:
    """Write Dockerfile, .dockerignore and .drone.yml.

    The kind of project is told by its files. What is there already stays as it is. In a folder of a
    larger repository .drone.yml belongs to the repository's top, where Drone looks for it.
    """
    from runnerkit.pipeline.detect import detect
    from runnerkit.pipeline.drone import FILE_NAME
    from runnerkit.pipeline.files import create_text, read_text, survey, template, top_of
    from runnerkit.pipeline.fixing import diff
    from runnerkit.pipeline.scaffold import added, scaffold

    listing = survey(folder)
    top = top_of(folder)
    below = "" if top == folder.resolve() else folder.resolve().relative_to(top).as_posix()
    texts = scaffold(
        language or detect(listing),
        listing,
        template,
        database=database,
        cache_registry=cache_registry,
        below=below,
    )
    paths = {x: top / x if below and x == FILE_NAME else folder / x for x in texts}
    present = {name: read_text(path) for name, path in paths.items()}
    if below:
        texts[FILE_NAME] = added(present[FILE_NAME], texts[FILE_NAME])
    for name, path in paths.items():
        typer.echo(diff(name, present[name], texts[name]), nl=False, err=True)
        if present[name] not in (None, texts[name]):
            typer.echo(f"{path} is there already and stays as it is", err=True)
    missing = [name for name in texts if present[name] is None]
    for name in [] if dry_run else missing:
        create_text(paths[name], texts[name])
    if dry_run or not missing:
        typer.echo(f"nothing was written; missing: {', '.join(missing) or 'nothing'}")
    else:
        written = ", ".join(str(paths[name]) for name in missing)
        typer.echo(f"wrote {written}; next: runnerkit pipeline lint {top if below else folder}")


@app.command()
def lint(
    folder: DirArgument = Path(),
    form: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.TEXT,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what can safely be mended.")] = False,
    untrusted: Annotated[
        bool, typer.Option("--untrusted", help="The repository is not trusted in Drone.")
    ] = False,
) -> None:
    """Find what is wrong in Dockerfile and .drone.yml.

    Exits 1 on errors and warnings, 0 on notes.
    """
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


@app.command()
def trust(
    repo: Annotated[str, typer.Argument(metavar="OWNER/REPO", help="The repository in Drone.")],
    host: Annotated[
        str | None, typer.Option(help="A host of the server that is meant, if there are several.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Trust a repository in Drone, so that it may mount the daemon's socket; reads it back."""
    from runnerkit.collect.drone_api import set_trusted

    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise ConfigError(f"{repo!r} is no repository", hint="runnerkit pipeline trust OWNER/REPO")
    loaded, access = load(config, accept_new_host_key=False)
    found = [account for account, _ in accounts(select(loaded, [host] if host else []), access)]
    if len(found) > 1:
        raise ConfigError(
            "the hosts work for several servers, or with several tokens",
            hint=f"add --host {loaded.hosts[0].name} for {found[0].url}",
        )
    [account] = found
    trusted = set_trusted(account, repo)
    if not trusted.after:
        raise RunnerkitError(
            f"{account.url} said yes, yet {repo} is not trusted: "
            f"{trusted.login} is no system admin",
            hint="give `token:` that of a system admin "
            "(on the server: DRONE_USER_CREATE=username:NAME,admin:true)",
        )
    typer.echo(f"{repo} {'was trusted already' if trusted.before else 'is trusted now'}")
