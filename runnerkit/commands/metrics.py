"""The metrics command: the facts of status for Prometheus."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runnerkit.commands.shared import (
    AcceptOption,
    ConfigOption,
    HostsArgument,
    load,
    select,
    wait_for_interrupt,
)
from runnerkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runnerkit.config.effective import HostConfig
    from runnerkit.roads import Access

# What a command needs is imported in it: `--help` must not wait for paramiko.
# ruff: noqa: PLC0415


def metrics(
    hosts: HostsArgument = None,
    config: ConfigOption = None,
    textfile: Annotated[
        Path | None,
        typer.Option("--textfile", metavar="FILE", help="Write them there, for node_exporter."),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(
            "--listen", metavar="[ADDRESS:]PORT", help="Serve them; collects on each scrape."
        ),
    ] = None,
    dashboard: Annotated[
        bool, typer.Option("--dashboard", help="Print a Grafana dashboard of them instead.")
    ] = False,
    accept_new_host_key: AcceptOption = False,
) -> None:
    """Print what status sees as Prometheus metrics; a host that is down is a value, no error."""
    if sum((textfile is not None, listen is not None, dashboard)) > 1:
        raise ConfigError(
            "--textfile, --listen and --dashboard cannot be combined", hint="choose one"
        )
    if dashboard:
        from runnerkit.report.metrics import dashboard_json

        typer.echo(dashboard_json(), nl=False)
        return
    address = _address(listen) if listen is not None else None
    loaded, access = load(config, accept_new_host_key)
    chosen = select(loaded, hosts)
    if address is not None:
        _serve(chosen, access, address)
        return
    text = _collected(chosen, access)
    if textfile is not None:
        from runnerkit.report.files import write_text

        write_text(textfile, text)
    else:
        typer.echo(text, nl=False)


def _address(text: str) -> tuple[str, int]:
    """Loopback without an address: the metrics name hosts and versions."""
    host, colon, port = text.rpartition(":")
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"--listen {text}: there is no such port", hint="e.g. --listen 9750")
    return (host.strip("[]") if colon and host else "127.0.0.1"), int(port)


def _collected(hosts: Sequence[HostConfig], access: Access) -> str:
    from runnerkit.report.metrics import metrics_text
    from runnerkit.watching import Fleet

    with Fleet(hosts, access) as fleet:
        return metrics_text(fleet.look())


def _serve(hosts: Sequence[HostConfig], access: Access, address: tuple[str, int]) -> None:
    from runnerkit.exporter import serving
    from runnerkit.watching import Fleet

    with Fleet(hosts, access) as fleet, serving(fleet, address) as url:
        typer.echo(f"serving {url}; Ctrl-C ends", err=True)
        wait_for_interrupt()
