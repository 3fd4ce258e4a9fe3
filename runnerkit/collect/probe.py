"""Collecting the facts of one host over one connection. Reads, never changes."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import files
from pathlib import PurePosixPath

from runnerkit.collect.cache_probe import collect_gc
from runnerkit.collect.server_probe import ServerLogin, ask_server
from runnerkit.engine.look import look_inner, look_outer
from runnerkit.engine.port import DockerPort
from runnerkit.errors import HostError
from runnerkit.facts.cache import GcFacts
from runnerkit.facts.daemon import ContainerFacts, DaemonUnavailable
from runnerkit.facts.host import (
    Daemon,
    FactsError,
    HostFacts,
    MountedFile,
    Span,
    SystemFacts,
    parse_mounted,
    parse_system,
)
from runnerkit.facts.inside import HUB, InsideFacts, parse_inside, place_of, registry_of
from runnerkit.facts.names import asked_name, question
from runnerkit.paths import StackPaths
from runnerkit.reach.transport import Transport

FACTS_SCRIPT = files("runnerkit.collect").joinpath("facts.sh")
INSIDE_SCRIPT = files("runnerkit.collect").joinpath("inside.sh")
MOUNTED_SCRIPT = files("runnerkit.collect").joinpath("mounted.sh")
INSIDE_SECONDS = 30.0
# sshd allows 10 sessions a connection; a held lock is one, and an ended one counts for a moment.
MOST_AT_ONCE = 6


@dataclass(frozen=True)
class Inquiry:
    """What checks need beyond what a plan needs.

    The server, `mirrors`, the registry of `layers` and `nameservers` (those of the host without
    any) are tried from inside dind; `newest` are images to look for in their registries.
    """

    login: ServerLogin
    mirrors: tuple[str, ...] = ()
    layers: str | None = None
    nameservers: tuple[str, ...] = ()
    newest: tuple[str, ...] = ()


def collect(
    host: str, transport: Transport, paths: StackPaths, inquiry: Inquiry | None = None
) -> HostFacts:
    """Everything about `host` that plans need; with an `inquiry` also what only checks need.

    Raises HostError when the host cannot run the script, ConnectionLostError when it goes away.
    """
    with ThreadPoolExecutor(max_workers=MOST_AT_ONCE) as pool:
        system = pool.submit(_system, host, transport, paths)
        checks = inquiry is not None
        looking = pool.submit(look_outer, transport, paths.project, str(paths.data), archs=checks)
        inner = pool.submit(look_inner, transport, str(paths.docker_socket), measure=checks)
        outer = looking.result()
        services = _services(outer.daemon)
        runner, dind = services.get("runner"), services.get("dind")
        mounted = pool.submit(_mounted, transport, paths, services)
        answer = pool.submit(ask_server, transport, runner, inquiry.login) if inquiry else None
        newest = pool.submit(_newest, transport, inquiry.newest) if inquiry else None
        gc = pool.submit(_gc, transport, paths, dind) if inquiry else None
        facts, asked = system.result()
        inside: Future[InsideFacts | None] | None = None
        if inquiry:
            words = [
                str(dind.pid or "") if dind else "",
                dind.id if dind else "",
                str(runner.pid or "") if runner else "",
                str(paths.data),
                (dind.started_at if dind else None) or "",
                base64.b64encode(question(asked_name(inquiry.login.url))).decode(),
                *_targets(inquiry, facts.nameservers),
            ]
            inside = pool.submit(_inside, transport, words)
        return HostFacts(
            system=facts,
            outer=outer.daemon,
            inner=inner.result().daemon,
            asked=asked,
            runner_log=outer.runner_log,
            server=answer.result() if answer else None,
            inside=inside.result() if inside else None,
            build_cache=inner.result().build_cache,
            newest=newest.result() if newest else None,
            gc=gc.result() if gc else None,
            mounted=mounted.result(),
        )


def _system(host: str, transport: Transport, paths: StackPaths) -> tuple[SystemFacts, Span]:
    places = [str(paths.directory), str(paths.data), str(paths.sockets)]
    began = time.time()
    completed = transport.run(["sh", "-c", FACTS_SCRIPT.read_text(), "sh", *places])
    asked = Span(began, time.time())
    try:
        return parse_system(completed.stdout.decode(errors="replace")), asked
    except FactsError as error:
        said = completed.stderr.decode(errors="replace").strip()
        raise HostError(
            f"{host}: {error}" + (f": {said}" if said else ""),
            hint="the host needs a POSIX shell with awk, df, stat and base64",
        ) from None


def _newest(transport: Transport, refs: Iterable[str]) -> Mapping[str, str | None] | None:
    wanted = tuple(refs)
    if not wanted:
        return None
    port = DockerPort(transport)
    try:
        return port.newest(wanted)
    finally:
        port.close()


def _gc(transport: Transport, paths: StackPaths, dind: ContainerFacts | None) -> GcFacts | None:
    if dind is None or dind.state != "running":
        return None
    return collect_gc(transport, paths, dind.id, dind.started_at or "0")


def _services(outer: Daemon) -> dict[str, ContainerFacts]:
    if isinstance(outer, DaemonUnavailable):
        return {}
    return {item.service: item for item in outer.containers if item.service}


def _mounted(
    transport: Transport, paths: StackPaths, services: Mapping[str, ContainerFacts]
) -> tuple[MountedFile, ...]:
    words: list[str] = []
    for service, container in services.items():
        for mount in container.mounts:
            source = PurePosixPath(mount.source)
            if container.pid and source.parent == paths.directory:
                words += [service, source.name, str(container.pid), mount.target]
    if not words:
        return ()
    completed = transport.run(["sh", "-c", MOUNTED_SCRIPT.read_text(), "sh", *words])
    return parse_mounted(completed.stdout.decode(errors="replace"))


def _inside(transport: Transport, words: list[str]) -> InsideFacts | None:
    argv = ["sh", "-c", INSIDE_SCRIPT.read_text(), "sh", *words]
    try:
        completed = transport.run(argv, timeout=INSIDE_SECONDS)
    except HostError:  # it took too long
        return None
    return parse_inside(completed.stdout.decode(errors="replace"))


def _targets(inquiry: Inquiry, nameservers: Iterable[str]) -> list[str]:
    """What inside.sh is to try: its words."""
    words = [f"dns:{server}" for server in inquiry.nameservers or nameservers]
    for url in inquiry.mirrors:
        kind = "http" if url.startswith("http://") else "open"
        words.append("{}:{}:{}".format(kind, *place_of(url)))
    places = [place_of(inquiry.login.url), *([] if inquiry.mirrors else [HUB])]
    places += [registry_of(inquiry.layers)] if inquiry.layers else []
    words += [f"open:{host}:{port}" for host, port in places]
    return list(dict.fromkeys(words))
