"""Checks of the Drone server, seen from the runner's place."""

from __future__ import annotations

from runnerkit.facts.host import ServerFacts
from runnerkit.health.model import Check, Status


def server_check(server: ServerFacts | None) -> Check:
    """Whether the server can be reached and takes the secret."""
    if server is None:
        return Check("server", Status.SKIP, "not asked")
    if server.status is None:
        return Check(
            "server", Status.FAIL, "cannot be reached from the runner", server.error or "",
            "check `server:` and that the host's network can reach it",
        )  # fmt: skip
    evidence = f"HTTP {server.status}"
    match server.status:
        case 200:
            return Check("server", Status.OK, "reached; it accepts the secret", evidence)
        case 401:
            hint = "compare the source of `secret:` with the server's DRONE_RPC_SECRET"
            return Check("server", Status.FAIL, "does not accept the secret", evidence, hint)
        case 403:
            hint = "set DRONE_RPC_SECRET on the server"
            return Check("server", Status.FAIL, "has no RPC secret itself", evidence, hint)
        case 404 | 405:
            hint = "check `server:`; it should be the URL that the web interface has"
            return Check("server", Status.FAIL, "is not a Drone server", evidence, hint)
    return Check("server", Status.FAIL, "answers with an error", evidence, "see the server's log")
