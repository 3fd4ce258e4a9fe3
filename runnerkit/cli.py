"""The command line: wiring, questions and exit codes. Decisions live elsewhere."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from runnerkit import __version__
from runnerkit.errors import ConfigError, ExitCode, RunnerkitError

if TYPE_CHECKING:
    from runnerkit.config import Config, HostConfig
    from runnerkit.health import HealthReport
    from runnerkit.plan import Plan
    from runnerkit.roads import Access, Survey

# What a command needs is imported in it: `--help` and `config` must not wait for paramiko.
# ruff: noqa: PLC0415

app = typer.Typer(
    name="runnerkit",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="Provision and look after Drone runners that own a persistent Docker daemon.",
)

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="The configuration file.", envvar="RUNNERKIT_CONFIG"),
]
HostsArgument = Annotated[list[str] | None, typer.Argument(help="Hosts; all when left out.")]
HostArgument = Annotated[str, typer.Argument(help="A host of the configuration.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable, versioned.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
ForceOption = Annotated[bool, typer.Option("--force", help="End running builds, do not wait.")]
AcceptOption = Annotated[
    bool,
    typer.Option("--accept-new-host-key", help="Trust the key of a host seen for the first time."),
]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"runnerkit {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    del version


@app.command()
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
    from runnerkit.scaffold import add_host, host_name_from, new_config
    from runnerkit.target import parse_target

    path = config or Path("runnerkit.yml")
    target = target or _ask("Where does the host answer (user@host)?", "init USER@HOST")
    try:
        parse_target(target)
    except ValueError as error:
        raise ConfigError(str(error), hint="e.g. root@forge.lan") from None
    host = name or host_name_from(target)
    if path.exists():
        text = add_host(_read(path), host, target)
        if server:
            typer.echo(f"{path} is there already: its `server:` stays as it is", err=True)
        done = f"added {host} to {path}"
    else:
        server = server or _ask("What is the Drone server's URL?", "--server URL")
        text = new_config(target, server, host, secret)
        done = f"wrote {path}"
    _check_config_text(text, path)
    _write_new(path, text)
    typer.echo(f"{done}; next: runnerkit plan {host}")


@app.command()
def render(
    host: HostArgument,
    out: Annotated[Path, typer.Option(help="Directory for the files.")],
    config: ConfigOption = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Do not look at the host; assume common values.")
    ] = False,
    redact: Annotated[bool, typer.Option("--redact", help="Leave the secret out.")] = False,
    accept_new_host_key: AcceptOption = False,
) -> None:
    """Write the exact files that `up` would put on a host."""
    from runnerkit.docker_port import check_compose
    from runnerkit.output import write_rendered
    from runnerkit.roads import rpc_secret, survey

    loaded, access = _load(config, accept_new_host_key)
    chosen = _one(loaded, host)
    if offline:
        from runnerkit.desired import build
        from runnerkit.secret import Secret
        from runnerkit.shipped import compose_file
        from runnerkit.traits import UNKNOWN_HOST

        secret = Secret("redacted") if redact else rpc_secret(chosen, access)
        desired = build(chosen, secret, UNKNOWN_HOST, compose_file())
    else:
        with survey(chosen, access) as found:
            desired = found.desired
    write_rendered(desired, out, redact=redact)
    verdict = check_compose(out)
    if verdict.status == "invalid":
        raise RunnerkitError(f"docker compose refuses the files in {out}: {verdict.message}")
    typer.echo(f"wrote {len(desired.files)} files to {out}")
    if verdict.status == "absent":
        typer.echo("not checked: there is no docker CLI with compose here", err=True)


@app.command()
def plan(
    hosts: HostsArgument = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit 3 when changes are pending.")
    ] = False,
    accept_new_host_key: AcceptOption = False,
) -> None:
    """Show what `up` would change. Changes nothing."""
    from runnerkit.report import plan_json, plan_text, stdout_console
    from runnerkit.roads import on_each, survey, worst

    loaded, access = _load(config, accept_new_host_key)

    def look(chosen: HostConfig) -> Plan:
        with survey(chosen, access) as found:
            return found.plan

    plans, errors = on_each(_select(loaded, hosts), look)
    if as_json:
        typer.echo(plan_json(plans.values(), errors))
    else:
        console = stdout_console()
        for item in plans.values():
            console.print(plan_text(item))
    codes = [_show_error(error) for error in errors.values()]
    codes += [ExitCode.ERROR for item in plans.values() if item.blockers]
    if not codes and exit_code and any(item.actions for item in plans.values()):
        raise typer.Exit(ExitCode.CHANGES_PENDING)
    raise typer.Exit(worst(codes))


@app.command()
def up(
    hosts: HostsArgument = None,
    config: ConfigOption = None,
    yes: YesOption = False,
    force: ForceOption = False,
    accept_new_host_key: AcceptOption = False,
) -> None:
    """Make the hosts what the configuration says: plan, ask, execute, wait until healthy."""
    from contextlib import ExitStack

    from runnerkit.progress import progress_for_terminal
    from runnerkit.report import health_text, plan_text, stdout_console
    from runnerkit.roads import carry_out, on_each, survey, worst

    loaded, access = _load(config, accept_new_host_key)
    selected = _select(loaded, hosts)
    console = stdout_console()
    progress = progress_for_terminal()
    with ExitStack() as connections:

        def look(chosen: HostConfig) -> Survey:
            return connections.enter_context(survey(chosen, access))

        found, errors = on_each(selected, look)
        for item in found.values():
            console.print(plan_text(item.plan))
        codes = [_show_error(error) for error in errors.values()]
        codes += [ExitCode.ERROR for item in found.values() if item.plan.blockers]
        pending = {n: f for n, f in found.items() if f.plan.actions}
        if pending:
            _confirm(f"Change {', '.join(pending)}?", yes=yes)

        def change(chosen: HostConfig) -> HealthReport:
            return carry_out(pending[chosen.name], progress, force=force)

        reports, failures = on_each([f.host for f in pending.values()], change)
    console.print(health_text(reports.values()))
    codes += [_show_error(error) for error in failures.values()]
    codes += [report.exit_code for report in reports.values()]
    raise typer.Exit(worst(codes))


@app.command()
def status(
    hosts: HostsArgument = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    svg: Annotated[Path | None, typer.Option(help="Write a picture of the screen here.")] = None,
    accept_new_host_key: AcceptOption = False,
) -> None:
    """Show whether the hosts are well; exit 4 when one is not, 5 when one does not answer."""
    from runnerkit.report import health_json, health_text, status_svg, stdout_console
    from runnerkit.roads import on_each, report_of, worst

    loaded, access = _load(config, accept_new_host_key)
    reports, errors = on_each(_select(loaded, hosts), lambda host: report_of(host, access))
    if svg is not None:
        svg.write_text(status_svg(reports.values()), encoding="utf-8")
    if as_json:
        typer.echo(health_json(reports.values()))
    else:
        stdout_console().print(health_text(reports.values()))
    codes = [_show_error(error) for error in errors.values()]
    codes += [report.exit_code for report in reports.values()]
    raise typer.Exit(worst(codes))


@app.command()
def logs(
    host: HostArgument,
    service: Annotated[Literal["dind", "runner"], typer.Argument(help="Whose log.")] = "runner",
    config: ConfigOption = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows.")] = False,
    tail: Annotated[int, typer.Option(help="Lines from the end.", min=0)] = 100,
    accept_new_host_key: AcceptOption = False,
) -> None:
    """Show the log of the runner or of its Docker daemon."""
    from runnerkit.paths import stack_paths
    from runnerkit.roads import reach

    loaded, access = _load(config, accept_new_host_key)
    chosen = _one(loaded, host)
    project = stack_paths(chosen.stack, chosen.docker.data).project
    argv = ["docker", "logs", "--tail", str(tail), *(["--follow"] if follow else [])]
    argv.append(f"{project}-{service}-1")

    def show(chunk: bytes) -> None:
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()

    with reach(chosen, access) as transport:
        code = transport.follow(argv, show)
    if code:
        raise RunnerkitError(
            f"{host}: no log of {service} could be read", hint=f"runnerkit status {host}"
        )


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def docker(
    context: typer.Context,
    host: HostArgument,
    config: ConfigOption = None,
    shell_env: Annotated[
        bool, typer.Option("--shell-env", help="Print DOCKER_HOST and hold the tunnel open.")
    ] = False,
    accept_new_host_key: AcceptOption = False,
) -> None:
    """Run your own docker CLI against the runner's daemon: `runnerkit docker HOST -- ps`."""
    from runnerkit.own_docker import own_docker
    from runnerkit.paths import stack_paths
    from runnerkit.roads import reach

    loaded, access = _load(config, accept_new_host_key)
    chosen = _one(loaded, host)
    socket = stack_paths(chosen.stack, chosen.docker.data).docker_socket
    argv = ["docker", "-H", f"unix://{socket}", "system", "dial-stdio"]
    with (
        tempfile.TemporaryDirectory(prefix="runnerkit-") as folder,
        reach(chosen, access) as transport,
        transport.forward(argv, Path(folder) / "docker.sock") as local,
    ):
        if not shell_env:
            raise typer.Exit(own_docker(context.args, local))
        typer.echo(f"export DOCKER_HOST=unix://{local}")
        sys.stdout.flush()
        _wait_for_interrupt()


