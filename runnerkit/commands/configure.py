"""Commands about runnerkit.yml and the files made from it: init, render, config."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runnerkit.commands.shared import (
    AcceptOption,
    ConfigOption,
    HostArgument,
    JsonOption,
    ask,
    load,
    load_config,
    one,
)
from runnerkit.errors import ConfigError, RunnerkitError

if TYPE_CHECKING:
    from runnerkit.config.effective import HostConfig
    from runnerkit.desired.state import DesiredState
    from runnerkit.roads import Access

# What a command needs is imported in it: `--help` must not wait for paramiko.
# ruff: noqa: PLC0415

USAGE = "runnerkit init USER@HOST --server URL"


def init(
    target: Annotated[
        str | None, typer.Argument(metavar="[USER@HOST]", help="Where to log in, or `local`.")
    ] = None,
    server: Annotated[str | None, typer.Option(help="URL of the Drone server.")] = None,
    secret: Annotated[
        str, typer.Option(help="Where the RPC secret is: env:NAME, file:PATH or cmd:COMMAND.")
    ] = "env:DRONE_RPC_SECRET",  # noqa: S107 - the name of a place
    name: Annotated[str | None, typer.Option(help="The host's name in the file.")] = None,
    config: ConfigOption = None,
) -> None:
    """Write a commented runnerkit.yml, or add a host to the one that is there."""
    from runnerkit.config.scaffold import add_host, host_name_from, new_config
    from runnerkit.target import parse_target

    path = config or Path("runnerkit.yml")
    target = target or ask("Where does the host answer (user@host)?", "USER@HOST", hint=USAGE)
    try:
        parse_target(target)
    except ValueError as error:
        raise ConfigError(str(error), hint="e.g. root@forge.lan") from None
    host = name or host_name_from(target)
    if path.exists():
        text = add_host(read_text(path), host, target)
        if server:
            typer.echo(f"{path} is there already: its `server:` stays as it is", err=True)
        done = f"added {host} to {path}"
    else:
        server = server or ask("What is the Drone server's URL?", "--server URL", hint=USAGE)
        text = new_config(target, server, host, secret)
        done = f"wrote {path}"
    check_text(text, path)
    write_text(path, text)
    typer.echo(f"{done}; next: runnerkit plan {host}")


def render(
    host: HostArgument,
    out: Annotated[Path, typer.Option(help="Directory for the files.")],
    config: ConfigOption = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Do not look at the host; assume common values.")
    ] = False,
    redact: Annotated[bool, typer.Option("--redact", help="Leave the secret out.")] = False,
    as_json: JsonOption = False,
    accept_new_host_key: AcceptOption = False,
) -> None:
    """Write the exact files that `up` would put on a host."""
    from runnerkit.change.manifest import manifest_file
    from runnerkit.engine.own_docker import check_compose
    from runnerkit.paths import MANIFEST
    from runnerkit.report.files import write_rendered
    from runnerkit.report.work_list import work_list_json
    from runnerkit.roads import survey

    if offline and as_json:
        raise typer.BadParameter("--json tells what the host needs: it cannot be --offline")
    loaded, access = load(config, accept_new_host_key)
    chosen = one(loaded, host)
    now = int(time.time())
    if offline:
        desired = _assumed(chosen, access, redact=redact)
        files = (*desired.files, manifest_file(None, desired.files, now))
    else:
        with survey(chosen, access) as found:
            desired = found.desired
        files = (
            *desired.files,
            manifest_file(found.facts.system.file(MANIFEST), desired.files, now),
        )
    write_rendered(files, out, redact=redact)
    for ref in desired.unpinned:
        typer.echo(f"not pinned, as the host has no digest of it yet: {ref}", err=True)
    verdict = check_compose(out)
    if verdict.status == "invalid":
        raise RunnerkitError(f"docker compose refuses the files in {out}: {verdict.message}")
    if verdict.status == "absent":
        typer.echo("not checked: there is no docker CLI with compose here", err=True)
    if as_json:
        typer.echo(work_list_json(found.plan, str(desired.paths.directory), files))
    else:
        typer.echo(f"wrote {len(files)} files to {out}")


def _assumed(host: HostConfig, access: Access, *, redact: bool) -> DesiredState:
    from runnerkit.desired.shipped import shipped_files
    from runnerkit.desired.state import build
    from runnerkit.desired.traits import UNKNOWN_HOST
    from runnerkit.roads import rpc_secret
    from runnerkit.secret import Secret

    secret = Secret("redacted") if redact else rpc_secret(host, access)
    return build(host, secret, UNKNOWN_HOST, shipped_files())


def show_config(
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the effective configuration; what you did not set is marked as a default."""
    from runnerkit.report.files import effective_text

    path, loaded = load_config(config)
    typer.echo(effective_text(path, loaded, as_json=as_json), nl=False)


def read_text(path: Path) -> str:
    """The configuration's text. Raises ConfigError."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None


def check_text(text: str, path: Path) -> None:
    """Refuse to write what would not load."""
    from runnerkit.config.loading import load

    with tempfile.NamedTemporaryFile("w", suffix=".yml", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        try:
            load(Path(file.name))
        except ConfigError as error:
            message = error.message.replace(file.name, str(path))
            raise ConfigError(message, hint=error.hint, problems=error.problems) from None


def write_text(path: Path, text: str) -> None:
    """Put `text` in the file's place, whole or not at all. Raises ConfigError."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None
