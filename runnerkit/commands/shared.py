"""What the commands share: their common options, loading, choosing hosts, asking."""

from __future__ import annotations

import getpass
import os
import socket
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runnerkit.errors import ConfigError, ExitCode, RunnerkitError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from runnerkit.change.journal import Owner
    from runnerkit.change.progress import Progress
    from runnerkit.collect.drone_api import Account
    from runnerkit.config.effective import Config, HostConfig
    from runnerkit.roads import Access, Changing

# What a command needs is imported in it: `--help` must not wait for paramiko.
# ruff: noqa: PLC0415


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="The configuration file.",
        envvar="RUNNERKIT_CONFIG",
    ),
]
HostsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="HOST", help="Hosts; all when left out.")
]
HostArgument = Annotated[str, typer.Argument(metavar="HOST", help="A host of the configuration.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable, versioned.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
LockWaitOption = Annotated[
    str | None,
    typer.Option("--lock-wait", metavar="DURATION", help="Wait so long for another change to end."),
]
ForceOption = Annotated[bool, typer.Option("--force", help="End running builds, do not wait.")]
AcceptOption = Annotated[
    bool,
    typer.Option("--accept-new-host-key", help="Trust the key of a host seen for the first time."),
]


def load_config(config: Path | None) -> tuple[Path, Config]:
    """Find and read the configuration; returns its path too. Raises ConfigError."""
    from runnerkit.config.loading import find_config, load

    path = find_config(config, os.environ, Path.cwd())
    return path, load(path)


def load(config: Path | None, accept_new_host_key: bool) -> tuple[Config, Access]:
    """The configuration, and how to get into its hosts; on a terminal by asking if need be."""
    from runnerkit.roads import Access, one_at_a_time
    from runnerkit.secret import Secret

    path, loaded = load_config(config)
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


def owner(command: str) -> Owner:
    """Who this is, for others who find the host locked or a change interrupted."""
    from runnerkit.change.journal import Owner

    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a uid without a name
        user = str(os.getuid())
    return Owner(f"{user}@{socket.gethostname()}", os.getpid(), command)


@contextmanager
def changing_one(
    chosen: HostConfig, access: Access, command: str, lock_wait: str | None
) -> Iterator[tuple[Changing, Progress]]:
    """Hold the lock of one host for the block; the right to change it, and whom to tell of it.

    Raises ConfigError for a `lock_wait` that is no duration, before the host is reached.
    """
    from runnerkit.report.progress import progress_for_terminal
    from runnerkit.roads import changing

    wait, progress = seconds(lock_wait, "--lock-wait") or 0, progress_for_terminal()
    with changing(chosen, access, owner(command), progress, lock_wait=wait) as change:
        yield change, progress


def seconds(text: str | None, option: str) -> int | None:
    """A duration from the command line. Raises ConfigError naming the `option`."""
    from runnerkit.units import Duration

    if text is None:
        return None
    try:
        return int(Duration.parse(text))
    except ValueError as error:
        raise ConfigError(f"{option} {error}", hint=f"e.g. {option} 10m") from None


def select(config: Config, names: list[str] | None) -> tuple[HostConfig, ...]:
    """The named hosts, all without names. Raises ConfigError for one that is not there."""
    from runnerkit.config.loading import select_hosts

    return select_hosts(config, names or [])


def one(config: Config, name: str) -> HostConfig:
    """The host called `name`. Raises ConfigError."""
    return select(config, [name])[0]


def accounts(
    hosts: Sequence[HostConfig], access: Access
) -> Iterable[tuple[Account, list[HostConfig]]]:
    """Each server's account with the hosts that work for it. Raises ConfigError."""
    from runnerkit.collect.drone_api import Account
    from runnerkit.config.loading import resolve_secret

    groups: dict[tuple[str, str, bool], list[HostConfig]] = {}
    for host in hosts:
        if host.token is None:
            raise ConfigError(
                f"hosts.{host.name}.token: no API token is configured",
                hint=f"copy yours from {host.server}/account and name its place, "
                "e.g. token: env:DRONE_TOKEN",
            )
        key = (host.server.rstrip("/"), str(host.token), host.tls_verify)
        groups.setdefault(key, []).append(host)
    for (url, source, tls_verify), members in groups.items():
        first = members[0]
        assert first.token is not None  # noqa: S101 - checked above, for all of them
        where = f"hosts.{first.name}.token"
        token = resolve_secret(first.token, where=where, base=access.base)
        shown = where if first.token.kind == "cmd" else source
        yield Account(url, token, shown, tls_verify), members


def ask(question: str, instead: str, *, hint: str) -> str:
    """Ask on a terminal; elsewhere raise ConfigError, naming the argument to give `instead`."""
    if not sys.stdin.isatty():
        raise ConfigError(f"{instead} is missing", hint=hint)
    return str(typer.prompt(question, err=True))


def confirm(question: str, *, yes: bool) -> None:
    """Go on only after a yes. Without a terminal and without --yes: ConfigError."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError("nobody is there to ask", hint="add --yes to go ahead without a question")
    if not typer.confirm(question, err=True):
        typer.echo("nothing was changed", err=True)
        raise typer.Exit(ExitCode.ERROR)


def show_error(error: RunnerkitError) -> ExitCode:
    """Print an expected failure to stderr and give the exit code it stands for."""
    from runnerkit.report.screens import error_text, stderr_console

    stderr_console().print(error_text(error))
    return error.exit_code


def wait_for_interrupt() -> None:
    """Do nothing until Ctrl-C."""
    import threading

    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        return
