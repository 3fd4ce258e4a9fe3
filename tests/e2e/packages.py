"""A package for each package manager, served on the lab's bridge; it counts who downloads it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WHEEL = "words-1.0-py3-none-any.whl"
TARBALL = "words-1.0.0.tgz"
CRATE = "words-1.0.0.crate"


def _tar_gz(files: Mapping[str, str]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return target.getvalue()


def _wheel() -> bytes:
    info = "words-1.0.dist-info"
    files = {
        "words.py": 'EVERYBODY = "world"\n',
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: words\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD"))
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(name, text)
    return target.getvalue()


@dataclass
class Packages:
    """What is served, under which address, and every path that was asked for."""

    host: str
    port: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        npm = _tar_gz(
            {
                "package/package.json": '{"name": "words", "version": "1.0.0"}',
                "package/index.js": 'exports.everybody = "world";\n',
            }
        )
        manifest = '[package]\nname = "words"\nversion = "1.0.0"\nedition = "2021"\n'
        crate = _tar_gz(
            {
                "words-1.0.0/Cargo.toml": manifest,
                "words-1.0.0/src/lib.rs": 'pub const EVERYBODY: &str = "world";\n',
            }
        )
        wheel = _wheel()
        self.values = {
            "integrity": "sha512-" + base64.b64encode(hashlib.sha512(npm).digest()).decode(),
            "checksum": hashlib.sha256(crate).hexdigest(),
            "wheel": hashlib.sha256(wheel).hexdigest(),
        }
        entry = {"name": "words", "vers": "1.0.0", "deps": [], "features": {}, "yanked": False}
        index = json.dumps(entry | {"cksum": self.values["checksum"]})
        self.files = {
            "/simple/words/": (
                f'<a href="/pip/{WHEEL}#sha256={self.values["wheel"]}">{WHEEL}</a>'
            ).encode(),
            f"/pip/{WHEEL}": wheel,
            # Where npm registries have their archives; some clients build the address themselves.
            f"/npm/words/-/{TARBALL}": npm,
            "/crates/wo/rd/words": index.encode(),
            "/crates/words/1.0.0/download": crate,
        }

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{self.host}:{self.port}"

    def npm_document(self) -> dict[str, object]:
        """What an npm registry tells about the package."""
        tarball = f"http://{self.address}/npm/words/-/{TARBALL}"
        dist = {"tarball": tarball, "integrity": self.values["integrity"]}
        version = {"name": "words", "version": "1.0.0", "dist": dist}
        return {"name": "words", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}

    def downloads(self, *names: str) -> int:
        """How often a file of one of these names was asked for."""
        return sum(path.endswith(names) for path in self.asked)


@contextmanager
def serving(host: str) -> Iterator[Packages]:
    """Serve the packages on an address of this machine while the context lasts."""
    packages = Packages(host)

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:  # uv asks so whether it may fetch parts of a wheel
            self.answer()

        def do_GET(self) -> None:
            packages.asked.append(self.path)
            self.wfile.write(self.answer())

        def answer(self) -> bytes:
            """Send the head; returns the body."""
            content = packages.files.get(self.path)
            if self.path == "/crates/config.json":
                content = json.dumps({"dl": f"http://{packages.address}/crates"}).encode()
            elif self.path == "/npm/words":
                content = json.dumps(packages.npm_document()).encode()
            self.send_response(404 if content is None else 200)
            is_file = self.path.endswith((WHEEL, TARBALL))
            kind = "application/octet-stream" if is_file else "text/html"
            self.send_header("Content-Type", kind)
            # As public indexes do: files never change, lists may.
            self.send_header("Cache-Control", "max-age=31536000" if is_file else "no-cache")
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            return content or b""

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            del format, args

    server = ThreadingHTTPServer((host, 0), Handler)
    packages.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield packages
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
