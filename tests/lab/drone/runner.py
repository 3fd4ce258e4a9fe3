#!/usr/bin/env python3
"""A stand-in for drone/drone-runner-docker:1.8.4, for a lab that cannot pull the real image.

Usage: drone-runner-docker [daemon] [ENVFILE]

It keeps what a provisioning kit can see of the real runner: how it reads its configuration, when
and how it fails, what it logs, which HTTP endpoints it opens, how it answers signals, what it says
to the Drone server and what it creates in the Docker daemon. README.md beside this file lists what
is and is not covered.

One file on purpose: it becomes /bin/drone-runner-docker in an image that holds nothing but
Debian's python3, python3-docker and python3-yaml. The docker package is imported only when a
daemon is really addressed, so the tests import this module without it.

Sources named below: R = drone-runners/drone-runner-docker@v1.8.4, G = drone/runner-go@v1.12.0.
"""

from __future__ import annotations

import base64
import codecs
import contextlib
import http.client
import itertools
import json
import os
import posixpath
import re
import secrets as random_source
import signal
import socket
import ssl
import string
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol, TextIO
from urllib.parse import quote, urlsplit

import yaml

JSON = dict[str, Any]

PENDING, RUNNING = "pending", "running"
SUCCESS, FAILURE, ERROR, KILLED, SKIPPED = "success", "failure", "error", "killed", "skipped"
FAILED = frozenset({FAILURE, ERROR, KILLED})


def unix_now() -> int:
    """The time as Drone stores it."""
    return int(time.time())


def go_quote(value: str) -> str:
    """Go's %q, for the characters that pipelines contain."""
    return json.dumps(value, ensure_ascii=False)


# --- Env files: joho/godotenv@v1.3.0 --------------------------------------------------------------


class EnvFileError(Exception):
    """A line of an env file that godotenv refuses."""


_ENV_VARIABLE = re.compile(r"(\\)?(\$)(\()?\{?([A-Z0-9_]+)?\}?")
_ENV_ESCAPE = re.compile(r"\\.")
_ENV_UNESCAPE = re.compile(r"\\([^$])", re.DOTALL)


def parse_env(text: str) -> dict[str, str]:
    """The variables of an env file, or EnvFileError for the first line without `=` or `:`.

    Later lines may use earlier ones as $NAME; the process environment is never consulted.
    """
    values: dict[str, str] = {}
    for line in text.split("\n"):
        plain = line.removesuffix("\r")
        trimmed = plain.strip(" \n\t")
        if trimmed and not trimmed.startswith("#"):
            key, value = _parse_env_line(plain, values)
            values[key] = value
    return values


def load_env_file(path: str, environ: MutableMapping[str, str]) -> None:
    """Add the file's variables to `environ`; what is set there already wins.

    R command/daemon/daemon.go drops the error: a missing file or one bad line loads *nothing* and
    says nothing. The runner then fails on the first required variable.
    """
    try:
        values = parse_env(Path(path).read_text(encoding="utf-8", errors="surrogateescape"))
    except (OSError, EnvFileError):
        return
    for key, value in values.items():
        environ.setdefault(key, value)


def _parse_env_line(line: str, known: Mapping[str, str]) -> tuple[str, str]:
    kept = _without_comment(line)
    equals, colon = kept.find("="), kept.find(":")
    # A colon before the first equals sign makes it a YAML-style line.
    separator = ":" if colon != -1 and (equals == -1 or colon < equals) else "="
    key, found, value = kept.partition(separator)
    if not found:
        raise EnvFileError("Can't separate key from value")
    return key.removeprefix("export").strip(" "), _parse_env_value(value.strip(" "), known)


def _without_comment(line: str) -> str:
    """Cut the line at `#`, unless a quote with one occurrence per segment is open around it.

    Segments are counted per quote character, so two quotes before the `#` mean "closed" and a
    single apostrophe anywhere means "open": both are godotenv's behaviour, not ours.
    """
    first, *rest = line.split("#")
    is_open = _is_odd_quote(first)
    kept = [first]
    for segment in rest:
        if _is_odd_quote(segment):
            if is_open:
                is_open = False
                kept.append(segment)
                continue
            is_open = True
        if is_open:
            kept.append(segment)
    return "#".join(kept)


def _is_odd_quote(segment: str) -> bool:
    return segment.count('"') == 1 or segment.count("'") == 1


def _parse_env_value(value: str, known: Mapping[str, str]) -> str:
    if len(value) < 2:
        return value
    single = value[0] == value[-1] == "'"
    double = value[0] == value[-1] == '"'
    if single or double:
        value = value[1:-1]
    if double:
        value = _ENV_ESCAPE.sub(_line_break, value)
        value = _ENV_UNESCAPE.sub(r"\1", value)
    return value if single else _ENV_VARIABLE.sub(lambda match: _expand(match, known), value)


def _line_break(match: re.Match[str]) -> str:
    return {"\\n": "\n", "\\r": "\r"}.get(match[0], match[0])


def _expand(match: re.Match[str], known: Mapping[str, str]) -> str:
    if match[1]:
        return match[0][1:]
    return known.get(match[4], "") if match[4] else match[0]


# --- Configuration: kelseyhightower/envconfig@v1.4.0 over R command/daemon/config.go --------------


class ConfigError(Exception):
    """A setting that makes the runner refuse to start."""


# Old names; when set they replace the new name even if that is set too.
_LEGACY = {
    "DRONE_MACHINE": "DRONE_RUNNER_NAME",
    "DRONE_RUNNER_OS": "DRONE_PLATFORM_OS",
    "DRONE_RUNNER_ARCH": "DRONE_PLATFORM_ARCH",
    "DRONE_RUNNER_KERNEL": "DRONE_PLATFORM_KERNEL",
    "DRONE_RUNNER_VARIANT": "DRONE_PLATFORM_VARIANT",
    "DRONE_LIMIT_MEM_SWAP": "DRONE_MEMORY_SWAP_LIMIT",
    "DRONE_LIMIT_MEM": "DRONE_MEMORY_LIMIT",
    "DRONE_LIMIT_CPU_QUOTA": "DRONE_CPU_QUOTA",
    "DRONE_LIMIT_CPU_SHARES": "DRONE_CPU_SHARES",
    "DRONE_LIMIT_CPU_SET": "DRONE_CPU_SET",
    "DRONE_LOGS_DEBUG": "DRONE_DEBUG",
    "DRONE_LOGS_TRACE": "DRONE_TRACE",
    "DRONE_SERVER_PORT": "DRONE_HTTP_BIND",
}
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_GO_INTEGER = re.compile(r"[+-]?(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|[1-9][0-9]*|0)")


class _EnvReader:
    """Reads typed settings. A variable that is set but empty counts as set, as in envconfig."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def text(self, name: str, default: str = "", *, required: bool = False) -> str:
        value = self._environ.get(name)
        if value is None and required:
            raise ConfigError(f"required key {name} missing value")
        return default if value is None else value

    def integer(self, name: str, default: int = 0, kind: str = "int64") -> int:
        value = self._environ.get(name)
        if value is None:
            return default
        if not _GO_INTEGER.fullmatch(value):
            why = f"strconv.ParseInt: parsing {go_quote(value)}: invalid syntax"
            raise _refused(name, value, kind, why)
        octal = re.fullmatch(r"([+-]?)0([0-7]+)", value)
        return int(f"{octal[1]}{octal[2]}", 8) if octal else int(value, 0)

    def flag(self, name: str, *, default: bool = False) -> bool:
        value = self._environ.get(name)
        if value is None:
            return default
        if value not in _TRUE | _FALSE:
            why = f"strconv.ParseBool: parsing {go_quote(value)}: invalid syntax"
            raise _refused(name, value, "bool", why)
        return value in _TRUE

    def items(self, name: str) -> tuple[str, ...]:
        value = self._environ.get(name, "")
        return tuple(value.split(",")) if value.strip() else ()

    def pairs(self, name: str) -> dict[str, str]:
        value = self._environ.get(name, "")
        pairs: dict[str, str] = {}
        for pair in value.split(",") if value.strip() else ():
            parts = pair.split(":")
            if len(parts) != 2:
                why = f"invalid map item: {go_quote(pair)}"
                raise _refused(name, value, "map[string]string", why)
            pairs[parts[0]] = parts[1]
        return pairs


def _refused(name: str, value: str, kind: str, why: str) -> ConfigError:
    return ConfigError(
        f"envconfig.Process: assigning {name} to {name}: converting '{value}' to type {kind}. "
        f"details: {why}"
    )


@dataclass(frozen=True)
class Resources:
    """Limits put on every pipeline container, in Docker's units; 0 is unlimited."""

    memory: int = 0
    memory_swap: int = 0
    cpu_quota: int = 0
    cpu_period: int = 0
    cpu_shares: int = 0
    cpu_set: tuple[str, ...] = ()
    shm_size: int = 0


@dataclass(frozen=True)
class Config:
    """The settings that this stand-in acts on."""

    address: str
    secret: str = field(repr=False)
    skip_verify: bool = False
    debug: bool = False
    trace: bool = False
    ui_username: str = ""
    ui_password: str = field(default="", repr=False)
    ui_realm: str = "MyRealm"
    http_bind: str = ":3000"
    name: str = ""
    capacity: int = 2
    procs: int = 0
    environ: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    labels: Mapping[str, str] = field(default_factory=dict)
    volumes: Mapping[str, str] = field(default_factory=dict)
    networks: tuple[str, ...] = ()
    network_opts: Mapping[str, str] = field(default_factory=dict)
    privileged: tuple[str, ...] = ()
    clone_image: str = ""
    os: str = "linux"
    arch: str = "amd64"
    kernel: str = ""
    variant: str = ""
    limit_repos: tuple[str, ...] = ()
    limit_events: tuple[str, ...] = ()
    limit_trusted: bool = False
    resources: Resources = field(default_factory=Resources)
    netrc_clone_only: bool = False
    docker_config: str = ""
    stream_pull: bool = True
    allow_plugin_volumes: bool = False


def read_config(environ: MutableMapping[str, str]) -> Config:
    """The configuration, or ConfigError. Legacy names are rewritten in `environ` first."""
    for old, new in _LEGACY.items():
        if old in environ:
            environ[new] = environ[old]
    read = _EnvReader(environ)
    # The order is that of the Go struct: it decides which of several errors is reported.
    debug, trace = read.flag("DRONE_DEBUG"), read.flag("DRONE_TRACE")
    proto = read.text("DRONE_RPC_PROTO", "http")
    host = read.text("DRONE_RPC_HOST", required=True)
    secret = read.text("DRONE_RPC_SECRET", required=True)
    runner_environ = read.pairs("DRONE_RUNNER_ENVIRON")
    runner_environ.update(_runner_env_file(read.text("DRONE_RUNNER_ENV_FILE")))
    return Config(
        address=f"{proto}://{host}",
        secret=secret,
        skip_verify=read.flag("DRONE_RPC_SKIP_VERIFY"),
        debug=debug,
        trace=trace,
        ui_username=read.text("DRONE_UI_USERNAME"),
        ui_password=read.text("DRONE_UI_PASSWORD"),
        ui_realm=read.text("DRONE_UI_REALM", "MyRealm"),
        http_bind=read.text("DRONE_HTTP_BIND", ":3000"),
        name=read.text("DRONE_RUNNER_NAME") or socket.gethostname(),
        capacity=read.integer("DRONE_RUNNER_CAPACITY", 2, "int"),
        procs=read.integer("DRONE_RUNNER_MAX_PROCS"),
        environ=runner_environ,
        secrets=read.pairs("DRONE_RUNNER_SECRETS"),
        labels=read.pairs("DRONE_RUNNER_LABELS"),
        volumes=read.pairs("DRONE_RUNNER_VOLUMES"),
        networks=read.items("DRONE_RUNNER_NETWORKS"),
        network_opts=read.pairs("DRONE_RUNNER_NETWORK_OPTS"),
        privileged=read.items("DRONE_RUNNER_PRIVILEGED_IMAGES"),
        clone_image=read.text("DRONE_RUNNER_CLONE_IMAGE"),
        os=read.text("DRONE_PLATFORM_OS", "linux"),
        arch=read.text("DRONE_PLATFORM_ARCH", "amd64"),
        kernel=read.text("DRONE_PLATFORM_KERNEL"),
        variant=read.text("DRONE_PLATFORM_VARIANT"),
        limit_repos=read.items("DRONE_LIMIT_REPOS"),
        limit_events=read.items("DRONE_LIMIT_EVENTS"),
        limit_trusted=read.flag("DRONE_LIMIT_TRUSTED"),
        resources=_read_resources(read),
        netrc_clone_only=read.flag("DRONE_NETRC_CLONE_ONLY"),
        docker_config=read.text("DRONE_DOCKER_CONFIG"),
        stream_pull=read.flag("DRONE_DOCKER_STREAM_PULL", default=True),
        allow_plugin_volumes=environ.get("DRONE_FLAG_ALLOW_DOCKER_PLUGIN_VOLUMES") == "true",
    )


