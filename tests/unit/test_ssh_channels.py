"""A connection that ends in the middle of something is an end, not a surprise."""

from __future__ import annotations

import pytest

from runnerkit.reach.ssh_channels import SocketChannel
from runnerkit.reach.streams import SHUT_WR


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
