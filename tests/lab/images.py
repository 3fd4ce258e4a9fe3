"""The images of the lab's registry: their names, their layers and what a container of them runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.lab import recipes
from tests.lab.layers import Layer
from tests.lab.rootfs import Recipe

MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
LAYER_TYPE = "application/vnd.docker.image.rootfs.diff.tar"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Image:
    """One image under all its names."""

    names: tuple[str, ...]
    top: Recipe
    env: Mapping[str, str] = field(default_factory=dict)
    entrypoint: Sequence[str] = ()
    cmd: Sequence[str] = ()
    volumes: Sequence[str] = ()
    workdir: str = ""
    exposed: Sequence[str] = ()
    stop_signal: str = ""

    def config(self, layers: Sequence[Layer]) -> bytes:
        """The image's configuration blob."""
        env = {"PATH": PATH, **self.env}
        run: dict[str, Any] = {
            "Env": [f"{name}={value}" for name, value in env.items()],
            "Entrypoint": list(self.entrypoint) or None,
            "Cmd": list(self.cmd) or None,
            "Volumes": {path: {} for path in self.volumes} or None,
            "WorkingDir": self.workdir,
            "ExposedPorts": {port: {} for port in self.exposed} or None,
            "StopSignal": self.stop_signal or None,
        }
        history = [{"created_by": f"runnerkit lab: {layer.path.parent.name}"} for layer in layers]
        content = {
            "architecture": "amd64",
            "os": "linux",
            "created": "2025-01-01T00:00:00Z",
            "config": {name: value for name, value in run.items() if value is not None},
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
            "history": history,
        }
        return json.dumps(content, sort_keys=True).encode()


def manifest(config: bytes, layers: Sequence[tuple[str, str, int]]) -> bytes:
    """A manifest of a configuration and of layers given as media type, digest and size."""
    content = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": CONFIG_TYPE, "size": len(config), "digest": digest_of(config)},
        "layers": [
            {"mediaType": kind, "size": size, "digest": digest} for kind, digest, size in layers
        ],
    }
    return json.dumps(content).encode()


def digest_of(content: bytes) -> str:
    """The name of a blob."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _dind(top: Recipe, version: str, *tags: str) -> Image:
    return Image(
        names=tuple(f"docker:{tag}" for tag in tags),
        top=top,
        env={"DOCKER_VERSION": version, "DOCKER_TLS_CERTDIR": "/certs"},
        entrypoint=["dockerd-entrypoint.sh"],
        volumes=["/var/lib/docker"],
        exposed=["2375/tcp", "2376/tcp"],
    )


IMAGES = (
    _dind(recipes.DIND_28, "28.5.2", "28.5-dind", "28-dind", "dind"),
    Image(
        names=("drone/drone-runner-docker:1.8.4", "drone/drone-runner-docker:latest"),
        top=recipes.DRONE_RUNNER,
        env={"GODEBUG": "netdns=go"},
        entrypoint=["/bin/drone-runner-docker"],
        exposed=["3000/tcp"],
    ),
    Image(
        names=("docker:cli", "docker:28-cli", "docker:28.5-cli", "docker:latest"),
        top=recipes.DOCKER_CLI,
        env={"DOCKER_VERSION": "28.5.2", "DOCKER_TLS_CERTDIR": "/certs"},
        entrypoint=["docker-entrypoint.sh"],
        cmd=["sh"],
    ),
    Image(
        names=("registry:2", "registry:latest"),
        top=recipes.REGISTRY,
        entrypoint=["registry"],
        cmd=["serve", "/etc/docker/registry/config.yml"],
        volumes=["/var/lib/registry"],
        exposed=["5000/tcp"],
    ),
    Image(
        names=("drone/git:latest",),
        top=recipes.DRONE_GIT,
        entrypoint=["/usr/local/bin/clone"],
    ),
    Image(
        names=("golang:1.24", "golang:latest"),
        top=recipes.GOLANG,
        env={
            "PATH": f"/go/bin:{PATH}",
            "GOPATH": "/go",
            "GOTOOLCHAIN": "local",
            "CGO_ENABLED": "0",
        },
        cmd=["bash"],
        workdir="/go",
    ),
    _dind(recipes.DIND_26, "26.1.5", "26.1-dind", "26-dind"),
    Image(
        names=("debian:trixie-slim", "debian:trixie", "debian:latest"),
        top=recipes.DEBIAN,
        cmd=["bash"],
    ),
    Image(
        names=("python:3.13-slim", "python:3.13"),
        top=recipes.PYTHON_UV,
        cmd=["python3"],
    ),
    Image(names=("node:20-slim", "node:20"), top=recipes.NODE_MANAGERS, cmd=["node"]),
    Image(
        names=("rust:1-slim-trixie", "rust:1-slim", "rust:1"),
        top=recipes.RUST_TOOLCHAIN,
        env={"CARGO_HOME": "/usr/local/cargo"},
        cmd=["bash"],
    ),
    Image(
        names=("postgres:17", "postgres:latest"),
        top=recipes.POSTGRES,
        env={
            "PATH": f"{PATH}:/usr/lib/postgresql/17/bin",
            "LANG": "C.UTF-8",
            "PG_MAJOR": "17",
            "PGDATA": "/var/lib/postgresql/data",
        },
        entrypoint=["docker-entrypoint.sh"],
        cmd=["postgres"],
        volumes=["/var/lib/postgresql/data"],
        exposed=["5432/tcp"],
        stop_signal="SIGINT",
    ),
    Image(
        names=("mariadb:11", "mariadb:latest"),
        top=recipes.MARIADB,
        entrypoint=["docker-entrypoint.sh"],
        cmd=["mariadbd"],
        volumes=["/var/lib/mysql"],
        exposed=["3306/tcp"],
    ),
    Image(
        names=("redis:8", "redis:latest"),
        top=recipes.REDIS,
        entrypoint=["docker-entrypoint.sh"],
        cmd=["redis-server"],
        volumes=["/data"],
        workdir="/data",
        exposed=["6379/tcp"],
    ),
    _dind(recipes.DIND_20, "20.10.24", "20.10-dind", "20-dind"),
)
