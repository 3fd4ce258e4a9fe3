"""A look at daemons, answered by a real HTTP server at the other end of a stream."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import IO, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from runnerkit.engine.asking import DaemonLine, NoAnswerError
from runnerkit.engine.look import look_inner, look_outer
from runnerkit.facts.daemon import DaemonFacts, DaemonUnavailable

ID = "c0ffee"
SERVICE = {"com.docker.compose.project": "runnerkit-main", "com.docker.compose.service": "runner"}
LISTED = {
    "Id": ID, "Names": ["/runnerkit-main-runner-1"], "ImageID": "sha256:1", "Labels": SERVICE,
    "State": "running", "Mounts": [],
}  # fmt: skip
FRAMED = b"\x02\0\0\0\0\0\0\x06polls\n" + b"\x01\0\0\0\0\0\0\x05more\n"
ANSWERS: dict[str, Any] = {
    "/info": {"Driver": "overlay2", "NCPU": 2},
    "/images/json": [{"Id": "sha256:1", "RepoTags": ["a:1"]}],
    "/networks": [],
    "/containers/json": [LISTED],
    "/volumes": {"Volumes": None},
    f"/containers/{ID}/json": {"Id": ID, "State": {"Status": "running", "Pid": 7}},
    "/images/sha256%3A1/json": {"Architecture": "arm64"},
    f"/containers/{ID}/logs": FRAMED,
    "/system/df": {"BuildCache": [{"Size": 5}, {"Size": 7, "Shared": True}]},
}


class Stream:
    """A ByteStream over a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def sendall(self, data: bytes) -> None:
        self._sock.sendall(data)

    def recv(self, size: int) -> bytes:
        return self._sock.recv(size)

    def makefile(self, mode: str, buffering: int = -1) -> IO[Any]:
        sock: Any = self._sock
        file: IO[Any] = sock.makefile(mode, buffering)
        return file

    def settimeout(self, seconds: float | None) -> None:
        self._sock.settimeout(seconds)

    def close_write(self) -> None:
        self._sock.shutdown(socket.SHUT_WR)

    def explain(self) -> str:
        return "permission denied"

    def close(self) -> None:
        self._sock.close()


class Host:
    """A host with one daemon; `asked` are the paths that it was asked for, in order."""

    name = "forge"

    def __init__(self, api: str = "1.45", oldest: str = "1.24") -> None:
        self.version = {"Version": "x", "ApiVersion": api, "MinAPIVersion": oldest}
        self._spoken = [tuple(map(int, text.split("."))) for text in (oldest, api)]
        self.answers = dict(ANSWERS)
        self.asked: list[str] = []
        self.silent = False

    def stream(self, argv: list[str]) -> Stream:
        assert argv[-2:] == ["system", "dial-stdio"]
        near, far = socket.socketpair()
        if self.silent:
            far.close()
        else:
            threading.Thread(target=self._serve, args=(far,), daemon=True).start()
        return Stream(near)

    def _serve(self, far: socket.socket) -> None:
        host = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                host.asked.append(self.path)
                status, body = host.answer(self.path)
                self.send_response(status)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for piece in (body[:3], body[3:]):
                    if piece:
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.write(b"0\r\n\r\n")

            def log_message(self, *_: object) -> None:
                pass

        server: Any = None
        Handler(far, ("", 0), server)
        far.close()

    def answer(self, path: str) -> tuple[int, bytes]:
        if path == "/version":
            return 200, json.dumps(self.version).encode()
        prefix, _, rest = path.removeprefix("/v").partition("/")
        oldest, newest = self._spoken
        if not oldest <= tuple(map(int, prefix.split("."))) <= newest:
            return 400, b'{"message": "client version %s is refused"}' % prefix.encode()
        found = self.answers.get(urlsplit(f"/{rest}").path)
        if found is None:
            return 404, b'{"message": "no such thing"}'
        return 200, found if isinstance(found, bytes) else json.dumps(found).encode()


def as_transport(host: Host) -> Any:
    return host


def test_the_outer_daemon_is_asked_for_all_that_is_known_of_it() -> None:
    host = Host()
    found = look_outer(as_transport(host), "runnerkit-main", "/data", archs=True)
    assert isinstance(found.daemon, DaemonFacts)
    [runner] = found.daemon.containers
    assert (runner.service, runner.pid, runner.arch) == ("runner", 7, "arm64")
    assert found.daemon.data_users == ("runnerkit-main-runner-1",)
    assert found.daemon.images == {"a:1": "sha256:1"}
    assert found.runner_log == "polls\nmore\n"
    filters = [parse_qs(urlsplit(path).query).get("filters", [""])[0] for path in host.asked]
    assert '{"label": ["com.docker.compose.project=runnerkit-main"]}' in filters
    assert '{"volume": ["/data"]}' in filters


