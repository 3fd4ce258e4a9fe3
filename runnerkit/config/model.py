"""The shape of runnerkit.yml: every key with its default, unit, bounds and meaning.

README's table and the JSON Schema are made from the descriptions here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from runnerkit.config.runner_env import SettingName
from runnerkit.config.values import (
    Address,
    DataPath,
    Event,
    Flag,
    Glob,
    HostName,
    ImageRef,
    LabelKey,
    Listen,
    LocalPath,
    Mtu,
    Name,
    Network,
    OneLine,
    PlainPath,
    PlainText,
    Registry,
    Repository,
    SecretSource,
    SshTarget,
    StackName,
    StepValue,
    StorageDriver,
    Url,
    VariableName,
    bounded,
    invalid,
)
from runnerkit.units import Amount, ByteSize, Duration


class Model(BaseModel):
    """A mapping of ours: unknown keys are refused, keys starting with `x-` are ignored."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _without_notes(cls, data: object) -> object:
        # A section whose lines are all commented out is a null in YAML.
        if data is None:
            return {}
        if isinstance(data, Mapping):
            return {key: value for key, value in data.items() if not _is_note(key)}
        return data


def _is_note(key: object) -> bool:
    return isinstance(key, str) and key.startswith("x-")


class LimitSettings(Model):
    """What the runner accepts; everything else it ends with an error."""

    repos: tuple[Glob, ...] = Field((), description="Repositories it builds, e.g. octocat/*.")
    events: tuple[Event, ...] = Field((), description="Events it builds for, e.g. push, tag.")
    trusted: Flag = Field(False, description="Build only repositories marked trusted in Drone.")


class RunnerSettings(Model):
    """The Drone runner."""

    capacity: int = Field(2, strict=True, ge=1, le=64, description="Pipelines at the same time.")
    image: ImageRef = Field("drone/drone-runner-docker:1.8.4", description="The runner's image.")
    name: Name | None = Field(
        None, description="Name shown by Drone; without it the host's name in this file."
    )
    max_procs: int = Field(
        0, strict=True, ge=0, le=1024, description="Steps at the same time; 0 is no limit."
    )
    labels: Mapping[LabelKey, PlainText] = Field(
        {}, description="Labels; the runner takes only pipelines with exactly the same `node:`."
    )
    environ: Mapping[VariableName, StepValue] = Field(
        {}, description="Environment variables given to every step."
    )
    limit: LimitSettings = Field(LimitSettings(), description="What the runner accepts.")
    volumes: Mapping[PlainPath, PlainPath] = Field(
        {},
        description="Mounted into every step of every repository, trusted or not: "
        "path inside dind: path in the step.",
    )
    networks: tuple[Name, ...] = Field((), description="Networks in dind that every step joins.")
    privileged_images: tuple[ImageRef, ...] = Field(
        (), description="Plugin images that run privileged; they need no trust."
    )
    step_memory: Annotated[ByteSize, bounded("6MiB", hint="8 is 8 bytes; write 8GB")] | None = (
        Field(None, description="Memory of one step's container; without it no limit.")
    )
    step_cpus: Annotated[float, Field(strict=True, ge=0.01, le=1024)] | None = Field(
        None, description="CPUs of one step's container; without it no limit."
    )
    debug: Flag = Field(False, description="Verbose log of the runner.")
    drain_timeout: Annotated[Duration, bounded("1s", "7d")] = Field(
        Duration(3600), description="How long running pipelines may take to end before a stop."
    )
    env: Mapping[SettingName, OneLine] = Field(
        {}, description="Any other setting of the runner, DRONE_* or a proxy variable."
    )


class PoolSettings(Model):
    """A range of addresses from which networks are cut."""

    base: Network = Field(description="IPv4 range, e.g. 10.200.0.0/16.")
    size: int = Field(24, strict=True, ge=16, le=29, description="Prefix length of each network.")

    @model_validator(mode="after")
    def _fits(self) -> PoolSettings:
        if self.base.prefixlen > self.size:
            raise invalid(
                f"a range of /{self.base.prefixlen} holds no network of /{self.size}",
                f"set size to {self.base.prefixlen} or more, or widen the base",
            )
        return self


