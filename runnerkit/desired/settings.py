"""Config to the contents of the files: pure functions, one per file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from runnerkit.config.effective import HostConfig
from runnerkit.desired.addresses import choose_pools
from runnerkit.desired.gc_policy import CacheLimits, gc_policy
from runnerkit.desired.pins import Pins
from runnerkit.desired.traits import DEFAULT_MTU, HostTraits
from runnerkit.paths import StackPaths
from runnerkit.secret import Secret

# Percentages need the size of the disk; where it is not known (render --offline) this stands in.
ASSUMED_DATA_DISK_BYTES = 100 << 30
# How dind reaches the mirror: by the service's name in compose.yml.
MIRROR_URL = "http://mirror:5000"
SECRET_NAME = re.compile(r"SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIAL|_KEY$")
# A mirror without an address of its own gets some port there that nobody is told about.
LOOPBACK = "127.0.0.1:"


def cache_limits(host: HostConfig, traits: HostTraits) -> CacheLimits:
    """The cache section in bytes and seconds, percentages taken of the data disk."""
    disk = traits.data_disk_bytes or ASSUMED_DATA_DISK_BYTES
    return CacheLimits(
        max_bytes=host.cache.max.of(disk),
        min_free_bytes=host.cache.min_free.of(disk),
        keep_mounts_seconds=int(host.cache.keep_mounts),
        keep_layers_seconds=int(host.cache.keep_layers),
    )


def mtu(host: HostConfig, traits: HostTraits) -> int:
    """Bytes per packet on the networks of the stack and of its pipelines."""
    return traits.mtu if host.docker.mtu == "auto" else host.docker.mtu


def daemon_options(host: HostConfig, traits: HostTraits) -> dict[str, Any]:
    """daemon.json of the inner daemon. Unknown top-level keys stop an engine, so each is old.

    `hosts` is missing on purpose: sockets are given as flags, and an engine refuses both.
    """
    docker = host.docker
    options: dict[str, Any] = {
        "builder": {
            # The engines' own default, written down: no `RUN --security=insecure`.
            "entitlements": {"security-insecure": False},
            "gc": gc_policy(cache_limits(host, traits)),
        },
        "default-address-pools": _pools(host, traits),
        # Tells a 20.10 client to build with BuildKit without being asked.
        "features": {"buildkit": True},
        "log-driver": "json-file",
        "log-opts": {
            "max-size": f"{int(docker.log_max_size)}b",
            "max-file": str(docker.log_max_file),
        },
        "mtu": mtu(host, traits),
        "shutdown-timeout": 30,
    }
    # Inside dind resolv.conf names Docker's own resolver on loopback; builds cannot use that and
    # would fall back to a public one, blind to the names of the home network.
    nameservers = [str(server) for server in docker.dns] or list(traits.nameservers)
    # The nearest first; an engine asks the next one when a mirror cannot help.
    mirrors = [*([MIRROR_URL] if host.registry.mirror else []), *docker.mirrors]
    optional = {
        "dns": nameservers,
        "insecure-registries": _insecure(docker.insecure_registries, mirrors),
        "registry-mirrors": mirrors,
        "storage-driver": docker.storage_driver,
    }
    return options | {key: value for key, value in optional.items() if value}


def daemon_json(options: dict[str, Any]) -> bytes:
    """`options` as the file's bytes, keys sorted, so that equal options are equal bytes."""
    return (json.dumps(options, indent=2, sort_keys=True) + "\n").encode()


def runner_settings(host: HostConfig, traits: HostTraits, secret: Secret) -> dict[str, str]:
    """Every variable the runner reads, in a stable order. Holds the secret in the clear."""
    runner = host.runner
    server = urlsplit(host.server)
    settings = {
        "DRONE_RPC_PROTO": server.scheme,
        "DRONE_RPC_HOST": server.netloc + server.path.rstrip("/"),
        "DRONE_RPC_SECRET": secret.reveal(),
        "DRONE_RUNNER_NAME": runner.name or host.name,
        "DRONE_RUNNER_CAPACITY": str(runner.capacity),
    }
    step_cpu_period = 100_000
    optional = {
        "DRONE_RPC_SKIP_VERIFY": "" if host.tls_verify else "true",
        "DRONE_DEBUG": "true" if runner.debug else "",
        "DRONE_RUNNER_MAX_PROCS": str(runner.max_procs or ""),
        "DRONE_RUNNER_LABELS": _pairs(runner.labels),
        "DRONE_RUNNER_VOLUMES": _pairs(runner.volumes),
        "DRONE_RUNNER_NETWORKS": ",".join(runner.networks),
        "DRONE_RUNNER_NETWORK_OPTS": _network_options(mtu(host, traits)),
        "DRONE_RUNNER_PRIVILEGED_IMAGES": ",".join(runner.privileged_images),
        "DRONE_LIMIT_REPOS": ",".join(runner.limit.repos),
        "DRONE_LIMIT_EVENTS": ",".join(runner.limit.events),
        "DRONE_LIMIT_TRUSTED": "true" if runner.limit.trusted else "",
        "DRONE_MEMORY_LIMIT": str(int(runner.step_memory)) if runner.step_memory else "",
        "DRONE_CPU_PERIOD": str(step_cpu_period) if runner.step_cpus else "",
        "DRONE_CPU_QUOTA": str(int(runner.step_cpus * step_cpu_period)) if runner.step_cpus else "",
    }
    return settings | {key: value for key, value in optional.items() if value} | dict(runner.env)


