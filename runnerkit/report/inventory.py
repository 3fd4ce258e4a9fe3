"""A configuration as an inventory for Ansible: the same hosts with the role's variables."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runnerkit.config.effective import Config, HostConfig, leaves
from runnerkit.config.values import SecretSource
from runnerkit.report.role import NOT_FOR_ROLES, PREFIX, Template, Unsafe, to_yaml
from runnerkit.target import LocalTarget, parse_target

GROUP = "runners"

# What Ansible has variables of its own for; the role follows those.
_LOGIN = ("ssh", "identity", "sudo", "sudo_password")


def inventory_files(config: Config, base: Path) -> Mapping[str, str]:
    """File name to text: inventory.yml and one file of host_vars for each host.

    Holds no secret, only the lookups that fetch them; relative places are below `base`.
    """
    hosts = {host.name: _login(host, base) for host in config.hosts}
    files = {"inventory.yml": "---\n" + to_yaml({GROUP: {"hosts": hosts}})}
    for host in config.hosts:
        files[f"host_vars/{host.name}.yml"] = "---\n" + to_yaml(_variables(host, base))
    return files


def _login(host: HostConfig, base: Path) -> dict[str, Any]:
    target = parse_target(host.ssh)
    if isinstance(target, LocalTarget):
        found: dict[str, Any] = {"ansible_connection": "local"}
    else:
        given = {"host": target.host, "user": target.user, "port": target.port}
        found = {f"ansible_{key}": value for key, value in given.items() if value is not None}
    if host.identity is not None:
        found["ansible_ssh_private_key_file"] = str(host.identity)
    if host.known_hosts is not None:
        option = shlex.quote(f"UserKnownHostsFile={host.known_hosts}")
        found["ansible_ssh_common_args"] = f"-o {option}"
    if host.sudo:
        found["ansible_become"] = True
    if host.sudo_password is not None:
        found["ansible_become_password"] = lookup(host.sudo_password, base)
    return {key: _literal(value) for key, value in found.items()}


def _variables(host: HostConfig, base: Path) -> dict[str, Any]:
    """What the file says, be it for this host or for all; what it leaves out stays a default."""
    shown = host.model_dump(mode="json")
    found = {
        PREFIX + path.replace(".", "_"): _literal(_at(shown, path))
        for path, _ in leaves(host)
        if path not in (*_LOGIN, *NOT_FOR_ROLES, "name", "secret")
        and host.origin(path) != "default"
    }
    return found | {f"{PREFIX}secret": lookup(host.secret, base)}


def lookup(source: SecretSource, base: Path) -> Template:
    """The Jinja expression with which Ansible finds the secret in the same place."""
    match source.kind:
        case "env":
            plugin, term = "env", source.place
        case "file":
            plugin, term = "file", str(base / Path(source.place).expanduser())
        case "cmd":
            plugin, term = "pipe", f"cd {shlex.quote(str(base))} && {source.place}"
    quoted = term.replace("\\", "\\\\").replace("'", "\\'")
    return Template("{{ lookup('ansible.builtin." + plugin + "', '" + quoted + "') }}")


def _literal(value: Any) -> Any:
    """`value` with every text marked that Ansible would else take for a template."""
    if isinstance(value, dict):
        return {key: _literal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_literal(item) for item in value]
    if isinstance(value, Template) or not isinstance(value, str):
        return value
    return Unsafe(value) if "{{" in value or "{%" in value or "{#" in value else value


def _at(values: Any, path: str) -> Any:
    for step in path.split("."):
        values = values[step]
    return values
