"""The text of a first runnerkit.yml, and of one with another host. Pure."""

from __future__ import annotations

import io
import re
from ipaddress import ip_address

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from runnerkit.errors import ConfigError
from runnerkit.target import LocalTarget, parse_target

TEMPLATE = """\
# Configuration of runnerkit. `runnerkit config` shows every key with its value;
# `runnerkit plan` shows what a change here would do.

server: {server}
secret: {secret}    # env:NAME, file:PATH or cmd:COMMAND; never the secret itself

defaults:
  runner:
    capacity: 2           # stages at once
  cache:
    max: 50%              # of the disk that holds docker.data, or a size like 40GB
    min_free: 15GB        # leave so much of that disk free
    keep_mounts: 60d      # cache mounts unused for this long go
    keep_layers: 14d      # layers unused for this long go

hosts:
  {name}:
    ssh: {ssh}
"""


def new_config(ssh: str, server: str, name: str, secret: str) -> str:
    """A commented configuration of one host; every value that it spells out is the default."""
    return TEMPLATE.format(
        server=_scalar(server), secret=_scalar(secret), name=_scalar(name), ssh=_scalar(ssh)
    )


def add_host(text: str, name: str, ssh: str) -> str:
    """`text` with one more host; comments and everything else stay as a person wrote them.

    Raises ConfigError when there is such a host already, or when `text` has no hosts.
    """
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    try:
        content = yaml.load(text)
    except YAMLError as error:
        raise ConfigError(f"the file is not YAML: {str(error).splitlines()[0]}") from None
    hosts = content.get("hosts") if isinstance(content, CommentedMap) else None
    if not isinstance(hosts, CommentedMap):
        raise ConfigError("the file has no `hosts:` to add one to")
    if name in hosts:
        raise ConfigError(f"hosts.{name}: is there already", hint="choose another name with --name")
    if hosts.fa.flow_style():
        hosts[name] = {"ssh": ssh}
        out = io.StringIO()
        yaml.dump(content, out)
        return out.getvalue()
    return _inserted(text, content, hosts, name, ssh)


def _inserted(text: str, content: CommentedMap, hosts: CommentedMap, name: str, ssh: str) -> str:
    """The new lines go right before the key that follows `hosts`, or to the end."""
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    first = hosts.lc.key(next(iter(hosts)))
    start = content.lc.key("hosts")[0]
    following = [content.lc.key(key)[0] for key in content if content.lc.key(key)[0] > start]
    end = min(following, default=len(lines))
    while end > first[0] + 1 and (not lines[end - 1].strip() or lines[end - 1].startswith("#")):
        end -= 1
    indent = " " * first[1]
    entry = [f"{indent}{_scalar(name)}:\n", f"{indent}  ssh: {_scalar(ssh)}\n"]
    return "".join(lines[:end] + entry + lines[end:])


def host_name_from(ssh: str) -> str:
    """A short name for a login: the first label of its host, or `host-` and its address."""
    target = parse_target(ssh)
    if isinstance(target, LocalTarget):
        return "local"
    try:
        address = ip_address(target.host)
    except ValueError:
        return re.sub(r"[^A-Za-z0-9-]", "-", target.host.split(".")[0]).strip("-") or "host"
    return "host-" + re.sub(r"[^0-9a-f]+", "-", str(address)).strip("-")


def _scalar(text: str) -> str:
    if re.fullmatch(r"[A-Za-z_/][\w./@:-]*", text) and ": " not in text and text.lower() not in (
        "true", "false", "null", "yes", "no", "on", "off",
    ):  # fmt: skip
        return text
    return "'" + text.replace("'", "''") + "'"
