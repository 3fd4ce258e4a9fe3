"""The Ansible role's side of the configuration models: its variables, their defaults and types.

One variable for each key of runnerkit.yml that shapes a host: `cache.max` is
`runnerkit_cache_max`. The role's generated files are made here and written by tests/docs.py.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo

from runnerkit.config.model import HostEntry
from runnerkit.config.schema import allowed, model_leaves
from runnerkit.config.values import LocalPath

PREFIX = "runnerkit_"
HEADER = "# Generated from the configuration models of runnerkit; do not edit.\n"

# Only runnerkit's own commands use these: `images.load` sends archives, `token` asks the server.
NOT_FOR_ROLES = frozenset({"images.load", "token"})

# How to log in is what Ansible knows already, so these follow its own variables. The role looks
# them up before it turns to the controller, where they would tell how to get *there*.
LOGIN = "runnerkit__login"
_FROM_ANSIBLE = {
    "ssh": "{{ 'local' if ansible_connection | default('ssh') == 'local' else "
    "(ansible_user ~ '@' if ansible_user is defined else '') "
    "~ ('[' ~ ansible_host ~ ']' if ':' in ansible_host | default('') "
    "else ansible_host | default(inventory_hostname)) "
    "~ (':' ~ ansible_port if ansible_port is defined else '') }}",
    "identity": "{{ ansible_ssh_private_key_file | default(none) }}",
    "sudo": "{{ ansible_become | default(false) }}",
    "sudo_password": "{{ ansible_become_password | default(none) }}",
}
_REQUIRED = frozenset({"server", "secret"})
# In Ansible these are the secrets themselves, not the places where they are kept.
SECRETS = {
    "secret": "The RPC secret itself, from a vault or a lookup; required.",
    "sudo_password": "sudo's password itself; without it sudo must not ask.",
}

_PROGRAM = "runnerkit"
_PROGRAM_HELP = "The runnerkit program on the controller."


@dataclass(frozen=True)
class Variable:
    """One variable of the role, and the key of runnerkit.yml that it stands for."""

    path: str
    field: FieldInfo

    @property
    def name(self) -> str:
        """The variable's name."""
        return PREFIX + self.path.replace(".", "_")

    @property
    def description(self) -> str:
        """What it does and what is allowed, as in README."""
        text = SECRETS.get(self.path) or self.field.description or ""
        limits = allowed(self.field)
        return f"{text} Allowed: {limits}." if limits and self.kind != "bool" else text

    @property
    def default(self) -> Any:
        """The default as a person writes it in YAML."""
        if self.path in _FROM_ANSIBLE:
            return Template(_FROM_ANSIBLE[self.path])
        value = self.field.default
        if isinstance(value, tuple):
            return list(value)
        plain = value is None or isinstance(value, bool | int | float | str | dict)
        return value if plain else str(value)

    @property
    def kind(self) -> str:
        """Ansible's name for its type; `raw` where several are allowed."""
        kinds = {kind for kind in _kinds(self.field.annotation) if kind}
        return kinds.pop() if len(kinds) == 1 else "raw"

    @property
    def choices(self) -> list[str]:
        """The values of which it must be one; none where others are allowed."""
        annotation = self.field.annotation
        return list(get_args(annotation)) if get_origin(annotation) is Literal else []


def variables() -> tuple[Variable, ...]:
    """All of them, in the order of README's table."""
    leaves = model_leaves(HostEntry)
    return tuple(Variable(path, field) for path, field in leaves if path not in NOT_FOR_ROLES)


def defaults_file() -> str:
    """defaults/main.yml."""
    blocks = [_default(PREFIX + "program", _PROGRAM, _PROGRAM_HELP)]
    blocks += [
        _default(variable.name, variable.default, variable.description)
        for variable in variables()
        if variable.path not in _REQUIRED
    ]
    required = ", ".join(sorted(PREFIX + name for name in _REQUIRED))
    return f"---\n{HEADER}# Without a default, and required: {required}.\n\n" + "\n".join(blocks)


