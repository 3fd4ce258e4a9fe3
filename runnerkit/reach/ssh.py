"""SSH through fabric and paramiko; nothing else in runnerkit imports them.

Every hop is checked: fabric's AutoAddPolicy is replaced before anything is opened, on the host's
connection and on those of its jump hosts.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fabric
import paramiko
from paramiko.common import (
    MSG_CHANNEL_CLOSE,
    MSG_CHANNEL_FAILURE,
    MSG_CHANNEL_WINDOW_ADJUST,
)

from runnerkit.errors import ConfigError, RunnerkitError
from runnerkit.reach import ssh_failures
from runnerkit.reach.host_keys import HostKeyCheck, host_entry
from runnerkit.reach.ssh_channels import (
    Channel,
    SessionRefusedError,
    SocketChannel,
    SshTransport,
)
from runnerkit.reach.ssh_config import read_config
from runnerkit.reach.transport import AskHostKey, AskPassword, Login
from runnerkit.target import SshTarget, parse_target

HANDSHAKE_SECONDS = 30.0
SESSION_SECONDS = 30.0
# sshd allows 10 sessions a connection by default; what is looked at first needs about as many.
AHEAD = 7
DEFAULT_IDENTITIES = ("id_ed25519", "id_ecdsa", "id_rsa")
SYSTEM_KNOWN_HOSTS = Path("/etc/ssh/ssh_known_hosts")


def open_ssh(
    login: Login,
    target: SshTarget,
    ask_host_key: AskHostKey | None,
    ask_password: AskPassword | None,
) -> SshTransport:
    """Open the connection, jump hosts first. Raises UnreachableError, ConfigError."""
    logger = logging.getLogger("paramiko")  # what it has to say is said by our own errors
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    if login.identity is not None:
        ssh_failures.check_identity(login.name, login.identity)
    hops = _plan(login, target, ask_host_key)
    opened: list[_Hop] = []
    try:
        for hop in hops:
            opened.append(hop)
            hop.open(login.connect_timeout)
    except BaseException:
        for hop in reversed(opened):
            hop.close()
        raise
    return SshTransport(
        login, _Wire(hops), ask_password, is_root=hops[-1].connection.user == "root"
    )


def _plan(login: Login, target: SshTarget, ask: AskHostKey | None) -> list[_Hop]:
    """Return the connections to make, the host's own last."""
    try:
        settings = paramiko.SSHConfig.from_text(read_config())
        config = fabric.Config(lazy=True, ssh_config=settings)
        return _hops(login, target, ask, config, ())
    except (paramiko.SSHException, ValueError) as error:  # an unreadable line, a wrong port
        raise ConfigError(f"the SSH client configuration is wrong: {error}") from None


def _hops(
    login: Login,
    target: SshTarget,
    ask: AskHostKey | None,
    config: fabric.Config,
    seen: tuple[SshTarget, ...],
) -> list[_Hop]:
    if target in seen:
        raise ConfigError(f"{login.name}: the SSH configuration makes {target} its own ProxyJump")
    options = config.base_ssh_config.lookup(target.host)
    jumps: list[_Hop] = []
    gateway: object = False
    jump = options.get("proxyjump", "none")
    if jump.lower() != "none":
        for number, text in enumerate(jump.split(",")):
            try:
                hop = parse_target(text.strip())
            except ValueError as error:
                raise ConfigError(f"{login.name}: ProxyJump {text.strip()}: {error}") from None
            if not isinstance(hop, SshTarget):
                hop = SshTarget(None, "local")
            before = _hops(login, hop, ask, config, (*seen, target))
            if number:  # as with OpenSSH, only the first hop may have jumps of its own
                before = before[-1:]
                before[0].connection.gateway = jumps[-1].connection
            jumps += before
        gateway = jumps[-1].connection
    elif options.get("proxycommand"):
        gateway = options["proxycommand"]
    connection = fabric.Connection(
        target.host,
        user=target.user,
        port=target.port,
        config=config,
        gateway=gateway,
        forward_agent=False,
        connect_timeout=HANDSHAKE_SECONDS,  # of the handshake; the TCP part is ours
    )
    return [*jumps, _Hop(login, connection, ask, is_host=not seen)]


