"""A connection that ends in the middle of something is an end, not a surprise."""

from __future__ import annotations

import pytest

from runnerkit.errors import ConnectionLostError
from runnerkit.reach.ssh_channels import SocketChannel, SshTransport
from runnerkit.reach.streams import SHUT_WR
from runnerkit.reach.transport import Login
from runnerkit.target import parse_target


class Dead:
    """A channel of a connection that is gone, as paramiko behaves."""

    def send(self, data: bytes, /) -> int:
        raise EOFError(data)

    def recv(self, size: int, /) -> bytes:
        raise EOFError(size)

    def recv_stderr(self, size: int, /) -> bytes:
        raise EOFError(size)

    def settimeout(self, seconds: float | None, /) -> None:
        raise AssertionError(f"not scripted: {seconds}")

    def shutdown(self, how: int, /) -> None:
        raise EOFError(how)

    def shutdown_write(self) -> None:
        raise EOFError

    def recv_exit_status(self) -> int:
        return -1

    def close(self) -> None:
        raise EOFError


def test_writing_to_a_lost_connection_is_a_broken_pipe() -> None:
    channel = SocketChannel(Dead())
    with pytest.raises(BrokenPipeError):
        channel.send(b"x")
    with pytest.raises(BrokenPipeError):
        channel.shutdown(SHUT_WR)
    with pytest.raises(BrokenPipeError):
        channel.shutdown_write()


def test_reading_from_a_lost_connection_ends() -> None:
    channel = SocketChannel(Dead())
    assert channel.recv(10) == b""
    assert channel.recv_stderr(10) == b""
    assert channel.recv_exit_status() == -1
    channel.close()


class Silent:
    """A connection whose other end has no power: it stands, and says nothing."""

    def open_channel(self, command: bytes) -> SocketChannel:
        raise TimeoutError(command)

    def is_alive(self) -> bool:
        return True

    def reason(self) -> str:
        return ""

    def knock(self) -> None:
        raise AssertionError("not within a moment")

    def close(self) -> None:
        pass


def test_a_host_that_says_nothing_is_lost_and_not_misconfigured() -> None:
    login = Login(
        name="forge", target=parse_target("root@forge.lan"), identity=None, known_hosts=None,
        sudo=False, sudo_password=None, connect_timeout=5.0, accept_new_host_key=False,
    )  # fmt: skip
    transport = SshTransport(login, Silent(), None, is_root=True)
    try:
        with pytest.raises(ConnectionLostError, match="forge: the connection was lost"):
            transport.run(["true"])
    finally:
        transport.close()