def argument_specs_file() -> str:
    """meta/argument_specs.yml."""
    options: dict[str, Any] = {
        PREFIX + "program": {"type": "str", "default": _PROGRAM, "description": [_PROGRAM_HELP]}
    }
    for variable in variables():
        option: dict[str, Any] = {"type": variable.kind, "description": [variable.description]}
        if variable.path in _REQUIRED:
            option["required"] = True
        elif variable.path not in _FROM_ANSIBLE and variable.default is not None:
            option["default"] = variable.default
        if variable.path in SECRETS:
            option["no_log"] = True
        if variable.kind == "list":
            option["elements"] = "str"
        if variable.choices:
            option["choices"] = variable.choices
        options[variable.name] = option
    spec = {
        "short_description": "A Drone runner with a Docker daemon of its own",
        "description": ["Makes the same files and services as C(runnerkit up)."],
        "options": options,
    }
    return "---\n" + HEADER + to_yaml({"argument_specs": {"main": spec}})


def config_template() -> str:
    """templates/runnerkit.yml.j2: the variables as a configuration of one host.

    One expression, so that numbers stay numbers also where Ansible makes texts of them.
    """
    tree: dict[str, Any] = {}
    for variable in variables():
        *sections, key = variable.path.split(".")
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
        place[key] = _expression(variable)
    host = "\n".join(_mapping(tree, "    ")).strip()
    return (
        "{# " + HEADER.strip("# \n") + " #}\n"
        "{{\n"
        '  {"hosts": {inventory_hostname:\n'
        f"    {host}\n"
        "  }} | to_nice_json\n"
        "}}\n"
    )


def to_yaml(value: Any) -> str:
    """YAML as linters like it: lists indented, keys in their order, long lines folded."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=96)


class Unsafe(str):
    """Text that Ansible must not take for a template."""

    __slots__ = ()


class Template(str):
    """Text that Ansible is to take for a template."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        del indentless
        super().increase_indent(flow, indentless=False)


_Dumper.add_representer(
    Unsafe, lambda dumper, value: dumper.represent_scalar("!unsafe", str(value), style='"')
)
_Dumper.add_representer(
    Template,
    lambda dumper, value: dumper.represent_scalar(
        "tag:yaml.org,2002:str", str(value), style=">" if len(value) > 60 else '"'
    ),
)


def _default(name: str, value: Any, description: str) -> str:
    return textwrap.indent(textwrap.fill(description, 94), "# ") + "\n" + to_yaml({name: value})


def _kinds(annotation: Any) -> Iterator[str]:
    origin = get_origin(annotation)
    if origin is Literal or annotation is LocalPath:
        yield "str"
    elif origin is tuple:
        yield "list"
    elif origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        yield "dict"
    elif annotation is type(None):
        yield ""
    elif annotation in (bool, int, float):
        yield annotation.__name__
    elif get_args(annotation):
        # An Annotated type has its kind first; a union has one for each member.
        parts = get_args(annotation)
        for part in parts[:1] if hasattr(annotation, "__metadata__") else parts:
            yield from _kinds(part)
    else:
        yield "str"


def _expression(variable: Variable) -> str:
    """Jinja for the value of one key. Undefined numbers and texts are none, whatever they hold."""
    name = variable.name
    if variable.path in _FROM_ANSIBLE:
        name = f"{LOGIN}.{variable.path}"
    if variable.path in SECRETS:
        file = json.dumps(f"file:{variable.path}")
        return file if variable.path in _REQUIRED else f"{file} if {name} else none"
    if variable.path == "docker.mtu":
        return f"{name} if {name} == 'auto' else {name} | int"
    cast = f" | {variable.kind}" if variable.kind in ("bool", "int", "float") else ""
    if variable.field.default is None and variable.path not in _REQUIRED:
        return f"{name}{cast} if {name} else none"
    return f"{name}{cast}"


def _mapping(tree: Mapping[str, Any], indent: str) -> Iterator[str]:
    yield indent + "{"
    for key, value in tree.items():
        if isinstance(value, dict):
            first, *rest = _mapping(value, indent + "  ")
            yield f"{indent}  {json.dumps(key)}: {first.strip()}"
            yield from rest[:-1]
            yield rest[-1] + ","
        else:
            yield f"{indent}  {json.dumps(key)}: {value},"
    yield indent + "}"
