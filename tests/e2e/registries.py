"""A registry on the day of a release."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from urllib.request import Request, urlopen

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


@contextmanager
def released(registry: str, repository: str, tag: str) -> Iterator[None]:
    """Let the tag mean another image, of the same layers, for as long as the block runs."""
    place = f"{registry}/v2/{repository}"
    before = _call("GET", f"{place}/manifests/{tag}")
    manifest = json.loads(before)
    config = json.loads(_call("GET", f"{place}/blobs/{manifest['config']['digest']}"))
    blob = json.dumps(config | {"created": datetime.now(UTC).isoformat()}).encode()
    digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
    with urlopen(Request(f"{place}/blobs/uploads/", method="POST")) as answer:
        upload = answer.headers["Location"]
    _call("PUT", f"{upload}&digest={digest}", blob)
    manifest["config"] |= {"digest": digest, "size": len(blob)}
    _call("PUT", f"{place}/manifests/{tag}", json.dumps(manifest).encode())
    try:
        yield
    finally:
        _call("PUT", f"{place}/manifests/{tag}", before)


def _call(method: str, url: str, content: bytes | None = None) -> bytes:
    headers = {"Accept": MANIFEST, "Content-Type": MANIFEST}
    if "/blobs/" in url:
        headers["Content-Type"] = "application/octet-stream"
    with urlopen(Request(url, content, headers, method=method)) as answer:
        return bytes(answer.read())
