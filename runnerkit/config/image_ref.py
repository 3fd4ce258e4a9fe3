"""The grammar of image references: `[registry[:port]/]path[:tag][@sha256:…]`."""

from __future__ import annotations

import re

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_REGISTRY = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:]+\])(?::[0-9]{{1,5}})?"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"(?:{_REGISTRY}/)?{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")

# Engines refuse longer repository names.
MAX_NAME = 255


def check_image_ref(text: str) -> str:
    """Return `text` when it is an image reference; raises ValueError that says what is wrong."""
    rest, at, digest = text.partition("@")
    name, colon, tag = rest, "", ""
    if ":" in rest.rpartition("/")[2]:
        name, colon, tag = rest.rpartition(":")
    if at and not _DIGEST.fullmatch(digest):
        raise ValueError("has a digest that is not sha256: and 64 hexadecimal digits")
    if colon and not _TAG.fullmatch(tag):
        raise ValueError(
            "has a bad tag; a tag is letters, digits, dots, dashes and underscores, at most 128"
        )
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME:
        if _NAME.fullmatch(name.lower()):
            raise ValueError("has upper-case letters in its name; image names are lower case")
        raise ValueError("should be an image reference such as registry.lan:5000/team/app:1.2")
    return text


def familiar(ref: str) -> str:
    """`ref` as an engine lists it: short on Docker Hub, always with a tag or a digest.

    A reference with both is kept by its digest alone (moby distribution/reference, familiarizeName
    and `docker pull`). Expects what `check_image_ref` lets through.
    """
    name, at, digest = ref.partition("@")
    tag = ""
    if ":" in name.rpartition("/")[2]:
        name, _, tag = name.rpartition(":")
    for hub in ("index.docker.io/", "docker.io/"):
        name = name.removeprefix(hub)
    if name.count("/") == 1:
        name = name.removeprefix("library/")
    return f"{name}@{digest}" if at else f"{name}:{tag or 'latest'}"


def brief(ref: str) -> str:
    """`ref` for people: of a digest the first 12 digits."""
    name, at, digest = ref.partition("@")
    kind, _, digits = digest.partition(":")
    return f"{name}@{kind}:{digits[:12]}" if at else name
