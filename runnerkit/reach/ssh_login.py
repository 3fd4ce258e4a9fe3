"""Logging in with keys, as an SSH client does that asks nobody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import paramiko

from runnerkit.reach import ssh_failures

DEFAULT_IDENTITIES = ("id_ed25519", "id_ecdsa", "id_rsa")


def identities(identity: Path | None, configured: Sequence[str]) -> tuple[Path, ...]:
    """Return the key files to try, in order: as with OpenSSH, a configured one replaces ours."""
    chosen = [identity.expanduser()] if identity else []
    chosen += [Path(name).expanduser() for name in configured]
    if not chosen:
        chosen = [Path.home() / ".ssh" / name for name in DEFAULT_IDENTITIES]
    return tuple(dict.fromkeys(path for path in chosen if path.exists()))


@dataclass(frozen=True)
class KeyLogin:
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
