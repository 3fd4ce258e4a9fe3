"""Image names as the runner reads them: docker/distribution's reference grammar, normalised."""

from __future__ import annotations


def expand_image(name: str) -> str:
    """The name with its registry and, unless a digest says more, a tag.

    `golang` becomes `docker.io/library/golang:latest`. Nonsense stays for the engine to refuse.
    """
    domain, slash, rest = name.partition("/")
    if not slash or not ({".", ":"} & set(domain) or domain == "localhost"):
        domain, rest = "docker.io", name
    if domain in ("docker.io", "index.docker.io"):
        domain, rest = "docker.io", rest if "/" in rest else f"library/{rest}"
    tagged = "@" in rest or ":" in rest.rpartition("/")[2]
    return f"{domain}/{rest}" + ("" if tagged else ":latest")


def is_latest(name: str) -> bool:
    """Whether the runner pulls this image before each use: its tag is `latest`, or missing."""
    return expand_image(name).endswith(":latest")


def repository_of(name: str) -> str:
    """The expanded name without tag and digest."""
    path = expand_image(name).partition("@")[0]
    head, slash, last = path.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"