def _read_resources(read: _EnvReader) -> Resources:
    return Resources(
        memory=read.integer("DRONE_MEMORY_LIMIT"),
        memory_swap=read.integer("DRONE_MEMORY_SWAP_LIMIT"),
        cpu_quota=read.integer("DRONE_CPU_QUOTA"),
        cpu_period=read.integer("DRONE_CPU_PERIOD"),
        cpu_shares=read.integer("DRONE_CPU_SHARES"),
        cpu_set=read.items("DRONE_CPU_SET"),
        shm_size=read.integer("DRONE_SHM_SIZE"),
    )


def _runner_env_file(path: str) -> dict[str, str]:
    if not path:
        return {}
    try:
        return parse_env(Path(path).read_text(encoding="utf-8"))
    except (OSError, EnvFileError) as problem:
        raise ConfigError(str(problem)) from problem


# --- Log: sirupsen/logrus text without a terminal -------------------------------------------------

_LEVELS = {"trace": 0, "debug": 1, "info": 2, "warning": 3, "error": 4, "fatal": 5}
_UNQUOTED = re.compile(r"[a-zA-Z0-9\-._/@^+]*")


class Log:
    """Writes `time=… level=… msg=…` lines with sorted fields, one write per line."""

    def __init__(
        self, stream: TextIO, level: str = "info", fields: Mapping[str, object] | None = None
    ) -> None:
        self._stream = stream
        self._level = level
        self._fields = dict(fields or {})

    def having(self, **fields: object) -> Log:
        """The same log with more fields; `stage_id` is written as `stage.id`."""
        named = {key.replace("_", "."): value for key, value in fields.items()}
        return Log(self._stream, self._level, {**self._fields, **named})

    def trace(self, message: str) -> None:
        self._write("trace", message)

    def debug(self, message: str) -> None:
        self._write("debug", message)

    def info(self, message: str) -> None:
        self._write("info", message)

    def warning(self, message: str) -> None:
        self._write("warning", message)

    def error(self, message: str) -> None:
        self._write("error", message)

    def fatal(self, message: str) -> None:
        self._write("fatal", message)

    def _write(self, level: str, message: str) -> None:
        if _LEVELS[level] < _LEVELS[self._level]:
            return
        now = datetime.now(UTC).astimezone().isoformat(timespec="seconds")
        stamp = now.replace("+00:00", "Z")
        head = [("time", stamp), ("level", level), ("msg", message)]
        pairs = [*head, *sorted((key, str(value)) for key, value in self._fields.items())]
        line = " ".join(
            f"{key}={value if _UNQUOTED.fullmatch(value) else go_quote(value)}"
            for key, value in pairs
        )
        self._stream.write(line + "\n")
        self._stream.flush()


# --- Cancellation: the part of Go's contexts that the runner needs --------------------------------


class CancelledError(Exception):
    """The work was given up because its scope was cancelled."""


