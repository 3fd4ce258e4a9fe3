"""The text of a first runnerkit.yml, and of one with another host. Pure."""

from __future__ import annotations

import ipaddress
import json
import re
from pathlib import Path
from typing import Any

from runnerkit.config.text import parse_yaml
from runnerkit.errors import ConfigError
from runnerkit.target import LocalTarget, parse_target

# A path only: nothing is read here.
SCHEMA = str(Path(__file__).parent.with_name("runnerkit.schema.json"))

TEMPLATE = """\
# yaml-language-server: $schema={schema}
# Configuration of runnerkit. `runnerkit config` shows every key with its value;
# `runnerkit plan` shows what a change here would do.

server: {server}
secret: {secret}    # env:NAME, file:PATH or cmd:COMMAND; never the secret itself

defaults:
  runner:
    capacity: 2           # pipelines at the same time
  cache:
    max: 50%              # of the disk that holds docker.data, or a size like 40GB
    min_free: 15GB        # leave so much of that disk free
    keep_mounts: 60d      # cache mounts unused for this long go
    keep_layers: 14d      # layers unused for this long go

hosts:
  {name}:
    ssh: {ssh}
"""


def new_config(ssh: str, server: str, name: str, secret: str, schema: str = SCHEMA) -> str:
    """A commented configuration of one host; every value that it spells out is the default.

    `schema` is where editors find the JSON Schema: by default the one that is installed.
    """
    values = {"server": server, "secret": secret, "name": name, "ssh": ssh}
    return TEMPLATE.format(schema=schema, **{key: _scalar(x) for key, x in values.items()})


def add_host(text: str, name: str, ssh: str) -> str:
    """`text` with one more host; every other byte stays as a person wrote it.

    Raises ConfigError when there is such a host already, when `text` is no configuration, and
    when the host cannot be added without changing anything else.
    """
    before = parse_yaml(text, "the configuration")
    hosts = before.get("hosts")
    if "hosts" not in before or not isinstance(hosts, dict | None):
        raise ConfigError(
            "the configuration has no `hosts:` to add one to", hint="write hosts: at its end"
        )
    if name in (hosts or {}):
        raise ConfigError(
            f"hosts.{name}: there is such a host already", hint="choose another with --name NAME"
        )
    result = _inserted(text, name, ssh)
    expected = before | {"hosts": (hosts or {}) | {name: {"ssh": ssh}}}
    try:
        right = parse_yaml(result, "the configuration") == expected
    except ConfigError:
        right = False
    if not right:
        raise ConfigError(
            f"{name} cannot be added without changing other lines",
            hint=f"write it below hosts: yourself, as {_entry(name, ssh)}",
        )
    return result


def _inserted(text: str, name: str, ssh: str) -> str:
    from ruamel.yaml import YAML  # noqa: PLC0415 - costs 30 ms

    root: Any = YAML(typ="safe", pure=True).compose(text)
    [(key, hosts)] = [pair for pair in root.value if pair[0].value == "hosts"]
    if getattr(hosts, "flow_style", False) or root.flow_style:
        # Right behind the last host: a trailing comma or a comment may stand before the brace.
        if not hosts.value:
            place, comma = hosts.start_mark.index + 1, ""
        else:
            place, comma = hosts.value[-1][1].end_mark.index, ", "
        return f"{text[:place]}{comma}{_entry(name, ssh)}{text[place:]}"
    indent = hosts.value[0][0].start_mark.column if hosts.value else 2
    first = (hosts.value[0][0] if hosts.value else key).start_mark.line
    following = [
        x.start_mark.line for x, _ in root.value if x.start_mark.line > key.start_mark.line
    ]
    lines = text.splitlines(keepends=True)
    end = min(following, default=len(lines))
    # Comments and blank lines before the next key belong to that key.
    while end > first + 1 and (not lines[end - 1].strip() or lines[end - 1].startswith("#")):
        end -= 1
    newline = "\r\n" if "\r\n" in text else "\n"
    entry = f"{' ' * indent}{_scalar(name)}:{newline}{' ' * indent}  ssh: {_scalar(ssh)}{newline}"
    head = "".join(lines[:end])
    return head + ("" if head.endswith("\n") else newline) + entry + "".join(lines[end:])


def _entry(name: str, ssh: str) -> str:
    return f"{_scalar(name)}: {{ssh: {_quoted(ssh)}}}"


def host_name_from(ssh: str) -> str:
    """A short name for a login: the first label of its host, or `host-` and its address.

    Always one that a configuration takes. Raises ValueError when `ssh` is no target.
    """
    target = parse_target(ssh)
    if isinstance(target, LocalTarget):
        return "local"
    address = target.host.partition("%")[0]
    try:
        shown = str(ipaddress.ip_address(address))
    except ValueError:
        label = re.sub(r"[^A-Za-z0-9-]", "-", target.host.split(".")[0]).strip("-")[:57] or "host"
        return f"host-{label}" if label.startswith("x-") else label
    return "host-" + re.sub(r"[^0-9a-f]+", "-", shown).strip("-")


def _scalar(text: str) -> str:
    """`text` as a YAML scalar, bare where that is plainly the same."""
    words = ("true", "false", "null", "yes", "no", "on", "off")
    bare = re.fullmatch(r"[A-Za-z_/](?:[\w./@:-]*[\w./@-])?", text, re.ASCII)
    return text if bare and text.lower() not in words else _quoted(text)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'" if text.isprintable() else json.dumps(text)
