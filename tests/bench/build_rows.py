"""How long builds take on the runner, beside other ways to build."""

from __future__ import annotations

import json
import subprocess

from runnerkit.bench.stats import Samples
from tests.bench.kit_rows import Machine, seconds
from tests.bench.rows import Goal, Row


def let_the_host_build(machine: Machine) -> None:
    """BuildKit of the host's own engine speaks TLS to a mirror that is not listed as insecure."""
    mirror = machine.lab.info["registry"]
    options = {
        "registry-mirrors": [mirror],
        "insecure-registries": [mirror.partition("://")[2]],
    }
    program = 'printf %s "$1" >/etc/docker/daemon.json && systemctl restart docker'
    machine.lab.on("host1", "sh", "-c", program, "sh", json.dumps(options))
    seconds(machine.kit("up", "--yes", hosts={"host1": machine.config["hosts"]["host1"]}))


def compare(machine: Machine, rounds: int) -> dict[str, Samples]:
    """`runnerkit bench` with its own project, and the lab's registry for caches."""
    let_the_host_build(machine)
    registry = machine.lab.info["registry"].partition("://")[2] + "/bench-cache"
    one = {"host1": machine.config["hosts"]["host1"]}
    argv = machine.kit(
        "bench", "host1", "--json", f"--rounds={rounds}", f"--registry={registry}", hosts=one
    )
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    found: dict[str, list[float]] = json.loads(done.stdout)["seconds"]
    return {name: Samples(tuple(values)) for name, values in found.items()}


def build_rows(found: dict[str, Samples]) -> list[Row]:
    """The runner against every other way, one line of source changed for each build."""
    ours, name = found["runner"], "a build after a change"
    return [
        Row(name, "the host's own engine", ours, found["host"], Goal("at most", 1.05)),
        Row(name, "a new daemon for each build", ours, found["throw-away"], Goal("faster", 15)),
        Row(name, "the same, its cache in a registry", ours, found["registry"], Goal("faster", 8)),
        Row(name, "the runner without cache mounts", ours, found["layers"], None),
    ]


def bars(found: dict[str, Samples]) -> list[tuple[str, float]]:
    """Cold, warm and hot, for the picture in README."""
    return [
        ("cold: a new daemon each time", found["throw-away"].median),
        ("its cache in a registry", found["registry"].median),
        ("layer cache alone", found["layers"].median),
        ("warm: the runner, one line new", found["runner"].median),
        ("hot: the runner, nothing new", found["unchanged"].median),
    ]
