"""What a host should look like: files, services and images, computed from the configuration."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from runnerkit.config.effective import HostConfig
from runnerkit.desired import settings
from runnerkit.desired.envfile import UnwritableValueError, compose_env, runner_env
from runnerkit.desired.hardening import Weakness, weaknesses
from runnerkit.desired.shipped import Shipped
from runnerkit.desired.traits import HostTraits
from runnerkit.errors import ConfigError
from runnerkit.paths import (
    COMPOSE_FILE,
    DAEMON_FILE,
    ENV_FILE,
    JANITOR_FILE,
    RUNNER_FILE,
    STEPS_FILE,
    StackPaths,
    stack_paths,
)
from runnerkit.secret import Secret

ServiceName = Literal["dind", "runner", "janitor", "mirror"]
DIND: ServiceName = "dind"
RUNNER: ServiceName = "runner"
JANITOR: ServiceName = "janitor"
MIRROR: ServiceName = "mirror"
SERVICES = (DIND, RUNNER, JANITOR, MIRROR)


@dataclass(frozen=True)
class ManagedFile:
    """One file of the stack's directory. `content` of a secret file must never be shown."""

    name: str
    content: bytes
    mode: int
    secret: bool = False

    @property
    def sha256(self) -> str:
        """Hex digest of the content."""
        return hashlib.sha256(self.content).hexdigest()

    def __repr__(self) -> str:
        return f"ManagedFile({self.name!r}, {len(self.content)} bytes)"


@dataclass(frozen=True)
class DesiredState:
    """Everything a plan compares a host with."""

    host: str
    config: HostConfig
    """What it was built from."""
    paths: StackPaths
    files: tuple[ManagedFile, ...]
    services: Mapping[ServiceName, str]
    """Service to the digest that its container's label must carry."""
    images: Mapping[ServiceName, str]
    """As the files name them: with a digest where they are pinned."""
    tags: tuple[str, ...]
    """The same images, each once, as the configuration names them."""
    preload: tuple[str, ...]
    load_from: Path | None
    docker_source: str
    docker_repository: str
    capacity: int
    drain_seconds: int
    health_seconds: int
    keep_generations: int
    weaknesses: tuple[Weakness, ...] = ()

    @property
    def unpinned(self) -> tuple[str, ...]:
        """The images that are to be pinned, and whose digests the host does not know."""
        if not self.config.images.pin:
            return ()
        return tuple(dict.fromkeys(ref for ref in self.images.values() if "@" not in ref))

    def file(self, name: str) -> ManagedFile:
        """The file called `name`; raises KeyError."""
        return next(file for file in self.files if file.name == name)


def build(host: HostConfig, secret: Secret, traits: HostTraits, shipped: Shipped) -> DesiredState:
    """The desired state of `host`. Pure: equal arguments give equal bytes.

    Raises ConfigError where a value cannot be written for its reader, or where no address range
    is left.
    """
    paths = stack_paths(host.stack, host.docker.data)
    daemon = settings.daemon_json(_daemon_options(host, traits))
    runner = _runner_env(host, settings.runner_settings(host, traits, secret))
    steps = _runner_env(host, host.step_environment)
    base = settings.compose_settings(host, traits, paths)
    compose = yaml.safe_load(shipped.compose)
    services = compose["services"]
    digests: dict[ServiceName, str] = {
        DIND: _digest(services[DIND], base, daemon),
        # Slow on purpose: the label is less protected than the secret that goes into it.
        RUNNER: _slow_digest(_digest(services[RUNNER], base, runner + steps)),
        JANITOR: _digest(services[JANITOR], base, shipped.janitor),
    }
    images: dict[ServiceName, str] = {
        DIND: base["DIND_IMAGE"],
        RUNNER: base["RUNNER_IMAGE"],
        JANITOR: base["DIND_IMAGE"],
    }
    if host.registry.mirror:
        digests[MIRROR] = _digest(services[MIRROR], base, b"")
        images[MIRROR] = base["MIRROR_IMAGE"]
    labels = {f"{name.upper()}_DIGEST": digest for name, digest in digests.items()}
    env = compose_env(base | labels)
    return DesiredState(
        host=host.name,
        config=host,
        paths=paths,
        files=(
            ManagedFile(COMPOSE_FILE, shipped.compose, 0o644),
            ManagedFile(ENV_FILE, env.encode(), 0o644),
            ManagedFile(DAEMON_FILE, daemon, 0o644),
            ManagedFile(RUNNER_FILE, runner, 0o600, secret=True),
            ManagedFile(STEPS_FILE, steps, 0o600, secret=True),
            ManagedFile(JANITOR_FILE, shipped.janitor, 0o644),
        ),
        services=digests,
        images=images,
        tags=_tags(host),
        preload=tuple(str(image) for image in host.docker.preload),
        load_from=host.images.load,
        docker_source=host.docker.source,
        docker_repository=host.docker.repository.rstrip("/"),
        capacity=host.runner.capacity,
        drain_seconds=int(host.runner.drain_timeout),
        health_seconds=int(host.docker.health_timeout),
        keep_generations=host.keep_generations,
        weaknesses=weaknesses(host, compose),
    )


def _tags(host: HostConfig) -> tuple[str, ...]:
    mirror = [host.registry.image] if host.registry.mirror else []
    return tuple(dict.fromkeys([host.docker.image, host.runner.image, *mirror]))


def _daemon_options(host: HostConfig, traits: HostTraits) -> dict[str, Any]:
    try:
        return settings.daemon_options(host, traits)
    except ValueError as error:
        raise ConfigError(
            f"hosts.{host.name}.docker.address_pools: {error}",
            hint="set docker.address_pools to a range that is free on this host",
        ) from None


def _runner_env(host: HostConfig, values: Mapping[str, str]) -> bytes:
    try:
        return runner_env(values).encode()
    except UnwritableValueError as error:
        raise ConfigError(
            f"hosts.{host.name}: {error}",
            hint="choose another value, e.g. a secret made by `openssl rand -hex 16`",
        ) from None


def _digest(service: Mapping[str, Any], env: Mapping[str, str], content: bytes) -> str:
    """A digest that changes with whatever makes compose or the daemon need a new container."""
    text = json.dumps(service, sort_keys=True)
    used = {key: value for key, value in env.items() if f"${{{key}" in text}
    parts = [text, json.dumps(used, sort_keys=True), hashlib.sha256(content).hexdigest()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _slow_digest(digest: str) -> str:
    return hashlib.scrypt(digest.encode(), salt=b"runnerkit", n=4096, r=8, p=1, dklen=8).hex()
