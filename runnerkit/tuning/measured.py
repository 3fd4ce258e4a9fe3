"""What `tune` knows of a host, typed, and the parser of its probe's answer. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from runnerkit.facts.host import Disk

LOOK_SECONDS = 10
"""How often the janitor counts the running stages."""

# A control group without a limit says so with a number of this order, or with "max".
NO_LIMIT = 1 << 60


@dataclass(frozen=True)
class BuildHistory:
    """The builds that BuildKit still knows of, and how many of their steps the cache answered."""

    builds: int
    steps: int
    cached: int

    @property
    def hit_rate(self) -> float:
        """Share of steps that came from the cache, 0 to 1."""
        return self.cached / self.steps if self.steps else 0.0


@dataclass(frozen=True)
class CacheUse:
    """Bytes of the build cache by kind; layers that images hold are not of it."""

    layers: int
    mounts: int
    others: int

    @property
    def all(self) -> int:
        """What cache.max limits."""
        return self.layers + self.mounts + self.others


@dataclass(frozen=True)
class Evicted:
    """What left the build cache in seven days before anybody deleted it.

    `unused_seconds` is the shortest time for which any of it had been unused.
    """

    count: int
    bytes: int
    unused_seconds: int


@dataclass(frozen=True)
class Evictions:
    """What the engine's GC took of layers and of cache mounts, and what the janitor took."""

    layers: Evicted | None = None
    mounts: Evicted | None = None
    janitor: Evicted | None = None


@dataclass(frozen=True)
class Probed:
    """The answer of the probe. None is unknown.

    `memory_limit` and `cpu_limit` are those of the host's own control group: a virtual machine
    has none, a container that plays a host has. `memory_peak` is the most that dind had at once,
    page cache included; `oom_kills` what the kernel ended in it for lack of memory. `stages` maps
    a number of stages that ran at once to how often the janitor saw that many in seven days, and
    `use` is what it found in the cache at its last sweep. `evictions` are what it missed there from
    one sweep to the next.
    """

    memory_limit: int | None = None
    cpu_limit: float | None = None
    memory_peak: int | None = None
    oom_kills: int | None = None
    history: BuildHistory | None = None
    use: CacheUse | None = None
    evictions: Evictions | None = None
    stages: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """One host: cores, bytes of memory, its data disk, and how all that is used."""

    cpus: float | None
    memory: int | None
    disk: Disk | None
    shared_with_root: bool
    probed: Probed

    @property
    def most_stages(self) -> int:
        """How many stages were seen at once, 0 when none."""
        return max((n for n in self.probed.stages), default=0)

    def busy_share(self, slots: int) -> float | None:
        """Share of the time in which at least `slots` stages ran; None when nobody looked."""
        looks = sum(self.probed.stages.values())
        if not looks:
            return None
        return sum(count for n, count in self.probed.stages.items() if n >= slots) / looks

    @property
    def observed_seconds(self) -> int:
        """How long the janitor has been counting, at most seven days."""
        return sum(self.probed.stages.values()) * LOOK_SECONDS


def parse_probe(answer: str) -> Probed:
    """Read `key value` lines; lines that make no sense are what is unknown."""
    values: dict[str, str] = {}
    stages: dict[int, int] = {}
    cache: dict[str, int] = {}
    history: list[str] = []
    evicted: list[str] = []
    for line in answer.splitlines():
        key, _, value = line.partition(" ")
        if key == "build":
            history.append(value)
        elif key == "evicted":
            evicted.append(value)
        elif key == "cache":
            kind, _, size = value.partition(" ")
            cache[kind] = _number(size) or 0
        elif key == "stages":
            fields = value.split()  # day, how many, how often
            if len(fields) == 3 and all(text.isdigit() for text in fields):
                stages[int(fields[1])] = stages.get(int(fields[1]), 0) + int(fields[2])
        else:
            values[key] = value.strip()
    limit = _number(values.get("memory_limit"))
    return Probed(
        memory_limit=limit if limit is not None and limit < NO_LIMIT else None,
        cpu_limit=_cpus(values.get("cpu_limit", "")),
        memory_peak=_number(values.get("memory_peak")),
        oom_kills=_number(values.get("oom_kills")),
        history=_history(history),
        use=_use(cache) if cache else None,
        evictions=_evictions(evicted) if "evictions" in values else None,
        stages=stages,
    )


def _use(cache: Mapping[str, int]) -> CacheUse:
    layers, mounts = cache.get("regular", 0), cache.get("exec.cachemount", 0)
    return CacheUse(layers, mounts, sum(cache.values()) - layers - mounts)


def _evictions(lines: list[str]) -> Evictions:
    """Add up lines "day by-whom type how-many bytes seconds"; sources are cheap to read anew."""
    groups: dict[str, list[tuple[int, int, int]]] = {}
    for line in lines:
        _, by, kind, *numbers = [*line.split(), "", "", ""]
        found = [int(text) for text in numbers if text.isdigit()]
        if len(found) == 3:
            group = by if by == "janitor" else kind
            groups.setdefault(group, []).append((found[0], found[1], found[2]))
    return Evictions(
        layers=_added(groups.get("regular")),
        mounts=_added(groups.get("exec.cachemount")),
        janitor=_added(groups.get("janitor")),
    )


def _added(items: list[tuple[int, int, int]] | None) -> Evicted | None:
    if not items:
        return None
    counts, sizes, spans = zip(*items, strict=True)
    return Evicted(sum(counts), sum(sizes), min(spans))


def _history(lines: list[str]) -> BuildHistory | None:
    steps = cached = builds = 0
    for line in lines:
        try:
            record = json.loads(line)
            total, hits = int(record["total_steps"]), int(record["cached_steps"])
        except (ValueError, KeyError, TypeError):
            continue
        builds, steps, cached = builds + 1, steps + total, cached + hits
    return BuildHistory(builds, steps, cached) if builds else None


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def _cpus(text: str) -> float | None:
    """`QUOTA PERIOD` in microseconds; a quota of max or -1 is no limit."""
    fields = text.split()
    if len(fields) != 2 or not all(part.isdigit() for part in fields) or fields[1] == "0":
        return None
    return int(fields[0]) / int(fields[1])