class _Hop:
    """One SSH connection of the chain."""

    def __init__(
        self,
        login: Login,
        connection: fabric.Connection,
        ask: AskHostKey | None,
        *,
        is_host: bool,
    ) -> None:
        self.connection = connection
        options = connection.ssh_config
        host, port = connection.host, int(connection.port)
        place = f"{host}:{port}" if ":" not in host else f"[{host}]:{port}"
        self.where = f"{login.name} ({place})" if is_host else f"{login.name}: jump host {place}"
        alias = options.get("hostkeyalias")
        self.keys = HostKeyCheck(
            where=self.where,
            entry=alias.lower() if alias else host_entry(host, port),
            files=_known_hosts(login, options),
            ask=ask,
            accept_new=login.accept_new_host_key,
        )
        connection.client.set_missing_host_key_policy(_Policy(self.keys))
        self._login = _KeyLogin(
            user=connection.user,
            where=self.where,
            files=_identities(login.identity, options.get("identityfile", ())),
            required=login.identity,
            identities_only=options.get("identitiesonly", "no").lower() == "yes",
            use_agent=options.get("identityagent", "").lower() != "none",
        )

    def open(self, timeout: float) -> None:
        """Connect, check the key and log in; raises UnreachableError."""
        connection = self.connection
        heard: ssh_failures.HeardSocket | None = None
        try:
            connection.connect_kwargs = {
                "auth_strategy": self._login,
                "transport_factory": self._transport,
                "banner_timeout": timeout,
                "auth_timeout": HANDSHAKE_SECONDS,
                "channel_timeout": SESSION_SECONDS,
            }
            if isinstance(connection.gateway, fabric.Connection):
                connection.gateway.transport.channel_timeout = timeout
            elif not connection.gateway:
                sock = ssh_failures.connect_tcp(
                    self.where, connection.host, int(connection.port), timeout
                )
                connection.connect_kwargs["sock"] = heard = ssh_failures.HeardSocket(sock)
            connection.open()
        except RunnerkitError:
            raise
        except Exception as error:  # noqa: BLE001 - paramiko raises nearly anything here
            raise ssh_failures.explain(self.where, error, heard, timeout) from None
        if isinstance(connection.gateway, fabric.Connection):
            connection.gateway.transport.channel_timeout = SESSION_SECONDS

    def _transport(self, sock: Any, **options: Any) -> paramiko.Transport:
        """Make a transport that prefers the key types already known for the host."""
        transport = _Transport(sock, **options)
        security = transport.get_security_options()
        known = set(self.keys.kinds())
        if "ssh-rsa" in known:
            known |= {"rsa-sha2-512", "rsa-sha2-256"}
        security.key_types = sorted(security.key_types, key=lambda kind: kind not in known)
        return transport

    def close(self) -> None:
        """Close the connection, also a half-open one."""
        transport = self.connection.client.get_transport()
        with suppress(Exception):
            self.connection.client.close()
        # paramiko ends a ProxyCommand, but neither waits for it nor closes its pipes.
        process = getattr(getattr(transport, "sock", None), "process", None)
        if transport is not None and process is not None:
            transport.join(HANDSHAKE_SECONDS)  # its last act is to signal the process
            with suppress(Exception):
                process.communicate(timeout=HANDSHAKE_SECONDS)
        sock = self.connection.connect_kwargs.get("sock")
        if sock is not None:
            with suppress(OSError):
                sock.close()


class _Transport(paramiko.Transport):
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


def _known_hosts(login: Login, options: Any) -> tuple[Path, ...]:
    if login.known_hosts is not None:
        return (login.known_hosts.expanduser(),)
    user = options.get("userknownhostsfile")
    system = options.get("globalknownhostsfile")
    return (
        *(_paths(user) if user else _default_known_hosts()),
        *(_paths(system) if system else (SYSTEM_KNOWN_HOSTS,)),
    )


def _paths(setting: str) -> tuple[Path, ...]:
    if setting.lower() == "none":
        return (Path(os.devnull),)
    return tuple(Path(name).expanduser() for name in setting.split())


def _default_known_hosts() -> tuple[Path, ...]:
    directory = Path.home() / ".ssh"
    return directory / "known_hosts", directory / "known_hosts2"


