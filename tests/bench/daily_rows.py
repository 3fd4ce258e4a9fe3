"""What a runner does all day: builds side by side, a full cache, images that the next step runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from runnerkit.bench.run import TAG, Bench, find_project, prepared
from runnerkit.bench.stats import Samples, interleaved
from runnerkit.bench.strategies import RUNNER
from runnerkit.config.loading import load
from runnerkit.desired.settings import daemon_options
from runnerkit.facts.host import traits_of
from runnerkit.roads import Access, survey
from tests.bench.kit_rows import Machine, seconds
from tests.bench.rows import Row

CEILING = "2GB"
# More than the ceiling, in layers that no later build takes up.
FILLING_MIB = 2400
ADDED_MIB = 256

# Arguments: socket, MiB. A build that leaves a layer of that size behind.
ADD = """
set -eu
export DOCKER_BUILDKIT=1
printf 'FROM golang:1.24\\nRUN head -c %sM /dev/urandom >/layer # %s\\n' "$2" "$(date +%s%N)" |
    docker -H "unix://$1" build --quiet - >/dev/null
"""
# Arguments: socket, a source file.
OTHER_SOURCE = """
seq 1000 | tr -dc '\\n' >>"$2"
"""
# Arguments: socket, image. The next step's program starts.
NEXT_STEP = """
set -eu
docker -H "unix://$1" run --detach --name bench-step "$2" >/dev/null
"""
# Arguments: socket, image, its name in a registry. What steps with daemons of their own have to do.
BY_REGISTRY = """
set -eu
docker -H "unix://$1" tag "$2" "$3"
docker -H "unix://$1" push --quiet "$3" >/dev/null
docker -H "unix://$1" image rm "$2" "$3" >/dev/null
docker -H "unix://$1" pull --quiet "$3" >/dev/null
docker -H "unix://$1" run --detach --name bench-step "$3" >/dev/null
"""
# Arguments: socket.
END_STEP = """
docker -H "unix://$1" rm --force bench-step >/dev/null
"""


@contextmanager
def ready(config: Path, host: str) -> Iterator[Bench]:
    """The project on the host, for as long as the block runs."""
    [chosen] = [item for item in load(config).hosts if item.name == host]
    with (
        as_file(files("runnerkit.bench").joinpath("project")) as own,
        survey(chosen, Access(config.parent)) as found,
    ):
        options = daemon_options(chosen, traits_of(found.facts))
        image, paths = str(chosen.docker.image), found.desired.paths
        project = find_project(own, None, None)
        with prepared(found.transport, paths, project, image, options) as bench:
            yield bench


def on_host(bench: Bench, script: str, *arguments: str) -> float:
    """How long a shell program takes on the host; it must succeed."""
    argv = ["sh", "-c", script, "sh", str(bench.paths.docker_socket), *arguments]
    began = time.perf_counter()
    done = bench.transport.run(argv)
    if done.code:
        raise RuntimeError(done.stderr.decode()[-2000:])
    return time.perf_counter() - began


def daily_rows(machine: Machine, rounds: int) -> list[Row]:
    """Two builds at once, a cache at its ceiling, and the way from a build to the next step."""
    names = ("host1", "host2")
    hosts: dict[str, Any] = {name: dict(machine.config["hosts"][name]) for name in names}
    hosts["host2"]["cache"] = {"max": CEILING, "min_free": "1GB"}
    seconds(machine.kit("up", "--yes", hosts=hosts))
    config = Path(machine.kit("up", hosts=hosts)[2].removeprefix("--config="))
    registry = machine.lab.info["registry"].partition("://")[2] + "/bench-handed-over:1"
    with ExitStack() as stack:
        first = stack.enter_context(ready(config, "host1"))
        second = stack.enter_context(ready(config, "host1"))
        full = stack.enter_context(ready(config, "host2"))
        pool = stack.enter_context(ThreadPoolExecutor())
        # The same source would be the same layers, and the second build would find them.
        on_host(second, OTHER_SOURCE, f"{second.folder}/context/{second.changed}")
        for bench in (first, second, full):
            bench.seconds(RUNNER)
        on_host(full, ADD, str(FILLING_MIB))
        full.seconds(RUNNER)

        def at_once() -> float:
            began = time.perf_counter()
            list(pool.map(lambda bench: bench.seconds(RUNNER), (first, second)))
            return time.perf_counter() - began

        def in_turn() -> float:
            return first.seconds(RUNNER) + second.seconds(RUNNER)

        def at_the_ceiling() -> float:
            on_host(full, ADD, str(ADDED_MIB))
            return full.seconds(RUNNER)

        def handed(script: str, *arguments: str) -> Callable[[], float]:
            def once() -> float:
                first.seconds(RUNNER)
                took = on_host(first, script, TAG, *arguments)
                on_host(first, END_STEP)
                return took

            return once

        found = interleaved(
            {
                "at once": at_once,
                "in turn": in_turn,
                "room": lambda: first.seconds(RUNNER),
                "ceiling": at_the_ceiling,
                "next step": handed(NEXT_STEP),
                "registry": handed(BY_REGISTRY, registry),
            },
            rounds,
        )
    seconds(machine.kit("up", "--yes"))
    return rows_of(found)


def rows_of(found: dict[str, Samples]) -> list[Row]:
    """The rows of these measurements."""
    return [
        Row("two builds at once", "one after the other", found["at once"], found["in turn"], None),
        Row("a build with the cache at its ceiling", "a cache with room", found["ceiling"],
            found["room"], None,
            note=f"before each of them another build adds {ADDED_MIB} MiB to a cache of at most "
            f"{CEILING}; the engine collects at most once a minute"),
        Row("from a build to the next step", "push, pull and start through a registry in the LAN",
            found["next step"], found["registry"], None),
    ]  # fmt: skip
