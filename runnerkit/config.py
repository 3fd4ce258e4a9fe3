"""runnerkit.yml as models: every key, its default, its unit and its bounds. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from runnerkit.secret_source import SecretSource
from runnerkit.target import parse_target
from runnerkit.units import Amount, ByteSize, Duration

HOST_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
_IMAGE = re.compile(
    r"(?:[a-zA-Z0-9][a-zA-Z0-9.-]*(?::\d+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(?:@sha256:[a-f0-9]{64})?"
)
_FORBIDDEN_DATA = ("/run", "/proc", "/sys", "/dev", "/etc", "/boot", "/bin", "/usr", "/srv/runnerkit")

# Settings that have a key of their own: given twice, one of them would silently win.
_OWNED = {
    "DRONE_RPC_PROTO": "server",
    "DRONE_RPC_HOST": "server",
    "DRONE_RPC_SECRET": "secret",
    "DRONE_RPC_SKIP_VERIFY": "tls_verify",
    "DRONE_RUNNER_NAME": "runner.name",
    "DRONE_RUNNER_CAPACITY": "runner.capacity",
    "DRONE_RUNNER_MAX_PROCS": "runner.max_procs",
    "DRONE_RUNNER_LABELS": "runner.labels",
    "DRONE_RUNNER_ENVIRON": "runner.environ",
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
_OTHER_SETTINGS = {"DOCKER_API_VERSION", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}


def _no_control(value: str) -> str:
    if any(ord(char) < 32 or ord(char) == 127 for char in value):
        raise ValueError("holds a line break or control character")
    return value


def _server(value: str) -> str:
    _no_control(value)
    try:
        url = urlsplit(value)
        valid = bool(url.hostname) and (url.port is None or 0 < url.port < 65536)
    except ValueError:
        valid = False
    if not valid or url.scheme not in ("http", "https"):
        raise ValueError("is not a URL like https://drone.example.com")
    if url.username or url.password or url.query or url.fragment or " " in value:
        raise ValueError("must be scheme, host, port and path only: no login, query or fragment")
    return value.rstrip("/")


def _image(value: str) -> str:
    if len(value) > 400 or not _IMAGE.fullmatch(value):
        raise ValueError("is not an image reference like docker:28-dind or host:5000/name:tag")
    return value


def _list_item(value: str) -> str:
    if not value or "," in value:
        raise ValueError("must not be empty or hold a comma: the runner reads a comma-separated list")
    return _no_control(value)


def _map_part(value: str) -> str:
    if not value or "," in value or ":" in value:
        raise ValueError(
            "must not be empty or hold a comma or colon: the runner reads k:v,k:v and would not start"
        )
    return _no_control(value)


def _ssh(value: str) -> str:
    parse_target(value)
    return value


Url = Annotated[str, AfterValidator(_server)]
Image = Annotated[str, AfterValidator(_image)]
Item = Annotated[str, AfterValidator(_list_item)]
Pairs = Mapping[Annotated[str, AfterValidator(_map_part)], Annotated[str, AfterValidator(_map_part)]]
HostName = Annotated[str, StringConstraints(pattern=HOST_NAME)]
Registry = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9.-]+(:\d{1,5})?(/\d{1,2})?$", max_length=255)
]


class Section(BaseModel):
    """A mapping of ours: unknown keys are refused, `x-` keys are the user's own."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)

    @model_validator(mode="before")
    @classmethod
    def _without_own_keys(cls, value: Any) -> Any:
        if value is None:
            return {}  # `runner:` with nothing below it
        if isinstance(value, Mapping):
            return {k: v for k, v in value.items() if not str(k).startswith("x-")}
        return value


class Limit(Section):
    """Which builds the runner takes; others fail, they do not wait."""

    repos: tuple[Item, ...] = Field((), description="globs of repositories; empty = all")
    events: tuple[Item, ...] = Field((), description="globs of events; empty = all")
    trusted: bool = Field(False, description="only trusted repositories")


