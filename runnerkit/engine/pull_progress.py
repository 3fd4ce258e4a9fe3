"""Reading the engine's progress messages of a pull. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_COMPLETE = {"Download complete", "Pull complete", "Already exists"}
_HINTS = (
    (("toomanyrequests", "rate limit"), "the registry limits pulls: log in, or use a mirror"),
    (
        ("no such host", "server misbehaving", "name resolution"),
        "the host cannot resolve the registry's name: check its DNS",
    ),
    (("x509", "certificate"), "the host does not trust the registry's certificate"),
    (("no space left",), "free disk space on the host"),
    (
        ("manifest unknown", "not found", "no matching manifest", "invalid reference"),
        "check the image's name, its tag and the host's architecture",
    ),
    (
        ("denied", "unauthorized", "authentication required"),
        "check the image's name; for a private registry use `docker login` on this machine first",
    ),
    (
        ("timeout", "deadline exceeded", "refused", "unreachable"),
        "the host cannot reach the registry: check its network, proxy and firewall",
    ),
)


class PullProgress:
    """Adds up the layers of a pull; `done` and `total` are bytes, `total` grows as layers show."""

    def __init__(self) -> None:
        self._layers: dict[str, tuple[int, int]] = {}

    @property
    def done(self) -> int:
        """Bytes downloaded so far."""
        return sum(done for done, _ in self._layers.values())

    @property
    def total(self) -> int:
        """Bytes of all layers known so far."""
        return sum(total for _, total in self._layers.values())

    def add(self, event: Mapping[str, Any]) -> None:
        """Take one message of the engine's stream."""
        layer, status = str(event.get("id", "")), event.get("status")
        detail = event.get("progressDetail") or {}
        if status == "Downloading" and detail.get("total"):
            total = int(detail["total"])
            self._layers[layer] = (min(int(detail.get("current") or 0), total), total)
        elif status in _COMPLETE and layer in self._layers:
            total = self._layers[layer][1]
            self._layers[layer] = (total, total)


def registry_hint(message: str) -> str:
    """Say what to try after a pull failed with `message`."""
    text = message.lower()
    for signs, hint in _HINTS:
        if any(sign in text for sign in signs):
            return hint
    return "try `docker pull` with the same name on the host"
