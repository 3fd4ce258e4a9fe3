"""The admin's own docker CLI, pointed at a forwarded daemon."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runnerkit.errors import HostError

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
        raise HostError(
            "there is no docker CLI on this machine",
            hint="install docker's CLI here, or run docker on the host itself",
        ) from None
    return code if code >= 0 else 128 - code


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
        said = (error.stderr or "").strip().splitlines()
        return ComposeCheck("invalid", said[-1] if said else "docker compose config failed")
    return ComposeCheck("ok")
