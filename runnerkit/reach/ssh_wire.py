"""One SSH connection that stands: its programs' channels, and how it ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import paramiko
from paramiko.common import (
    MSG_CHANNEL_CLOSE,
    MSG_CHANNEL_FAILURE,
    MSG_CHANNEL_WINDOW_ADJUST,
)

from runnerkit.reach.ssh_channels import Channel, SessionRefusedError, SocketChannel

# sshd allows 10 sessions a connection by default; what is looked at first needs about as many.
AHEAD = 7


class Connection(paramiko.Transport):
    """Says nothing more of a channel that it has closed.

    In paramiko one thread may still be about to send for a channel, if only the end of its data,
    when another answers the server's CLOSE. OpenSSH's server ends the whole connection, with all
    programs on it, over a message for a channel that it has forgotten (channel_from_packet_id in
    its channels.c).
    """

    def __init__(self, sock: Any, **options: Any) -> None:
        self._closed_channels: set[int] = set()
        self._farewell: str | None = None
        super().__init__(sock, **options)

    def has_ended(self) -> bool:
        """Whether the connection ended; paramiko closes all channels before it admits that."""
        failure = self.saved_exception
        return self._farewell is not None or isinstance(failure, EOFError | OSError)

    def why_ended(self) -> str:
        """The reason, as far as it is known."""
        if isinstance(self.saved_exception, OSError):
            return str(self.saved_exception)
        return "the host ended it" + (f": {self._farewell}" if self._farewell else "")

    def open_channel(self, *arguments: Any, **options: Any) -> paramiko.Channel:
        """See paramiko.Transport.open_channel."""
        channel = super().open_channel(*arguments, **options)
        self._closed_channels.discard(channel.remote_chanid)  # the server numbers them anew
        return channel

    def _parse_disconnect(self, message: paramiko.Message) -> None:
        message.get_int()
        self._farewell = message.get_text()

    def _send_message(self, data: paramiko.Message) -> None:
        # Called for one message at a time: the caller holds a lock.
        message = data.asbytes()
        kind, channel = message[0], int.from_bytes(message[1:5])
        if MSG_CHANNEL_WINDOW_ADJUST <= kind <= MSG_CHANNEL_FAILURE:
            if channel in self._closed_channels:
                return
            if kind == MSG_CHANNEL_CLOSE:
                self._closed_channels.add(channel)
        super()._send_message(data)  # type: ignore[misc]  # not in its stubs


class SshWire:
    """A connection that was logged in, as SshTransport needs it; `close` ends it.

    Opening a session costs a round trip before its program can be started. The first ones are
    opened all at once, as soon as the connection stands.
    """

    def __init__(self, connection: Connection, close: Callable[[], None]) -> None:
        self._connection = connection
        self._close = close
        self._opener = ThreadPoolExecutor(AHEAD)
        self._ahead: deque[Future[paramiko.Channel]] = deque(
            self._opener.submit(self._connection.open_session) for _ in range(AHEAD)
        )

    def _session(self) -> paramiko.Channel:
        """A session that was opened ahead, or else a new one."""
        with suppress(IndexError):
            while True:
                ahead = self._ahead.popleft()
                # One that was refused says nothing of how many there may be now.
                with suppress(paramiko.SSHException, EOFError):
                    return ahead.result()
        return self._connection.open_session()

    def open_channel(self, command: bytes) -> Channel:
        """See Wire.open_channel."""
        try:
            channel = self._session()
        except paramiko.ChannelException as error:
            raise SessionRefusedError(error.text) from None
        except (paramiko.SSHException, EOFError) as error:
            # When two threads are refused at once, paramiko tells only one of them why.
            if self.is_alive() and "Unable to open channel" in str(error):
                raise SessionRefusedError("it gave no reason") from None
            if "Timeout" in str(error):
                raise TimeoutError(str(error)) from None
            raise ConnectionError(str(error)) from None
        try:
            channel.exec_command(command)
        except (paramiko.SSHException, EOFError, OSError) as error:
            channel.close()
            raise ConnectionError(str(error)) from None
        return SocketChannel(channel)

    def is_alive(self) -> bool:
        """See Wire.is_alive."""
        return self._connection.is_active() and not self._connection.has_ended()

    def reason(self) -> str:
        """See Wire.reason."""
        return "" if self.is_alive() else self._connection.why_ended()

    def knock(self) -> None:
        """See Wire.knock."""
        with suppress(Exception):  # a dying transport may raise anything; it is dying
            self._connection.global_request("keepalive@openssh.com", wait=True)

    def close(self) -> None:
        """See Wire.close."""
        self._close()
        self._opener.shutdown(wait=False)
