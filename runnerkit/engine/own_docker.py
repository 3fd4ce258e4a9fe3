"""The admin's own docker CLI, pointed at a forwarded daemon."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

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
