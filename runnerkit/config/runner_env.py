"""Which settings of the runner may be given raw, and which have a key of their own."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from runnerkit.config.values import invalid

_DUMPS = "it would write the RPC secret into the runner's log"
_OWN_PORT = "the health check asks port 3000"

# Setting to the key that stands for it.
_KEYS = {
    "DRONE_RPC_SECRET": "secret",
    "DRONE_RPC_HOST": "server",
    "DRONE_RPC_PROTO": "server",
    "DRONE_RPC_SKIP_VERIFY": "tls_verify",
    "DRONE_RUNNER_NAME": "runner.name",
    "DRONE_RUNNER_CAPACITY": "runner.capacity",
    "DRONE_RUNNER_MAX_PROCS": "runner.max_procs",
    "DRONE_RUNNER_LABELS": "runner.labels",
    "DRONE_RUNNER_ENVIRON": "runner.environ",
    "DRONE_RUNNER_ENV_FILE": "runner.environ",
    "DRONE_RUNNER_VOLUMES": "runner.volumes",
    "DRONE_RUNNER_NETWORKS": "runner.networks",
    "DRONE_RUNNER_NETWORK_OPTS": "docker.mtu",
    "DRONE_RUNNER_PRIVILEGED_IMAGES": "runner.privileged_images",
    "DRONE_LIMIT_REPOS": "runner.limit.repos",
    "DRONE_LIMIT_EVENTS": "runner.limit.events",
    "DRONE_LIMIT_TRUSTED": "runner.limit.trusted",
    "DRONE_MEMORY_LIMIT": "runner.step_memory",
    "DRONE_CPU_QUOTA": "runner.step_cpus",
    "DRONE_CPU_PERIOD": "runner.step_cpus",
    "DRONE_DEBUG": "runner.debug",
}
_REFUSED = {
    "DRONE_RPC_DUMP_HTTP": _DUMPS,
    "DRONE_RPC_DUMP_HTTP_BODY": _DUMPS,
    "DRONE_HTTP_BIND": _OWN_PORT,
}
_OTHERS = {"DOCKER_API_VERSION", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"} | {
    "http_proxy", "https_proxy", "no_proxy"
}  # fmt: skip


def _check_setting(name: str) -> str:
    if name in _KEYS:
        raise invalid("is set by runnerkit", f"use {_KEYS[name]} instead")
    if name in _REFUSED:
        raise ValueError(f"is refused: {_REFUSED[name]}")
    if name not in _OTHERS and not re.fullmatch(r"DRONE_[A-Z0-9_]+", name):
        raise ValueError(
            "is no setting of the runner: they begin with DRONE_, besides DOCKER_API_VERSION, "
            "HTTP_PROXY, HTTPS_PROXY and NO_PROXY"
        )
    return name


SettingName = Annotated[str, Field(strict=True), AfterValidator(_check_setting)]
