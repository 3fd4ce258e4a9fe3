"""The effective configuration: what holds for each host once defaults are merged in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, PrivateAttr

from runnerkit.config.model import (
    CacheSettings,
    ConfigFile,
    DockerSettings,
    HostEntry,
    HostSettings,
    ImageSettings,
    LimitSettings,
    PoolSettings,
    RunnerSettings,
    SharedSettings,
)
from runnerkit.config.values import HostName, SecretSource, SshTarget, Url
from runnerkit.errors import ConfigError, Problem
from runnerkit.paths import CACHE_VARIABLE
from runnerkit.target import LOCAL, LocalTarget, parse_target

__all__ = [
    "CacheSettings",
    "Config",
    "ConfigFile",
    "DockerSettings",
    "HostConfig",
    "HostEntry",
    "HostSettings",
    "ImageSettings",
    "LimitSettings",
    "Origin",
    "PoolSettings",
    "RunnerSettings",
    "SecretSource",
    "effective",
    "leaves",
]

Origin = Literal["host", "defaults", "default"]


class HostConfig(HostSettings):
    """Everything that holds for one host. Equal when the values are, wherever they came from."""

    name: HostName
    ssh: SshTarget
    server: Url
    secret: SecretSource

    _origins: Mapping[str, Origin] = PrivateAttr(default_factory=dict)

    @property
    def step_environment(self) -> dict[str, str]:
        """What every step of every pipeline finds in its environment."""
        cache = {CACHE_VARIABLE: self.registry.cache} if self.registry.cache else {}
        return cache | dict(self.runner.environ)

    def origin(self, path: str) -> Origin:
        """Where the value at a leaf such as `cache.max` was given.

        `host` is the host itself, `defaults` the file's defaults or top level, `default` nowhere.
        """
        return self._origins.get(path, "default")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, HostConfig):
            return NotImplemented
        return dict(self) == dict(other)

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Config:
    """The hosts in the order of the file."""

    hosts: tuple[HostConfig, ...]


def effective(file: ConfigFile) -> Config:
    """Merge top level, defaults and host: the innermost wins, maps merge, lists replace.

    Raises ConfigError with every rule between values that does not hold.
    """
    problems: list[Problem] = []
    hosts = []
    for name, entry in file.hosts.items():
        layers = (_given_at_top(file), file.defaults, entry)
        missing = [key for key in ("server", "secret") if _last(layers, key) is None]
        if missing:
            problems += [_missing(file, name, key) for key in missing]
            continue
        host = HostConfig(name=name, **_merged(*layers))
        host._origins = _origins(entry, file)
        hosts.append(host)
        problems += _ages(host)
    problems += _same_place(hosts)
    if problems:
        raise ConfigError("the configuration is wrong", problems=_once(problems))
    return Config(tuple(hosts))


def leaves(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of a host's settings as (dotted path, value); lists and maps are leaves."""
    for key in type(model).model_fields:
        value = getattr(model, key)
        if isinstance(value, BaseModel):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _given_at_top(file: ConfigFile) -> SharedSettings:
    given = file.model_fields_set & set(SharedSettings.model_fields)
    return SharedSettings.model_construct(given, **{key: getattr(file, key) for key in given})


def _last(layers: tuple[BaseModel, ...], key: str) -> Any:
    given = [getattr(layer, key) for layer in layers if key in layer.model_fields_set]
    return given[-1] if given else None


def _merged(*layers: BaseModel) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for layer in layers:
        for key in type(layer).model_fields:
            if key not in layer.model_fields_set:
                continue
            value, before = getattr(layer, key), result.get(key)
            if isinstance(value, BaseModel):
                value = _merged(value) if before is None else _joined(before, _merged(value))
            elif isinstance(value, Mapping) and before is not None:
                value = {**before, **value}
            result[key] = value
    return result


def _joined(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Deep merge of two mappings; what is no mapping on both sides is replaced."""
    both = {
        key: _joined(below[key], value)
        for key, value in above.items()
        if isinstance(value, dict) and isinstance(below.get(key), dict)
    }
    return {**below, **above, **both}


def _origins(entry: HostEntry, file: ConfigFile) -> dict[str, Origin]:
    shared: list[BaseModel] = [_given_at_top(file), file.defaults]
    origins: dict[str, Origin] = {path: "defaults" for x in shared for path in _given(x)}
    return origins | dict.fromkeys(_given(entry), "host")


def _given(model: BaseModel, prefix: str = "") -> Iterator[str]:
    for key in sorted(model.model_fields_set):
        value = getattr(model, key)
        if isinstance(value, BaseModel):
            yield from _given(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _missing(file: ConfigFile, name: str, key: str) -> Problem:
    entries = [file.defaults, *file.hosts.values()]
    somewhere = any(getattr(entry, key) is not None for entry in entries)
    hints = {
        "server": "add the Drone server's URL, e.g. server: https://drone.example.com",
        "secret": "say where the RPC secret is, e.g. secret: env:DRONE_RPC_SECRET",
    }
    return Problem(f"hosts.{name}.{key}" if somewhere else key, "is missing", hints[key])


def _ages(host: HostConfig) -> Iterator[Problem]:
    cache = host.cache
    if cache.keep_layers > cache.keep_mounts:
        own = "host" in (host.origin("cache.keep_layers"), host.origin("cache.keep_mounts"))
        yield Problem(
            f"hosts.{host.name}.cache.keep_layers" if own else "defaults.cache.keep_layers",
            f"{cache.keep_layers} is longer than keep_mounts, which is {cache.keep_mounts}",
            "cache mounts are worth more than layers: "
            f"lower keep_layers, or raise keep_mounts to {cache.keep_layers}",
        )


def _same_place(hosts: list[HostConfig]) -> Iterator[Problem]:
    seen: dict[object, str] = {}
    for host in hosts:
        target = parse_target(host.ssh)
        place = (
            LOCAL if isinstance(target, LocalTarget) else (target.host.lower(), target.port or 22)
        )
        first = seen.setdefault((place, host.stack), host.name)
        if first != host.name:
            yield Problem(
                f"hosts.{host.name}.ssh",
                f"is the same machine as hosts.{first}, with the same stack {host.stack}",
                f"remove one of them, or give hosts.{host.name} a stack of its own",
            )


def _once(problems: list[Problem]) -> tuple[Problem, ...]:
    return tuple({(str(x), x.hint): x for x in problems}.values())
