"""Host keys: reading known_hosts files, judging a server's key, remembering a new one.

Nothing here needs an SSH library. Understood are plain, hashed and wildcard names, `[host]:port`
names and the @revoked marker; @cert-authority lines are ignored, as host certificates are.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from runnerkit.errors import UnreachableError

_ASKING = threading.Lock()


@dataclass(frozen=True)
class KnownKey:
    """One line of a known_hosts file that speaks of the host in question."""

    file: Path
    line: int
    revoked: bool
    kind: str
    blob: bytes


def fingerprint(blob: bytes) -> str:
    """Return `SHA256:…` as ssh-keygen shows it."""
    digest = hashlib.sha256(blob).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def host_entry(host: str, port: int) -> str:
    """Return the name under which a host stands in known_hosts."""
    return host.lower() if port == 22 else f"[{host.lower()}]:{port}"


def find_keys(files: Sequence[Path], entry: str) -> list[KnownKey]:
    """Return every line of `files` about `entry`. A missing file is an empty one.

    Raises UnreachableError for a file that cannot be read: unknown is not absent.
    """
    return [key for file in files for key in _read(file, entry)]


def _read(file: Path, entry: str) -> Iterator[KnownKey]:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    except OSError as error:
        raise UnreachableError(
            f"the known-hosts file {file} cannot be read: {error.strerror}",
            hint="make the file readable for yourself",
        ) from None
    for number, line in enumerate(text.splitlines(), 1):
        if key := _parse(file, number, line.strip(), entry):
            yield key


def _parse(file: Path, number: int, line: str, entry: str) -> KnownKey | None:
    if not line or line.startswith("#"):
        return None
    fields = line.split(None, 4)
    marker = fields.pop(0) if fields[0].startswith("@") else ""
    if len(fields) < 3 or marker not in {"", "@revoked"} or not _names_match(fields[0], entry):
        return None
    try:
        blob = base64.b64decode(fields[2], validate=True)
    except (binascii.Error, ValueError):
        return None
    return KnownKey(file, number, marker == "@revoked", fields[1], blob)


def _names_match(names: str, entry: str) -> bool:
    matched = False
    for name in names.split(","):
        if name.startswith("|1|"):
            matched |= _hash_matches(name, entry)
        elif name.startswith("!"):
            if _pattern_matches(name[1:], entry):
                return False
        else:
            matched |= _pattern_matches(name, entry)
    return matched


def _pattern_matches(pattern: str, entry: str) -> bool:
    # In known_hosts only * and ? are special; brackets are part of `[host]:port`.
    return fnmatchcase(entry, pattern.lower().replace("[", "[[]"))


def _hash_matches(hashed: str, entry: str) -> bool:
    try:
        _, _, salt, digest = hashed.split("|")
        expected = hmac.new(base64.b64decode(salt), entry.encode(), "sha1").digest()
        return hmac.compare_digest(expected, base64.b64decode(digest))
    except (ValueError, binascii.Error):
        return False


@dataclass(frozen=True)
class HostKeyCheck:
    """Decides about the key that a server shows. `where` is how messages name the server."""

    where: str
    entry: str
    files: tuple[Path, ...]
    ask: Callable[[str], bool] | None
    accept_new: bool

    def kinds(self) -> list[str]:
        """Return the key types known for this host, so that the server can be asked for them."""
        return [key.kind for key in find_keys(self.files, self.entry) if not key.revoked]

    def judge(self, kind: str, blob: bytes) -> None:
        """Return for a trusted key; raises UnreachableError for every other one.

        A key of a host without any known key is trusted after a yes, and then remembered.
        """
        if self._is_known(kind, blob):
            return
        with _ASKING:  # one question at a time, and none that was just answered
            if not self._is_known(kind, blob):
                self._ask(kind, blob)
                remember(self.files[0], self.entry, kind, blob)

    def _is_known(self, kind: str, blob: bytes) -> bool:
        keys = find_keys(self.files, self.entry)
        for key in keys:
            if key.revoked and key.blob == blob:
                raise UnreachableError(
                    f"{self.where}: its host key {fingerprint(blob)} is revoked "
                    f"({key.file}, line {key.line})",
                    hint="do not log in; find out why the key was revoked",
                )
        known = [key for key in keys if not key.revoked]
        if any(key.blob == blob for key in known):
            return True
        if not known:
            return False
        old = next((key for key in known if key.kind == kind), known[0])
        raise UnreachableError(
            f"{self.where}: the host key has changed: the server shows {kind} {fingerprint(blob)}, "
            f"known is {old.kind} {fingerprint(old.blob)} ({old.file}, line {old.line})",
            hint="somebody may be in between; only if the host was reinstalled: "
            f"ssh-keygen -f {_quoted(str(old.file))} -R {_quoted(self.entry)}",
        )

    def _ask(self, kind: str, blob: bytes) -> None:
        if self.accept_new:
            return
        sentence = f"{self.where} shows a host key not seen before: {kind} {fingerprint(blob)}"
        if self.ask is None:
            raise UnreachableError(
                sentence,
                hint="compare it with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the "
                "host, then run again in a terminal or with --accept-new-host-key",
            )
        if not self.ask(sentence):
            raise UnreachableError(f"{self.where}: its host key was not accepted")


def remember(file: Path, entry: str, kind: str, blob: bytes) -> None:
    """Append a key to a known_hosts file: a new file is 0600, a new directory 0700.

    Raises UnreachableError when that is not possible.
    """
    line = f"{entry} {kind} {base64.b64encode(blob).decode()}\n".encode()
    try:
        if not file.parent.exists():
            file.parent.mkdir(mode=0o700, parents=True)
        descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line
            os.write(descriptor, line)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UnreachableError(
            f"the host key cannot be remembered in {file}: {error.strerror}",
            hint="make the file writable for yourself",
        ) from None


def _quoted(text: str) -> str:
    return f"'{text}'" if any(char in text for char in "[] ") else text
