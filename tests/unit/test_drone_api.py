"""The client of the Drone server's API, against the stand-in and against dead ends."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from runnerkit.collect.drone_api import Account, Trust, fetch_queue, set_trusted
from runnerkit.errors import ConfigError, RunnerkitError
from runnerkit.facts.queue import Build, refused
from runnerkit.secret import Secret
from tests.lab.drone.server import DroneServer

PIPELINE = """
kind: pipeline
name: default
node: {disk: fast}
concurrency: {limit: 1}
steps: [{name: hi, image: debian, commands: [true]}]
"""


@pytest.fixture
def drone(tmp_path: Path) -> Iterator[DroneServer]:
    (tmp_path / "secret").write_text("s3cret")
    server = DroneServer(("127.0.0.1", 0), tmp_path / "secret", tmp_path / "state")
    users = {"root": {"login": "root", "admin": True}, "me": {"login": "me", "admin": False}}
    (tmp_path / "state/tokens.json").write_text(json.dumps(users))
    server.start()
    yield server
    server.close()


def account(url: str, token: str = "root") -> Account:
    return Account(url, Secret(token), "env:DRONE_TOKEN")


def queue_build(drone: DroneServer, name: str = "app") -> int:
    repo = {"namespace": "octo", "name": name, "clone_url": "http://git/x"}
    payload = {"repo": repo, "config": PIPELINE, "event": "tag"}
    return int(drone.store.create_build(payload)["build"])


@pytest.mark.parametrize(("token", "whole"), [("root", True), ("me", False)])
def test_a_waiting_stage_is_read_with_its_build(
    token: str, whole: bool, drone: DroneServer
) -> None:
    build = queue_build(drone)
    queue = fetch_queue(account(drone.url, token))
    [stage] = queue.waiting
    assert (stage.build_id, stage.name, stage.labels, stage.limit) == (
        build, "default", {"disk": "fast"}, 1,
    )  # fmt: skip
    found = queue.builds[build]
    assert (found.repo, found.number, found.event, found.trusted) == ("octo/app", 1, "tag", False)
    assert (queue.login, queue.whole) == ("root" if whole else "me", whole)


@pytest.mark.parametrize("token", ["root", "me"])
def test_a_build_that_was_never_queued_is_told_until_its_repository_is_trusted(
    token: str, drone: DroneServer
) -> None:
    text = "kind: pipeline\nvolumes: [{name: v, host: {path: /srv}}]\nsteps: [{name: a, image: b}]"
    repo = {"namespace": "octo", "name": "app", "clone_url": "http://git/x"}
    drone.store.create_build({"repo": repo, "config": text})
    queue = fetch_queue(account(drone.url, token))
    assert (queue.waiting, queue.builds) == ((), {})
    [build] = queue.refused
    assert (build.repo, build.number) == ("octo/app", 1)
    assert build.error == "linter: untrusted repositories cannot mount host volumes"
    drone.store.patch_repo("octo/app", {"trusted": True}, admin=True)
    assert fetch_queue(account(drone.url, token)).refused == ()


def test_a_later_build_that_was_queued_is_the_one_that_counts() -> None:
    never = Build(1, 1, "octo/app", "push", False, "error", "untrusted repositories cannot x")
    assert refused([never]) == (never,)
    assert refused([replace(never, number=2, status="pending", error=""), never]) == ()
    assert refused([replace(never, error="yaml: line 3")]) == ()


@pytest.mark.parametrize("token", ["root", "me"])
def test_a_stage_that_was_taken_does_not_wait(token: str, drone: DroneServer) -> None:
    queue_build(drone)
    [stage] = fetch_queue(account(drone.url, token)).waiting
    drone.store.accept(stage.id, "forge")
    queue = fetch_queue(account(drone.url, token))
    assert (queue.waiting, queue.running_on("forge")) == ((), 1)


def test_nothing_waits(drone: DroneServer) -> None:
    assert fetch_queue(account(drone.url)).waiting == ()
    assert fetch_queue(account(drone.url, "me")).waiting == ()


def test_a_wrong_token_is_told_without_it(drone: DroneServer) -> None:
    with pytest.raises(ConfigError, match="does not accept the API token of env:DRONE_TOKEN") as it:
        fetch_queue(account(drone.url, "hunter2"))
    assert it.value.hint == f"copy it anew from {drone.url}/account"
    assert "hunter2" not in f"{it.value} {it.value.hint}"


def test_a_token_goes_before_what_netrc_says(
    drone: DroneServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login x password y\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert fetch_queue(account(drone.url)).whole


class _Odd(BaseHTTPRequestHandler):
    """Whatever else may be behind a URL; the first part of the path says what."""

    def do_GET(self) -> None:
        kind = self.path.split("/")[1]
        status = {"moved": 301, "missing": 404, "broken": 500}.get(kind, 200)
        self.send_response(status)
        if kind == "moved":
            self.send_header("Location", "https://drone.example.com/api/user?code=hunter2")
        self.end_headers()
        self.wfile.write({"list": b"[3]"}.get(kind, b"<html>"))

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def odd() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Odd)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("moved", "redirects to https://drone.example.com/api/user"),
        ("missing", "answers HTTP 404"),
        ("broken", "answers HTTP 500"),
        ("page", "does not answer in JSON"),
        ("list", "unknown kind of answer"),
    ],
)
def test_what_is_no_drone_server_is_said(kind: str, words: str, odd: str) -> None:
    with pytest.raises(RunnerkitError, match=words) as caught:
        fetch_queue(account(f"{odd}/{kind}"))
    assert caught.value.hint
    assert "hunter2" not in str(caught.value)


def test_a_server_that_is_down_is_said() -> None:
    with pytest.raises(RunnerkitError, match="cannot be asked: Connection refused") as caught:
        fetch_queue(account("http://127.0.0.1:1"))
    assert "reachable" in (caught.value.hint or "")


def test_tls_where_there_is_none_is_said(odd: str) -> None:
    with pytest.raises(RunnerkitError, match=r"certificate|cannot be asked"):
        fetch_queue(account(odd.replace("http:", "https:")))


def test_trust_is_set_and_read_back(drone: DroneServer) -> None:
    queue_build(drone)
    assert set_trusted(account(drone.url), "octo/app") == Trust(False, True, "root")
    assert drone.store.repo("octo/app")["trusted"] is True
    assert set_trusted(account(drone.url), "octo/app") == Trust(True, True, "root")


def test_a_yes_that_changed_nothing_is_seen(drone: DroneServer) -> None:
    queue_build(drone)
    assert set_trusted(account(drone.url, "me"), "octo/app") == Trust(False, False, "me")


def test_a_repository_that_is_not_there_is_named(drone: DroneServer) -> None:
    with pytest.raises(RunnerkitError, match="knows no repository octo/none"):
        set_trusted(account(drone.url), "octo/none")
