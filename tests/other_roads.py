"""What the other two roads to a runner, Ansible and by hand, take from the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runnerkit.change.scripts import script
from runnerkit.config.effective import ConfigFile, HostConfig, effective
from runnerkit.config.model import HostEntry
from runnerkit.config.schema import model_leaves
from runnerkit.desired.settings import compose_settings, runner_settings
from runnerkit.desired.shipped import shipped_files
from runnerkit.desired.traits import UNKNOWN_HOST
from runnerkit.paths import ENV_FILE, RUNNER_FILE, STEPS_FILE, stack_paths
from runnerkit.report.role import argument_specs_file, config_template, defaults_file
from runnerkit.secret import Secret

ALWAYS = "Always this."
OF_THE_HOST = {"RUNNER_ARCH": "The host's architecture, by Docker's name for it."}

# Another value for every key of a host that shapes the stack's env files.
OTHER: dict[str, Any] = {
    "server": "http://ci.lan:8080",
    "secret": "env:OTHER",
    "tls_verify": False,
    "stack": "second",
    "runner.capacity": 5,
    "runner.image": "drone/drone-runner-docker:1",
    "runner.name": "other",
    "runner.max_procs": 9,
    "runner.labels": {"disk": "fast"},
    "runner.environ": {"GOPROXY": "https://goproxy.lan"},
    "runner.volumes": {"/a": "/b"},
    "runner.networks": ["lan"],
    "runner.privileged_images": ["plugins/docker"],
    "runner.step_memory": "1GB",
    "runner.step_cpus": 1.5,
    "runner.debug": True,
    "runner.drain_timeout": "10m",
    "runner.limit.repos": ["octocat/*"],
    "runner.limit.events": ["push"],
    "runner.limit.trusted": True,
    "docker.image": "docker:29-dind",
    "docker.data": "/data",
    "docker.memory": "8GB",
    "docker.cpus": 3,
    "docker.pids": 4096,
    "docker.mtu": 1400,
    "docker.log_max_size": "1MB",
    "docker.log_max_file": 9,
    "docker.preload": ["golang:1.24"],
    "cache.min_free": "1GB",
    "images.keep_built": "5d",
    "registry.mirror": True,
    "registry.listen": "10.0.0.5:5000",
    "registry.upstream": "https://hub.lan",
    "registry.image": "registry:3",
    "registry.max": "5GB",
    "registry.cache": "registry.lan:5000/cache",
}


SCRIPTS = {
    "drain": ("drain",),
    "keep_generation": ("generations", "keep_generation"),
    "record": ("record",),
    "refuse_if_locked": ("refuse_if_locked",),
    "start_services": ("start_services",),
}


def role_files(role: Path) -> dict[Path, str]:
    """The Ansible role's variables, and the scripts that it shares with the executor."""
    header = "#!/bin/sh\n# Generated from runnerkit/change/scripts; do not edit.\n"
    scripts = {role / f"files/{name}.sh": header + script(*of) for name, of in SCRIPTS.items()}
    return scripts | {
        role / "defaults/main.yml": defaults_file(),
        role / "meta/argument_specs.yml": argument_specs_file(),
        role / "templates/runnerkit.yml.j2": config_template(),
    }


def host_with(**keys: Any) -> HostConfig:
    """One host whose dotted keys have these values."""
    entry: dict[str, Any] = {"ssh": "forge.lan"}
    for path, value in keys.items():
        *sections, key = path.split(".")
        place = entry
        for section in sections:
            place = place.setdefault(section, {})
        place[key] = value
    content = {"server": "https://drone.example.com", "secret": "env:DRONE_RPC_SECRET"}
    return effective(ConfigFile.model_validate(content | {"hosts": {"forge": entry}})).hosts[0]


def env_files(host: HostConfig) -> dict[str, dict[str, str]]:
    """File name to the variables in it, on a host that nothing is known of."""
    paths = stack_paths(host.stack, host.docker.data)
    secret = Secret(host.secret.place)
    return {
        ENV_FILE: compose_settings(host, UNKNOWN_HOST, paths),
        RUNNER_FILE: runner_settings(host, UNKNOWN_HOST, secret),
        STEPS_FILE: host.step_environment,
    }


def variables_table() -> str:
    """Markdown: every variable of the env files, its value by default and the key behind it.

    Which key moves which variable is found by moving each.
    """
    plain = env_files(host_with())
    fields = dict(model_leaves(HostEntry))
    keys: dict[tuple[str, str], list[str]] = {
        (file, name): [] for file, values in plain.items() for name in values
    }
    for key, value in OTHER.items():
        for file, values in env_files(host_with(**{key: value})).items():
            for name in values:
                if values[name] != plain[file].get(name):
                    keys.setdefault((file, name), []).append(key)
    rows = [
        "| File | Variable | By default | Key of runnerkit.yml | What it does |",
        "|" + "---|" * 5,
    ]
    for (file, name), behind in sorted(keys.items()):
        value = "…" if name == "DRONE_RPC_SECRET" else plain[file].get(name)
        shown = f"`{value}`" if value else "empty" if value == "" else "not set"
        named = ", ".join(f"`{key}`" for key in behind)
        meaning = fields[behind[-1]].description if behind else OF_THE_HOST.get(name, ALWAYS)
        rows.append(f"| `{file}` | `{name}` | {shown} | {named} | {meaning} |")
    rows += [f"| `{ENV_FILE}` | `{name}` | not set | | {text} |" for name, text in _labels()]
    return "\n".join(rows)


def _labels() -> Iterator[tuple[str, str]]:
    for name in re.findall(r"\$\{(\w+_DIGEST):-", shipped_files().compose.decode()):
        service = name.partition("_")[0].lower()
        yield name, f"A label of `{service}` that says with which files it was made."


def other_roads(root: Path) -> dict[Path, str]:
    """Every generated file of the two roads with the content it should have."""
    readme = root / "compose/README.md"
    text = re.sub(
        r"(?<=<!-- variables -->\n).*?(?=\n<!-- /variables -->)",
        lambda _: variables_table(),
        readme.read_text(encoding="utf-8"),
        flags=re.DOTALL,
    )
    return role_files(root / "ansible/roles/runnerkit") | {readme: text}
