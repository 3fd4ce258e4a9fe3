"""A signed apt repository laid out as Docker's own: Debian's packages under Docker's names."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PACKAGES = {
    "docker-ce": "docker.io",
    "docker-ce-cli": "docker-cli",
    "containerd.io": "containerd",
    "docker-compose-plugin": "docker-compose",
}


def make_repository(place: Path, suite: str, archives: Path) -> None:
    """Fill `place` as Docker's repository of one distribution is: gpg, dists/, pool/.

    `archives` has Debian's packages. Their content stays; they get Docker's names.
    """
    pool = place / "pool"
    pool.mkdir(parents=True)
    index = "\n".join(_renamed(place, pool, archives, *names) for names in PACKAGES.items())
    binary = place / "dists" / suite / "stable" / "binary-amd64"
    binary.mkdir(parents=True)
    (binary / "Packages").write_text(index)
    digest, size = hashlib.sha256(index.encode()).hexdigest(), len(index.encode())
    release = place / "dists" / suite / "Release"
    release.write_text(
        f"Date: {formatdate(usegmt=True)}\nSuite: {suite}\nCodename: {suite}\n"
        "Components: stable\nArchitectures: amd64\n"
        f"SHA256:\n {digest} {size} stable/binary-amd64/Packages\n"
    )
    _sign(place, release)


def _renamed(place: Path, pool: Path, archives: Path, name: str, original: str) -> str:
    """Repack one package; returns its stanza of the index."""
    [source] = archives.glob(f"{original}_*.deb")
    tree = place.parent / "build" / name
    tree.mkdir(parents=True)
    subprocess.run(["dpkg-deb", "--raw-extract", str(source), str(tree)], check=True)
    control = tree / "DEBIAN" / "control"
    lines = [_translated(name, line) for line in control.read_text().splitlines()]
    text = "".join(f"{line}\n" for line in lines if not line.startswith(("Conflicts:", "Breaks:")))
    control.write_text(text)
    deb = pool / f"{name}.deb"
    build = ["dpkg-deb", "-Zgzip", "-z1", "--root-owner-group", "--build", str(tree), str(deb)]
    subprocess.run(build, check=True, capture_output=True)
    shutil.rmtree(tree)
    digest = hashlib.sha256(deb.read_bytes()).hexdigest()
    return f"{text}Filename: pool/{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n"


def _translated(name: str, line: str) -> str:
    if line.startswith("Package:"):
        return f"Package: {name}"
    if line.startswith("Depends:"):
        return re.sub(r"\bcontainerd\b(?: \([^)]*\))?", "containerd.io", line)
    return line


def _sign(place: Path, release: Path) -> None:
    home = place.parent / "gnupg"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--passphrase", ""]
    user = "lab <lab@localhost>"
    subprocess.run([*gpg, "--quick-generate-key", user, "ed25519", "sign"], check=True)
    export = [*gpg, "--armor", "--export", user]
    (place / "gpg").write_bytes(subprocess.run(export, check=True, capture_output=True).stdout)
    signed = str(release.with_name("InRelease"))
    subprocess.run([*gpg, "--clearsign", "--output", signed, str(release)], check=True)
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=True)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(folder: Path, address: str) -> Iterator[str]:
    """Serve `folder` over HTTP on `address` for as long as the block runs; gives the URL."""
    server = ThreadingHTTPServer((address, 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{address}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
