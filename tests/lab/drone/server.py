"""A stand-in for the Drone server: RPC v2 for runners, a little of its API, and a lab control API.

Usage: python -m tests.lab.drone.server --listen HOST:PORT --secret-file F --state DIR

Anything that a runner asks for and that is not scripted here gets 404 and is kept under
GET /lab/faults, so that a test can demand that nothing of the kind happened.

Sources: S = harness/drone@v2.24.0, G = drone/runner-go@v1.12.0.
"""

from __future__ import annotations

import argparse
import hmac
import json
import re
import select
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.lab.drone.store import (
    JSON,
    BadRequestError,
    ConflictError,
    Store,
    UnknownRecordError,
)

VERSION = "2.24.0"
LONG_POLL_SECONDS = 30.0
MAX_CALLS = 5000

_RPC_PREFIX = "/rpc/"


@dataclass
class Answer:
    """An HTTP answer; `payload` None means no body, `hang_up` no answer at all."""

    status: int = 200
    payload: object = None
    hang_up: bool = False


@dataclass
class Runner:
    """What is known of a runner: pings and polls carry no name, so it is told by its address."""

    address: str
    wanted: JSON | None = None
    machines: list[str] = field(default_factory=list)
    last_ping: float = 0.0
    last_poll: float = 0.0
    last_contact: float = 0.0
    polls_outstanding: int = 0

    def view(self) -> JSON:
        return {
            "machine": self.machines[-1] if self.machines else "",
            "machines": self.machines,
            "address": self.address,
            "labels": (self.wanted or {}).get("labels") or {},
            "os": (self.wanted or {}).get("os", ""),
            "arch": (self.wanted or {}).get("arch", ""),
            "last_ping": self.last_ping,
            "last_poll": self.last_poll,
            "last_contact": self.last_contact,
            "polls_outstanding": self.polls_outstanding,
        }


class Runners:
    """Every runner that ever called, in memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: list[Runner] = []

    def pinged(self, address: str) -> None:
        with self._lock:
            mine = [runner for runner in self._known if runner.address == address]
            if not mine:
                mine = [Runner(address)]
                self._known += mine
            for runner in mine:
                runner.last_ping = runner.last_contact = time.time()

    def polling(self, address: str, wanted: JSON) -> Runner:
        """The runner behind a poll, which is counted until `polled`."""
        with self._lock:
            runner = self._find(address, wanted)
            runner.wanted = wanted
            runner.polls_outstanding += 1
            runner.last_poll = runner.last_contact = time.time()
            return runner

    def polled(self, runner: Runner) -> None:
        with self._lock:
            runner.polls_outstanding -= 1

    def accepted(self, poller: str, machine: str) -> None:
        """The accept names the machine: from now on the poller has a name."""
        with self._lock:
            for runner in self._known:
                if _poller_key(runner) == poller and machine not in runner.machines:
                    runner.machines.append(machine)

    def heard_from(self, machine: str) -> None:
        with self._lock:
            for runner in self._known:
                if machine in runner.machines:
                    runner.last_contact = time.time()

    def view(self) -> list[JSON]:
        with self._lock:
            return [runner.view() for runner in self._known]

    def _find(self, address: str, wanted: JSON) -> Runner:
        for runner in self._known:
            if runner.address == address and runner.wanted in (wanted, None):
                return runner
        self._known.append(Runner(address))
        return self._known[-1]


def _poller_key(runner: Runner) -> str:
    return f"{runner.address} {json.dumps(runner.wanted, sort_keys=True)}"


class Faults:
    """Scripted misbehaviour, by the name of the call.

    {"ping": 500}                                   answer with this status
    {"accept": {"status": 409, "times": 1}}         only the next call
    {"poll": {"delay": 2.5}}                        late, then as usual
    {"step": {"drop": true}}                        hang up without an answer
    {"secret": "other"}                             expect another secret ("" refuses everyone)
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: JSON = {}

    def add(self, given: JSON) -> None:
        with self._lock:
            for call, fault in given.items():
                self._active[call] = {"status": fault} if isinstance(fault, int) else fault

    def clear(self) -> None:
        with self._lock:
            self._active.clear()

    def view(self) -> JSON:
        with self._lock:
            return dict(self._active)

    def secret(self, default: str) -> str:
        with self._lock:
            return str(self._active.get("secret", default))

    def take(self, call: str) -> JSON:
        """The fault for this call, used up if it was limited."""
        with self._lock:
            fault = self._active.get(call)
            if not isinstance(fault, dict):
                return {}
            if "times" in fault:
                fault["times"] -= 1
                if fault["times"] <= 0:
                    del self._active[call]
            return dict(fault)


