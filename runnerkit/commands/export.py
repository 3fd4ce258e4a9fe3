"""Handing a configuration over to other tools: export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from runnerkit.commands.shared import ConfigOption, load_config

# What a command needs is imported in it: `--help` must not wait for paramiko.
# ruff: noqa: PLC0415


def export(
    to: Annotated[Literal["ansible"], typer.Argument(metavar="ansible", help="For which tool.")],
    out: Annotated[Path, typer.Option(help="Directory for the files, new or empty.")],
    config: ConfigOption = None,
) -> None:
    """Write an inventory and host_vars with which the Ansible role makes the same hosts."""
    from runnerkit.report.files import write_texts
    from runnerkit.report.inventory import inventory_files

    del to  # there is one
    path, loaded = load_config(config)
    files = inventory_files(loaded, path.parent.absolute())
    write_texts(files, out)
    typer.echo(f"wrote {len(files)} files to {out}; next: ansible/README.md")
