"""Where a stack lives on its host. The one place that spells these paths."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

ROOT = PurePosixPath("/srv/runnerkit")
SOCKETS = PurePosixPath("/run/runnerkit")

COMPOSE_FILE = "compose.yml"
ENV_FILE = ".env"
DAEMON_FILE = "daemon.json"
RUNNER_FILE = "runner.env"
STEPS_FILE = "steps.env"
JANITOR_FILE = "janitor.sh"
MANIFEST = "manifest.json"

DIGEST_LABEL = "runnerkit.digest"
# By this name steps find where layers are shared.
CACHE_VARIABLE = "RUNNERKIT_CACHE"


@dataclass(frozen=True)
class StackPaths:
    """The directories of one stack and the names that Docker knows it by."""

    stack: str
    data: PurePosixPath

    @property
    def directory(self) -> PurePosixPath:
        """The files that make the stack; root:root 0750."""
        return ROOT / self.stack

    @property
    def mirror_data(self) -> PurePosixPath:
        """What the registry mirror keeps; a stack's name has no dot, so it is nobody's data."""
        return self.data.with_name(f"{self.data.name}.mirror")

    @property
    def data_incoming(self) -> PurePosixPath:
        """Where an import unpacks what will become the data-root."""
        return self.data.with_name(f"{self.data.name}.incoming")

    @property
    def data_before_import(self) -> PurePosixPath:
        """The former data-root, until the host is well with an imported one."""
        return self.data.with_name(f"{self.data.name}.before-import")

    @property
    def sockets(self) -> PurePosixPath:
        """The directory that carries the inner daemon's second socket."""
        return SOCKETS / self.stack

    @property
    def docker_socket(self) -> PurePosixPath:
        """The inner daemon's socket as the host sees it."""
        return self.sockets / "docker.sock"

    @property
    def drain_marker(self) -> PurePosixPath:
        """Names the runner container that was asked to drain; a second signal would kill builds."""
        return self.sockets / "draining"

    @property
    def project(self) -> str:
        """The compose project's name."""
        return f"runnerkit-{self.stack}"


def stack_paths(stack: str, data: PurePosixPath | str) -> StackPaths:
    """Paths of `stack`, its data-root being `<data>/<stack>`."""
    return StackPaths(stack=stack, data=PurePosixPath(data) / stack)