def _pools_or_auto(value: object) -> str:
    return "pools" if isinstance(value, list | tuple) else "auto"


AddressPools = Annotated[
    Annotated[Literal["auto"], Tag("auto")] | Annotated[tuple[PoolSettings, ...], Tag("pools")],
    Discriminator(_pools_or_auto),
]


class DockerSettings(Model):
    """The runner's own Docker daemon (dind)."""

    image: ImageRef = Field("docker:28-dind", description="The daemon's image.")
    data: DataPath = Field(
        "/var/lib/runnerkit",
        description="Folder on the host for images and caches, best on a disk of its own; "
        "the stack's name is appended.",
    )
    memory: Annotated[ByteSize, bounded("256MiB", hint="8 is 8 bytes; write 8GB")] | None = Field(
        None, description="Memory of the daemon with everything in it; without it no limit."
    )
    cpus: Annotated[float, Field(strict=True, ge=0.01, le=1024)] | None = Field(
        None, description="CPUs of the daemon with everything in it; without it no limit."
    )
    pids: Annotated[int, Field(strict=True, ge=128, le=4194304)] | None = Field(
        None, description="Processes of the daemon with everything in it; without it no limit."
    )
    mirrors: tuple[Url, ...] = Field((), description="Registry mirrors for Docker Hub.")
    insecure_registries: tuple[Registry, ...] = Field(
        (), description="Registries without TLS, host or host:port."
    )
    address_pools: AddressPools = Field(
        "auto", description="Addresses for pipeline networks; auto finds some that are free."
    )
    mtu: Mtu = Field("auto", description="Bytes per packet; auto takes the host's.")
    dns: tuple[Address, ...] = Field((), description="Name servers; without any the host's.")
    source: Literal["auto", "distro", "official", "none"] = Field(
        "auto", description="Where Docker comes from on a host without it."
    )
    repository: Url = Field(
        "https://download.docker.com/linux",
        description="Docker's own apt repositories, or a mirror of them, for `source: official`.",
    )
    preload: tuple[ImageRef, ...] = Field(
        (), description="Images put into the daemon before the first build."
    )
    storage_driver: StorageDriver | None = Field(
        None, description="Storage driver; without it the engine's choice."
    )
    log_max_size: Annotated[ByteSize, bounded("16KiB", hint="10 is 10 bytes; write 10MB")] = Field(
        ByteSize(10 << 20), description="Size at which a container's log is rotated."
    )
    log_max_file: int = Field(
        3, strict=True, ge=1, le=100, description="Log files kept per container."
    )
    health_timeout: Annotated[Duration, bounded("5s", "1h")] = Field(
        Duration(120), description="How long a start may take until everything is healthy."
    )

    @model_validator(mode="after")
    def _pools_are_disjoint(self) -> DockerSettings:
        if self.address_pools == "auto":
            return self
        if not self.address_pools:
            raise invalid("address_pools names no range", "write auto, or at least one base")
        for index, pool in enumerate(self.address_pools):
            for other in self.address_pools[:index]:
                if pool.base.overlaps(other.base):
                    raise ValueError(f"address_pools overlap: {other.base} and {pool.base}")
        return self


class CacheSettings(Model):
    """BuildKit's cache in the daemon."""

    max: Annotated[Amount, bounded("512MiB", hint="50 is 50 bytes; write 50% or 50GB")] = Field(
        Amount(percent=50), description="The cache's ceiling."
    )
    min_free: Amount = Field(Amount(bytes=15 << 30), description="Disk that the cache leaves free.")
    keep_mounts: Annotated[Duration, bounded("1h", "3650d")] = Field(
        Duration(60 * 86400), description="Age at which unused cache mounts go."
    )
    keep_layers: Annotated[Duration, bounded("1h", "3650d")] = Field(
        Duration(14 * 86400), description="Age at which unused layers go."
    )


