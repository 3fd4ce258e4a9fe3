"""SSH through fabric: the way to a host over its jump hosts.

Every hop is checked: fabric's AutoAddPolicy is replaced before anything is opened, on the host's
connection and on those of its jump hosts.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import fabric
import paramiko

from runnerkit.errors import ConfigError, RunnerkitError
from runnerkit.reach import ssh_failures
from runnerkit.reach.host_keys import HostKeyCheck, host_entry
from runnerkit.reach.ssh_channels import SshTransport
from runnerkit.reach.ssh_config import read_config
from runnerkit.reach.ssh_login import KeyLogin, identities
from runnerkit.reach.ssh_wire import Connection, SshWire
from runnerkit.reach.transport import AskHostKey, AskPassword, Login
from runnerkit.target import SshTarget, parse_target

HANDSHAKE_SECONDS = 30.0
SESSION_SECONDS = 30.0
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
        _close(opened)
        raise
    last = hops[-1].connection
    wire = SshWire(last.transport, lambda: _close(hops))
    return SshTransport(login, wire, ask_password, is_root=last.user == "root")


def _close(hops: Sequence[_Hop]) -> None:
    for hop in reversed(hops):
        hop.close()


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
        self._login = KeyLogin(
            user=connection.user,
            where=self.where,
            files=identities(login.identity, options.get("identityfile", ())),
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

    def _transport(self, sock: Any, **options: Any) -> Connection:
        """Make a transport that prefers the key types already known for the host."""
        transport = Connection(sock, **options)
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