def test_containers_that_have_their_usual_names_are_inspected_with_the_first_questions() -> None:
    host = Host()
    for path in [path for path in host.answers if ID in path]:
        usual = path.replace(ID, "runnerkit-main-runner-1")
        host.answers[usual] = host.answers.pop(path)
    found = look_outer(as_transport(host), "runnerkit-main", "/data")
    assert isinstance(found.daemon, DaemonFacts)
    assert [(item.pid, item.arch) for item in found.daemon.containers] == [(7, None)]
    assert found.runner_log == "polls\nmore\n"
    assert not [path for path in host.asked if ID in path or "/images/sha256" in path]


@pytest.mark.parametrize(
    ("api", "oldest", "spoken"),
    [("1.45", "1.24", "1.45"), ("1.52", "1.44", "1.45"), ("1.43", "1.12", "1.43"),
     ("1.60", "1.50", "1.50")],
)  # fmt: skip
def test_every_daemon_is_spoken_to_in_the_newest_version_that_both_know(
    api: str, oldest: str, spoken: str
) -> None:
    host = Host(api, oldest)
    found = look_inner(as_transport(host), "/run/docker.sock", measure=True)
    assert isinstance(found.daemon, DaemonFacts)
    assert found.daemon.api_version == api
    assert found.build_cache is not None
    assert found.build_cache.bytes == 5
    assert host.asked[-1].startswith(f"/v{spoken}/")


def test_an_old_engine_is_not_asked_for_what_would_take_it_long() -> None:
    host = Host("1.41", "1.12")
    found = look_inner(as_transport(host), "/run/docker.sock", measure=True)
    assert isinstance(found.daemon, DaemonFacts)
    assert found.build_cache is None
    assert not any(path.startswith("/v1.41/system/df") for path in host.asked)


def test_a_cache_that_cannot_be_measured_leaves_the_rest_known() -> None:
    host = Host()
    del host.answers["/system/df"]
    found = look_inner(as_transport(host), "/run/docker.sock", measure=True)
    assert isinstance(found.daemon, DaemonFacts)
    assert found.build_cache is not None
    assert found.build_cache.unknown == "no such thing"


def test_a_container_that_went_away_meanwhile_is_left_out() -> None:
    host = Host()
    del host.answers[f"/containers/{ID}/json"], host.answers[f"/containers/{ID}/logs"]
    found = look_outer(as_transport(host), "runnerkit-main", "/data")
    assert isinstance(found.daemon, DaemonFacts)
    assert (found.daemon.containers, found.runner_log) == ((), "")


def broken(path: str, answer: object) -> Callable[[Host], None]:
    return lambda host: host.answers.update({path: answer})


@pytest.mark.parametrize(
    ("how", "why"),
    [
        (lambda host: setattr(host, "silent", True), "permission denied"),
        (lambda host: host.answers.pop("/info"), "no such thing"),
        (broken("/info", b"<html>"), "unknown kind of answer"),
        (broken("/images/json", {"surprise": 1}), "unknown kind of answer"),
        (lambda host: host.version.update(ApiVersion="new"), "unknown kind of answer"),
    ],
)
def test_a_daemon_that_does_not_answer_is_a_value(how: Callable[[Host], object], why: str) -> None:
    host = Host()
    how(host)
    for found in (
        look_outer(as_transport(host), "runnerkit-main", "/data").daemon,
        look_inner(as_transport(host), "/run/docker.sock").daemon,
    ):
        assert isinstance(found, DaemonUnavailable)
        assert why in found.reason


@contextmanager
def a_line(host: Host) -> Iterator[DaemonLine]:
    line = DaemonLine(as_transport(host))
    try:
        yield line
    finally:
        line.close()


def test_answers_come_in_the_order_of_the_questions() -> None:
    with a_line(Host()) as line:
        line.send(["/v1.45/networks", "/v1.45/info", "/v1.45/nowhere", "/v1.45/info"])
        assert line.receive().content() == []
        assert line.receive().content() == ANSWERS["/info"]
        with pytest.raises(NoAnswerError, match="no such thing"):
            line.receive().content()
        assert line.receive().content() == ANSWERS["/info"]


def test_one_that_says_nothing_is_waited_for_only_so_long() -> None:
    with a_line(Host()) as line, pytest.raises(NoAnswerError, match=r"within 0\.1 s"):
        line.receive(0.1)