@app.command()
def down(
    host: HostArgument,
    config: ConfigOption = None,
    purge: Annotated[
        bool, typer.Option("--purge", help="Also delete the stack's files, images and caches.")
    ] = False,
    yes: YesOption = False,
    force: ForceOption = False,
    accept_new_host_key: AcceptOption = False,
) -> None:
    """Drain and stop the runner and its daemon; with --purge also delete their data."""
    from runnerkit.progress import progress_for_terminal
    from runnerkit.roads import survey, take_down

    loaded, access = _load(config, accept_new_host_key)
    with survey(_one(loaded, host), access) as found:
        paths = found.desired.paths
        places = tuple(str(place) for place in (paths.directory, paths.data, paths.sockets))
        question = f"Stop the runner on {host}?"
        if purge:
            question = f"Stop the runner on {host} and delete {', '.join(places)} for good?"
        _confirm(question, yes=yes)
        take_down(found, progress_for_terminal(), purge=places if purge else (), force=force)
    typer.echo(f"{host}: stopped" + (", data deleted" if purge else "; data kept"))


@app.command("config")
def show_config(
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the effective configuration; what you did not set is marked as a default."""
    from runnerkit.output import effective_text

    path, loaded = _load_config(config)
    typer.echo(effective_text(path, loaded, as_json=as_json), nl=False)


def main() -> NoReturn:
    """Entry point of the `runnerkit` program."""
    logging.getLogger("paramiko").addHandler(logging.NullHandler())
    try:
        app(standalone_mode=True)
    except RunnerkitError as error:
        sys.exit(_show_error(error))
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    sys.exit(ExitCode.OK)


def _load_config(config: Path | None) -> tuple[Path, Config]:
    from runnerkit.loading import find_config, load

    path = find_config(config, os.environ, Path.cwd())
    return path, load(path)


def _load(config: Path | None, accept_new_host_key: bool) -> tuple[Config, Access]:
    from runnerkit.roads import Access, one_at_a_time
    from runnerkit.secret import Secret

    path, loaded = _load_config(config)
    access = Access(base=path.parent.absolute(), accept_new_host_key=accept_new_host_key)
    if not sys.stdin.isatty():
        return loaded, access

    def ask_password(question: str) -> Secret:
        return Secret(typer.prompt(question, hide_input=True, err=True))

    return loaded, Access(
        base=access.base,
        accept_new_host_key=accept_new_host_key,
        ask_host_key=one_at_a_time(lambda question: typer.confirm(question, err=True)),
        ask_password=one_at_a_time(ask_password),
    )


def _select(config: Config, names: list[str] | None) -> tuple[HostConfig, ...]:
    from runnerkit.loading import select_hosts

    return select_hosts(config, names or [])


def _one(config: Config, name: str) -> HostConfig:
    return _select(config, [name])[0]


def _ask(question: str, instead: str) -> str:
    if not sys.stdin.isatty():
        raise ConfigError(f"{instead} is missing", hint=f"runnerkit {instead}")
    return str(typer.prompt(question, err=True))


def _confirm(question: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError("nobody is there to ask", hint="add --yes to go ahead without a question")
    if not typer.confirm(question, err=True):
        typer.echo("nothing was changed", err=True)
        raise typer.Exit(ExitCode.ERROR)


def _show_error(error: RunnerkitError) -> ExitCode:
    from runnerkit.report import error_text, stderr_console

    stderr_console().print(error_text(error))
    return error.exit_code


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None


def _check_config_text(text: str, path: Path) -> None:
    """Refuse to write what would not load."""
    from runnerkit.loading import load

    with tempfile.NamedTemporaryFile("w", suffix=".yml", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        try:
            load(Path(file.name))
        except ConfigError as error:
            message = error.message.replace(file.name, str(path))
            raise ConfigError(message, hint=error.hint, problems=error.problems) from None


def _write_new(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None


def _wait_for_interrupt(wait: Callable[[], object] | None = None) -> None:
    import threading

    try:
        (wait or threading.Event().wait)()
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
