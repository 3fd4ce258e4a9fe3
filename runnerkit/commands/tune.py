"""The command that fits a host's settings to what was measured on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runnerkit.commands.shared import (
    AcceptOption,
    ConfigOption,
    ForceOption,
    HostArgument,
    JsonOption,
    YesOption,
    load,
    load_config,
    one,
)
from runnerkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

# What a command needs is imported in it: `--help` must not wait for paramiko.
# ruff: noqa: PLC0415


def tune(
    host: HostArgument,
    config: ConfigOption = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Write the advice into the file and run `up`.")
    ] = False,
    capacity: Annotated[int | None, typer.Option(help="Set runner.capacity.")] = None,
    cache_max: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Set cache.max, e.g. 60GB or 50%.")
    ] = None,
    min_free: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Set cache.min_free.")
    ] = None,
    keep_mounts: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Set cache.keep_mounts, e.g. 60d.")
    ] = None,
    keep_layers: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Set cache.keep_layers.")
    ] = None,
    as_json: JsonOption = False,
    yes: YesOption = False,
    force: ForceOption = False,
    accept_new_host_key: AcceptOption = False,
) -> None:
    """Measure a host and advise capacity and cache limits, each with its reason.

    With --apply the advice is written into the configuration, comments kept, and `up` runs.
    With values of your own nothing is measured: they are written, and `up` runs.
    """
    given = {
        "runner.capacity": capacity,
        "cache.max": cache_max,
        "cache.min_free": min_free,
        "cache.keep_mounts": keep_mounts,
        "cache.keep_layers": keep_layers,
    }
    values: dict[str, str | int] = {key: x for key, x in given.items() if x is not None}
    if values and (apply or as_json):
        raise ConfigError(
            "values of your own leave nothing to advise",
            hint="leave out --apply and --json; the values are written and `up` runs",
        )
    if not values:
        values = _advised(host, config, as_json, accept_new_host_key)
        if not apply or not values:
            return
    path = _write(config, host, values)
    from runnerkit.commands.change import up

    up([host], path, yes=yes, force=force, accept_new_host_key=accept_new_host_key)


def _advised(
    host: str, config: Path | None, as_json: bool, accept_new_host_key: bool
) -> dict[str, str | int]:
    """Show what was measured; the advised values that differ from those set now."""
    from runnerkit.report.screens import stdout_console
    from runnerkit.report.tune_screens import tune_json, tune_text
    from runnerkit.roads import survey
    from runnerkit.tune_roads import tune_host

    loaded, access = load(config, accept_new_host_key)
    with survey(one(loaded, host), access) as found:
        result = tune_host(found)
    shown = (result.host, result.measured, result.advice)
    if as_json:
        typer.echo(tune_json(*shown))
    else:
        stdout_console().print(tune_text(*shown))
    chosen = {x.key: x.advised for x in result.advice if x.changes and x.advised is not None}
    return {key: int(text) if text.isdigit() else text for key, text in chosen.items()}


def _write(config: Path | None, host: str, values: Mapping[str, str | int]) -> Path:
    """Put the values into the file, which is checked before it is replaced; returns its path."""
    from runnerkit.commands.configure import check_text, read_text, write_text
    from runnerkit.config.edit import set_values

    path, loaded = load_config(config)
    one(loaded, host)
    text = set_values(read_text(path), host, values)
    check_text(text, path)
    write_text(path, text)
    pairs = ", ".join(f"{key} {value}" for key, value in values.items())
    typer.echo(f"wrote {pairs} for {host} to {path}", err=True)
    return path
