"""Collecting the facts of one host over one connection. Reads, never changes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files

from runnerkit.collect.server_probe import ServerLogin, ask_server
from runnerkit.engine.port import DockerPort
from runnerkit.errors import HostError
from runnerkit.facts.daemon import DaemonUnavailable
from runnerkit.facts.host import Daemon, FactsError, HostFacts, SystemFacts, parse_system
from runnerkit.paths import StackPaths
from runnerkit.reach.transport import Transport

FACTS_SCRIPT = files("runnerkit.collect").joinpath("facts.sh")
RUNNER_LOG_LINES = 50


def collect(
    host: str, transport: Transport, paths: StackPaths, server: ServerLogin | None = None
) -> HostFacts:
    """Everything about `host` that plans and checks need.

    With `server`, the Drone server is also asked, from the network place of the runner.
    Raises HostError when the host cannot run the script, ConnectionLostError when it goes away.
    """
    with ThreadPoolExecutor(max_workers=3) as pool:
        system = pool.submit(_system, host, transport, paths)
        outer = pool.submit(_daemon, transport, None, paths.project)
        inner = pool.submit(_daemon, transport, str(paths.docker_socket), None)
        outer_facts = outer.result()
        runner = _runner_id(outer_facts)
        log = pool.submit(_runner_log, transport, runner)
        answer = pool.submit(ask_server, transport, runner, server) if server else None
        return HostFacts(
            system=system.result(),
            outer=outer_facts,
            inner=inner.result(),
            runner_log=log.result(),
            server=answer.result() if answer else None,
        )


def _system(host: str, transport: Transport, paths: StackPaths) -> SystemFacts:
    places = [str(paths.directory), str(paths.data), str(paths.sockets)]
    completed = transport.run(["sh", "-s", "--", *places], FACTS_SCRIPT.read_bytes())
    try:
        return parse_system(completed.stdout.decode(errors="replace"))
    except FactsError as error:
        said = completed.stderr.decode(errors="replace").strip()
        raise HostError(
            f"{host}: {error}" + (f": {said}" if said else ""),
            hint="the host needs a POSIX shell with awk, df, stat and base64",
        ) from None


def _daemon(transport: Transport, socket: str | None, project: str | None) -> Daemon:
    port = DockerPort(transport, socket)
    try:
        return port.facts(project=project, role="inner" if socket else "outer")
    finally:
        port.close()


def _runner_id(outer: Daemon) -> str | None:
    if isinstance(outer, DaemonUnavailable):
        return None
    return next((item.id for item in outer.containers if item.service == "runner"), None)


def _runner_log(transport: Transport, container: str | None) -> str:
    if container is None:
        return ""
    argv = ["docker", "logs", "--tail", str(RUNNER_LOG_LINES), container]
    completed = transport.run(argv)
    return (completed.stdout + completed.stderr).decode(errors="replace")
