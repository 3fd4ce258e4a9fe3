"""Where the time of a look goes: the parts of `status`, one after the other."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from runnerkit.collect.cache_probe import collect_gc
from runnerkit.collect.probe import FACTS_SCRIPT
from runnerkit.config.loading import load, select_hosts
from runnerkit.desired.state import DIND
from runnerkit.engine.look import look_inner, look_outer
from runnerkit.facts.host import find_container
from runnerkit.roads import Access, Survey, reach, survey

TIMES = 10
IDLE_SECONDS = 3.0


@dataclass(frozen=True)
class Part:
    """One part of a look: seconds until it is done, and seconds of processors for it."""

    name: str
    wall: float
    here: float
    host: float


class Used(NamedTuple):
    """Seconds of processors: in this process and its children, and altogether."""

    here: float
    everything: float


def used() -> Used:
    """Read the counters; that for everything counts in ticks of 10 ms."""
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    here = sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, whose))
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _, _, interrupts, soft = map(int, fields[:7])
    return Used(here, (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK"))


def processor_seconds(work: Callable[[], object]) -> Used:
    """What `work` takes of all processors: here and in what was started here, and altogether."""
    before = used()
    work()
    after = used()
    return Used(after.here - before.here, after.everything - before.everything)


def status_parts(config: Path) -> list[Part]:
    """What `status` of the first host in `config` is made of, each part done for itself.

    The hosts are on this machine: what is used on it and not here is used on them. What they use
    when nobody asks is taken off.
    """
    host = select_hosts(load(config), ())[0]
    access = Access(base=config.parent)
    time.sleep(IDLE_SECONDS)  # let what a row before this one began come to its end
    idle = processor_seconds(lambda: time.sleep(IDLE_SECONDS)).everything / IDLE_SECONDS

    def login() -> None:
        with reach(host, access) as transport:
            transport.run(["true"])

    with survey(host, access, ask_server=True) as found:
        work: dict[str, Callable[[], object]] = {"log in, `true`, log out": login}
        work |= _looks(found)
        return [_part(name, once, idle) for name, once in work.items()]


def _looks(found: Survey) -> Mapping[str, Callable[[], object]]:
    transport, paths = found.transport, found.desired.paths
    dind = find_container(found.facts, DIND)
    assert dind is not None
    places = [str(paths.directory), str(paths.data), str(paths.sockets)]
    facts = ["sh", "-c", FACTS_SCRIPT.read_text(), "sh", *places]
    socket = str(paths.docker_socket)
    return {
        "`facts.sh`": lambda: transport.run(facts),
        "ask the host's daemon": lambda: look_outer(
            transport, paths.project, str(paths.data), archs=True
        ),
        "ask the runner's daemon": lambda: look_inner(transport, socket, measure=True),
        "ask BuildKit for its rules": lambda: collect_gc(
            transport, paths, dind.id, dind.started_at or "0"
        ),
        "all of a look, once logged in": lambda: found.again(ask_server=True),
        "judge": found.report,
    }


def _part(name: str, once: Callable[[], object], idle: float) -> Part:
    def often() -> None:
        for _ in range(TIMES):
            once()

    once()
    began = time.perf_counter()
    took = processor_seconds(often)
    wall = time.perf_counter() - began
    host = max(0.0, took.everything - took.here - idle * wall)
    return Part(name, wall / TIMES, took.here / TIMES, host / TIMES)


def parts_table(parts: Sequence[Part]) -> str:
    """The parts for RESULTS.md."""
    lines = [
        "| | takes | processor here | on the host |", "|---|---|---|---|",
        *(
            f"| {part.name} | {part.wall * 1000:.0f} ms | {part.here * 1000:.0f} ms "
            f"| {part.host * 1000:.0f} ms |"
            for part in parts
        ),
    ]  # fmt: skip
    return "\n".join(lines)
