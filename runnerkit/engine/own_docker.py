"""The admin's own docker CLI, pointed at a forwarded daemon or at this machine's."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from runnerkit.errors import HostError

__all__ = ["DockerClient", "check_compose", "explained", "own_client", "own_docker"]

if TYPE_CHECKING:
    from python_on_whales import DockerClient
    from python_on_whales.exceptions import DockerException

# Each of these would send the CLI elsewhere, or speak TLS to a plain socket.
_OVERRIDES = ("DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")


def own_docker(args: Sequence[str], socket_path: Path) -> int:
    """Run `docker ARGS` on this machine against the daemon at the unix socket `socket_path`.

    Standard streams are this process's own. Returns the CLI's exit code, 128 + N after signal N.
    Raises HostError when there is no docker CLI here.
    """
    environment = {key: value for key, value in os.environ.items() if key not in _OVERRIDES}
    environment["DOCKER_HOST"] = f"unix://{socket_path}"
    try:
        code = subprocess.run(["docker", *args], env=environment, check=False).returncode
    except FileNotFoundError:
        raise _no_cli() from None
    return code if code >= 0 else 128 - code


def _no_cli() -> HostError:
    return HostError(
        "there is no docker CLI on this machine",
        hint="install docker's CLI here, or run docker on the host itself",
    )


@dataclass(frozen=True)
class ComposeCheck:
    """What the admin's own docker compose thinks of a directory.

    absent: there is no docker CLI with a compose plugin on this machine, so nothing was checked.
    """

    status: Literal["ok", "absent", "invalid"]
    message: str = ""


def check_compose(directory: Path) -> ComposeCheck:
    """Let the admin's own docker compose read `directory`/compose.yml with its .env."""
    if shutil.which("docker") is None:
        return ComposeCheck("absent", "there is no docker CLI on this machine")
    from python_on_whales import DockerClient  # noqa: PLC0415 - takes 0.3 s to import
    from python_on_whales.exceptions import DockerException  # noqa: PLC0415

    env = directory / ".env"
    client = DockerClient(
        compose_files=[directory / "compose.yml"],
        compose_env_files=[env] if env.exists() else [],
        compose_project_directory=directory,
    )
    if not client.compose.is_installed():
        return ComposeCheck("absent", "the docker CLI on this machine has no compose plugin")
    try:
        client.compose.config(return_json=True)
    except DockerException as error:
        return ComposeCheck("invalid", _said(error))
    return ComposeCheck("ok")


@contextmanager
def own_client(socket_path: Path | None) -> Iterator[DockerClient]:
    """The docker CLI for the engine at `socket_path`, or for this machine's own choice of one.

    Raises HostError when there is no docker CLI here or the engine does not answer.
    """
    if shutil.which("docker") is None:
        raise _no_cli()
    from python_on_whales import DockerClient  # noqa: PLC0415 - takes 0.3 s to import

    # The library hands this process's environment to each docker it starts.
    taken = {key: os.environ.pop(key) for key in _OVERRIDES if socket_path and key in os.environ}
    try:
        client = DockerClient(host=f"unix://{socket_path}" if socket_path else None)
        hint = "start Docker, or add --on HOST to use a runner's engine"
        with explained("the Docker engine does not answer", hint=hint):
            client.container.list()
        yield client
    finally:
        os.environ.update(taken)


@contextmanager
def explained(what: str, *, hint: str | None = None) -> Iterator[None]:
    """Turn the library's failures, which repeat the whole command line, into HostError."""
    from python_on_whales.exceptions import DockerException  # noqa: PLC0415 - see own_client

    try:
        yield
    except DockerException as error:
        raise HostError(f"{what}: {_said(error)}", hint=hint) from None


def _said(error: DockerException) -> str:
    lines = (error.stderr or "").strip().splitlines()
    return lines[-1].strip() if lines else "docker said nothing"