def secrets_of(host: HostConfig, secret: Secret) -> tuple[Secret, ...]:
    """What the runner knows and nobody else should: `secret`, and settings named like one."""
    given = {**host.runner.environ, **host.runner.env}
    named = (Secret(value) for name, value in given.items() if SECRET_NAME.search(name) and value)
    return (secret, *named)


def compose_settings(host: HostConfig, traits: HostTraits, paths: StackPaths) -> dict[str, str]:
    """What compose.yml interpolates, without the digests. No secret."""
    docker = host.docker
    registry = host.registry
    pins = _pins(host, traits)
    return {
        "COMPOSE_PROJECT_NAME": paths.project,
        "COMPOSE_FILE": "compose.yml",
        "DIND_IMAGE": pins.pinned(docker.image),
        "DIND_DATA": str(paths.data),
        "DIND_SOCKET_DIR": str(paths.sockets),
        "DIND_MEMORY": str(int(docker.memory or 0)),
        "DIND_CPUS": f"{docker.cpus or 0:g}",
        "DIND_PIDS": str(docker.pids or -1),
        "JANITOR_KEEP_BUILT": str(int(host.images.keep_built)),
        # Where a registry may be out of reach, what was put there on purpose must stay.
        "JANITOR_KEEP_IMAGES": " ".join(str(image) for image in docker.preload),
        "JANITOR_MIN_FREE": str(cache_limits(host, traits).min_free_bytes),
        "HOST_MTU": str(mtu(host, traits)),
        "LOG_MAX_FILE": str(docker.log_max_file),
        "LOG_MAX_SIZE": f"{int(docker.log_max_size)}b",
        "RUNNER_ARCH": host.runner.env.get("DRONE_PLATFORM_ARCH") or traits.arch,
        "RUNNER_IMAGE": pins.pinned(host.runner.image),
        "RUNNER_STOP_GRACE": f"{int(host.runner.drain_timeout)}s",
        "MIRROR_DATA": str(paths.mirror_data),
        "MIRROR_IMAGE": pins.pinned(registry.image) if registry.mirror else str(registry.image),
        "MIRROR_LISTEN": registry.listen or LOOPBACK,
        "MIRROR_MAX_KIB": str(int(registry.max) // 1024),
        "MIRROR_UPSTREAM": str(registry.upstream),
        **({"COMPOSE_PROFILES": "mirror"} if registry.mirror else {}),
    }


def _pins(host: HostConfig, traits: HostTraits) -> Pins:
    if not host.images.pin:
        return Pins()
    # What archives brought cannot be asked for by digest: there the tag alone counts.
    return traits.pins.moved() if host.images.load else traits.pins


def _insecure(registries: Iterable[str], mirrors: Iterable[str]) -> list[str]:
    """The configured ones, and each mirror without TLS, with its scheme.

    BuildKit drops the scheme of a mirror and asks with TLS unless the mirror is also listed here.
    Engine 20.10 reads host:port as no URL and leaves TLS on; with http:// in front every engine
    understands (daemon/daemon.go, RegistryHosts), and its own pulls strip the scheme.
    """
    plain = [mirror for mirror in mirrors if mirror.startswith("http://")]
    return list(dict.fromkeys([*registries, *plain]))


def _pairs(values: Any) -> str:
    return ",".join(f"{key}:{value}" for key, value in values.items())


def _network_options(size: int) -> str:
    # `mtu` in daemon.json reaches only the default bridge; each stage has a network of its own.
    return "" if size == DEFAULT_MTU else f"com.docker.network.driver.mtu:{size}"


def _pools(host: HostConfig, traits: HostTraits) -> list[dict[str, Any]]:
    configured = host.docker.address_pools
    if configured != "auto":
        return [{"base": str(pool.base), "size": pool.size} for pool in configured]
    pools = choose_pools(traits.occupied, traits.current_pools)
    return [{"base": str(pool.base), "size": pool.size} for pool in pools]
