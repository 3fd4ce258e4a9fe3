"""Asking the Drone server, from where the runner stands, whether it would take this runner.

The bytes leave from the runner's own network namespace, carried there over the SSH connection;
TLS ends here. The secret therefore is in no argument, no environment and no file of the host.
"""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

from runnerkit.facts.host import ServerFacts
from runnerkit.reach.transport import ByteStream, Transport
from runnerkit.secret import Secret

TIMEOUT_SECONDS = 10.0
PING_PATH = "/rpc/v2/ping"

# Arguments: host, port, container id or nothing. bash, because POSIX sh has no sockets.
# The end of the input ends it all: a session that lingered would count against MaxSessions.
CONNECT = """
pid=
if [ -n "$3" ]; then pid=$(docker inspect --format '{{.State.Pid}}' "$3" 2>/dev/null); fi
relay='exec 3<>"/dev/tcp/$1/$2" || exit 1; cat <&3 & cat >&3; kill $!'
if [ "${pid:-0}" != 0 ]; then
    exec nsenter --net="/proc/$pid/ns/net" bash -c "$relay" bash "$1" "$2" 2>/dev/null
fi
exec bash -c "$relay" bash "$1" "$2" 2>/dev/null
"""


@dataclass(frozen=True)
class ServerLogin:
    """How a runner introduces itself to the server."""

    url: str
    secret: Secret
    tls_verify: bool = True


def ask_server(transport: Transport, container: str | None, login: ServerLogin) -> ServerFacts:
    """The status of a ping with the secret, or why there is none.

    The server answers 200 to the right secret, 401 to a wrong one and 403 when it has none
    itself (drone v2.24.0, handler/api). Raises ConnectionLostError when the host goes away.
    """
    url = urlsplit(login.url)
    port = url.port or (443 if url.scheme == "https" else 80)
    host = url.hostname or ""
    stream = transport.stream(["sh", "-c", CONNECT, "sh", host, str(port), container or ""])
    near, far = socket.socketpair()
    relay = threading.Thread(target=_relay, args=(stream, far), daemon=True)
    near.settimeout(TIMEOUT_SECONDS)
    relay.start()
    try:
        return ServerFacts(
            _ping(near, host, url.path.rstrip("/"), login, tls=url.scheme == "https")
        )
    except ssl.SSLCertVerificationError as error:
        return ServerFacts(None, f"its certificate is not trusted: {error.verify_message}")
    except TimeoutError:
        return ServerFacts(None, f"no answer within {TIMEOUT_SECONDS:.0f} s")
    except (OSError, HTTPException) as error:
        return ServerFacts(None, _reason(error))
    finally:
        near.close()
        with suppress(OSError):
            stream.close()


def _ping(near: socket.socket, host: str, path: str, login: ServerLogin, *, tls: bool) -> int:
    connection = HTTPConnection(host)
    connection.sock = _tls(near, host, verify=login.tls_verify) if tls else near
    try:
        headers = {
            "X-Drone-Token": login.secret.reveal(),
            "Content-Length": "0",
            "Connection": "close",
        }
        connection.request("POST", path + PING_PATH, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


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
    if isinstance(error, ConnectionError | HTTPException):
        return "no connection: refused, filtered, or the name does not resolve there"
    return str(error) or type(error).__name__
