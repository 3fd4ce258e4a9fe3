"""The storage of Debian's docker-registry, written directly in the form that it keeps on disk.

Blobs of the lab's own images are symbolic links into the cache, so a lab's registry costs nothing.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.lab.cache import write_atomically
from tests.lab.images import LAYER_TYPE, Image, digest_of, manifest
from tests.lab.layers import Layer
from tests.lab.shell import LabError

INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)


class Registry:
    """One registry's storage directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._v2 = root / "docker/registry/v2"

    def configuration(self, listen: str) -> str:
        """The registry's own configuration file, as JSON, which is YAML."""
        content = {
            "version": 0.1,
            "log": {"level": "warn", "accesslog": {"disabled": False}},
            "storage": {
                "filesystem": {"rootdirectory": str(self.root)},
                "delete": {"enabled": True},
                "maintenance": {"uploadpurging": {"enabled": False}},
            },
            "http": {"addr": listen},
        }
        return json.dumps(content, indent=1)

    def publish(self, image: Image, layers: list[Layer]) -> None:
        """Make an image available under its names; one of the same name is replaced."""
        config = image.config(layers)
        rows = [(LAYER_TYPE, layer.digest, layer.size) for layer in layers]
        blobs: dict[str, Path | bytes] = {layer.digest: layer.path for layer in layers}
        blobs[digest_of(config)] = config
        for name in image.names:
            self._put(name, manifest(config, rows), blobs)

    def load(self, name: str, tarball: Path) -> str:
        """Publish what `docker save` or an OCI layout holds as `name`; returns its digest."""
        with tempfile.TemporaryDirectory(dir=self.root) as folder, tarfile.open(tarball) as archive:
            archive.extractall(folder, filter="data")
            root = Path(folder)
            if (root / "manifest.json").exists():
                content, blobs = _from_docker_save(root)
            elif (root / "index.json").exists():
                content, blobs = _from_oci_layout(root)
            else:
                raise LabError(f"{tarball}: neither manifest.json nor index.json in it")
            self._put(name, content, blobs)
        return digest_of(content)

    def _put(self, name: str, content: bytes, blobs: dict[str, Path | bytes]) -> None:
        path, _, tag = name.rpartition(":")
        if not path or "/" in tag:
            raise LabError(f"{name}: an image's name must end in a tag")
        repository = self._v2 / "repositories" / (path if "/" in path else f"library/{path}")
        digest = digest_of(content)
        for blob, data in {**blobs, digest: content}.items():
            self._put_blob(blob, data)
        for blob in blobs:
            _link(repository / "_layers/sha256" / blob.removeprefix("sha256:"), blob)
        manifests, hexadecimal = repository / "_manifests", digest.removeprefix("sha256:")
        _link(manifests / "revisions/sha256" / hexadecimal, digest)
        _link(manifests / "tags" / tag / "index/sha256" / hexadecimal, digest)
        _link(manifests / "tags" / tag / "current", digest)

    def _put_blob(self, digest: str, data: Path | bytes) -> None:
        hexadecimal = digest.removeprefix("sha256:")
        place = self._v2 / "blobs/sha256" / hexadecimal[:2] / hexadecimal / "data"
        if place.exists():
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        if isinstance(data, bytes):
            write_atomically(place, data)
        elif data.is_relative_to(self.root):
            shutil.move(data, place)
        else:
            place.symlink_to(data)


def _link(folder: Path, digest: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # The registry may be reading it.
    write_atomically(folder / "link", digest)


def _blob_file(root: Path, digest: str) -> Path:
    return root / "blobs/sha256" / digest.removeprefix("sha256:")


def _from_docker_save(root: Path) -> tuple[bytes, dict[str, Path | bytes]]:
    [first, *_] = json.loads((root / "manifest.json").read_text())
    config = (root / first["Config"]).read_bytes()
    blobs: dict[str, Path | bytes] = {digest_of(config): config}
    rows = []
    for name in first["Layers"]:
        path = (root / name).resolve()
        with path.open("rb") as file:
            compressed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        kind = LAYER_TYPE + (".gzip" if compressed else "")
        rows.append((kind, digest, path.stat().st_size))
        blobs[digest] = path
    return manifest(config, rows), blobs


def _from_oci_layout(root: Path) -> tuple[bytes, dict[str, Path | bytes]]:
    index = json.loads((root / "index.json").read_text())
    content = b""
    while not content:
        chosen = _for_this_lab(index["manifests"])
        data = _blob_file(root, chosen["digest"]).read_bytes()
        if chosen["mediaType"] in INDEX_TYPES:
            index = json.loads(data)
        else:
            content = data
    described = json.loads(content)
    parts = [described["config"], *described["layers"]]
    return content, {part["digest"]: _blob_file(root, part["digest"]) for part in parts}


def _for_this_lab(manifests: Iterable[dict[str, Any]]) -> dict[str, Any]:
    for item in manifests:
        platform = item.get("platform", {"os": "linux", "architecture": "amd64"})
        if (platform["os"], platform["architecture"]) == ("linux", "amd64"):
            return item
    raise LabError("the tarball has no image for linux/amd64")
