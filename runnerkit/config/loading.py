"""Reading runnerkit.yml, the environment and secrets. The only module that does."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from runnerkit.config.effective import Config, ConfigFile, HostConfig, SecretSource, effective
from runnerkit.config.problems import problems_of
from runnerkit.config.text import parse_yaml
from runnerkit.config.values import did_you_mean
from runnerkit.errors import ConfigError, Problem
from runnerkit.secret import Secret

FILE_NAME = "runnerkit.yml"
LARGEST_FILE = 1 << 20
LARGEST_SECRET = 1 << 16
COMMAND_SECONDS = 30


def find_config(explicit: Path | None, env: Mapping[str, str], cwd: Path) -> Path:
    """--config, else RUNNERKIT_CONFIG, else ./runnerkit.yml, else the XDG configuration folder."""
    if explicit is not None:
        return explicit
    if env.get("RUNNERKIT_CONFIG"):
        return cwd / env["RUNNERKIT_CONFIG"]
    xdg = Path(env.get("XDG_CONFIG_HOME") or Path(env.get("HOME", "/")) / ".config")
    places = (cwd / FILE_NAME, xdg / "runnerkit" / FILE_NAME)
    for place in places:
        if os.path.isfile(place):  # noqa: PTH113 - a folder that may not be entered is a no
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
        raise _refused(path, problems_of(error)) from None
    except ConfigError as error:
        raise _refused(path, error.problems) from None
    try:
        base = path.parent.absolute()
        return Config(hosts=tuple(_absolute(host, base) for host in config.hosts))
    except _NoHomeError as error:
        raise _refused(path, (error.problem,)) from None


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in the file. Raises ConfigError for everything that is not one."""
    return parse_yaml(_read(path), str(path))


def resolve_secret(source: SecretSource, *, where: str, base: Path) -> Secret:
    """The secret that `source` names; relative paths are below `base`.

    Raises ConfigError naming `where` and the source, never any part of a value.
    """
    shown = f"the output of the command in {where}" if source.kind == "cmd" else str(source)
    match source.kind:
        case "env":
            value = os.environ.get(source.place, "")
            if not value:
                state = "empty" if source.place in os.environ else "not set"
                raise ConfigError(
                    f"{where}: the environment variable {source.place} is {state}",
                    hint=f"export {source.place}=…, or name another place",
                )
        case "file":
            value = _secret_file(_expanded(base, source.place, where), where)
        case "cmd":
            value = _secret_command(source.place, where, base)
    value = value.removesuffix("\r\n" if value.endswith("\r\n") else "\n")
    if not value.strip():
        raise ConfigError(f"{where}: {shown} is empty", hint="put the secret there")
    if any(ord(char) < 32 or ord(char) == 127 for char in value):
        raise ConfigError(
            f"{where}: {shown} holds a line break or control character",
            hint="a secret is one line of text",
        )
    if not value.isascii() and value != value.encode(errors="replace").decode():
        raise ConfigError(
            f"{where}: {shown} is not UTF-8 text", hint="a secret is one line of text"
        )
    return Secret(value)


def select_hosts(config: Config, names: Sequence[str]) -> tuple[HostConfig, ...]:
    """The named hosts in the order of the file, or all. Raises ConfigError for an unknown name."""
    known = {host.name: host for host in config.hosts}
    for name in names:
        if name not in known:
            near = did_you_mean(name, known)
            raise ConfigError(
                f"{name[:80]!r} is not a host of the configuration",
                hint=f"{near} known: {', '.join(known)}" if near else f"known: {', '.join(known)}",
            )
    return tuple(host for host in config.hosts if not names or host.name in names)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise ConfigError(f"{path} is larger than any configuration (1 MiB)")
        return content.decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            f"{path} does not exist", hint="runnerkit init USER@HOST --server URL"
        ) from None
    except IsADirectoryError:
        hint = f"name the file, e.g. {path / FILE_NAME}"
        raise ConfigError(f"{path} is a folder", hint=hint) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text", hint="save it as UTF-8") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its name is no file name"
        raise ConfigError(f"{path} cannot be read: {reason}") from None


def _refused(path: Path, problems: Sequence[Problem]) -> ConfigError:
    count = len(problems)
    noun = "problem" if count == 1 else "problems"
    return ConfigError(f"{path}: {count} {noun}", problems=tuple(problems))


class _NoHomeError(ConfigError):
    """A path begins with the home folder of somebody who has none."""

    def __init__(self, where: str) -> None:
        super().__init__(f"{where}: begins with the home folder of an unknown user")
        self.problem = Problem(where, "begins with the home folder of an unknown user")


def _expanded(base: Path, path: Path | str, where: str) -> Path:
    try:
        return base / Path(path).expanduser()
    except RuntimeError:
        raise _NoHomeError(where) from None


def _absolute(host: HostConfig, base: Path) -> HostConfig:
    changes: dict[str, Any] = {}
    for key in ("identity", "known_hosts"):
        path = getattr(host, key)
        if path is not None:
            changes[key] = _expanded(base, path, f"hosts.{host.name}.{key}")
    if host.images.load is not None:
        load_from = _expanded(base, host.images.load, f"hosts.{host.name}.images.load")
        changes["images"] = host.images.model_copy(update={"load": load_from})
    return host.model_copy(update=changes)


def _secret_file(path: Path, where: str) -> str:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o007:
                raise ConfigError(
                    f"{where}: {path} is open to every user of this machine",
                    hint=f"chmod 600 {path}",
                )
            return _text(file.read(LARGEST_SECRET + 1), where, str(path))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its name is no file name"
        raise ConfigError(
            f"{where}: {path} cannot be read: {reason}", hint="check the path and its mode"
        ) from None


def _secret_command(command: str, where: str, base: Path) -> str:
    try:
        process = subprocess.Popen(  # noqa: S602 - the admin's own command, from the admin's own file
            command,
            shell=True,
            cwd=base,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except (OSError, ValueError):
        raise ConfigError(f"{where}: the command cannot be started in {base}") from None
    with process:
        try:
            output, _ = process.communicate(timeout=COMMAND_SECONDS)
        except subprocess.TimeoutExpired:
            raise ConfigError(
                f"{where}: the command gave no answer within {COMMAND_SECONDS} s",
                hint="it gets no terminal: it must not ask",
            ) from None
        finally:
            # Whatever the shell started holds the pipe too, and would be waited for.
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        raise ConfigError(
            f"{where}: the command failed with exit code {process.returncode}",
            hint="run it by hand to see why",
        )
    return _text(output, where, "the command's output")


def _text(content: bytes, where: str, what: str) -> str:
    if len(content) > LARGEST_SECRET:
        raise ConfigError(f"{where}: {what} is too long for a secret (64 KiB)")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{where}: {what} is not UTF-8 text") from None
