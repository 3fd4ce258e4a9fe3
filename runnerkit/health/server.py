"""Checks of the Drone server, seen from the runner's place."""

from __future__ import annotations

from runnerkit.facts.inside import place_of
from runnerkit.health.containers import ago
from runnerkit.health.host import clock_finding
from runnerkit.health.model import Case, Finding, fail, ok, skip, unknown, warn

CERTIFICATE_SECONDS = 14 * 86400


def server(case: Case) -> Finding:
    """The server can be reached from the runner's place and takes the secret."""
    answer = case.facts.server
    if answer is None:
        return skip("not asked")
    if answer.distrust:
        return skip("its certificate is not accepted")
    url = case.desired.config.server
    if answer.status is None:
        hint = f"on the host: curl -v {url}/healthz; then check `server:`"
        return fail("cannot be reached from the runner", f"{url}: {answer.error}", hint)
    evidence = f"HTTP {answer.status} from {url}"
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


def certificate(case: Case) -> Finding:
    """The server's certificate is valid, for 14 days at least."""
    answer, url = case.facts.server, case.desired.config.server
    if not url.startswith("https://"):
        return skip("the server is spoken to without TLS")
    if not case.desired.config.tls_verify:
        return skip("tls_verify is off")
    if answer is None:
        return skip("not asked")
    if answer.distrust:
        return fail("not accepted", f"{url}: {answer.distrust}", _mend(answer.distrust, url))
    if answer.certificate_ends is None or answer.asked is None:
        return skip("the server does not answer")
    left = answer.certificate_ends - answer.asked.ended
    if left < CERTIFICATE_SECONDS:
        return warn("expires soon", f"in {ago(left)}; limit 14 d", "renew it on the server")
    return ok(f"valid for {ago(left)}")


def _mend(distrust: str, url: str) -> str:
    name, _ = place_of(url)
    if "expired" in distrust:
        return "renew it on the server"
    if "not yet valid" in distrust:
        return "compare the clocks of this machine and of the server"
    if "mismatch" in distrust or "doesn't match" in distrust:
        return f"write `server:` with a name that the certificate has; {name} is not one"
    if "self-signed" in distrust or "self signed" in distrust or "issuer" in distrust:
        return "let this machine and the runner's image trust its authority, or tls_verify: false"
    return f"openssl s_client -connect {':'.join(map(str, place_of(url)))} shows it"


def server_clock(case: Case) -> Finding:
    """The server's clock agrees with this machine's, within 30 s."""
    answer = case.facts.server
    if answer is None or answer.status is None or answer.asked is None:
        return skip("the server does not answer")
    if answer.clock is None:
        return unknown("the server does not tell its time")
    return clock_finding(answer.asked.distance(answer.clock), "this machine's")


CHECKS = (server, certificate, server_clock)
