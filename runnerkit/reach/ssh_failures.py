"""Why an SSH connection does not come about, in words for the person who has to mend it."""

from __future__ import annotations

import base64
import binascii
import errno
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from runnerkit.errors import UnreachableError
from runnerkit.reach.host_keys import fingerprint

LOST_AFTER_MS = 45_000
GREETING_BYTES = 255
_NO_ROUTE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN}
_NO_SERVER = "see whether the host is up and the port is its sshd's"


def connect_tcp(where: str, host: str, port: int, timeout: float) -> socket.socket:
    """Connect to the first address that answers; `timeout` is in seconds per address.

    Raises UnreachableError. A peer that vanishes later is noticed within a minute.
    """
    try:
        sock = socket.create_connection((host, port), timeout)
    except socket.gaierror as error:
        raise UnreachableError(
            f"{where}: the name {host} does not resolve: {error.strerror}",
            hint="check the host's name and this machine's DNS",
        ) from None
    except (OSError, UnicodeError) as error:
        raise _no_connection(where, error, timeout) from None
    with suppress(OSError, AttributeError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, LOST_AFTER_MS)
    return sock


def _no_connection(where: str, error: Exception, timeout: float) -> UnreachableError:
    number = getattr(error, "errno", None)
    if isinstance(error, TimeoutError) or number == errno.ETIMEDOUT:
        return UnreachableError(
            f"{where}: no answer within {timeout:g} s",
            hint="see whether the host is up and no firewall drops the port",
        )
    if number == errno.ECONNREFUSED:
        return UnreachableError(f"{where}: connection refused", hint=_NO_SERVER)
    if number in _NO_ROUTE:
        return UnreachableError(
            f"{where}: no route to the host", hint="check this machine's network, VPN and routes"
        )
    return UnreachableError(f"{where}: no connection: {error}", hint=_NO_SERVER)


class HeardSocket(socket.socket):
    """A connected socket that remembers how the server began, to explain a failure.

    Waiting for the greeting before anything is said would cost a round trip.
    """

    def __init__(self, sock: socket.socket) -> None:
        timeout = sock.gettimeout()
        super().__init__(sock.family, sock.type, sock.proto, fileno=sock.detach())
        self.settimeout(timeout)
        self.said = b""
        self.ended = False

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """See socket.recv."""
        try:
            data = super().recv(size, flags)
        except TimeoutError:
            raise
        except OSError:
            self.ended = True
            raise
        self.ended = self.ended or not data
        if len(self.said) < GREETING_BYTES:
            self.said += data[:GREETING_BYTES]
        return data


def explain(
    where: str, error: Exception, heard: HeardSocket | None, timeout: float
) -> UnreachableError:
    """Explain what went wrong between TCP and login, of which `heard` tells the beginning.

    `timeout` is how many seconds the server had for its greeting.
    """
    if heard is not None and b"SSH-" not in heard.said:
        return _no_greeting(where, heard, timeout)
    text = str(error) or type(error).__name__
    kind = type(error).__name__
    by_kind = {
        "ChannelException": (
            f"its jump host cannot reach it: {text}",
            "see whether the jump host knows the name and reaches the port",
        ),
        "ProxyCommandFailure": (f"the ProxyCommand failed: {text}", "run that command by hand"),
        "IncompatiblePeer": (f"no common encryption: {text}", "upgrade the host's sshd"),
    }
    by_text = {
        "banner": ("no SSH server greets there", _NO_SERVER),
        "protocol version": ("no SSH server greets there", _NO_SERVER),
        "Timeout opening channel": ("its jump host cannot reach it in time", _NO_SERVER),
    }
    found = by_kind.get(kind) or next((by_text[sign] for sign in by_text if sign in text), None)
    if found:
        return UnreachableError(f"{where}: {found[0]}", hint=found[1])
    if isinstance(error, OSError) and not isinstance(error, TimeoutError):
        return _no_connection(where, error, 0)
    return UnreachableError(f"{where}: the SSH handshake failed: {text}", hint=_NO_SERVER)


def _no_greeting(where: str, heard: HeardSocket, timeout: float) -> UnreachableError:
    if heard.said:
        line = heard.said.split(b"\n", 1)[0].strip()[:60]
        shown = "".join(char if char.isprintable() else "?" for char in line.decode("latin-1"))
        return UnreachableError(f"{where}: this is not an SSH server: {shown!r}", hint=_NO_SERVER)
    if heard.ended:
        return UnreachableError(
            f"{where}: the server closed the connection at once",
            hint="its sshd may be overloaded, or refuse this address",
        )
    return UnreachableError(
        f"{where}: the port is open, but no SSH server greets within {timeout:g} s",
        hint=_NO_SERVER,
    )


def check_identity(name: str, identity: Path) -> None:
    """Refuse a key file that is not there or not readable; raises UnreachableError."""
    path = identity.expanduser()
    try:
        with path.open("rb") as file:
            file.read(1)
    except FileNotFoundError:
        raise UnreachableError(
            f"{name}: the key file {path} does not exist", hint="check `identity` of this host"
        ) from None
    except OSError as error:
        raise UnreachableError(
            f"{name}: the key file {path} cannot be read: {error.strerror}",
            hint="check its owner and mode",
        ) from None


def public_half(path: Path) -> bytes | None:
    """Return the key blob of the .pub file beside a private key, if there is one."""
    with suppress(OSError, IndexError, binascii.Error, ValueError):
        return base64.b64decode(Path(f"{path}.pub").read_text(encoding="utf-8").split()[1])
    return None


def unusable_key(error: Exception) -> str:
    """Say why a private key file cannot be used."""
    text = str(error).lower()
    kind = type(error).__name__
    if kind == "PasswordRequiredException" or "password" in text or "encrypted" in text:
        return "is encrypted and not in the agent"
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror}"
    return "is no usable private key"


def describe(blob: bytes) -> str:
    """Name a public key by its fingerprint."""
    return fingerprint(blob)


def no_login(
    where: str, user: str, tried: list[str], *, offered: Iterable[str] = ()
) -> UnreachableError:
    """Explain that no key was accepted. `tried` says what happened to each."""
    detail = "; ".join(tried) if tried else "there was no key to try"
    wanted = f"; the server wants {' or '.join(sorted(offered))}" if offered else ""
    hint = f"give {user} one of your public keys on the host: ssh-copy-id"
    encrypted = next((entry for entry in tried if "is encrypted" in entry), None)
    if encrypted:
        hint = f"ssh-add {encrypted.split(' is encrypted')[0]}"
    return UnreachableError(f"{where}: login as {user} refused ({detail}{wanted})", hint=hint)


def too_many_keys(where: str, user: str, tried: list[str]) -> UnreachableError:
    """Explain that the server closed the connection while keys were still being tried."""
    return UnreachableError(
        f"{where}: login as {user} refused: the server gave up after {'; '.join(tried)}",
        hint="name the right key (IdentityFile with IdentitiesOnly yes, or `identity`)",
    )
