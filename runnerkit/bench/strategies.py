"""The ways to build that are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from runnerkit.bench.stats import Samples


@dataclass(frozen=True)
class Strategy:
    """One way to build the same project.

    `daemon` builds: the runner's, the host's own, or one that is new for each build. Without
    `mounts` the Dockerfile's cache mounts are left out. With `changed` a line of the source is
    new in each build. With `registry` the cache goes to a registry and comes from there.
    """

    name: str
    title: str
    daemon: Literal["new", "runner", "host"]
    mounts: bool = True
    changed: bool = True
    registry: bool = False

    @property
    def keeps(self) -> bool:
        """Whether a build leaves something behind for the next one."""
        return self.daemon != "new" or self.registry


THROW_AWAY = Strategy("throw-away", "a new daemon for each build", "new")
REGISTRY = Strategy("registry", "a new daemon, its cache in a registry", "new", registry=True)
LAYERS = Strategy("layers", "the runner, layer cache only", "runner", mounts=False)
RUNNER = Strategy("runner", "the runner", "runner")
HOST = Strategy("host", "the host's own engine", "host")
UNCHANGED = Strategy("unchanged", "the runner, nothing changed", "runner", changed=False)

STRATEGIES = (THROW_AWAY, REGISTRY, LAYERS, RUNNER, HOST, UNCHANGED)


def times_slower(found: dict[str, Samples], strategy: Strategy) -> float:
    """How many times as long as on the runner a build takes with `strategy`."""
    return found[strategy.name].median / found[RUNNER.name].median
