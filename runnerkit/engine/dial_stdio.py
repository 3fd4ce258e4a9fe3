"""HTTP to a Docker daemon through the standard streams of `docker system dial-stdio`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.util.timeout import _TYPE_TIMEOUT

from runnerkit.reach.transport import ByteStream

OpenStream = Callable[[], ByteStream]


class _Connection(HTTPConnection):
    """A connection that is a program's streams instead of a socket."""

    def __init__(self, open_stream: OpenStream, timeout: _TYPE_TIMEOUT) -> None:
        super().__init__("localhost", timeout=timeout)
        self._open_stream = open_stream

    def connect(self) -> None:
        stream = self._open_stream()
        timeout = self.timeout
        stream.settimeout(timeout if isinstance(timeout, int | float) else None)
        sock: Any = stream  # http.client needs only what a ByteStream has
        self.sock = sock

    @property
    def is_connected(self) -> bool:
        # urllib3 would look at a file descriptor, which there is none of.
        return self.sock is not None


class _Pool(HTTPConnectionPool):
    def __init__(self, open_stream: OpenStream) -> None:
        super().__init__("localhost", maxsize=4)
        self._open_stream = open_stream

    def _new_conn(self) -> _Connection:
        self.num_connections += 1
        return _Connection(self._open_stream, self.timeout.connect_timeout)


class DialStdioAdapter(HTTPAdapter):
    """A requests adapter whose every connection is a stream from `open_stream`.

    `explain` says why the daemon did not answer, in the words of the last program started.
    """

    def __init__(self, open_stream: OpenStream) -> None:
        self._open = open_stream
        self._last: ByteStream | None = None
        self._pool = _Pool(self._dial)
        super().__init__(max_retries=0)

    def _dial(self) -> ByteStream:
        self._last = self._open()
        return self._last

    def explain(self) -> str:
        """Return the last program's last line on stderr, or ""."""
        return self._last.explain() if self._last is not None else ""

    def get_connection_with_tls_context(
        self,
        request: requests.PreparedRequest,  # noqa: ARG002 - requests' signature
        verify: bool | str | None,  # noqa: ARG002
        proxies: Mapping[str, str] | None = None,  # noqa: ARG002
        cert: tuple[str, str] | str | None = None,  # noqa: ARG002
    ) -> HTTPConnectionPool:
        """Return the one pool there is."""
        return self._pool

    def request_url(
        self,
        request: requests.PreparedRequest,
        proxies: Mapping[str, str] | None,  # noqa: ARG002 - requests' signature
    ) -> str:
        """Return the path alone: no proxy stands in between."""
        return request.path_url

    def close(self) -> None:
        """Close all connections."""
        super().close()
        self._pool.close()