class ImageSettings(Model):
    """Images on the host and in the daemon."""

    keep_built: Annotated[Duration, bounded("1h", "3650d")] = Field(
        Duration(72 * 3600), description="Age at which images built in pipelines go."
    )
    load: LocalPath | None = Field(
        None, description="Folder here with `docker save` archives for hosts without a registry."
    )
    pin: Flag = Field(
        False, description="Hold the stack's images to their digests until `upgrade` moves them."
    )


class RegistrySettings(Model):
    """Registries that spare downloads and builds."""

    mirror: Flag = Field(False, description="Run a pull-through mirror of Docker Hub for dind.")
    listen: Listen | None = Field(
        None,
        description="Where other hosts reach the mirror, e.g. 10.0.0.5:5000; without it only "
        "this host's dind does.",
    )
    upstream: Url = Field(
        "https://registry-1.docker.io", description="What the mirror fetches from."
    )
    image: ImageRef = Field("registry:2", description="The mirror's image.")
    max: Annotated[ByteSize, bounded("1MiB", hint="20 is 20 bytes; write 20GB")] = Field(
        ByteSize(20 << 30), description="Size at which the mirror is emptied."
    )
    cache: Repository | None = Field(
        None,
        description="Where pipelines share layers, e.g. registry.lan:5000/cache; steps find it in "
        "RUNNERKIT_CACHE.",
    )


class SharedSettings(Model):
    """What may stand at the top, below defaults or in a host; the innermost wins."""

    server: Url | None = Field(None, description="URL of the Drone server; required.")
    secret: SecretSource | None = Field(
        None, description="Where the RPC secret is: env:NAME, file:PATH or cmd:COMMAND; required."
    )
    token: SecretSource | None = Field(
        None, description="Where an API token of the server is; optional."
    )
    tls_verify: Flag = Field(True, description="Check the server's certificate.")
    sudo: Flag = Field(False, description="Become root with sudo on the host.")
    identity: LocalPath | None = Field(
        None, description="Private key; without it the agent's and those of ~/.ssh."
    )
    known_hosts: LocalPath | None = Field(
        None, description="File of host keys; without it ~/.ssh/known_hosts."
    )
    stack: StackName = Field("main", description="The stack's name, for several on one host.")


class HostSettings(SharedSettings):
    """What may stand below defaults or in a host."""

    sudo_password: SecretSource | None = Field(
        None, description="Where sudo's password is; without it runnerkit asks."
    )
    connect_timeout: Annotated[Duration, bounded("1s", "5m")] = Field(
        Duration(5), description="How long a connection may take."
    )
    keep_generations: int = Field(
        10, strict=True, ge=2, le=1000, description="Sets of files kept on the host for rollback."
    )
    runner: RunnerSettings = Field(RunnerSettings(), description="The runner itself.")
    docker: DockerSettings = Field(DockerSettings(), description="The runner's Docker daemon.")
    cache: CacheSettings = Field(CacheSettings(), description="The build cache.")
    images: ImageSettings = Field(ImageSettings(), description="Images.")
    registry: RegistrySettings = Field(RegistrySettings(), description="The registry mirror.")


class HostEntry(HostSettings):
    """One host: where it answers, and what differs from the defaults."""

    ssh: SshTarget = Field(
        description="`[user@]host[:port]`, an alias of ~/.ssh/config, or `local`."
    )


class ConfigFile(SharedSettings):
    """runnerkit.yml as it stands."""

    defaults: HostSettings = Field(HostSettings(), description="For every host.")
    hosts: Mapping[HostName, HostEntry] = Field(
        min_length=1, description="The hosts, by the names that you give them."
    )

    @model_validator(mode="before")
    @classmethod
    def _hosts_may_be_empty(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and data.get("hosts", ...) is None:
            return {**data, "hosts": {}}
        return data
