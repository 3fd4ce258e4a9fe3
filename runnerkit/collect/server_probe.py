"""Asking the Drone server, from where the runner stands, whether it would take this runner.

The bytes leave from the runner's own network namespace, carried there over the SSH connection;
TLS ends here. The secret therefore is in no argument, no environment and no file of the host.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

from runnerkit.facts.daemon import ContainerFacts
from runnerkit.facts.host import ServerFacts, Span
from runnerkit.facts.inside import place_of
from runnerkit.reach.transport import ByteStream, Transport
from runnerkit.secret import Secret

TIMEOUT_SECONDS = 10.0
PING_PATH = "/rpc/v2/ping"

# Arguments: host, port, pid of the runner or nothing. bash, because POSIX sh has no sockets.
# Names are resolved as the runner does: the host's own resolver may be on a loopback that is not
# there in the runner's network. The end of the input ends it all: a session that lingered would
# count against MaxSessions.
CONNECT = """
relay='exec 3<>"/dev/tcp/$1/$2" || exit 1; cat <&3 & cat >&3; kill $!'
if [ -n "$3" ] && [ -e "/proc/$3/ns/net" ]; then
    relay='for name in resolv.conf hosts; do
        mount --bind "/proc/$3/root/etc/$name" "/etc/$name"
    done; '$relay
    exec nsenter --net="/proc/$3/ns/net" unshare --mount bash -c "$relay" bash "$@" 2>/dev/null
fi
exec bash -c "$relay" bash "$1" "$2" 2>/dev/null
"""


@dataclass(frozen=True)
class ServerLogin:
    """How a runner introduces itself to the server."""

    url: str
    secret: Secret
    tls_verify: bool = True


def ask_server(
    transport: Transport, runner: ContainerFacts | None, login: ServerLogin
) -> ServerFacts:
    """What a ping with the secret brought, or why it brought nothing.

    The server answers 200 to the right secret, 401 to a wrong one and 403 when it has none
    itself (drone v2.24.0, handler/api). Without a running runner the host itself asks.
    Raises ConnectionLostError when the host goes away.
    """
    host, port = place_of(login.url)
    pid = str(runner.pid or "") if runner else ""
    stream = transport.stream(["sh", "-c", CONNECT, "sh", host, str(port), pid])
    near, far = socket.socketpair()
    relay = threading.Thread(target=_relay, args=(stream, far), daemon=True)
    near.settimeout(TIMEOUT_SECONDS)
    relay.start()
    try:
        return _ping(near, host, login)
    except ssl.SSLCertVerificationError as error:
        return ServerFacts(None, distrust=_distrust(error))
    except TimeoutError:
        return ServerFacts(None, f"no answer within {TIMEOUT_SECONDS:.0f} s")
    except (OSError, HTTPException) as error:
        return ServerFacts(None, _reason(error))
    finally:
        near.close()
        with suppress(OSError):
            stream.close()


def _ping(near: socket.socket, host: str, login: ServerLogin) -> ServerFacts:
    url = urlsplit(login.url)
    connection = HTTPConnection(host)
    ends = None
    connection.sock = near
    if url.scheme == "https":
        connection.sock = secured = _tls(near, host, verify=login.tls_verify)
        # Empty where nothing was verified.
        if until := (secured.getpeercert() or {}).get("notAfter"):
            ends = float(ssl.cert_time_to_seconds(str(until)))
    try:
        headers: dict[str, str | bytes] = {
            # As bytes, which may be any text: http.client would take str for Latin-1.
            "X-Drone-Token": login.secret.reveal().encode(),
            "Content-Length": "0",
            "Connection": "close",
        }
        began = time.time()
        connection.request("POST", url.path.rstrip("/") + PING_PATH, headers=headers)
        answer = connection.getresponse()
        asked = Span(began, time.time())
        clock = _unix_time(answer.headers.get("Date"))
        return ServerFacts(answer.status, certificate_ends=ends, clock=clock, asked=asked)
    finally:
        connection.close()


def _unix_time(date: str | None) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp() if date else None
    except ValueError:
        return None


def _distrust(error: ssl.SSLCertVerificationError) -> str:
    """OpenSSL's reason in its own words, e.g. `certificate has expired`."""
    return str(error.verify_message or error.reason or error)


def _tls(near: socket.socket, host: str, *, verify: bool) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(near, server_hostname=host)


def _relay(stream: ByteStream, far: socket.socket) -> None:
    def back() -> None:
        with suppress(OSError):
            while data := stream.recv(65536):
                far.sendall(data)
        with suppress(OSError):
            far.shutdown(socket.SHUT_WR)

    reader = threading.Thread(target=back, daemon=True)
    reader.start()
    with suppress(OSError):
        while data := far.recv(65536):
            stream.sendall(data)
    reader.join(TIMEOUT_SECONDS)
    far.close()


def _reason(error: Exception) -> str:
    # With TLS, a connection that never came about is an early end of the handshake.
    if isinstance(error, ssl.SSLEOFError | ConnectionError | HTTPException):
        return "no connection: refused, filtered, or the name does not resolve there"
    if isinstance(error, ssl.SSLError):
        return f"no TLS there ({error.reason}); does it speak plain http?"
    return str(error) or type(error).__name__
