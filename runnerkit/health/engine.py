"""Checks of the host's own Docker engine."""

from __future__ import annotations

from runnerkit.change.packages import MIN_COMPOSE, MIN_ENGINE, version_tuple
from runnerkit.config.image_ref import brief, familiar
from runnerkit.facts.daemon import DaemonFacts, DaemonUnavailable
from runnerkit.facts.host import find_container
from runnerkit.health.model import Case, Finding, fail, ok, skip, unknown, warn

UPGRADE = "upgrade Docker on the host, or set docker.source: official and run runnerkit up"


def engine(case: Case) -> Finding:
    """The host's Docker engine answers and is new enough."""
    outer = case.facts.outer
    if case.facts.system.uid not in (0, None):
        return skip("only root can ask it")
    if isinstance(outer, DaemonUnavailable):
        hint = f"on the host: systemctl restart docker; or runnerkit up {case.desired.host}"
        return fail("the host's Docker engine does not answer", outer.reason, hint)
    evidence = f"engine {outer.version}, API {outer.api_version}, {outer.storage_driver}"
    if version_tuple(outer.version) < MIN_ENGINE:
        return fail("too old", f"{evidence}; at least {_dotted(MIN_ENGINE)}", UPGRADE)
    return ok(f"Docker {outer.version}", evidence)


def compose(case: Case) -> Finding:
    """The compose plugin is there and new enough."""
    version = case.facts.system.compose_version
    if not case.facts.system.docker_cli:
        return skip("Docker is not installed")
    if not version:
        hint = "install docker-compose-plugin (Docker's packages) or docker-compose (Debian 13)"
        return fail("docker has no compose plugin", "`docker compose version` fails", hint)
    if version_tuple(version) < MIN_COMPOSE:
        return fail("too old", f"{version}; at least {_dotted(MIN_COMPOSE)}", UPGRADE)
    return ok(f"compose {version}")


def updates(case: Case) -> Finding:
    """The containers run the images that their registries have now (--check-updates)."""
    newest, outer = case.facts.newest, case.facts.outer
    if newest is None:
        return skip("asked only with --check-updates")
    if not isinstance(outer, DaemonFacts):
        return skip("the engine does not answer")
    silent = [ref for ref, digest in newest.items() if digest is None]
    # A newer image that only lies there is not in use.
    running = {item.image_id for item in outer.containers} or set(outer.images.values())
    held = {ref.rpartition("@")[2] for ref, id_ in outer.images.items() if id_ in running}
    old = [ref for ref, digest in newest.items() if digest and digest not in held]
    if old:
        hint = f"runnerkit upgrade {case.desired.host}"
        there = "; ".join(f"its registry has {brief(f'{ref}@{newest[ref]}')}" for ref in old)
        return warn(f"newer images: {', '.join(old)}", there, hint)
    if silent:
        hint = "docker login on the host, if the registry wants one"
        return unknown("a registry does not say", ", ".join(silent), hint)
    return ok("the newest images")


def pins(case: Case) -> Finding:
    """The containers run the images that images.pin holds them to."""
    desired, outer = case.desired, case.facts.outer
    if not desired.config.images.pin:
        return skip("images.pin is off")
    if not isinstance(outer, DaemonFacts):
        return skip("the engine does not answer")
    astray = []
    for service, ref in desired.images.items():
        container = find_container(case.facts, service)
        if container is None or "@" not in ref:
            continue
        image = outer.images.get(familiar(ref))
        if container.image_id != image if image else container.image != ref:
            astray.append(f"{service} runs {brief(container.image)}, not {brief(ref)}")
    if astray:
        hint = f"runnerkit plan {desired.host}, then runnerkit up {desired.host}"
        return warn("another image runs than the pinned one", "; ".join(astray), hint)
    if desired.unpinned:
        hint = "let the host pull them from a registry, or set images.pin: false"
        names = ", ".join(desired.unpinned)
        return warn(f"without a digest to pin: {names}", "from an archive or a build", hint)
    return ok(f"{len(desired.tags)} images run by their digests")


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


CHECKS = (engine, compose, updates, pins)