class Scope:
    """Something that can be cancelled once, telling whoever registered.

    The lock is re-entrant because a signal handler may cancel while its own thread registers.
    """

    def __init__(self, parent: Scope | None = None) -> None:
        self._lock = threading.RLock()
        self._event = threading.Event()
        self._callbacks: list[Callable[[], None]] = []
        # Set twice, because a cancelled parent calls back before it returns.
        self._leave_parent: Callable[[], None] = lambda: None
        if parent is not None:
            self._leave_parent = parent.on_cancel(self.cancel)

    @property
    def cancelled(self) -> bool:
        return self._event.is_set()

    def cancel(self) -> None:
        """Cancel, calling every registered function once; a second call does nothing."""
        with self._lock:
            if self._event.is_set():
                return
            self._event.set()
            callbacks, self._callbacks = self._callbacks, []
        self._leave_parent()
        for callback in callbacks:
            callback()

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` on cancellation (now, if that has happened). Returns the undo."""
        with self._lock:
            if not self._event.is_set():
                self._callbacks.append(callback)
                return lambda: self._forget(callback)
        callback()
        return lambda: None

    def check(self) -> None:
        """Raise CancelledError once the scope is cancelled."""
        if self.cancelled:
            raise CancelledError("context canceled")

    def _forget(self, callback: Callable[[], None]) -> None:
        with self._lock, contextlib.suppress(ValueError):
            self._callbacks.remove(callback)


# --- RPC client: G client/http.go -----------------------------------------------------------------


class RPCError(Exception):
    """The server answered with an error status."""


class OptimisticLockError(RPCError):
    """409: another runner was faster."""


@dataclass(frozen=True)
class Reply:
    """Status and body of an answer below 300."""

    status: int
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Speaks RPC v2. Retries for ever, every 10 s, on network errors, 204 and above 501."""

    def __init__(self, endpoint: str, secret: str, *, skip_verify: bool, log: Log) -> None:
        self.endpoint = endpoint
        self._secret = secret
        self._skip_verify = skip_verify
        self._log = log
        # Replaced in tests only. The sleep cannot be interrupted, exactly like upstream's: it is
        # why an idle runner may need 10 s to stop, and why a poll that returned empty-handed is
        # followed by 10 s in which nobody listens.
        self.pause: Callable[[], None] = lambda: time.sleep(10)

    def ping(self, scope: Scope) -> None:
        self.do(scope, "POST", "/rpc/v2/ping")

    def request(self, scope: Scope, wanted: JSON) -> JSON:
        return _object(self.retry(scope, "POST", "/rpc/v2/stage", wanted))

    def accept(self, scope: Scope, stage: JSON) -> None:
        machine = quote(str(stage["machine"]), safe="")
        reply = self.retry(scope, "POST", f"/rpc/v2/stage/{stage['id']}?machine={machine}")
        accepted = _object(reply)
        stage["updated"] = accepted.get("updated", 0)
        stage["version"] = accepted.get("version", 0)

    def detail(self, scope: Scope, stage: JSON) -> JSON:
        return _object(self.retry(scope, "GET", f"/rpc/v2/stage/{stage['id']}"))

    def update(self, scope: Scope, stage: JSON) -> None:
        """Send the stage and take over what the server decided: versions and step ids."""
        saved = _object(self.retry(scope, "PUT", f"/rpc/v2/stage/{stage['id']}", stage))
        stage["updated"] = saved.get("updated", 0)
        stage["version"] = saved.get("version", 0)
        by_number = {step.get("number"): step for step in saved.get("steps") or ()}
        for step in stage.get("steps") or ():
            source = by_number.get(step["number"])
            if source is not None:
                for key in ("id", "step_id", "started", "stopped", "version"):
                    step[key] = source.get(key, 0)

    def update_step(self, scope: Scope, step: JSON) -> None:
        saved = _object(self.retry(scope, "PUT", f"/rpc/v2/step/{step['id']}", step))
        step["version"] = saved.get("version", 0)

    def watch(self, scope: Scope, build: int) -> bool:
        """Block until the build is cancelled (True) or the scope ends (CancelledError)."""
        return self.retry(scope, "POST", f"/rpc/v2/build/{build}/watch").status == 200

    def batch(self, step: int, lines: list[JSON]) -> None:
        self.do(Scope(), "POST", f"/rpc/v2/step/{step}/logs/batch", lines)

    def upload(self, step: int, lines: list[JSON]) -> None:
        self.retry(Scope(), "POST", f"/rpc/v2/step/{step}/logs/upload", lines)

    def retry(self, scope: Scope, method: str, path: str, body: object = None) -> Reply:
        """One answer, however long it takes; RPCError for 3xx, 4xx, 500 and 501."""
        while True:
            try:
                reply = self.do(scope, method, path, body, raise_above=501)
            except OSError as problem:
                self._log.trace(f"http: request error: {problem}")
            else:
                scope.check()
                if reply.status not in {204, *range(502, 600)}:
                    return reply
                self._log.trace(f"http: status {reply.status}: re-connect and re-try")
            scope.check()
            self.pause()
            scope.check()

    def do(
        self,
        scope: Scope,
        method: str,
        path: str,
        body: object = None,
        *,
        raise_above: int = 599,
    ) -> Reply:
        """One request. Raises OSError without an answer, RPCError for 300…`raise_above`."""
        scope.check()
        connection = self._connection()
        forget = scope.on_cancel(lambda: _abort(connection))
        try:
            reply = self._exchange(connection, method, path, body)
        except (OSError, http.client.HTTPException, AttributeError) as problem:
            # AttributeError: http.client loses its socket when another thread shuts it down.
            scope.check()
            raise OSError(self._describe(method, path, problem)) from problem
        finally:
            forget()
            connection.close()
        if reply.status == 409:
            raise OptimisticLockError("Optimistic Lock Error")
        if 299 < reply.status <= raise_above:
            message = reply.body.decode(errors="replace").strip()
            raise RPCError(message or http.client.responses.get(reply.status, str(reply.status)))
        return reply

    def _exchange(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: object
    ) -> Reply:
        payload = None if body is None else json.dumps(body).encode() + b"\n"
        connection.connect()
        _keep_alive(connection.sock)
        headers: dict[str, str | bytes] = {
            "X-Drone-Token": self._secret.encode(),
            "User-Agent": "Go-http-client/1.1",
        }
        prefix = urlsplit(self.endpoint).path.rstrip("/")
        connection.request(method, prefix + path, body=payload, headers=headers)
        response = connection.getresponse()
        return Reply(response.status, response.read())

    def _connection(self) -> http.client.HTTPConnection:
        target = urlsplit(self.endpoint)
        host = target.hostname or ""
        if target.scheme != "https":
            return http.client.HTTPConnection(host, target.port or 80, timeout=10)
        context = ssl.create_default_context()
        if self._skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(host, target.port or 443, timeout=10, context=context)

    def _describe(self, method: str, path: str, problem: BaseException) -> str:
        target = urlsplit(self.endpoint)
        address = f"{target.hostname}:{target.port or (443 if target.scheme == 'https' else 80)}"
        reason = getattr(problem, "strerror", None) or str(problem) or type(problem).__name__
        url = f"{method.capitalize()} {go_quote(self.endpoint + path)}"
        return f"{url}: dial tcp {address}: connect: {reason[:1].lower()}{reason[1:]}"


def _object(reply: Reply) -> JSON:
    try:
        value = reply.json()
    except ValueError as problem:
        raise RPCError("unexpected end of JSON input") from problem
    return value if isinstance(value, dict) else {}


def _keep_alive(connected: socket.socket) -> None:
    """No read timeout, but dead peers are noticed: Go probes every 15 s."""
    connected.settimeout(None)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)


def _abort(connection: http.client.HTTPConnection) -> None:
    if connection.sock is not None:
        with contextlib.suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)


# --- Substitution: drone/envsubst, used by G pipeline/runtime/runner.go ---------------------------


class SubstitutionError(Exception):
    """A `${…}` that envsubst cannot parse."""


def substitute(text: str, lookup: Callable[[str], str]) -> str:
    """Replace every `${…}` of a configuration file before it is parsed as YAML.

    Unknown names become empty, also inside commands; `$${X}` stays `${X}` and `$X` is left alone.
    """
    return _Substitution(text, lookup).run()


class _Substitution:
    def __init__(self, text: str, lookup: Callable[[str], str]) -> None:
        self._text = text
        self._lookup = lookup
        self._at = 0

    def run(self) -> str:
        parts: list[str] = []
        while self._at < len(self._text):
            if self._text.startswith("$$", self._at):
                parts.append("$")
                self._at += 2
            elif self._text.startswith("${", self._at):
                parts.append(self._function())
            else:
                parts.append(self._take(1))
        return "".join(parts)

    def _take(self, count: int) -> str:
        taken = self._text[self._at : self._at + count]
        self._at += count
        return taken

    def _peek(self, count: int = 1) -> str:
        return self._text[self._at : self._at + count]

    def _expect(self, wanted: str) -> None:
        if self._take(len(wanted)) != wanted:
            raise SubstitutionError("bad substitution")

    def _name(self) -> str:
        match = re.compile(r"\w+").match(self._text, self._at)
        if match is None:
            raise SubstitutionError("bad substitution")
        self._at = match.end()
        return match[0]

    def _run_of(self, character: str) -> str:
        """One or two of the same operator character."""
        operator = self._take(1)
        if self._peek() == character:
            operator += self._take(1)
        return operator

    def _argument(self, stops: str) -> str:
        parts: list[str] = []
        while self._peek() not in stops:
            if not self._peek():
                raise SubstitutionError("bad substitution")
            parts.append(self._function() if self._peek(2) == "${" else self._take(1))
        return "".join(parts)

    def _function(self) -> str:
        self._expect("${")
        if self._peek() == "#":
            self._take(1)
            value = str(len(self._lookup(self._name()).encode()))
        else:
            value = self._operation(self._lookup(self._name()))
        self._expect("}")
        return value

    def _operation(self, value: str) -> str:
        operator = self._peek()
        if operator in {",", "^"}:
            return _recase(value, self._run_of(operator))
        if operator in {"#", "%"}:
            return _trim(value, self._run_of(operator), self._argument("}"))
        if operator == "/":
            return self._replaced(value)
        if operator == "=" or self._peek(2) in {":=", ":-", ":?", ":+"}:
            self._take(1 if operator == "=" else 2)
            default = self._argument("}")
            return value or default
        return self._sliced(value) if operator == ":" else value

    def _replaced(self, value: str) -> str:
        operator = self._take(1)
        if self._peek() in {"/", "#", "%"}:
            operator += self._take(1)
        old = self._argument("/")
        self._expect("/")
        new = self._argument("}")
        if operator == "//":
            return value.replace(old, new)
        if operator == "/#":
            return new + value.removeprefix(old) if value.startswith(old) else value
        if operator == "/%":
            return value.removesuffix(old) + new if value.endswith(old) else value
        return value.replace(old, new, 1)

    def _sliced(self, value: str) -> str:
        self._expect(":")
        start = self._argument(":}")
        length = None
        if self._peek() == ":":
            self._take(1)
            length = self._argument("}")
        return _substring(value, start, length)


def _substring(value: str, start: str, length: str | None) -> str:
    try:
        first = int(start)
        last = None if length is None else int(length)
    except ValueError:
        return value
    if first < 0:
        first = max(0, len(value) + first)
    return value[first:] if last is None else value[first : first + last]


def _recase(value: str, operator: str) -> str:
    change = str.upper if operator[0] == "^" else str.lower
    return change(value) if len(operator) == 2 else change(value[:1]) + value[1:]


def _trim(value: str, operator: str, pattern: str) -> str:
    matches = glob(pattern, star=".*").fullmatch
    longest = len(operator) == 2
    if operator[0] == "#":
        cuts = range(len(value), 0, -1) if longest else range(1, len(value) + 1)
        return next((value[cut:] for cut in cuts if matches(value[:cut])), value)
    cuts = range(len(value)) if longest else range(len(value) - 1, -1, -1)
    return next((value[:cut] for cut in cuts if matches(value[cut:])), value)


def glob(pattern: str, *, star: str = "[^/]*") -> re.Pattern[str]:
    """A Go path pattern as an expression; `**` crosses slashes as in bmatcuk/doublestar."""
    parts: list[str] = []
    for token in re.findall(r"\*\*|\*|\?|\[\^?[^\]]+\]|\\.|.", pattern, re.DOTALL):
        if token == "**":
            parts.append(".*")
        elif token == "*":
            parts.append(star)
        elif token == "?":
            parts.append("[^/]")
        elif len(token) > 2 and token[0] == "[":
            parts.append(token)
        else:
            parts.append(re.escape(token.removeprefix("\\") or token))
    return re.compile("".join(parts), re.DOTALL)


# --- Image names: docker/distribution/reference as R internal/docker/image uses it ----------------

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REMAINDER = re.compile(
    rf"({_COMPONENT}(?:/{_COMPONENT})*)(?::(\w[\w.-]{{0,127}}))?(?:@([\w+.-]+:[0-9a-fA-F]{{32,}}))?"
)


@dataclass(frozen=True)
class Image:
    """A parsed image name."""

    domain: str
    path: str
    tag: str
    digest: str

    @property
    def full(self) -> str:
        """With registry and, unless a digest says more, a tag."""
        tag = self.tag or ("" if self.digest else "latest")
        suffix = (f":{tag}" if tag else "") + (f"@{self.digest}" if self.digest else "")
        return f"{self.domain}/{self.path}{suffix}"

    @property
    def untagged(self) -> str:
        return f"{self.domain}/{self.path}"


def parse_image(name: str) -> Image | None:
    """The name's parts, or None where Docker would refuse it (or it is an image id)."""
    if re.fullmatch(r"[0-9a-f]{64}", name):
        return None
    domain, slash, rest = name.partition("/")
    if not slash or not (set(domain) & {".", ":"} or domain == "localhost"):
        domain, rest = "docker.io", name
    if domain in {"docker.io", "index.docker.io"}:
        domain = "docker.io"
        rest = rest if "/" in rest else f"library/{rest}"
    match = _REMAINDER.fullmatch(rest)
    return Image(domain, match[1], match[2] or "", match[3] or "") if match else None


def expand_image(name: str) -> str:
    """The fully qualified name; unparsable names are passed on for Docker to refuse."""
    image = parse_image(name)
    return image.full if image else name


def is_latest(name: str) -> bool:
    return expand_image(name).endswith(":latest")


def is_same_image(one: str, other: str) -> bool:
    """Equal apart from tag and digest."""
    first, second = parse_image(one), parse_image(other)
    if first is None or second is None:
        return one == other
    return first.untagged == second.untagged


# --- The pipeline as written: R engine/resource ---------------------------------------------------


class ManifestError(Exception):
    """A configuration file that cannot be read as pipelines."""


class _TextLoader(yaml.SafeLoader):
    """Keeps every scalar as it was written, since Go decodes `1.10` into a string as `1.10`."""


_TextLoader.yaml_implicit_resolvers = {
    first: [entry for entry in resolvers if entry[0].endswith((":null", ":merge"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True)
class Condition:
    """Include and exclude patterns; no include means everything."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def matches(self, value: str) -> bool:
        if any(glob(pattern).fullmatch(value) for pattern in self.exclude):
            return False
        if not self.include:
            return True
        return any(glob(pattern).fullmatch(value) for pattern in self.include)


@dataclass(frozen=True)
class SourceStep:
    """A step or service as the author wrote it."""

    name: str
    image: str
    commands: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    detach: bool = False
    depends_on: tuple[str, ...] = ()
    devices: tuple[JSON, ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    environment: Mapping[str, str | None] = field(default_factory=dict)
    from_secret: Mapping[str, str] = field(default_factory=dict)
    failure: str = ""
    memory: int = 0
    memory_swap: int = 0
    shm_size: int = 0
    network_mode: str = ""
    privileged: bool = False
    pull: str = ""
    settings: Mapping[str, object] = field(default_factory=dict)
    user: str = ""
    volumes: tuple[JSON, ...] = ()
    when: Mapping[str, Condition] = field(default_factory=dict)
    working_dir: str = ""


@dataclass(frozen=True)
class Pipeline:
    """One `kind: pipeline, type: docker` document."""

    name: str = ""
    os: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    clone_disable: bool = False
    clone_depth: int = 0
    clone_skip_verify: bool = False
    clone_trace: bool = False
    services: tuple[SourceStep, ...] = ()
    steps: tuple[SourceStep, ...] = ()
    volumes: tuple[JSON, ...] = ()
    pull_secrets: tuple[str, ...] = ()
    workspace_base: str = ""
    workspace_path: str = ""


def parse_pipelines(text: str) -> list[Pipeline]:
    """Every Docker pipeline of a multi-document file, or ManifestError."""
    try:
        pairs = [
            (yaml.safe_load(part), yaml.load(part, _TextLoader))  # noqa: S506 - a safe loader
            for part in _documents(text)
        ]
    except yaml.YAMLError as problem:
        raise ManifestError(f"yaml: {problem}") from problem
    return [
        _read_pipeline(typed, plain)
        for typed, plain in pairs
        if isinstance(plain, dict)
        and plain.get("kind") == "pipeline"
        and plain.get("type") == "docker"
    ]


def find_pipeline(name: str, pipelines: Iterable[Pipeline]) -> Pipeline:
    """The pipeline of a stage; no name and `default` are the same."""
    for pipeline in pipelines:
        if (pipeline.name or "default") == (name or "default"):
            return pipeline
    raise ManifestError("resource not found")


def _documents(text: str) -> list[str]:
    """Split like G manifest/parse.go: a line that begins with `---` separates, `...` ends."""
    parts: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.startswith("..."):
            break
        if line.startswith("---"):
            parts.append([])
        else:
            parts[-1].append(line)
    return ["\n".join(part) for part in parts if part]


def _read_pipeline(typed: JSON, plain: JSON) -> Pipeline:
    clone, workspace = _mapping(plain, "clone"), _mapping(plain, "workspace")
    return Pipeline(
        name=_text(plain, "name"),
        os=_text(_mapping(plain, "platform"), "os"),
        environment={key: value or "" for key, value in _mapping(plain, "environment").items()},
        clone_disable=_flag(clone, "disable"),
        clone_depth=int(_text(clone, "depth") or 0),
        clone_skip_verify=_flag(clone, "skip_verify"),
        clone_trace=_flag(clone, "trace"),
        services=_read_steps(typed, plain, "services"),
        steps=_read_steps(typed, plain, "steps"),
        volumes=tuple(_mappings(plain, "volumes")),
        pull_secrets=_texts(plain, "image_pull_secrets"),
        workspace_base=_text(workspace, "base"),
        workspace_path=_text(workspace, "path"),
    )


def _read_steps(typed: JSON, plain: JSON, key: str) -> tuple[SourceStep, ...]:
    both = zip(_mappings(typed, key), _mappings(plain, key), strict=True)
    return tuple(_read_step(one, other) for one, other in both)


def _read_step(typed: JSON, plain: JSON) -> SourceStep:
    variables = _mapping(plain, "environment")
    return SourceStep(
        name=_text(plain, "name"),
        image=_text(plain, "image"),
        commands=_texts(plain, "commands"),
        command=_texts(plain, "command"),
        entrypoint=_texts(plain, "entrypoint"),
        detach=_flag(plain, "detach"),
        depends_on=_texts(plain, "depends_on"),
        devices=tuple(_mappings(plain, "devices")),
        dns=_texts(plain, "dns"),
        dns_search=_texts(plain, "dns_search"),
        extra_hosts=_texts(plain, "extra_hosts"),
        environment={k: v for k, v in variables.items() if not isinstance(v, dict)},
        from_secret={
            k: v["from_secret"]
            for k, v in variables.items()
            if isinstance(v, dict) and "from_secret" in v
        },
        failure=_text(plain, "failure"),
        memory=ram_in_bytes(_text(plain, "mem_limit")),
        memory_swap=ram_in_bytes(_text(plain, "memswap_limit")),
        shm_size=ram_in_bytes(_text(plain, "shm_size")),
        network_mode=_text(plain, "network_mode"),
        privileged=_flag(plain, "privileged"),
        pull=_text(plain, "pull"),
        settings=_mapping(typed, "settings"),
        user=_text(plain, "user"),
        volumes=tuple(_mappings(plain, "volumes")),
        when={key: _condition(value) for key, value in _mapping(plain, "when").items()},
        working_dir=_text(plain, "working_dir"),
    )


def _condition(value: object) -> Condition:
    if isinstance(value, str):
        return Condition(include=(value,))
    if isinstance(value, list):
        return Condition(include=tuple(map(str, value)))
    if isinstance(value, dict):
        return Condition(_texts(value, "include"), _texts(value, "exclude"))
    return Condition()


def _mapping(source: JSON, key: str) -> JSON:
    value = source.get(key)
    return {str(name): item for name, item in value.items()} if isinstance(value, dict) else {}


def _mappings(source: JSON, key: str) -> list[JSON]:
    value = source.get(key) or []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ManifestError(f"yaml: unmarshal errors: {key}: not a list of mappings")
    return value


def _text(source: JSON, key: str) -> str:
    value = source.get(key)
    if value is not None and not isinstance(value, str):
        raise ManifestError(f"yaml: unmarshal errors: {key}: cannot unmarshal into string")
    return value or ""


def _texts(source: JSON, key: str) -> tuple[str, ...]:
    value = source.get(key) or []
    if not isinstance(value, list):
        raise ManifestError(f"yaml: unmarshal errors: {key}: cannot unmarshal into []string")
    return tuple(str(item) for item in value)


def _flag(source: JSON, key: str) -> bool:
    return _text(source, key).lower() in {"true", "yes", "on", "y"}


def ram_in_bytes(value: str) -> int:
    """Sizes such as 512m or 1.5GiB; binary units, 0 for nothing or nonsense."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?", value.strip().lower())
    if match is None:
        return 0
    return int(float(match[1]) * 1024 ** " kmgtp".index(match[2] or " "))


# --- The rules: R engine/linter and internal/match ------------------------------------------------


class LintError(Exception):
    """A pipeline that this repository may not run."""


_RESERVED_VOLUMES = frozenset({"workspace", "_workspace", "_docker_socket"})


def lint(pipeline: Pipeline, *, trusted: bool) -> None:
    """Raise LintError with upstream's text for the first broken rule."""
    names = set() if pipeline.clone_disable else {"clone"}
    for step in (*pipeline.services, *pipeline.steps):
        if step.name in names:
            raise LintError("linter: duplicate step names")
        names.add(step.name)
        _lint_step(step, trusted=trusted)
        _lint_dependencies(step, names)
    for volume in pipeline.volumes:
        _lint_volume(volume, trusted=trusted)


def _lint_step(step: SourceStep, *, trusted: bool) -> None:
    if not step.image:
        raise LintError("linter: invalid or missing image")
    needs_trust = {
        "enable privileged mode": step.privileged,
        "mount devices": step.devices,
        "configure dns": step.dns,
        "configure dns_search": step.dns_search,
        "configure extra_hosts": step.extra_hosts,
        "configure network_mode": step.network_mode,
        "configure shm_size": step.shm_size > 0,
    }
    for what, wanted in needs_trust.items():
        if wanted and not trusted:
            raise LintError(f"linter: untrusted repositories cannot {what}")
    for mount in step.volumes:
        if mount.get("name") in _RESERVED_VOLUMES:
            raise LintError(f"linter: invalid volume name: {mount['name']}")
        if posixpath.normpath(mount.get("path") or ".").startswith("/run/drone"):
            raise LintError("linter: cannot mount volume at /run/drone")


def _lint_dependencies(step: SourceStep, names: set[str]) -> None:
    """Only earlier steps may be named, which is why a cycle can only be a step naming itself."""
    for other in step.depends_on:
        if other not in names:
            raise LintError(
                f"linter: unknown step dependency detected: {step.name} references {other}"
            )
        if other == step.name:
            raise LintError(f"linter: cyclical step dependency detected: {other}")


def _lint_volume(volume: JSON, *, trusted: bool) -> None:
    temp, host = volume.get("temp"), volume.get("host")
    if isinstance(temp, dict) and temp.get("medium") == "memory" and not trusted:
        raise LintError("linter: untrusted repositories cannot mount in-memory volumes")
    if isinstance(host, dict) and not trusted:
        raise LintError("linter: untrusted repositories cannot mount host volumes")
    name = volume.get("name") or ""
    if not name:
        raise LintError("linter: missing volume name")
    if name in _RESERVED_VOLUMES:
        raise LintError(f"linter: invalid volume name: {name}")


def is_allowed(config: Config, repo: JSON, build: JSON) -> bool:
    """DRONE_LIMIT_*: whether this runner takes builds of this repository at all."""
    if config.limit_trusted and not repo.get("trusted"):
        return False
    return _matches_any(repo["slug"], config.limit_repos) and _matches_any(
        build["event"], config.limit_events
    )


def _matches_any(value: str, patterns: Sequence[str]) -> bool:
    """The first matching pattern decides; one that begins with `!` decides against."""
    for pattern in patterns:
        if glob(pattern.removeprefix("!")).fullmatch(value):
            return not pattern.startswith("!")
    return not patterns


# --- Environment of the containers: G environ and clone -------------------------------------------


def _bool(value: object) -> str:
    return "true" if value else "false"


def system_environ(system: JSON) -> dict[str, str]:
    host = str(system.get("host", ""))
    return {
        "CI": "true",
        "DRONE": "true",
        "DRONE_SYSTEM_PROTO": str(system.get("proto", "")),
        "DRONE_SYSTEM_HOST": host,
        "DRONE_SYSTEM_HOSTNAME": host,
        "DRONE_SYSTEM_VERSION": str(system.get("version", "")),
    }


def repo_environ(repo: JSON) -> dict[str, str]:
    named = {
        "DRONE_REPO": "slug",
        "DRONE_REPO_SCM": "scm",
        "DRONE_REPO_OWNER": "namespace",
        "DRONE_REPO_NAMESPACE": "namespace",
        "DRONE_REPO_NAME": "name",
        "DRONE_REPO_LINK": "link",
        "DRONE_REPO_BRANCH": "default_branch",
        "DRONE_REMOTE_URL": "git_http_url",
        "DRONE_GIT_HTTP_URL": "git_http_url",
        "DRONE_GIT_SSH_URL": "git_ssh_url",
        "DRONE_REPO_VISIBILITY": "visibility",
        "CI_REPO": "slug",
        "CI_REPO_NAME": "slug",
        "CI_REPO_LINK": "link",
        "CI_REPO_REMOTE": "git_http_url",
        "CI_REMOTE_URL": "git_http_url",
    }
    private = _bool(repo.get("private"))
    plain = {name: str(repo.get(key) or "") for name, key in named.items()}
    return {**plain, "DRONE_REPO_PRIVATE": private, "CI_REPO_PRIVATE": private}


_BUILD_NAMES = {
    "DRONE_BRANCH": "target",
    "DRONE_SOURCE_BRANCH": "source",
    "DRONE_TARGET_BRANCH": "target",
    "DRONE_COMMIT": "after",
    "DRONE_COMMIT_SHA": "after",
    "DRONE_COMMIT_BEFORE": "before",
    "DRONE_COMMIT_AFTER": "after",
    "DRONE_COMMIT_REF": "ref",
    "DRONE_COMMIT_BRANCH": "target",
    "DRONE_COMMIT_LINK": "link",
    "DRONE_COMMIT_MESSAGE": "message",
    "DRONE_COMMIT_AUTHOR": "author_login",
    "DRONE_COMMIT_AUTHOR_EMAIL": "author_email",
    "DRONE_COMMIT_AUTHOR_AVATAR": "author_avatar",
    "DRONE_COMMIT_AUTHOR_NAME": "author_name",
    "DRONE_BUILD_EVENT": "event",
    "DRONE_BUILD_ACTION": "action",
    "DRONE_DEPLOY_TO": "deploy_to",
    "DRONE_BUILD_TRIGGER": "trigger",
    "CI_BUILD_STATUS": "status",
    "CI_BUILD_EVENT": "event",
    "CI_BUILD_LINK": "link",
    "CI_BUILD_TARGET": "deploy_to",
    "CI_COMMIT_SHA": "after",
    "CI_COMMIT_REF": "ref",
    "CI_COMMIT_BRANCH": "target",
    "CI_COMMIT_MESSAGE": "message",
    "CI_COMMIT_AUTHOR": "author_login",
    "CI_COMMIT_AUTHOR_NAME": "author_name",
    "CI_COMMIT_AUTHOR_EMAIL": "author_email",
    "CI_COMMIT_AUTHOR_AVATAR": "author_avatar",
}
_BUILD_NUMBERS = {
    "DRONE_BUILD_NUMBER": "number",
    "DRONE_BUILD_PARENT": "parent",
    "DRONE_BUILD_CREATED": "created",
    "DRONE_BUILD_STARTED": "started",
    "DRONE_BUILD_FINISHED": "finished",
    "DRONE_DEPLOY_ID": "deploy_id",
    "CI_BUILD_NUMBER": "number",
    "CI_PARENT_BUILD_NUMBER": "parent",
    "CI_BUILD_CREATED": "created",
    "CI_BUILD_STARTED": "started",
    "CI_BUILD_FINISHED": "finished",
}


def build_environ(build: JSON) -> dict[str, str]:
    now = str(unix_now())
    environ = {name: str(build.get(key) or "") for name, key in _BUILD_NAMES.items()}
    environ |= {name: str(build.get(key) or 0) for name, key in _BUILD_NUMBERS.items()}
    environ["DRONE_BUILD_DEBUG"] = _bool(build.get("debug"))
    failed = [s["name"] for s in build.get("stages") or () if s.get("status") in FAILED]
    environ["DRONE_BUILD_STATUS"] = SUCCESS
    if failed or build.get("status") in FAILED:
        environ["DRONE_BUILD_STATUS"] = FAILURE
        environ["DRONE_FAILED_STAGES"] = ",".join(failed)
    for name in ("DRONE_BUILD_STARTED", "DRONE_BUILD_FINISHED"):
        environ[name] = now if environ[name] == "0" else environ[name]
    ref = environ["DRONE_COMMIT_REF"]
    if ref.startswith("refs/tags/"):
        environ["DRONE_TAG"] = ref.removeprefix("refs/tags/")
    if build.get("event") == "pull_request":
        number = re.search(r"\d+", ref)
        environ["DRONE_PULL_REQUEST"] = number[0] if number else ""
        environ["DRONE_PULL_REQUEST_TITLE"] = str(build.get("title") or "")
    return environ


def stage_environ(stage: JSON) -> dict[str, str]:
    named = {
        "DRONE_STAGE_KIND": "kind",
        "DRONE_STAGE_TYPE": "type",
        "DRONE_STAGE_NAME": "name",
        "DRONE_STAGE_NUMBER": "number",
        "DRONE_STAGE_MACHINE": "machine",
        "DRONE_STAGE_OS": "os",
        "DRONE_STAGE_ARCH": "arch",
        "DRONE_STAGE_VARIANT": "variant",
    }
    environ = {name: str(stage.get(key) or "") for name, key in named.items()}
    failed = [s["name"] for s in stage.get("steps") or () if _counts_as_failed(s)]
    environ |= {
        "DRONE_STAGE_VERSION": str(stage.get("version") or 0),
        "DRONE_STAGE_STATUS": SUCCESS,
        "DRONE_STAGE_STARTED": str(stage.get("started") or unix_now()),
        "DRONE_STAGE_FINISHED": str(stage.get("stopped") or unix_now()),
        "DRONE_STAGE_DEPENDS_ON": ",".join(stage.get("depends_on") or ()),
        "DRONE_CARD_PATH": "/dev/stdout",
    }
    if failed or stage.get("status") in FAILED:
        environ["DRONE_STAGE_STATUS"] = FAILURE
        environ["DRONE_FAILED_STEPS"] = ",".join(failed)
    return environ


def _counts_as_failed(step: JSON) -> bool:
    if step.get("errignore") and step.get("status") == FAILURE:
        return False
    return step.get("status") in FAILED


def link_environ(repo: JSON, build: JSON, system: JSON) -> dict[str, str]:
    root = f"{system.get('proto', '')}://{system.get('host', '')}"
    return {"DRONE_BUILD_LINK": f"{root}/{repo['slug']}/{build['number']}"}


def netrc_environ(netrc: JSON | None) -> dict[str, str]:
    if not netrc or not netrc.get("machine"):
        return {}
    machine, login, password = netrc["machine"], netrc.get("login"), netrc.get("password")
    return {
        "DRONE_NETRC_MACHINE": machine,
        "DRONE_NETRC_USERNAME": str(login),
        "DRONE_NETRC_PASSWORD": str(password),
        "DRONE_NETRC_FILE": f"machine {machine} login {login} password {password}",
    }


def clone_environ(pipeline: Pipeline, build: JSON) -> dict[str, str]:
    name = build.get("author_name") or "drone"
    email = build.get("author_email") or "noreply@drone"
    environ = {
        "GIT_AUTHOR_NAME": name,
        "GIT_AUTHOR_EMAIL": email,
        "GIT_COMMITTER_NAME": name,
        "GIT_COMMITTER_EMAIL": email,
        "GIT_TERMINAL_PROMPT": "0",
    }
    if pipeline.clone_trace:
        environ["GIT_TRACE"] = "true"
    if pipeline.clone_skip_verify:
        environ["GIT_SSL_NO_VERIFY"] = "true"
    return environ


def proxy_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """The runner's own proxy settings, handed to every container in both spellings."""
    found: dict[str, str] = {}
    for name in ("no_proxy", "http_proxy", "https_proxy"):
        value = environ.get(name) or environ.get(name.upper()) or ""
        if value:
            found |= {name: value, name.upper(): value}
    return found


# --- Compiling: R engine/compiler -----------------------------------------------------------------

_PRIVILEGED_PLUGINS = (
    "plugins/docker",
    "plugins/acr",
    "plugins/ecr",
    "plugins/gcr",
    "plugins/heroku",
    "plugins/gar",
)
_RESTRICTED_VARIABLES = frozenset({"XDG_RUNTIME_DIR", "DOCKER_OPTS", "DOCKER_HOST", "PATH", "HOME"})
_RESTRICTED_EXACT = frozenset({"/", "/etc", "/var"})
_RESTRICTED_TREES = (
    "/etc/docker",
    "/var/run",
    "/proc",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/usr/bin",
    "/bin",
    "/mnt",
    "/mount",
    "/media",
    "/sys",
    "/dev",
)
_PULL_POLICIES = frozenset({"always", "if-not-exists", "never"})

_SCRIPT_HEAD = """
if [ ! -z "${DRONE_NETRC_FILE}" ]; then
	echo $DRONE_NETRC_FILE > $HOME/.netrc
	chmod 600 $HOME/.netrc
fi

unset DRONE_SCRIPT
unset DRONE_NETRC_MACHINE
unset DRONE_NETRC_USERNAME
unset DRONE_NETRC_PASSWORD
unset DRONE_NETRC_FILE

set -e

"""


@dataclass
class Secret:
    """A value that goes into the container and out of the log."""

    name: str
    variable: str
    value: str = ""


@dataclass
class Step:
    """A container to run. `run` is success, failure, always or never; `on_error` as `failure:`."""

    id: str
    name: str
    image: str
    labels: dict[str, str] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    secrets: list[Secret] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    depends_on: list[str] = field(default_factory=list)
    detach: bool = False
    devices: list[JSON] = field(default_factory=list)
    dns: list[str] = field(default_factory=list)
    dns_search: list[str] = field(default_factory=list)
    extra_hosts: list[str] = field(default_factory=list)
    networks: list[str] = field(default_factory=list)
    network_mode: str = ""
    on_error: str = ""
    privileged: bool = False
    pull: str = ""
    resources: Resources = field(default_factory=Resources)
    run: str = "success"
    user: str = ""
    volumes: list[tuple[str, str]] = field(default_factory=list)
    working_dir: str = ""
    auth: JSON | None = None


@dataclass
class Volume:
    """A volume that steps mount by name: a path of the daemon's filesystem, or a temporary one."""

    id: str
    name: str
    host_path: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    medium: str = ""
    size_limit: int = 0
    read_only: bool = False

    @property
    def is_device(self) -> bool:
        return self.host_path.startswith("/dev/")

    @property
    def is_temporary(self) -> bool:
        return not self.host_path


@dataclass
class Spec:
    """Everything one stage creates in the Docker daemon."""

    network: str
    labels: dict[str, str]
    network_options: dict[str, str]
    volumes: list[Volume] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)


@dataclass(frozen=True)
class Job:
    """What the server says about a stage."""

    build: JSON
    repo: JSON
    stage: JSON
    system: JSON
    netrc: JSON | None = None
    secrets: tuple[JSON, ...] = ()


def random_name() -> str:
    """The name of everything the runner creates: `drone-` and 20 letters and digits."""
    alphabet = string.ascii_letters + string.digits
    return "drone-" + "".join(random_source.choice(alphabet) for _ in range(20))


def go_minutes(minutes: int) -> str:
    """Go's print of a duration of whole minutes: 1h0m0s, 30m0s, 0s."""
    hours, rest = divmod(minutes, 60)
    if hours:
        return f"{hours}h{rest}m0s"
    return f"{rest}m0s" if rest else "0s"


def stage_labels(job: Job, now: int) -> dict[str, str]:
    """The labels of a stage's containers, volumes and network. None names the runner."""
    timeout = int(job.repo.get("timeout") or 0)
    return {
        "io.drone": "true",
        "io.drone.protected": "false",
        "io.drone.system.host": str(job.system.get("host", "")),
        "io.drone.system.proto": str(job.system.get("proto", "")),
        "io.drone.system.version": str(job.system.get("version", "")),
        "io.drone.repo.namespace": str(job.repo.get("namespace", "")),
        "io.drone.repo.name": str(job.repo.get("name", "")),
        "io.drone.repo.slug": str(job.repo.get("slug", "")),
        "io.drone.build.number": str(job.build.get("number", 0)),
        "io.drone.stage.name": str(job.stage.get("name", "")),
        "io.drone.stage.number": str(job.stage.get("number", 0)),
        "io.drone.ttl": go_minutes(timeout),
        "io.drone.expires": str(now + timeout * 60 + 3600),
        "io.drone.created": str(now),
    }


@dataclass(frozen=True)
class _Frame:
    """What the steps of a stage have in common."""

    job: Job
    config: Config
    environ: Mapping[str, str]
    directory: str
    name: Callable[[], str]


def compile_pipeline(
    pipeline: Pipeline,
    job: Job,
    config: Config,
    *,
    name: Callable[[], str] = random_name,
    now: Callable[[], int] = unix_now,
) -> Spec:
    """Turn the pipeline into containers, volumes and a network. Nothing is created yet."""
    labels = stage_labels(job, now())
    base, path, full = _workspace(pipeline)
    workspace = Volume(id=name(), name="_workspace", labels=labels)
    spec = Spec(
        network=name(),
        labels=labels,
        network_options=dict(config.network_opts),
        volumes=[workspace],
    )
    environ = _stage_wide_environ(pipeline, job, config)
    environ |= {
        "DRONE_DOCKER_NETWORK_ID": spec.network,
        "DRONE_DOCKER_VOLUME_ID": workspace.id,
        "DRONE_WORKSPACE": full,
        "DRONE_WORKSPACE_BASE": base,
        "DRONE_WORKSPACE_PATH": path,
    }
    frame = _Frame(job, config, environ, full, name)
    if not pipeline.clone_disable:
        spec.steps.append(_clone_step(pipeline, frame))
    spec.steps += [_container_step(source, frame, detach=True) for source in pipeline.services]
    spec.steps += [_container_step(source, frame) for source in pipeline.steps]
    _set_order(spec.steps, clone_disabled=pipeline.clone_disable)
    _set_secrets(spec.steps, job, config)
    _set_registry_auth(spec.steps, pipeline, job, config)
    for number, step in enumerate(spec.steps, 1):
        step.volumes.append(("_workspace", base))
        step.networks.extend(config.networks)
        step.labels = {
            **labels,
            "io.drone.step.number": str(number),
            "io.drone.step.name": step.name,
        }
        step.resources = _limits(step.resources, config.resources)
    _add_volumes(spec, pipeline, config, name)
    return spec


def _workspace(pipeline: Pipeline) -> tuple[str, str, str]:
    base, path = pipeline.workspace_base or "/drone/src", pipeline.workspace_path
    full = posixpath.normpath(f"{base}/{path}")
    return ("/drone/src", "", "/drone/src") if is_restricted(full) else (base, path, full)


def is_restricted(path: str) -> bool:
    """Paths that the runner never mounts a workspace on: G container/volume.go."""
    plain = posixpath.normpath(posixpath.join("/", path)).lower()
    return plain in _RESTRICTED_EXACT or any(
        plain == tree or plain.startswith(tree + "/") for tree in _RESTRICTED_TREES
    )


def _stage_wide_environ(pipeline: Pipeline, job: Job, config: Config) -> dict[str, str]:
    environ = {
        **config.environ,
        **(job.build.get("params") or {}),
        **pipeline.environment,
        **proxy_environ(os.environ),
        **system_environ(job.system),
        **repo_environ(job.repo),
        **build_environ(job.build),
        **stage_environ(job.stage),
        **link_environ(job.repo, job.build, job.system),
        **clone_environ(pipeline, job.build),
    }
    return environ if config.netrc_clone_only else environ | netrc_environ(job.netrc)


def _clone_step(pipeline: Pipeline, frame: _Frame) -> Step:
    own: dict[str, str] = {}
    if pipeline.clone_depth > 0:
        own["PLUGIN_DEPTH"] = str(pipeline.clone_depth)
    if pipeline.clone_skip_verify:
        own |= {"GIT_SSL_NO_VERIFY": "true", "PLUGIN_SKIP_VERIFY": "true"}
    return Step(
        id=frame.name(),
        name="clone",
        image=frame.config.clone_image or "drone/git:latest",
        environ={**frame.environ, **own, **netrc_environ(frame.job.netrc)},
        pull="if-not-exists",
        run="always",
        working_dir=frame.directory,
    )


def _container_step(source: SourceStep, frame: _Frame, *, detach: bool = False) -> Step:
    own, secrets = _variables(source)
    step = Step(
        id=frame.name(),
        name=source.name,
        image=expand_image(source.image),
        environ={**frame.environ, **own},
        secrets=secrets,
        entrypoint=list(source.entrypoint),
        command=list(source.command),
        depends_on=list(source.depends_on),
        detach=detach or source.detach,
        devices=list(source.devices),
        dns=list(source.dns),
        dns_search=list(source.dns_search),
        extra_hosts=list(source.extra_hosts),
        network_mode=source.network_mode,
        on_error=_error_policy(source.failure),
        privileged=source.privileged or is_privileged(source, frame.config),
        pull=source.pull.lower() if source.pull.lower() in _PULL_POLICIES else "",
        resources=Resources(source.memory, source.memory_swap, shm_size=source.shm_size),
        run=_run_policy(source, frame.job),
        user=source.user,
        volumes=[(mount.get("name") or "", mount.get("path") or "") for mount in source.volumes],
        working_dir=source.working_dir,
    )
    if source.commands:
        step.entrypoint = ["/bin/sh", "-c"]
        step.command = ['echo "$DRONE_SCRIPT" | /bin/sh']
        step.environ["DRONE_SCRIPT"] = shell_script(source.commands)
    # A service without commands keeps its image's working directory.
    if not step.working_dir and not (step.detach and not source.commands):
        step.working_dir = frame.directory
    return step


def _variables(source: SourceStep) -> tuple[dict[str, str], list[Secret]]:
    environ = {key: value for key, value in source.environment.items() if value is not None}
    secrets = [Secret(name, variable) for variable, name in source.from_secret.items()]
    for key, value in source.settings.items():
        variable = f"PLUGIN_{key.upper()}"
        if isinstance(value, dict) and value.get("from_secret"):
            secrets.append(Secret(str(value["from_secret"]), variable))
        elif value is not None:
            environ[variable] = encode_setting(value)
    return environ, secrets


def encode_setting(value: object) -> str:
    """A plugin setting as its PLUGIN_ variable: R internal/encoder."""
    if isinstance(value, bool):
        return _bool(value)
    if isinstance(value, list) and not any(isinstance(item, dict | list) for item in value):
        return ",".join(encode_setting(item) for item in value)
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return repr(value) if isinstance(value, float) else str(value)


def shell_script(commands: Sequence[str]) -> str:
    """The script of a step: stops at the first failure and prints each command before it."""
    traced = []
    for command in commands:
        shown = go_quote(command).replace("$", "\\$")
        traced.append(f"\necho + {shown}\n{command}\n")
    return _SCRIPT_HEAD + "".join(traced)


def _error_policy(failure: str) -> str:
    if failure == "ignore":
        return "ignore"
    return "fast" if failure in {"fast", "fast-fail", "fail-fast"} else ""


def _run_policy(source: SourceStep, job: Job) -> str:
    facts = {
        "action": job.build.get("action"),
        "cron": job.build.get("cron"),
        "ref": job.build.get("ref"),
        "repo": job.repo.get("slug"),
        "instance": job.system.get("host"),
        "target": job.build.get("deploy_to"),
        "event": job.build.get("event"),
        "branch": job.build.get("target"),
    }
    for key, value in facts.items():
        if not source.when.get(key, Condition()).matches(str(value or "")):
            return "never"
    status = source.when.get("status", Condition())
    if not (status.include or status.exclude) or not status.matches(FAILURE):
        return "success"
    return "always" if status.matches(SUCCESS) else "failure"


def is_privileged(source: SourceStep, config: Config) -> bool:
    """Whether an image of the privileged list runs as a plain plugin."""
    if source.commands or source.command or source.entrypoint:
        return False
    if source.volumes and not config.allow_plugin_volumes:
        return False
    if any(is_restricted(mount.get("path") or "") for mount in source.volumes):
        return False
    if _RESTRICTED_VARIABLES & (set(source.environment) | set(source.from_secret)):
        return False
    listed = (*config.privileged, *_PRIVILEGED_PLUGINS)
    return any(is_same_image(image, source.image) for image in listed)


def _set_order(steps: list[Step], *, clone_disabled: bool) -> None:
    """Without any depends_on everything is serial; with one, the rest follows the clone."""
    if not any(step.depends_on for step in steps):
        for earlier, later in itertools.pairwise(steps):
            later.depends_on = [earlier.name]
    elif not clone_disabled:
        for step in steps:
            if step.name != "clone" and not step.depends_on:
                step.depends_on = ["clone"]


def _set_secrets(steps: list[Step], job: Job, config: Config) -> None:
    for step in steps:
        for secret in step.secrets:
            secret.value = _find_secret(secret.name, job, config) or ""


def _find_secret(name: str, job: Job, config: Config) -> str | None:
    """The server's secret first (withheld from pull requests unless allowed), then our own."""
    for known in job.secrets:
        if str(known.get("name", "")).lower() == name.lower():
            if job.build.get("event") == "pull_request" and not known.get("pull_request"):
                continue
            return str(known.get("data", ""))
    return {key.lower(): value for key, value in config.secrets.items()}.get(name.lower())


def _set_registry_auth(steps: list[Step], pipeline: Pipeline, job: Job, config: Config) -> None:
    documents = [_find_secret(name, job, config) or "" for name in pipeline.pull_secrets]
    if config.docker_config:
        with contextlib.suppress(OSError):
            documents.append(Path(config.docker_config).read_text(encoding="utf-8"))
    credentials = [entry for document in documents for entry in registry_credentials(document)]
    for step in steps:
        image = parse_image(step.image)
        domain = image.domain if image else ""
        step.auth = next((auth for host, auth in credentials if host == domain), None)


def registry_credentials(document: str) -> list[tuple[str, JSON]]:
    """Registry host and login of each entry of a Docker config.json."""
    try:
        auths = json.loads(document)["auths"]
    except (ValueError, KeyError, TypeError):
        return []
    found: list[tuple[str, JSON]] = []
    for address, entry in auths.items():
        login = base64.b64decode(entry.get("auth", "")).decode(errors="replace")
        username, _, password = login.partition(":")
        host = urlsplit(address).hostname if "//" in address else address
        host = "docker.io" if host == "index.docker.io" else host or ""
        found.append((host, {"username": username, "password": password}))
    return found


def _limits(own: Resources, general: Resources) -> Resources:
    """A step's own memory and shm limits win over the runner's; CPU is the runner's alone."""
    return replace(
        general,
        memory=own.memory or general.memory,
        memory_swap=own.memory_swap or general.memory_swap,
        shm_size=own.shm_size or general.shm_size,
    )


def _add_volumes(spec: Spec, pipeline: Pipeline, config: Config, name: Callable[[], str]) -> None:
    for host_path, target in config.volumes.items():
        volume_id = name()
        spec.volumes.append(Volume(id=volume_id, name=volume_id, host_path=host_path))
        for step in spec.steps:
            step.volumes.append((volume_id, target))
    for declared in pipeline.volumes:
        own, temp, host = declared.get("name") or "", declared.get("temp"), declared.get("host")
        if isinstance(temp, dict):
            size = ram_in_bytes(temp.get("size_limit") or "")
            medium = temp.get("medium") or ""
            volume = Volume(name(), own, labels=spec.labels, medium=medium, size_limit=size)
            spec.volumes.append(volume)
        elif isinstance(host, dict):
            spec.volumes.append(Volume(name(), own, host_path=host.get("path") or ""))


def container_body(spec: Spec, step: Step) -> JSON:
    """The body of POST /containers/create for a step: R engine/convert.go."""
    volumes = {volume.name: volume for volume in reversed(spec.volumes)}
    mounted = [(volumes[name], path) for name, path in step.volumes if name in volumes]
    environ = [f"{key}={value}" for key, value in step.environ.items() if value]
    environ += [f"{secret.variable}={secret.value}" for secret in step.secrets]
    body: JSON = {
        "Image": step.image,
        "Labels": step.labels,
        "WorkingDir": step.working_dir,
        "User": step.user,
        "AttachStdout": True,
        "AttachStderr": True,
        "Env": environ,
        "HostConfig": _host_config(step, volumes, mounted),
        "NetworkingConfig": _network_config(spec, step),
    }
    if step.entrypoint:
        body["Entrypoint"] = step.entrypoint
    if step.command:
        body["Cmd"] = step.command
    bound: dict[str, JSON] = {
        path: {} for volume, path in mounted if volume.host_path and not volume.is_device
    }
    if bound:
        body["Volumes"] = bound
    return body


def _network_config(spec: Spec, step: Step) -> JSON:
    if step.network_mode:
        return {}
    endpoint = {"NetworkID": spec.network, "Aliases": [step.name]}
    return {"EndpointsConfig": {spec.network: endpoint}}


def _host_config(
    step: Step, volumes: Mapping[str, Volume], mounted: list[tuple[Volume, str]]
) -> JSON:
    limits = step.resources
    config: JSON = {
        # Hard-wired upstream: a daemon with another default log driver is overridden.
        "LogConfig": {"Type": "json-file"},
        "Privileged": step.privileged,
        "ShmSize": limits.shm_size,
        "Binds": [_bind(volume, path) for volume, path in mounted if _is_bind(volume)],
        "Mounts": [_mount(volume, path) for volume, path in mounted if not _is_bind(volume)],
        "CpuPeriod": limits.cpu_period,
        "CpuQuota": limits.cpu_quota,
        "CpusetCpus": ",".join(limits.cpu_set),
        "CpuShares": limits.cpu_shares,
        "Memory": limits.memory,
        "MemorySwap": limits.memory_swap,
    }
    if step.network_mode:
        config["NetworkMode"] = step.network_mode
    for key, value in (
        ("Dns", step.dns),
        ("DnsSearch", step.dns_search),
        ("ExtraHosts", step.extra_hosts),
    ):
        if value:
            config[key] = value
    devices = [(volumes.get(entry.get("name", "")), entry.get("path")) for entry in step.devices]
    if devices:
        config["Devices"] = [
            {"PathOnHost": volume.host_path, "PathInContainer": path, "CgroupPermissions": "rwm"}
            for volume, path in devices
            if volume and volume.is_device
        ]
    return config


def _is_bind(volume: Volume) -> bool:
    """Devices and in-memory volumes travel as mounts, everything else as binds."""
    return not volume.is_device and volume.medium != "memory"


def _bind(volume: Volume, path: str) -> str:
    return f"{volume.host_path or volume.id}:{path}"


def _mount(volume: Volume, path: str) -> JSON:
    if volume.is_device:
        return {"Type": "bind", "Source": volume.host_path, "Target": path}
    options = {"SizeBytes": volume.size_limit, "Mode": 0o700}
    return {"Type": "tmpfs", "Target": path, "TmpfsOptions": options}


# --- State of a stage: G pipeline/state.go --------------------------------------------------------


class State:
    """The stage's record as the server gets it. Every method is atomic."""

    def __init__(self, build: JSON, repo: JSON, stage: JSON) -> None:
        self.lock = threading.RLock()
        self.build = build
        self.repo = repo
        self.stage = stage

    def cancel(self) -> None:
        """Pending steps are skipped, running ones killed, and so is the stage."""
        with self.lock:
            self._skip_pending()
            now = unix_now()
            self.stage.update(error="", exit_code=0, status=KILLED, stopped=now)
            self.stage["started"] = self.stage.get("started") or now
            for step in self.steps:
                if step["status"] == RUNNING:
                    step.update(status=KILLED, stopped=now, exit_code=137, error="")
            self._update()

    def fail_all(self, message: str) -> None:
        """The stage errors as a whole, before or between its steps."""
        with self.lock:
            if self.stage.get("status") in {PENDING, RUNNING}:
                now = unix_now()
                self.stage.update(status=ERROR, error=message, stopped=now)
                self.stage["started"] = self.stage.get("started") or now
            self._skip_pending()
            self._update()

    def fail(self, name: str, message: str) -> None:
        """The step could not be run, as opposed to having failed."""
        with self.lock:
            step, now = self.find(name), unix_now()
            step.update(status=ERROR, error=message, exit_code=255, stopped=now)
            step["started"] = step.get("started") or now
            self._update()

    def start(self, name: str) -> None:
        with self.lock:
            step = self.find(name)
            if step["status"] == PENDING:
                step.update(status=RUNNING, started=unix_now(), stopped=0, exit_code=0, error="")

    def skip(self, name: str) -> None:
        with self.lock:
            _skip(self.find(name))

    def skip_all(self) -> None:
        with self.lock:
            self._skip_pending()

    def finish(self, name: str, code: int) -> None:
        """78 counts as success: it ends the pipeline early."""
        with self.lock:
            _finish(self.find(name), code)
            self._update()

    def finish_all(self) -> None:
        """Close what is left: services pass, waiting steps are skipped, the stage is judged."""
        with self.lock:
            for step in self.steps:
                if step["status"] == RUNNING:
                    _finish(step, 0)
            self._skip_pending()
            now = unix_now()
            if self.stage.get("status") in {PENDING, RUNNING}:
                self.stage.update(status=FAILURE if self.failed else SUCCESS, stopped=now)
            self.stage["started"] = self.stage.get("started") or now
            self.stage["stopped"] = self.stage.get("stopped") or now

    @property
    def steps(self) -> list[JSON]:
        return self.stage.setdefault("steps", [])  # type: ignore[no-any-return]

    @property
    def failed(self) -> bool:
        with self.lock:
            if self.stage.get("status") in FAILED:
                return True
            return any(s["status"] in FAILED and not s.get("errignore") for s in self.steps)

    @property
    def cancelled(self) -> bool:
        with self.lock:
            return bool(self.stage.get("status") == KILLED)

    def find(self, name: str) -> JSON:
        return next(step for step in self.steps if step["name"] == name)

    def copy(self) -> tuple[JSON, JSON, JSON]:
        """Stage, build and repository as they are now, not to be changed by later steps."""
        with self.lock:
            frozen: tuple[JSON, JSON, JSON] = json.loads(
                json.dumps([self.stage, self.build, self.repo])
            )
            return frozen

    def _skip_pending(self) -> None:
        for step in self.steps:
            _skip(step)

    def _update(self) -> None:
        for step in self.steps:
            if step["status"] == KILLED:
                self.stage["exit_code"] = 137
            if step["status"] in {KILLED, ERROR} or (
                step["status"] == FAILURE and not step.get("errignore")
            ):
                self.stage["status"] = self.build["status"] = step["status"]
                return


def _skip(step: JSON) -> None:
    if step["status"] == PENDING:
        now = unix_now()
        step.update(status=SKIPPED, started=now, stopped=now, exit_code=0, error="")


def _finish(step: JSON, code: int) -> None:
    if step["status"] in {RUNNING, PENDING}:
        now = unix_now()
        step.update(exit_code=code, stopped=now, status=SUCCESS if code in {0, 78} else FAILURE)
        step["started"] = step.get("started") or now


# --- Live log: G livelog/livelog.go and pipeline/runtime/replacer.go ------------------------------


class LiveLog:
    """Sends a step's output about once a second and all of it (the last 5 MB) at the end."""

    LIMIT = 5 * 1024 * 1024

    def __init__(
        self, client: Client, step: int, masked: Sequence[str] = (), interval: float = 1.0
    ) -> None:
        self._client = client
        self._step = step
        self._masked = masked
        self._interval = interval
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._pending: list[JSON] = []
        self._history: list[JSON] = []
        self._count = 0
        self._size = 0
        self._ready = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._stream, daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        """Add output; secrets in it are replaced, piece by piece as it arrives."""
        for secret in self._masked:
            text = text.replace(secret, "******")
        with self._lock:
            # Not splitlines: only a line feed ends a line of output, never a carriage return.
            for part in re.findall(r"[^\n]*\n|[^\n]+", text):
                self._append(part)
        self._ready.set()

    def close(self) -> None:
        """Send what is left, then the whole log. Retries for ever, like every upload."""
        self._stop.set()
        self._ready.set()
        self._thread.join()
        self._flush()
        with self._lock:
            history = list(self._history)
        self._client.upload(self._step, history)

    def _append(self, part: str) -> None:
        line = {"pos": self._count, "out": part, "time": int(time.monotonic() - self._began)}
        self._count += 1
        self._size += len(part)
        self._history.append(line)
        while self._size > self.LIMIT:
            self._stop.set()  # a full buffer ends streaming; the upload still comes
            self._size -= len(self._history.pop(0)["out"])
        if not self._stop.is_set():
            self._pending.append(line)

    def _stream(self) -> None:
        while not self._stop.is_set():
            self._ready.wait()
            self._ready.clear()
            if not self._stop.wait(self._interval):
                self._flush()

    def _flush(self) -> None:
        with self._lock:
            lines, self._pending = self._pending, []
        if lines:
            # Live output is a courtesy: an error here never fails a build.
            with contextlib.suppress(OSError, RPCError):
                self._client.batch(self._step, lines)


def masked_values(step: Step) -> list[str]:
    """What the log hides: each line of each secret that is longer than one character."""
    lines = (line.strip() for secret in step.secrets for line in secret.value.split("\n"))
    return [line for line in lines if len(line) > 1]


# --- Docker: R engine/engine.go -------------------------------------------------------------------


class DockerError(Exception):
    """The daemon refused or could not be reached. `status` is its HTTP status or 0."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class DockerAPI(Protocol):
    """The calls that the runner makes. Each raises DockerError."""

    def ping(self) -> None: ...
    def create_volume(self, name: str, labels: Mapping[str, str]) -> None: ...
    def create_network(
        self, name: str, options: Mapping[str, str], labels: Mapping[str, str]
    ) -> None: ...
    def create_container(self, name: str, body: JSON) -> None: ...
    def connect_network(self, network: str, container: str) -> None: ...
    def start(self, container: str) -> None: ...
    def logs(self, container: str) -> Iterator[bytes]: ...
    def wait(self, container: str) -> None: ...
    def inspect(self, container: str) -> JSON: ...
    def pull(self, image: str, auth: JSON | None) -> Iterator[JSON]: ...
    def kill(self, container: str) -> None: ...
    def remove_container(self, container: str) -> None: ...
    def remove_volume(self, name: str) -> None: ...
    def remove_network(self, name: str) -> None: ...


class SdkDocker:
    """The daemon of DOCKER_HOST, spoken to in API 1.40 whatever it offers.

    R v1.8.4 pins docker/engine aa6a9891b09c, whose client defaults to 1.40 and does not negotiate;
    DOCKER_API_VERSION changes it. Only the ping has no version in its path, which is why a runner
    can look healthy in front of a daemon that refuses every other call.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._version = environ.get("DOCKER_API_VERSION") or "1.40"
        self._host = environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
        self._local = threading.local()

    def ping(self) -> None:
        with self._translated():
            api = self._api
            api._raise_for_status(api._get(api._url("/_ping", versioned_api=False)))

    def create_volume(self, name: str, labels: Mapping[str, str]) -> None:
        with self._translated():
            self._api.create_volume(name, driver="local", labels=dict(labels))

    def create_network(
        self, name: str, options: Mapping[str, str], labels: Mapping[str, str]
    ) -> None:
        with self._translated():
            self._api.create_network(
                name, driver="bridge", options=dict(options), labels=dict(labels)
            )

    def create_container(self, name: str, body: JSON) -> None:
        with self._translated():
            self._api.create_container_from_config(body, name)

    def connect_network(self, network: str, container: str) -> None:
        with self._translated():
            self._api.connect_container_to_network(container, network, aliases=[network])

    def start(self, container: str) -> None:
        with self._translated():
            self._api.start(container)

    def logs(self, container: str) -> Iterator[bytes]:
        with self._translated():
            yield from self._api.logs(container, stream=True, follow=True)

    def wait(self, container: str) -> None:
        with self._translated():
            self._api.wait(container)

    def inspect(self, container: str) -> JSON:
        with self._translated():
            found: JSON = self._api.inspect_container(container)
            return found

    def pull(self, image: str, auth: JSON | None) -> Iterator[JSON]:
        parsed = parse_image(image)
        name, tag = image, None
        if parsed is not None:
            name, tag = parsed.untagged, parsed.digest or parsed.tag or "latest"
        with self._translated():
            yield from self._api.pull(name, tag=tag, stream=True, decode=True, auth_config=auth)

    def kill(self, container: str) -> None:
        with self._translated():
            self._api.kill(container, signal=9)

    def remove_container(self, container: str) -> None:
        with self._translated():
            self._api.remove_container(container, v=True, force=True)

    def remove_volume(self, name: str) -> None:
        with self._translated():
            self._api.remove_volume(name, force=True)

    def remove_network(self, name: str) -> None:
        with self._translated():
            self._api.remove_network(name)

    @property
    def _api(self) -> Any:
        """One client per thread: requests' sessions are not made for sharing."""
        if not hasattr(self._local, "api"):
            from docker import APIClient
            from docker.utils import kwargs_from_env

            # Without timeouts: builds wait in one request for as long as they take.
            options: JSON = {"base_url": self._host, "timeout": None, **kwargs_from_env()}
            self._local.api = APIClient(version=self._version, **options)
        return self._local.api

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Errors in the words of the Go client, because people search for them."""
        import requests
        from docker.errors import APIError, DockerException

        try:
            yield
        except APIError as problem:
            status = problem.response.status_code if problem.response is not None else 0
            explanation = str(problem.explanation or problem)
            raise DockerError(f"Error response from daemon: {explanation}", status) from problem
        except (DockerException, requests.RequestException, OSError) as problem:
            message = f"Cannot connect to the Docker daemon at {self._host}."
            raise DockerError(f"{message} Is the docker daemon running?") from problem


@dataclass(frozen=True)
class Exit:
    """How a container ended."""

    code: int
    oom_killed: bool


class Engine:
    """Runs a compiled stage in a Docker daemon."""

    def __init__(self, docker: DockerAPI, log: Log, *, show_pull: bool = True) -> None:
        self._docker = docker
        self._log = log
        self._show_pull = show_pull

    def setup(self, spec: Spec) -> None:
        """Create volumes and network. In-memory volumes get a real one too, as upstream."""
        for volume in spec.volumes:
            if volume.is_temporary:
                self._docker.create_volume(volume.id, volume.labels)
        self._docker.create_network(spec.network, spec.network_options, spec.labels)

    def destroy(self, spec: Spec) -> None:
        """Remove what the stage created; failures are only ever debug messages.

        The volume that `setup` made for an in-memory one stays behind: so it does upstream.
        """
        for step in spec.steps:
            self._try("cannot kill container", self._docker.kill, step.id)
        for step in spec.steps:
            self._try("cannot remove container", self._docker.remove_container, step.id)
        for volume in spec.volumes:
            if volume.is_temporary and volume.medium != "memory":
                self._try("cannot remove volume", self._docker.remove_volume, volume.id)
        self._try("cannot remove network", self._docker.remove_network, spec.network)

    def run(self, scope: Scope, spec: Spec, step: Step, write: Callable[[str], None]) -> Exit:
        """Run one container to its end. DockerError, or CancelledError as soon as told.

        The work happens in a thread of its own because neither a pull nor a wait can be
        interrupted; a cancelled one ends when `destroy` removes its container.
        """
        done = threading.Event()
        outcome: list[Exit | Exception] = []

        def work() -> None:
            try:
                outcome.append(self._run(scope, spec, step, write))
            except Exception as problem:  # noqa: BLE001 - handed over to the caller below
                outcome.append(problem)
            finally:
                done.set()

        forget = scope.on_cancel(done.set)
        threading.Thread(target=work, daemon=True).start()
        done.wait()
        forget()
        scope.check()
        if isinstance(outcome[0], Exception):
            raise outcome[0]
        return outcome[0]

    def _run(self, scope: Scope, spec: Spec, step: Step, write: Callable[[str], None]) -> Exit:
        self._create(scope, spec, step, write)
        if scope.cancelled:
            # `destroy` may have passed already.
            self._try("cannot remove container", self._docker.remove_container, step.id)
            scope.check()
        self._docker.start(step.id)
        tail = threading.Thread(target=self._tail, args=(step.id, write), daemon=True)
        tail.start()
        while True:
            self._docker.wait(step.id)
            state = self._docker.inspect(step.id)["State"]
            if not state.get("Running"):
                break
            scope.check()
        # Upstream does not wait for the tail and may lose the last lines; tests need them.
        tail.join(timeout=10)
        return Exit(int(state.get("ExitCode", 0)), bool(state.get("OOMKilled")))

    def _create(self, scope: Scope, spec: Spec, step: Step, write: Callable[[str], None]) -> None:
        body = container_body(spec, step)
        if step.pull == "always" or (not step.pull and is_latest(step.image)):
            self._pull(step, write)
        scope.check()
        try:
            self._docker.create_container(step.id, body)
        except DockerError as problem:
            if problem.status != 404 or step.pull == "never":
                raise
            self._pull(step, write)
            scope.check()
            self._docker.create_container(step.id, body)
        if not step.network_mode:
            # Upstream stops at the first error and reports success.
            with contextlib.suppress(DockerError):
                for network in step.networks:
                    self._docker.connect_network(network, step.id)

    def _pull(self, step: Step, write: Callable[[str], None]) -> None:
        """Pull, showing events without progress. Errors *inside* the stream are swallowed."""
        for event in self._docker.pull(step.image, step.auth):
            if "errorDetail" in event:
                return
            if self._show_pull and "progressDetail" not in event:
                prefix = f"{event['id']}: " if event.get("id") else ""
                write(f"{prefix}{event.get('status', '')}\n")

    def _tail(self, container: str, write: Callable[[str], None]) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        try:
            for chunk in self._docker.logs(container):
                write(decoder.decode(chunk))
        except DockerError as problem:
            self._log.having(container=container, error=problem).debug("failed to stream logs")

    def _try(self, failure: str, call: Callable[[str], None], target: str) -> None:
        try:
            call(target)
        except DockerError as problem:
            if problem.status not in {404, 409}:
                self._log.having(target=target, error=problem).debug(failure)


# --- Executing a stage: G pipeline/runtime/execer.go ----------------------------------------------


class History:
    """The last stages, for the dashboard. It learns of a stage with its first step."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[int, JSON] = {}

    def record(self, state: State) -> None:
        stage, build, repo = state.copy()
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        with self._lock:
            entry = self._entries.setdefault(stage["id"], {"created": now})
            entry.update(stage=stage, build=build, repo=repo, updated=now)

    def entries(self) -> list[JSON]:
        """Running stages first, newest first among equals."""
        rank = {PENDING: 0, RUNNING: 1}
        with self._lock:
            found = list(self._entries.values())
        newest = sorted(found, key=lambda entry: -int(entry["stage"]["id"]))
        return sorted(newest, key=lambda entry: rank.get(entry["stage"]["status"], 2))


class Executor:
    """Runs the steps of stages in the order of their dependencies."""

    def __init__(
        self, client: Client, engine: Engine, history: History, log: Log, procs: int = 0
    ) -> None:
        self._client = client
        self._engine = engine
        self._history = history
        self._log = log
        # Shared by all stages: DRONE_RUNNER_MAX_PROCS limits the runner, not the pipeline.
        self._slots = threading.Semaphore(procs) if procs > 0 else None

    def execute(self, scope: Scope, spec: Spec, state: State) -> None:
        """Run to the end and report it, whatever happens; always cleans up after itself."""
        try:
            self._execute(scope, spec, state)
        finally:
            self._log.debug("destroying the pipeline environment")
            self._engine.destroy(spec)

    def report_stage(self, state: State) -> None:
        self._history.record(state)
        self._client.update(Scope(), state.stage)

    def _execute(self, scope: Scope, spec: Spec, state: State) -> None:
        try:
            self._engine.setup(spec)
        except DockerError as problem:
            state.fail_all(str(problem))
            self.report_stage(state)
            return
        inner = Scope(scope)
        try:
            self._run_graph(inner, spec, state)
        finally:
            inner.cancel()
        state.finish_all()
        self.report_stage(state)

    def _run_graph(self, scope: Scope, spec: Spec, state: State) -> None:
        """One thread per step, each waiting for its dependencies. A broken step stops the rest."""
        finished = {step.name: threading.Event() for step in spec.steps}
        problems: list[Exception] = []

        def work(step: Step) -> None:
            try:
                for other in step.depends_on:
                    if other in finished:
                        finished[other].wait()
                if not problems:
                    self._run_step(scope, spec, step, state)
            except Exception as problem:  # noqa: BLE001 - ends the stage, see below
                self._log.having(step_name=step.name, error=problem).error("step broke")
                problems.append(problem)
            finally:
                finished[step.name].set()

        threads = [threading.Thread(target=work, args=(step,), daemon=True) for step in spec.steps]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if problems and not state.failed:
            state.fail_all(str(problems[0]))

    def _run_step(self, scope: Scope, spec: Spec, step: Step, state: State) -> None:
        if scope.cancelled:
            state.cancel()
            return
        with self._slot(scope):
            if scope.cancelled:
                state.cancel()
            elif self._is_due(step, state):
                self._run_due_step(scope, spec, step, state)

    @contextlib.contextmanager
    def _slot(self, scope: Scope) -> Iterator[None]:
        if self._slots is None:
            yield
            return
        while not self._slots.acquire(timeout=0.2):
            if scope.cancelled:
                yield
                return
        try:
            yield
        finally:
            self._slots.release()

    def _is_due(self, step: Step, state: State) -> bool:
        if state.cancelled or step.run == "never":
            return False
        unwanted = {"success": state.failed, "failure": not state.failed, "always": False}
        if unwanted[step.run]:
            state.skip(step.name)
            self._report_step(state, step.name)
            return False
        return step.run == "always" or state.find(step.name)["status"] in {PENDING, RUNNING}

    def _run_due_step(self, scope: Scope, spec: Spec, step: Step, state: State) -> None:
        state.start(step.name)
        self._report_step(state, step.name)
        with state.lock:
            record = state.find(step.name)
            own = {"DRONE_STEP_NAME": step.name, "DRONE_STEP_NUMBER": str(record["number"])}
            now = {**build_environ(state.build), **stage_environ(state.stage), **own}
        ready = replace(step, environ={**step.environ, **now})
        output = LiveLog(self._client, record["id"], masked_values(step))
        if step.detach:
            work = threading.Thread(
                target=self._run_detached, args=(scope, spec, ready, output), daemon=True
            )
            work.start()
            return
        self._run_attached(scope, spec, ready, state, output)

    def _run_detached(self, scope: Scope, spec: Spec, step: Step, output: LiveLog) -> None:
        """A service's end is nobody's business: only its log is."""
        with contextlib.suppress(DockerError, CancelledError):
            self._engine.run(scope, spec, step, output.write)
        with contextlib.suppress(RPCError):
            output.close()

    def _run_attached(
        self, scope: Scope, spec: Spec, step: Step, state: State, output: LiveLog
    ) -> None:
        problem: Exception | None = None
        ended: Exit | None = None
        try:
            ended = self._engine.run(scope, spec, step, output.write)
        except (DockerError, CancelledError) as raised:
            problem = raised
        with contextlib.suppress(RPCError):
            output.close()
        if scope.cancelled:
            state.cancel()
            return
        if ended is None:
            state.fail(step.name, str(problem))
            code = 255
        else:
            code = 137 if ended.oom_killed else ended.code
            state.finish(step.name, code)
        self._report_step(state, step.name)
        if code == 78:
            state.skip_all()
        if code > 0 and step.on_error == "fast":
            scope.cancel()

    def _report_step(self, state: State, name: str) -> None:
        self._history.record(state)
        with state.lock:
            step = dict(state.find(name))
        self._client.update_step(Scope(), step)
        with state.lock:
            state.find(name)["version"] = step["version"]


# --- One stage from poll to end: G pipeline/runtime/runner.go -------------------------------------


class StageRunner:
    """Takes a stage that a poll brought, through to its last report."""

    def __init__(self, config: Config, client: Client, executor: Executor, log: Log) -> None:
        self._config = config
        self._client = client
        self._executor = executor
        self._log = log

    def run(self, stage: JSON) -> None:
        """Nothing here hangs on the runner's own scope: a signal does not stop a stage."""
        log = self._log.having(stage_id=stage["id"], stage_name=stage.get("name", ""))
        stage["machine"] = self._config.name
        try:
            self._client.accept(Scope(), stage)
        except OptimisticLockError:
            log.debug("stage accepted by another runner")
            return
        except RPCError as problem:
            log.having(error=problem).error("cannot accept stage")
            return
        try:
            detail = self._client.detail(Scope(), stage)
        except RPCError as problem:
            log.having(error=problem).error("cannot get stage details")
            return
        self._run_accepted(_job(stage, detail), _configuration(detail), log)

    def _run_accepted(self, job: Job, text: str, log: Log) -> None:
        scope = Scope()
        minutes = int(job.repo.get("timeout") or 0)
        timer = threading.Timer(minutes * 60, scope.cancel)
        timer.daemon = True
        timer.start()
        ended = Scope()
        watcher = threading.Thread(
            target=self._watch, args=(ended, scope, job.build["id"]), daemon=True
        )
        watcher.start()
        try:
            self._run_watched(scope, job, text, log)
        except (RPCError, OSError) as problem:
            log.having(error=problem).error("cannot report the stage")
        finally:
            timer.cancel()
            ended.cancel()

    def _watch(self, ended: Scope, scope: Scope, build: int) -> None:
        with contextlib.suppress(RPCError, CancelledError, OSError):
            if self._client.watch(ended, build):
                self._log.debug("received cancellation")
                scope.cancel()

    def _run_watched(self, scope: Scope, job: Job, text: str, log: Log) -> None:
        state = State(job.build, job.repo, job.stage)
        try:
            pipeline = self._prepare(job, text)
        except (LintError, ManifestError, SubstitutionError, PermissionError) as problem:
            log.having(error=problem).error("cannot process stage")
            state.fail_all(str(problem))
            self._executor.report_stage(state)
            return
        spec = compile_pipeline(pipeline, job, self._config)
        job.stage["steps"] = step_records(spec, job.stage["id"])
        job.stage.update(started=unix_now(), status=RUNNING)
        self._client.update(Scope(), job.stage)
        log.debug("updated stage to running")
        self._executor.execute(scope, spec, state)
        log.debug("updated stage to complete")

    def _prepare(self, job: Job, text: str) -> Pipeline:
        if not is_allowed(self._config, job.repo, job.build):
            raise PermissionError("insufficient permission to run the pipeline")
        known = {
            **self._config.environ,
            **system_environ(job.system),
            **repo_environ(job.repo),
            **build_environ(job.build),
            **stage_environ(job.stage),
            **link_environ(job.repo, job.build, job.system),
            **(job.build.get("params") or {}),
        }

        def lookup(name: str) -> str:
            value = known.get(name, "")
            return go_quote(value) if "\n" in value else value

        pipelines = parse_pipelines(substitute(text, lookup))
        pipeline = find_pipeline(str(job.stage.get("name", "")), pipelines)
        lint(pipeline, trusted=bool(job.repo.get("trusted")))
        return pipeline


def step_records(spec: Spec, stage_id: int) -> list[JSON]:
    """The steps as the server stores them; those whose conditions failed do not exist there."""
    due = [step for step in spec.steps if step.run != "never"]
    return [
        {
            "id": 0,
            "step_id": stage_id,  # the stage's id: the misleading name is the protocol's
            "number": number,
            "name": step.name,
            "status": PENDING,
            "errignore": step.on_error == "ignore",
            "exit_code": 0,
            "started": 0,
            "stopped": 0,
            "version": 0,
            "depends_on": step.depends_on,
            "image": step.image,
            "detached": step.detach,
        }
        for number, step in enumerate(due, 1)
    ]


def _job(stage: JSON, detail: JSON) -> Job:
    return Job(
        build=detail["build"],
        repo=detail["repository"],
        stage=stage,
        system=detail["system"],
        netrc=detail.get("netrc"),
        secrets=tuple(detail.get("secrets") or ()),
    )


def _configuration(detail: JSON) -> str:
    config = {key.lower(): value for key, value in detail["config"].items()}
    return base64.b64decode(config.get("data") or "").decode(errors="replace")


# --- Polling: G poller/poller.go ------------------------------------------------------------------


def poll(
    scope: Scope, client: Client, config: Config, run: Callable[[JSON], None], log: Log
) -> None:
    """Poll with as many threads as the capacity; returns when stopped and every stage is done.

    A refused poll (401, 403, 500 …) is tried again at once and without pause, as upstream does.
    """
    wanted = {
        "kind": "pipeline",
        "type": "docker",
        "os": config.os,
        "arch": config.arch,
        "variant": config.variant,
        "kernel": config.kernel,
    }
    if config.labels:
        wanted["labels"] = dict(config.labels)  # type: ignore[assignment]

    def work(thread: int) -> None:
        own = log.having(thread=thread)
        while not scope.cancelled:
            own.debug("poller: request stage from remote server")
            try:
                stage = client.request(scope, wanted)
            except CancelledError:
                own.trace("poller: no stage returned")
            except (RPCError, OSError) as problem:
                own.having(error=problem).error("poller: cannot request stage")
            else:
                if stage.get("id"):
                    run(stage)

    threads = [threading.Thread(target=work, args=(n + 1,)) for n in range(config.capacity)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# --- HTTP: G handler ------------------------------------------------------------------------------


class _Handler(BaseHTTPRequestHandler):
    """/healthz for everyone; the dashboard for whoever knows the password, if there is one."""

    protocol_version = "HTTP/1.1"
    config: Config
    history: History

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/healthz":
            self._answer(200, b"")
        elif not self.config.ui_password:
            self._answer(404, b"404 page not found\n", "text/plain; charset=utf-8")
        elif not self._is_authorized():
            self.send_response(401)
            self.send_header("WWW-Authenticate", f'Basic realm="{self.config.ui_realm}"')
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._dashboard()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
        """Upstream does not log requests."""

    def _is_authorized(self) -> bool:
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        wanted = f"{self.config.ui_username}:{self.config.ui_password}".encode()
        try:
            given = base64.b64decode(token)
        except ValueError:
            return False
        return kind == "Basic" and random_source.compare_digest(given, wanted)

    def _dashboard(self) -> None:
        entries = self.history.entries()
        if self.headers.get("Accept") == "application/json":
            # Go prints an empty slice that was never made as null.
            body = json.dumps(entries or None).encode() + b"\n"
            self._answer(200, body, "application/json")
            return
        rows = "".join(
            f"<li>{entry['repo']['slug']} #{entry['build']['number']}"
            f" {entry['stage']['name']}: {entry['stage']['status']}</li>"
            for entry in entries
        )
        body = f"<!DOCTYPE html><title>Dashboard</title><ul>{rows}</ul>\n".encode()
        self._answer(200, body, "text/html; charset=utf-8")

    def _answer(self, status: int, body: bytes, kind: str = "") -> None:
        self.send_response(status)
        self.send_header("Cache-Control", "no-cache, no-store, must-revalidate")
        if kind:
            self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def serve_http(config: Config, history: History) -> ThreadingHTTPServer | None:
    """Open the runner's port. None if it is taken: upstream goes on without a word, too."""
    host, _, port = config.http_bind.rpartition(":")
    handler = type("Handler", (_Handler,), {"config": config, "history": history})
    try:
        server = ThreadingHTTPServer((host, int(port)), handler)
    except OSError:
        return None
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


# --- The daemon: R command/daemon/daemon.go -------------------------------------------------------


class DaemonError(Exception):
    """What the process ends with; the message goes to stderr."""


def run_daemon(
    config: Config, docker: DockerAPI, scope: Scope, log: Log, client: Client | None = None
) -> None:
    """Run until the scope is cancelled. Returns or raises as upstream's `run` does.

    Stopped while waiting for Docker: DaemonError. While waiting for the server: returns. While
    polling: DaemonError ("http: Server closed") once the last stage has ended.
    """
    _await_docker(docker, scope, log)
    client = client or Client(
        config.address, config.secret, skip_verify=config.skip_verify, log=log
    )
    history = History()
    log.having(addr=config.http_bind).info("starting the server")
    server = serve_http(config, history)
    if server is not None:
        scope.on_cancel(lambda: _close(server))
    if not _await_server(client, scope, log):
        return
    engine = Engine(docker, log, show_pull=config.stream_pull)
    executor = Executor(client, engine, history, log, config.procs)
    runner = StageRunner(config, client, executor, log)
    log.having(
        capacity=config.capacity,
        endpoint=config.address,
        kind="pipeline",
        type="docker",
        os=config.os,
        arch=config.arch,
    ).info("polling the remote server")
    poll(scope, client, config, runner.run, log)
    log.having(error="http: Server closed").error("shutting down the server")
    raise DaemonError("http: Server closed")


def _close(server: ThreadingHTTPServer) -> None:
    """Stop listening at once. The socket first: `shutdown` waits for the serving thread."""
    server.socket.close()
    threading.Thread(target=server.shutdown, daemon=True).start()


def _await_docker(docker: DockerAPI, scope: Scope, log: Log) -> None:
    while True:
        problem: DockerError | None = None
        try:
            docker.ping()
        except DockerError as raised:
            problem = raised
        if scope.cancelled:
            raise DaemonError("context canceled")
        if problem is None:
            log.debug("successfully pinged the docker daemon")
            return
        log.having(error=problem).error("cannot ping the docker daemon")
        time.sleep(1)


def _await_server(client: Client, scope: Scope, log: Log) -> bool:
    while not scope.cancelled:
        try:
            client.ping(scope)
        except CancelledError:
            return False
        except (RPCError, OSError) as problem:
            log.having(error=problem).error("cannot ping the remote server")
            time.sleep(1)
        else:
            log.info("successfully pinged the remote server")
            return not scope.cancelled
    return False


def _on_signals(scope: Scope) -> None:
    """The first signal stops polling; the second one ends the process on the spot."""

    def second(number: int, _frame: object) -> None:
        # What Go does with a signal nobody handles; as PID 1 the kernel ignores the default
        # action, and Go's runtime then exits with 2.
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        os._exit(2)

    def first(_number: int, _frame: object) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, second)
        os.write(2, b"received signal, terminating process\n")
        scope.cancel()

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, first)


def _panic(broken: threading.ExceptHookArgs) -> None:
    """A mistake in any thread ends the process, as in Go: a runner must not live on half dead."""
    sys.__excepthook__(broken.exc_type, broken.exc_value or broken.exc_type(), broken.exc_traceback)
    os._exit(2)


def main(arguments: Sequence[str], environ: MutableMapping[str, str]) -> int:
    """The process: exit status 1 for every error, as kingpin does."""
    rest = list(arguments[1:] if arguments[:1] == ["daemon"] else arguments)
    if rest[:1] in (["exec"], ["compile"], ["copy"], ["delegate"], ["process"]):
        sys.stderr.write(f"drone-runner-docker: error: {rest[0]}: not part of this stand-in\n")
        return 1
    if rest:
        load_env_file(rest[0], environ)
    try:
        config = read_config(environ)
        level = "trace" if config.trace else "debug" if config.debug else "info"
        scope = Scope()
        _on_signals(scope)
        threading.excepthook = _panic
        run_daemon(config, SdkDocker(environ), scope, Log(sys.stderr, level))
    except (ConfigError, DaemonError) as problem:
        sys.stderr.write(f"drone-runner-docker: error: {problem}, try --help\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