class DroneServer:
    """The server as an object, so that tests can run it in their own process."""

    def __init__(
        self,
        listen: tuple[str, int],
        secret_file: Path,
        state_dir: Path,
        long_poll: float = LONG_POLL_SECONDS,
    ) -> None:
        state_dir.mkdir(parents=True, exist_ok=True)
        self.long_poll = long_poll
        self.closing = threading.Event()
        self.runners = Runners()
        self.faults = Faults()
        self.calls: deque[JSON] = deque(maxlen=MAX_CALLS)
        self.unscripted: deque[JSON] = deque(maxlen=MAX_CALLS)
        self._secret_file = secret_file
        self._tokens_file = state_dir / "tokens.json"
        server = self

        class Handler(_Handler):
            drone = server

        self._http = ThreadingHTTPServer(listen, Handler)
        self._http.daemon_threads = True
        host, port = self._http.server_address[:2]
        self.address = f"{host!s}:{port}"
        system = {"proto": "http", "host": self.address, "link": self.url, "version": VERSION}
        self.store = Store(state_dir / "state.json", system)

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def secret(self) -> str:
        """Read anew each time: rotating it needs no restart."""
        try:
            configured = self._secret_file.read_text(encoding="utf-8").strip()
        except OSError:
            configured = ""
        return self.faults.secret(configured)

    def user(self, token: str) -> JSON | None:
        """The owner of an API token, from tokens.json: {"TOKEN": {"login": …, "admin": …}}."""
        try:
            tokens = json.loads(self._tokens_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        found = tokens.get(token) if token else None
        return found if isinstance(found, dict) else None

    def serve(self) -> None:
        """Answer requests until `close`."""
        self._http.serve_forever(poll_interval=0.02)

    def start(self) -> None:
        """Serve in a thread."""
        threading.Thread(target=self.serve, daemon=True).start()

    def close(self) -> None:
        """Stop listening; open long polls are hung up on."""
        self.closing.set()
        with self.store.changed:
            self.store.changed.notify_all()
        self._http.shutdown()
        self._http.server_close()

    def wait_for(self, find: Callable[[], Any], seconds: float, gone: Callable[[], bool]) -> Any:
        """The first true result of `find`, tried at every change; None after `seconds`.

        Also None when the caller is `gone`: a poll of a dead runner must not take a stage.
        """
        deadline = time.monotonic() + seconds
        with self.store.changed:
            while not self.closing.is_set() and not gone():
                found = find()
                left = deadline - time.monotonic()
                if found or left <= 0:
                    return found or None
                self.store.changed.wait(min(left, 0.25))
        return None


class _Handler(BaseHTTPRequestHandler):
    """Routes one request. Every RPC call is recorded with what it was answered."""

    protocol_version = "HTTP/1.1"
    drone: DroneServer

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_PUT(self) -> None:
        self._handle()

    def do_PATCH(self) -> None:
        self._handle()

    def do_DELETE(self) -> None:
        self._handle()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
        """Calls are recorded instead."""

    # --- Dispatch -------------------------------------------------------------------------------

    def _handle(self) -> None:
        target = urlsplit(self.path)
        self.query = {key: values[0] for key, values in parse_qs(target.query).items()}
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length)
        name, answer = self._route(target.path)
        if target.path.startswith(_RPC_PREFIX):
            self._record(name, answer)
        self._send(answer)

    def _route(self, path: str) -> tuple[str, Answer]:
        for method, pattern, name, action in _ROUTES:
            match = pattern.fullmatch(path) if method == self.command else None
            if match is not None:
                return name, self._run(path, name, partial(action, self, *match.groups()))
        self.drone.unscripted.append(self._call_record("", 404))
        return "", _message(404, "Not Found")

    def _run(self, path: str, name: str, action: Callable[[], Answer]) -> Answer:
        if path.startswith(_RPC_PREFIX):
            refused = self._refusal(name)
            if refused is not None:
                return refused
        try:
            return action()
        except UnknownRecordError:
            return _message(404, "Not Found")
        except ConflictError:
            return _message(409, "Optimistic Lock Error")
        except BadRequestError as problem:
            return _message(400, str(problem))

    def _refusal(self, name: str) -> Answer | None:
        fault = self.drone.faults.take(name)
        if fault.get("delay"):
            self.drone.closing.wait(float(fault["delay"]))
        if fault.get("drop"):
            return Answer(hang_up=True)
        if fault.get("status"):
            return Answer(int(fault["status"]), fault.get("body"))
        secret = self.drone.secret
        if not secret:
            return Answer(403)
        # http.server takes every header for Latin-1; Go compares the bytes.
        token = self.headers.get("X-Drone-Token", "").encode("latin-1")
        return None if hmac.compare_digest(secret.encode(), token) else Answer(401)

    def _send(self, answer: Answer) -> None:
        if answer.hang_up or self.drone.closing.is_set():
            self.close_connection = True
            return
        body = b"" if answer.payload is None else json.dumps(answer.payload).encode() + b"\n"
        try:
            self.send_response(answer.status)
            if body:
                self.send_header("Content-Type", "application/json")
            if answer.status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    def _record(self, name: str, answer: Answer) -> None:
        self.drone.calls.append(self._call_record(name, answer.status))

    def _call_record(self, name: str, status: int) -> JSON:
        return {
            "call": name,
            "method": self.command,
            "path": self.path,
            "status": status,
            "address": self.client_address[0],
            "time": time.time(),
        }

    def _json(self) -> Any:
        try:
            return json.loads(self.body or b"null")
        except ValueError as problem:
            raise BadRequestError(f"not JSON: {problem}") from problem

    def _object(self) -> JSON:
        value = self._json()
        if not isinstance(value, dict):
            raise BadRequestError("an object is needed")
        return value

    def _is_gone(self) -> bool:
        """Whether the client closed its end while it waits for us."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        if not readable:
            return False
        try:
            return not self.connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    # --- RPC v2: S handler/rpc2 -----------------------------------------------------------------

    def ping(self) -> Answer:
        self.drone.runners.pinged(self.client_address[0])
        return Answer(200)

    def poll(self) -> Answer:
        wanted = self._object()
        runner = self.drone.runners.polling(self.client_address[0], wanted)
        key, store = _poller_key(runner), self.drone.store
        try:
            stage = self.drone.wait_for(
                lambda: store.take(key, wanted), self.drone.long_poll, self._is_gone
            )
        finally:
            self.drone.runners.polled(runner)
        if stage is None:
            return Answer(204)
        if self._is_gone():
            store.withdraw_offer(stage["id"])
            return Answer(hang_up=True)
        return Answer(200, stage)

    def accept(self, stage: str) -> Answer:
        machine = self.query.get("machine", "")
        accepted, poller = self.drone.store.accept(int(stage), machine)
        self.drone.runners.accepted(poller, machine)
        return Answer(200, accepted)

    def detail(self, stage: str) -> Answer:
        return Answer(200, self.drone.store.detail(int(stage)))

    def update(self, stage: str) -> Answer:
        self._heard(stage=int(stage))
        return Answer(200, self.drone.store.update_stage(int(stage), self._object()))

    def step(self, step: str) -> Answer:
        self._heard(step=int(step))
        return Answer(200, self.drone.store.update_step(int(step), self._object()))

    def watch(self, build: str) -> Answer:
        number, store = int(build), self.drone.store
        cancelled = self.drone.wait_for(
            lambda: store.is_cancelled(number), self.drone.long_poll, self._is_gone
        )
        return Answer(200 if cancelled else 204)

    def batch(self, step: str) -> Answer:
        self._heard(step=int(step))
        self.drone.store.append_log(int(step), self._json() or [])
        return Answer(200)

    def upload(self, step: str) -> Answer:
        self._heard(step=int(step))
        self.drone.store.replace_log(int(step), self._json() or [])
        return Answer(200)

    def card(self, step: str) -> Answer:
        self.drone.store.put_card(int(step), self._object())
        return Answer(200)

    def _heard(self, *, stage: int = 0, step: int = 0) -> None:
        machine = self.drone.store.machine_of(stage=stage, step=step)
        self.drone.runners.heard_from(machine)

    # --- The server's API: S handler/api ----------------------------------------------------------

    def healthz(self) -> Answer:
        return Answer(200, "OK")

    def version(self) -> Answer:
        return Answer(200, {"source": "lab", "version": VERSION, "commit": ""})

    def user(self) -> Answer:
        user = self._user()
        if user is None:
            return _message(401, "Unauthorized")
        admin = bool(user.get("admin"))
        return Answer(200, {"login": user.get("login", ""), "admin": admin, "active": True})

    def user_builds(self) -> Answer:
        return self._for_user(lambda: Answer(200, self.drone.store.recent()))

    def repo_build(self, namespace: str, name: str, number: str) -> Answer:
        slug = f"{namespace}/{name}"
        return self._for_user(lambda: Answer(200, self.drone.store.build_of(slug, int(number))))

    def queue(self) -> Answer:
        return self._for_admin(lambda: Answer(200, self.drone.store.queue()))

    def queue_resume(self) -> Answer:
        return self._for_admin(lambda: self._pause(paused=False))

    def queue_pause(self) -> Answer:
        return self._for_admin(lambda: self._pause(paused=True))

    def incomplete(self) -> Answer:
        return self._for_admin(lambda: Answer(200, self.drone.store.incomplete()))

    def incomplete_stages(self) -> Answer:
        return self._for_admin(lambda: Answer(200, self.drone.store.incomplete_stages()))

    def repo(self, namespace: str, name: str) -> Answer:
        return self._for_user(lambda: Answer(200, self.drone.store.repo(f"{namespace}/{name}")))

    def patch_repo(self, namespace: str, name: str) -> Answer:
        user = self._user()
        if user is None:
            return _message(401, "Unauthorized")
        admin = bool(user.get("admin"))
        slug, given = f"{namespace}/{name}", self._object()
        return Answer(200, self.drone.store.patch_repo(slug, given, admin=admin))

    def _user(self) -> JSON | None:
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        given = token if kind == "Bearer" else self.query.get("access_token", "")
        return self.drone.user(given)

    def _for_user(self, action: Callable[[], Answer]) -> Answer:
        return _message(401, "Unauthorized") if self._user() is None else action()

    def _for_admin(self, action: Callable[[], Answer]) -> Answer:
        user = self._user()
        if user is None:
            return _message(401, "Unauthorized")
        return action() if user.get("admin") else _message(403, "Forbidden")

    def _pause(self, *, paused: bool) -> Answer:
        self.drone.store.pause(paused=paused)
        return Answer(204)

    # --- Lab control ----------------------------------------------------------------------------

    def lab_health(self) -> Answer:
        return Answer(200, {"status": "ok", "unscripted": len(self.drone.unscripted)})

    def lab_builds(self) -> Answer:
        return Answer(200, self.drone.store.summaries())

    def lab_create(self) -> Answer:
        return Answer(200, self.drone.store.create_build(self._object()))

    def lab_build(self, build: str) -> Answer:
        return Answer(200, self.drone.store.view(int(build)))

    def lab_cancel(self, build: str) -> Answer:
        self.drone.store.cancel(int(build))
        return Answer(200, self.drone.store.view(int(build)))

    def lab_repo(self) -> Answer:
        return Answer(200, self.drone.store.put_repo(self._object()))

    def lab_runners(self) -> Answer:
        return Answer(200, self.drone.runners.view())

    def lab_calls(self) -> Answer:
        return Answer(200, list(self.drone.calls))

    def lab_faults(self) -> Answer:
        unscripted = list(self.drone.unscripted)
        return Answer(200, {"active": self.drone.faults.view(), "unscripted": unscripted})

    def lab_add_faults(self) -> Answer:
        self.drone.faults.add(self._object())
        return self.lab_faults()

    def lab_clear_faults(self) -> Answer:
        self.drone.faults.clear()
        self.drone.unscripted.clear()
        return self.lab_faults()


def _message(status: int, text: str) -> Answer:
    return Answer(status, {"message": text})


_Action = Callable[..., Answer]
_REPO = r"/api/repos/([^/]+)/([^/]+)"
_ROUTES: list[tuple[str, re.Pattern[str], str, _Action]] = [
    (method, re.compile(pattern), name, action)
    for method, pattern, name, action in (
        ("POST", r"/rpc/v2/ping", "ping", _Handler.ping),
        ("POST", r"/rpc/v2/stage", "poll", _Handler.poll),
        ("POST", r"/rpc/v2/stage/(\d+)", "accept", _Handler.accept),
        ("GET", r"/rpc/v2/stage/(\d+)", "detail", _Handler.detail),
        ("PUT", r"/rpc/v2/stage/(\d+)", "update", _Handler.update),
        ("PUT", r"/rpc/v2/step/(\d+)", "step", _Handler.step),
        ("POST", r"/rpc/v2/build/(\d+)/watch", "watch", _Handler.watch),
        ("POST", r"/rpc/v2/step/(\d+)/logs/batch", "batch", _Handler.batch),
        ("POST", r"/rpc/v2/step/(\d+)/logs/upload", "upload", _Handler.upload),
        ("POST", r"/rpc/v2/step/(\d+)/card", "card", _Handler.card),
        ("GET", r"/healthz", "healthz", _Handler.healthz),
        ("GET", r"/version", "version", _Handler.version),
        ("GET", r"/api/user", "user", _Handler.user),
        ("GET", r"/api/user/builds", "user-builds", _Handler.user_builds),
        ("GET", r"/api/queue", "queue", _Handler.queue),
        ("POST", r"/api/queue", "queue-resume", _Handler.queue_resume),
        ("DELETE", r"/api/queue", "queue-pause", _Handler.queue_pause),
        ("GET", r"/api/builds/incomplete", "incomplete", _Handler.incomplete),
        ("GET", r"/api/builds/incomplete/v2", "incomplete-v2", _Handler.incomplete_stages),
        ("GET", _REPO, "repo", _Handler.repo),
        ("GET", rf"{_REPO}/builds/(\d+)", "repo-build", _Handler.repo_build),
        ("PATCH", _REPO, "patch-repo", _Handler.patch_repo),
        ("GET", r"/lab/health", "lab-health", _Handler.lab_health),
        ("GET", r"/lab/builds", "lab-builds", _Handler.lab_builds),
        ("POST", r"/lab/builds", "lab-create", _Handler.lab_create),
        ("GET", r"/lab/builds/(\d+)", "lab-build", _Handler.lab_build),
        ("POST", r"/lab/builds/(\d+)/cancel", "lab-cancel", _Handler.lab_cancel),
        ("POST", r"/lab/repos", "lab-repo", _Handler.lab_repo),
        ("GET", r"/lab/runners", "lab-runners", _Handler.lab_runners),
        ("GET", r"/lab/calls", "lab-calls", _Handler.lab_calls),
        ("GET", r"/lab/faults", "lab-faults", _Handler.lab_faults),
        ("POST", r"/lab/faults", "lab-add-faults", _Handler.lab_add_faults),
        ("DELETE", r"/lab/faults", "lab-clear-faults", _Handler.lab_clear_faults),
    )
]


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.drone.server")
    parser.add_argument("--listen", required=True, metavar="HOST:PORT")
    parser.add_argument("--secret-file", required=True, type=Path)
    parser.add_argument("--state", required=True, type=Path, metavar="DIR")
    options = parser.parse_args(arguments)
    host, _, port = options.listen.rpartition(":")
    server = DroneServer((host, int(port)), options.secret_file, options.state)
    server.start()
    sys.stderr.write(f"listening on {server.url}\n")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    server.close()
    return 0


if __name__ == "__main__":
    # Blocked before any thread starts, so that only sigwait ever sees them.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    sys.exit(main(sys.argv[1:]))