class _Policy(paramiko.MissingHostKeyPolicy):
    """Judges every key. paramiko's own lists stay empty, so that none is judged elsewhere."""

    def __init__(self, keys: HostKeyCheck) -> None:
        self._keys = keys

    def missing_host_key(
        self,
        client: paramiko.SSHClient,  # noqa: ARG002 - paramiko's signature
        hostname: str,  # noqa: ARG002
        key: paramiko.PKey,
    ) -> None:
        self._keys.judge(key.get_name(), key.asbytes())


def _identities(identity: Path | None, configured: Sequence[str]) -> tuple[Path, ...]:
    """Return the key files to try, in order: as with OpenSSH, a configured one replaces ours."""
    chosen = [identity.expanduser()] if identity else []
    chosen += [Path(name).expanduser() for name in configured]
    if not chosen:
        chosen = [Path.home() / ".ssh" / name for name in DEFAULT_IDENTITIES]
    return tuple(dict.fromkeys(path for path in chosen if path.exists()))


@dataclass(frozen=True)
class _KeyLogin:
    """Logs in with keys: those of files, then those of the agent. Shaped like an AuthStrategy."""

    user: str
    where: str
    files: tuple[Path, ...]
    required: Path | None
    identities_only: bool
    use_agent: bool

    def authenticate(self, transport: paramiko.Transport) -> None:
        """Log in, or raise UnreachableError with everything that was tried."""
        tried: list[str] = []
        for label, key in self._keys(tried):
            try:
                missing = transport.auth_publickey(self.user, key)
            except paramiko.BadAuthenticationType as error:
                raise ssh_failures.no_login(
                    self.where, self.user, tried, offered=error.allowed_types
                ) from None
            except paramiko.AuthenticationException:
                tried.append(f"{label} refused")
                if not transport.is_active():
                    raise ssh_failures.too_many_keys(self.where, self.user, tried) from None
            else:
                if not missing:
                    return
                raise ssh_failures.no_login(
                    self.where, self.user, [*tried, f"{label} accepted"], offered=missing
                )
        raise ssh_failures.no_login(self.where, self.user, tried)

    def _keys(self, tried: list[str]) -> Iterator[tuple[str, paramiko.PKey]]:
        try:
            agent = paramiko.Agent() if self.use_agent else None
        except (paramiko.SSHException, OSError):
            agent = None
            tried.append("the agent does not answer")
        try:
            held = {key.asbytes(): key for key in (agent.get_keys() if agent else ())}
            for path in self.files:
                public = ssh_failures.public_half(path)
                if public is not None and public in held:
                    yield f"{path} (from the agent)", held.pop(public)
                    continue
                try:
                    yield str(path), paramiko.PKey.from_path(path)
                except Exception as error:  # noqa: BLE001 - see ssh_failures.unusable_key
                    reason = ssh_failures.unusable_key(error)
                    tried.append(f"{path} {reason}")
            if not self.identities_only:
                for key in held.values():
                    yield f"agent key {ssh_failures.describe(key.asbytes())}", key
        finally:
            if agent is not None:
                agent.close()


class _Wire:
    """The opened chain of connections, as SshTransport needs it.

    Opening a session costs a round trip before its program can be started. The first ones are
    opened all at once, as soon as the connection stands.
    """

    def __init__(self, hops: list[_Hop]) -> None:
        self._hops = hops
        self._transport: _Transport = hops[-1].connection.transport
        self._opener = ThreadPoolExecutor(AHEAD)
        self._ahead: deque[Future[paramiko.Channel]] = deque(
            self._opener.submit(self._transport.open_session) for _ in range(AHEAD)
        )

    def _session(self) -> paramiko.Channel:
        """A session that was opened ahead, or else a new one."""
        with suppress(IndexError):
            while True:
                ahead = self._ahead.popleft()
                # One that was refused says nothing of how many there may be now.
                with suppress(paramiko.SSHException, EOFError):
                    return ahead.result()
        return self._transport.open_session()

    def open_channel(self, command: bytes) -> Channel:
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
        return self._transport.is_active() and not self._transport.has_ended()

    def reason(self) -> str:
        return "" if self.is_alive() else self._transport.why_ended()

    def knock(self) -> None:
        with suppress(Exception):  # a dying transport may raise anything; it is dying
            self._transport.global_request("keepalive@openssh.com", wait=True)

    def close(self) -> None:
        for hop in reversed(self._hops):
            hop.close()
        self._opener.shutdown(wait=False)