class RunnerSettings(Section):
    """The Drone runner."""

    capacity: int = Field(2, ge=1, le=64, description="stages at once")
    image: Image = Field("drone/drone-runner-docker:1.8.4", description="the runner's image")
    name: Item | None = Field(None, max_length=120, description="name in Drone; default: the host's")
    max_procs: int = Field(0, ge=0, le=1024, description="steps at once; 0 = no limit")
    labels: Pairs = Field({}, description="exactly the labels that a pipeline must have")
    environ: Pairs = Field({}, description="variables for every step")
    limit: Limit = Field(Limit(), description="which builds it takes")
    volumes: Pairs = Field({}, description="dind path: step path, for every step of every repository")
    networks: tuple[Item, ...] = Field((), description="networks of dind that every step joins")
    privileged_images: tuple[Item, ...] = Field((), description="plugins that run privileged")
    step_memory: ByteSize | None = Field(None, description="memory of one step; default: no limit")
    step_cpus: float | None = Field(None, gt=0, le=1024, description="CPUs of one step")
    debug: bool = Field(False, description="more in the runner's log")
    drain_timeout: Duration = Field(
        Duration(3600), description="how long a change waits for running stages"
    )
    env: Mapping[str, str] = Field({}, description="any other DRONE_* setting of the runner")

    @field_validator("env")
    @classmethod
    def _other_settings(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        for key, text in value.items():
            _no_control(text)
            if key in _OWNED:
                raise ValueError(f"{key} has a key of its own: {_OWNED[key]}")
            if not re.fullmatch(r"DRONE_[A-Z0-9_]+", key) and key not in _OTHER_SETTINGS:
                raise ValueError(f"{key[:60]!r} is not a setting of the runner (DRONE_…)")
        return value


class Pool(Section):
    """A range of addresses for the networks of pipelines."""

    base: IPv4Network = Field(description="a range like 10.231.0.0/16")
    size: int = Field(24, ge=16, le=29, description="prefix bits of each network")

    @model_validator(mode="after")
    def _fits(self) -> Pool:
        if self.size < self.base.prefixlen:
            raise ValueError(f"networks of /{self.size} do not fit into {self.base}")
        return self


class DockerSettings(Section):
    """The runner's own Docker daemon, and the host's engine."""

    image: Image = Field("docker:28-dind", description="image of the daemon")
    data: str = Field("/var/lib/runnerkit", description="directory of the data-roots; own disk is best")
    memory: ByteSize | None = Field(None, description="memory of dind with all its builds")
    cpus: float | None = Field(None, gt=0, le=1024, description="CPUs of dind with all its builds")
    pids: int | None = Field(None, ge=100, le=4_194_304, description="processes in dind")
    mirrors: tuple[Url, ...] = Field((), description="registry mirrors of Docker Hub")
    insecure_registries: tuple[Registry, ...] = Field((), description="registries without TLS")
    address_pools: Literal["auto"] | tuple[Pool, ...] = Field(
        "auto", description="for pipeline networks; auto avoids the host's"
    )
    mtu: Literal["auto"] | Annotated[int, Field(ge=576, le=9216)] = Field(
        "auto", description="bytes; auto is that of the host's way out"
    )
    dns: tuple[IPv4Address | IPv6Address, ...] = Field((), description="default: the host's servers")
    source: Literal["auto", "distro", "official", "none"] = Field(
        "auto", description="where the host's Docker comes from when it is missing"
    )
    preload: tuple[Image, ...] = Field((), description="images to have in dind before the first build")
    storage_driver: Item | None = Field(None, description="default: the engine's choice")
    log_max_size: ByteSize = Field(ByteSize(10 << 20), description="of one container's log file")
    log_max_file: int = Field(3, ge=1, le=100, description="log files of one container")
    health_timeout: Duration = Field(Duration(120), description="how long `up` waits for health")

    @field_validator("data")
    @classmethod
    def _data(cls, value: str) -> str:
        _no_control(value)
        path = value.rstrip("/")
        if not path.startswith("/") or "/../" in path + "/" or "//" in path or len(path) > 200:
            raise ValueError("must be an absolute path of a directory, and not /")
        if any(path == place or path.startswith(f"{place}/") for place in _FORBIDDEN_DATA):
            raise ValueError("is a place that belongs to the system")
        return path


class CacheSettings(Section):
    """Limits of BuildKit's cache."""

    max: Amount = Field(Amount(percent=50.0), description="ceiling; size or share of the data disk")
    min_free: Amount = Field(Amount(size=15 << 30), description="space to leave free on that disk")
    keep_mounts: Duration = Field(Duration(60 * 86400), description="cache mounts unused this long go")
    keep_layers: Duration = Field(Duration(14 * 86400), description="layers unused this long go")

    @model_validator(mode="after")
    def _mounts_outlive_layers(self) -> CacheSettings:
        if self.keep_layers > self.keep_mounts:
            raise ValueError(
                f"keep_layers ({self.keep_layers}) must not be longer than "
                f"keep_mounts ({self.keep_mounts})"
            )
        return self


class ImageSettings(Section):
    """Images of the stack and of builds."""

    keep_built: Duration = Field(Duration(72 * 3600), description="images built here live this long")
    load: Path | None = Field(None, description="directory of `docker save` archives to send")


class HostSettings(Section):
    """What may stand in `defaults` and in every host."""

    server: Url | None = Field(None, description="URL of the Drone server")
    secret: SecretSource | None = Field(None, description="env:NAME, file:PATH or cmd:COMMAND")
    token: SecretSource | None = Field(None, description="Drone API token, likewise")
    tls_verify: bool = Field(True, description="check the server's certificate")
    identity: Path | None = Field(None, description="private key; default: agent and ~/.ssh")
    known_hosts: Path | None = Field(None, description="default: ~/.ssh/known_hosts")
    sudo: bool = Field(False, description="become root with sudo")
    sudo_password: SecretSource | None = Field(None, description="where sudo wants one; else asked")
    connect_timeout: Duration = Field(Duration(5), description="how long a login may take")
    stack: str = Field(
        "main", pattern=r"^[a-z0-9][a-z0-9-]{0,30}$", description="name of the stack on the host"
    )
    runner: RunnerSettings = Field(RunnerSettings(), description="the runner")
    docker: DockerSettings = Field(DockerSettings(), description="its daemon")
    cache: CacheSettings = Field(CacheSettings(), description="BuildKit's cache")
    images: ImageSettings = Field(ImageSettings(), description="images")


class HostEntry(HostSettings):
    """One host as written."""

    ssh: Annotated[str, AfterValidator(_ssh)] = Field(
        description="[user@]host[:port], an alias of ~/.ssh/config, or local"
    )


class ConfigFile(Section):
    """The whole file as written."""

    server: Url | None = Field(None, description="URL of the Drone server")
    secret: SecretSource | None = Field(None, description="env:NAME, file:PATH or cmd:COMMAND")
    token: SecretSource | None = Field(None, description="Drone API token, likewise")
    tls_verify: bool = Field(True, description="check the server's certificate")
    defaults: HostSettings = Field(HostSettings(), description="for every host")
    hosts: Mapping[HostName, HostEntry] = Field(min_length=1, description="the hosts by name")


class HostConfig(HostEntry):
    """One host with everything decided."""

    name: HostName
    server: Url = Field(description="URL of the Drone server")
    secret: SecretSource = Field(description="env:NAME, file:PATH or cmd:COMMAND")


class Config(BaseModel):
    """The effective configuration."""

    model_config = ConfigDict(frozen=True)

    hosts: tuple[HostConfig, ...]


SHARED = ("server", "secret", "token", "tls_verify")


def merged_host(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What a host's mapping is after the top level and `defaults` were laid under it.

    Mappings merge, everything else replaces. `content` is the file's content, already valid.
    """
    shared = {key: content[key] for key in SHARED if key in content}
    defaults = content.get("defaults") or {}
    entry = content["hosts"][name] or {}
    return _merge(_merge(shared, defaults), entry) | {"name": name}


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        both = isinstance(value, Mapping) and isinstance(under, Mapping)
        if value is None and isinstance(under, Mapping):
            continue  # `runner:` with nothing below it takes nothing away
        merged[key] = _merge(under, value) if both else value  # type: ignore[arg-type]
    return merged
