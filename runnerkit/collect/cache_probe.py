"""Looking into the runner's daemon: what it holds, which GC rules it runs. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from runnerkit.engine.port import DockerPort
from runnerkit.errors import HostError
from runnerkit.facts.builds import Build, parse_builds, parse_refs
from runnerkit.facts.cache import GcFacts, Usage, parse_inspect
from runnerkit.paths import StackPaths
from runnerkit.reach.transport import Transport

ASK_SECONDS = 30.0

_SCRIPTS = files("runnerkit.collect")
BUILDS_SCRIPT = _SCRIPTS.joinpath("builds.sh")
GC_SCRIPT = _SCRIPTS.joinpath("gc.sh")
PLACE_SCRIPT = _SCRIPTS.joinpath("place.sh")


@dataclass(frozen=True)
class Place:
    """The data-root's disk: bytes of container logs in it, bytes free on it; None is unknown."""

    logs_bytes: int | None
    free_bytes: int | None


def collect_gc(transport: Transport, paths: StackPaths, container: str, since: str) -> GcFacts:
    """The rules in force in dind, and the last of its log's GC errors since then."""
    argv = ["sh", "-c", GC_SCRIPT.read_text(), "sh", container, str(paths.docker_socket), since]
    try:
        completed = transport.run(argv, timeout=ASK_SECONDS)
    except HostError as error:
        return GcFacts(None, error.message)
    inspected, _, said = completed.stdout.decode(errors="replace").partition("gc errors:\n")
    errors = tuple(line.strip() for line in said.splitlines())
    try:
        rules = parse_inspect(inspected)
        return GcFacts(rules, errors=errors, one_size="Keep Bytes:" in inspected)
    except ValueError:
        reason = "neither dind's image nor the host has a docker buildx that could ask"
        return GcFacts(None, reason, errors)


def list_builds(transport: Transport, paths: StackPaths, container: str) -> tuple[str, ...] | None:
    """The builds that BuildKit remembers, newest first; None where nobody could ask it."""
    return parse_refs(_builds(transport, paths, container))


def look_at_builds(
    transport: Transport, paths: StackPaths, container: str, refs: Sequence[str]
) -> tuple[Build, ...]:
    """What BuildKit remembers of these builds."""
    return parse_builds(_builds(transport, paths, container, *refs))


def _builds(transport: Transport, paths: StackPaths, container: str, *refs: str) -> str:
    argv = ["sh", "-s", "--", container, str(paths.docker_socket), *refs]
    completed = transport.run(argv, BUILDS_SCRIPT.read_bytes(), timeout=ASK_SECONDS)
    return completed.stdout.decode(errors="replace")


def collect_usage(transport: Transport, paths: StackPaths) -> Usage:
    """Everything in the runner's daemon. Raises HostError when it does not answer."""
    port = DockerPort(transport, str(paths.docker_socket))
    try:
        return port.usage()
    finally:
        port.close()


def collect_place(transport: Transport, paths: StackPaths) -> Place:
    """The part of the disk that the daemon does not tell."""
    completed = transport.run(["sh", "-c", PLACE_SCRIPT.read_text(), "sh", str(paths.data)])
    numbers = [int(line) for line in completed.stdout.decode().split() if line.isdigit()]
    logs, free = (*numbers, None, None)[:2] if len(numbers) == 2 else (None, None)
    return Place(logs, free)
