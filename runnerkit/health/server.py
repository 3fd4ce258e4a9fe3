"""Checks of the Drone server, seen from the runner's place."""

from __future__ import annotations

from runnerkit.health.model import Case, Finding, fail, ok, skip


def server(case: Case) -> Finding:
    """The server can be reached from the runner's place and takes the secret."""
    answer = case.facts.server
    if answer is None:
        return skip("not asked")
    if answer.status is None:
        hint = "check `server:` and that the host's network can reach it"
        return fail("cannot be reached from the runner", answer.error or "", hint)
    evidence = f"HTTP {answer.status}"
    match answer.status:
        case 200:
            return ok("reached; it accepts the secret", evidence)
        case 401:
            hint = "compare the source of `secret:` with the server's DRONE_RPC_SECRET"
            return fail("does not accept the secret", evidence, hint)
        case 403:
            return fail("has no RPC secret itself", evidence, "set DRONE_RPC_SECRET on the server")
        case 404 | 405:
            hint = "check `server:`; it should be the URL that the web interface has"
            return fail("is not a Drone server", evidence, hint)
    return fail("answers with an error", evidence, "see the server's log")


CHECKS = (server,)
