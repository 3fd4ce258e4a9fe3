"""Reading runnerkit.yml, the environment and secrets. The only module that does."""

from __future__ import annotations

import difflib
import io
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from runnerkit.config import Config, ConfigFile, HostConfig, SecretSource, effective
from runnerkit.errors import ConfigError, Problem
from runnerkit.secret import Secret

FILE_NAME = "runnerkit.yml"
LARGEST_FILE = 1 << 20
DEEPEST = 30
COMMAND_SECONDS = 30


def find_config(explicit: Path | None, env: Mapping[str, str], cwd: Path) -> Path:
    """--config, else RUNNERKIT_CONFIG, else ./runnerkit.yml, else the XDG configuration folder."""
    if explicit is not None:
        return explicit
    if env.get("RUNNERKIT_CONFIG"):
        return Path(env["RUNNERKIT_CONFIG"])
    xdg = Path(env.get("XDG_CONFIG_HOME") or Path(env.get("HOME", "/")) / ".config")
    places = (cwd / FILE_NAME, xdg / "runnerkit" / FILE_NAME)
    for place in places:
        if place.is_file():
            return place
    raise ConfigError(
        f"there is no {FILE_NAME} here, nor {places[1]}",
        hint="runnerkit init USER@HOST --server URL",
    )


def load(path: Path) -> Config:
    """The effective configuration. Raises ConfigError with every problem of the file at once."""
    content = read_yaml(path)
    try:
        config = effective(ConfigFile.model_validate(content))
    except ValidationError as error:
        raise _refused(path, _problems(error)) from None
    except ConfigError as error:
        raise _refused(path, error.problems) from None
    base = path.parent.absolute()
    return Config(hosts=tuple(_absolute(host, base) for host in config.hosts))


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in the file. Raises ConfigError for everything that is not one."""
    from ruamel.yaml import YAML  # noqa: PLC0415 - costs 30 ms
    from ruamel.yaml.constructor import DuplicateKeyError  # noqa: PLC0415
    from ruamel.yaml.error import MarkedYAMLError, YAMLError  # noqa: PLC0415

    text = _read(path)
    try:
        content = YAML(typ="safe", pure=True).load(io.StringIO(text))
    except DuplicateKeyError as error:
        place = _line(error)
        raise ConfigError(
            f"{path}{place}: {_first_line(error.problem)}",
            hint="every key, and so every host, may stand once in its mapping",
        ) from None
    except MarkedYAMLError as error:
        raise ConfigError(
            f"{path}{_line(error)}: not YAML: {_first_line(error.problem)}",
            hint="look at the indentation and the quotes there",
        ) from None
    except (YAMLError, ValueError, TypeError, RecursionError, AttributeError, KeyError) as error:
        raise ConfigError(f"{path}: not YAML: {_first_line(error)}") from None
    if not isinstance(content, dict) or not _is_tree(content, DEEPEST):
        raise ConfigError(
            f"{path}: expected keys like `server:` and `hosts:` at the top, nested moderately",
            hint="runnerkit init shows what a configuration looks like",
        )
    return content


def resolve_secret(source: SecretSource, *, where: str, base: Path) -> Secret:
    """The secret that `source` names; relative paths are below `base`.

    Raises ConfigError naming `where` and the source, never any part of a value.
    """
    match source.kind:
        case "env":
            value = os.environ.get(source.place)
            if value is None:
                raise ConfigError(
                    f"{where}: the variable {source.place} is not set",
                    hint=f"export {source.place}=…, or name another place",
                )
        case "file":
            value = _secret_file(base / Path(source.place).expanduser(), where)
        case "cmd":
            value = _secret_command(source.place, where, base)
    value = value.removesuffix("\n").removesuffix("\r")
    if not value:
        raise ConfigError(f"{where}: {source} is empty", hint="put the secret there")
    if any(ord(char) < 32 or ord(char) == 127 for char in value):
        raise ConfigError(
            f"{where}: {source} holds a line break or control character",
            hint="a secret is one line of text",
        )
    return Secret(value)


def select_hosts(config: Config, names: Sequence[str]) -> tuple[HostConfig, ...]:
    """The named hosts in the order of the file, or all. Raises ConfigError for an unknown name."""
    known = {host.name: host for host in config.hosts}
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ConfigError(
                f"{name[:80]!r} is not a host of the configuration",
                hint=f"{hint}there is {', '.join(known)}",
            )
    return tuple(host for host in config.hosts if not names or host.name in names)


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ConfigError(f"{path} is larger than any configuration")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"{path} does not exist", hint="runnerkit init USER@HOST --server URL"
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not a UTF-8 text file") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {_first_line(error)}") from None


def _is_tree(value: Any, depth: int) -> bool:
    """Whether `value` is nested moderately; an anchor that holds itself never is."""
    if depth == 0:
        return False
    if isinstance(value, dict):
        return all(_is_tree(item, depth - 1) for item in value.values())
    if isinstance(value, list):
        return all(_is_tree(item, depth - 1) for item in value)
    return True


def _refused(path: Path, problems: Sequence[Problem]) -> ConfigError:
    count = len(problems)
    noun = "problem" if count == 1 else "problems"
    return ConfigError(f"{path}: {count} {noun}", problems=tuple(problems))


def _problems(error: ValidationError) -> list[Problem]:
    found: dict[str, Problem] = {}
    for item in error.errors(include_url=False, include_input=False):
        steps = [str(step) for step in item["loc"] if step not in ("[key]", "auto", "pools")]
        shown = [x if x.isprintable() and len(x) <= 80 else repr(x[:80]) for x in steps]
        problem = _problem(".".join(shown), item, steps)
        found.setdefault(problem.path, problem)
    return list(found.values())


def _problem(place: str, item: Mapping[str, Any], steps: Sequence[str]) -> Problem:
    kind, message = item["type"], str(item["msg"])
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(steps[-1], _known_keys(), n=1, cutoff=0.7)
        hint = f"did you mean {near[0]}?" if near else "keys of your own start with x-"
        return Problem(place, "is not a key that runnerkit knows", hint)
    if kind == "missing":
        return Problem(place, "is missing", f"add `{steps[-1]}:`")
    if kind in ("model_type", "mapping_type", "dict_type", "model_attributes_type"):
        return Problem(place, "should be keys with values below it")
    advice: str | None = (item.get("ctx") or {}).get("hint")
    return Problem(place, message.removeprefix("Value error, "), advice)


def _known_keys() -> set[str]:
    from runnerkit.schema import known_keys  # noqa: PLC0415 - only for a bad file

    return known_keys()


def _absolute(host: HostConfig, base: Path) -> HostConfig:
    changes: dict[str, Any] = {}
    for key in ("identity", "known_hosts"):
        path = getattr(host, key)
        if path is not None:
            changes[key] = base / path.expanduser()
    if host.images.load is not None:
        load_from = base / host.images.load.expanduser()
        changes["images"] = host.images.model_copy(update={"load": load_from})
    return host.model_copy(update=changes)


def _secret_file(path: Path, where: str) -> str:
    try:
        if path.stat().st_mode & 0o007:
            raise ConfigError(f"{where}: {path} can be read by everybody", hint=f"chmod 600 {path}")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{where}: {path} is not UTF-8 text") from None
    except OSError as error:
        raise ConfigError(
            f"{where}: {path} cannot be read: {error.strerror}", hint="check the path and its mode"
        ) from None


def _secret_command(command: str, where: str, base: Path) -> str:
    try:
        done = subprocess.run(  # noqa: S602 - the admin's own command line, from the admin's own file
            command,
            shell=True,
            cwd=base,
            capture_output=True,
            timeout=COMMAND_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (subprocess.TimeoutExpired, OSError, ValueError):
        raise ConfigError(
            f"{where}: the command gave no answer within {COMMAND_SECONDS} s",
            hint="it gets no terminal: it must not ask",
        ) from None
    if done.returncode:
        raise ConfigError(
            f"{where}: the command failed with exit code {done.returncode}",
            hint="run it by hand to see why",
        )
    return done.stdout.decode(errors="replace")


def _line(error: Any) -> str:
    mark = getattr(error, "problem_mark", None)
    return f", line {mark.line + 1}" if mark is not None else ""


def _first_line(error: object) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200]
