"""Real hosts: logins that become root in different ways, and one that cannot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from runnerkit.engine.look import look_inner, look_outer
from runnerkit.errors import HostError
from runnerkit.facts.daemon import DaemonFacts, DaemonUnavailable
from runnerkit.reach.transport import Login, Transport, connect
from runnerkit.secret import Secret
from runnerkit.target import SshTarget, parse_target
from tests.e2e.kit import Lab

pytestmark = pytest.mark.lab

PASSWORD = "lab-guard-password"
WHO = ["sh", "-c", "id -u; cat"]


@pytest.fixture
def as_user(lab: Lab) -> Callable[[str], Login]:
    config = Path(lab.info["config"])
    host: dict[str, Any] = yaml.safe_load(config.read_text())["hosts"]["host1"]

    def as_user(user: str) -> Login:
        target = parse_target(host["ssh"])
        assert isinstance(target, SshTarget)
        return Login(
            name="host1",
            target=replace(target, user=user),
            identity=config.parent / host["identity"] if "identity" in host else None,
            known_hosts=config.parent / host["known_hosts"] if "known_hosts" in host else None,
            sudo=user != "root",
        )

    return as_user


def is_root(transport: Transport) -> bool:
    return transport.run(WHO, b"\0 data").stdout == b"0\n\0 data"


@pytest.mark.parametrize("user", ["root", "ops"])
def test_without_a_password(as_user: Callable[[str], Login], user: str) -> None:
    transport = connect(as_user(user))
    assert is_root(transport)
    transport.close()


def test_with_a_configured_password(as_user: Callable[[str], Login]) -> None:
    transport = connect(replace(as_user("guard"), sudo_password=Secret(PASSWORD)))
    assert is_root(transport)
    assert is_root(transport)
    transport.close()


def test_with_a_password_that_is_asked_for_once(as_user: Callable[[str], Login]) -> None:
    asked: list[str] = []

    def ask(prompt: str) -> Secret:
        asked.append(prompt)
        return Secret(PASSWORD)

    transport = connect(as_user("guard"), ask_password=ask)
    assert is_root(transport)
    assert is_root(transport)
    assert asked == ["sudo password for host1"]
    transport.close()


@pytest.mark.parametrize(
    ("user", "password", "message"),
    [
        ("guard", None, "wants a password and none is known"),
        ("guard", "wrong", "did not accept the password"),
        ("plain", "wrong", "did not accept the password"),
    ],
)
def test_refusals(
    as_user: Callable[[str], Login], user: str, password: str | None, message: str
) -> None:
    secret = Secret(password) if password else None
    transport = connect(replace(as_user(user), sudo_password=secret))
    with pytest.raises(HostError, match=message):
        transport.run(["true"])
    transport.close()


def test_the_daemon_through_sudo(as_user: Callable[[str], Login]) -> None:
    transport = connect(as_user("ops"))
    facts = look_outer(transport, "none", "/none").daemon
    assert isinstance(facts, DaemonFacts), facts
    assert facts.version
    answer = look_inner(transport, "/run/no-such.sock").daemon
    assert isinstance(answer, DaemonUnavailable)
    assert "/run/no-such.sock" in answer.reason
    transport.close()
