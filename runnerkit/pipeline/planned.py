"""What a pipeline will create in an engine: containers, volumes and a network, as plain values."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["clone", "service", "step"]
Pull = Literal["always", "if-not-exists", "never"]
RunOn = Literal["success", "failure", "always", "never"]
OnError = Literal["stop", "ignore", "fast"]


@dataclass(frozen=True)
class RunnerTraits:
    """What the runner's own settings add to every step."""

    environ: Mapping[str, str] = field(default_factory=dict)
    volumes: Mapping[str, str] = field(default_factory=dict)
    networks: tuple[str, ...] = ()
    privileged_images: tuple[str, ...] = ()
    memory: int = 0
    cpus: float = 0.0


@dataclass(frozen=True)
class PlannedMount:
    """Something at `path` in a container: a bind or named volume, or a tmpfs of `size` bytes."""

    path: str
    source: str = ""
    in_memory: bool = False
    size: int = 0


@dataclass(frozen=True)
class PlannedStep:
    """One container. `secrets` maps its variables to the names of Drone's secrets."""

    number: int
    name: str
    kind: Kind
    image: str
    pull: Pull
    environment: Mapping[str, str]
    secrets: Mapping[str, str]
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    working_dir: str
    mounts: tuple[PlannedMount, ...]
    depends_on: tuple[str, ...]
    run_on: RunOn
    why_never: str
    on_error: OnError
    detach: bool
    user: str
    privileged: bool
    network_mode: str
    networks: tuple[str, ...]
    dns: tuple[str, ...]
    dns_search: tuple[str, ...]
    extra_hosts: tuple[str, ...]
    devices: tuple[str, ...]
    memory: int
    memory_swap: int
    shm_size: int
    cpus: float


@dataclass(frozen=True)
class RunPlan:
    """Everything one pipeline creates in the engine. All names begin with `id`."""

    id: str
    pipeline: str
    workspace_base: str
    """Where the workspace's volume is mounted in each container."""
    workspace: str
    """Where in it the sources go."""
    network: str
    volumes: tuple[str, ...]
    labels: Mapping[str, str]
    steps: tuple[PlannedStep, ...]

    @property
    def secrets(self) -> tuple[str, ...]:
        """Names of the secrets that steps which may run ask for."""
        wanted = (step.secrets.values() for step in self.steps if step.run_on != "never")
        return tuple(sorted(set(itertools.chain.from_iterable(wanted))))
