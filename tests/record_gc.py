"""Records what real engines evict: `python -m tests.record_gc` in a checkout with the lab's needs.

For each engine it fills a build cache with GC off, then starts the engine on copies of it with
one policy after the other, and writes records before, rules in force and records after into
tests/captured/gc/. The fast tests replay these; see tests/unit/test_simulate.py.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from runnerkit.cache.summary import cache_bytes
from runnerkit.desired.gc_policy import CacheLimits, gc_policy
from runnerkit.engine.port import DockerPort
from runnerkit.facts.cache import CacheRecord, parse_inspect
from runnerkit.reach.transport import Login, Transport, connect
from runnerkit.target import parse_target
from tests.e2e.kit import Lab, lab_command, until

HOST = "recorder"
SCRATCH = "/data/scratch"
CAPTURED = Path(__file__).parent / "captured" / "gc"
ENGINES = {"20.10": "docker:20.10-dind", "26.1": "docker:26.1-dind", "28.5": "docker:28.5-dind"}
YEAR = 365 * 86400
NAME = "gc-recorder"

# Arguments: image, data-root's directory, builder.gc as JSON, registry mirror.
START = """
set -eu
mkdir -p "$2/data" "$2/run"
cat >"$2/daemon.json" <<J
{"builder": {"gc": $3}, "features": {"buildkit": true},
 "registry-mirrors": ["$4"], "insecure-registries": ["$4"]}
J
docker run -d --name gc-recorder --privileged -v "$2/data:/var/lib/docker" -v "$2/run:/run/rk" \
    -v "$2/daemon.json:/etc/docker/daemon.json:ro" "$1" \
    dockerd --host=unix:///var/run/docker.sock --host=unix:///run/rk/docker.sock >/dev/null
"""
STOP = "docker stop -t 30 gc-recorder >/dev/null; docker rm -f -v gc-recorder >/dev/null"

# Layers, mounts and contexts of different sizes, ages and counts of use; one image stays tagged,
# so that its layers are shared. Argument: the round, 1 to 3.
FILL = """
set -eu
mkdir -p /tmp/b/one /tmp/b/two && cd /tmp/b
cat >Dockerfile <<'D'
FROM debian:trixie-slim AS base
RUN head -c 1100000 /dev/urandom >/base
FROM base AS kept
RUN head -c 2300000 /dev/urandom >/kept
FROM base AS one
COPY file /src
RUN --mount=type=cache,target=/root/.cache/one \\
    head -c 3100000 /dev/urandom >/root/.cache/one/x; head -c 1700000 /dev/urandom >/c
RUN head -c 4700000 /dev/urandom >/d
FROM base AS two
RUN --mount=type=cache,id=second,target=/var/two \\
    head -c 5300000 /dev/urandom >/var/two/x; head -c 6100000 /dev/urandom >/e
FROM scratch AS three
COPY file /three
FROM base AS four
RUN --mount=type=cache,id=fourth,target=/var/four,sharing=locked \\
    head -c 900000 /dev/urandom >/var/four/x
RUN head -c 7300000 /dev/urandom >/f
D
build() { DOCKER_BUILDKIT=1 docker build -q -f Dockerfile --target "$@" >/dev/null; }
case $1 in
1)
    head -c 510000 /dev/urandom >one/file
    build kept -t kept:1 one
    for again in 1 2 3; do build one one; done
    ;;
2) head -c 620000 /dev/urandom >two/file; build two two; build three two; build three two ;;
3) build four two; build two two; build one one ;;
esac
docker image rm $(docker image ls -q --filter dangling=true) >/dev/null 2>&1 || :
"""

Policy = Callable[[Sequence[CacheRecord], float, int], Mapping[str, Any]]


def limits(share: float, **changes: int) -> Policy:
    """The kit's own policy with `max` as that share of what is there."""

    def policy(records: Sequence[CacheRecord], now: float, free: int) -> Mapping[str, Any]:
        del now
        cap = int(cache_bytes(records) * share)
        ages = {"keep_mounts_seconds": YEAR, "keep_layers_seconds": YEAR} | changes
        wanted = ages.pop("more_free", 0)
        return gc_policy(CacheLimits(cap, free + wanted if wanted else 0, **ages))

    return policy


def one_rule(share: float, **rule: Any) -> Policy:
    """A policy of one hand-written rule."""

    def policy(records: Sequence[CacheRecord], now: float, free: int) -> Mapping[str, Any]:
        del now, free
        cap = f"{int(cache_bytes(records) * share)}b"
        sizes = {"keepStorage": cap, "reservedSpace": "0", "maxUsedSpace": cap}
        return {"enabled": True, "policy": [sizes | rule]}

    return policy


def aged(kind: str, rank: int, share: float = 0.01) -> Policy:
    """Take records of a type that are older than its `rank` youngest."""

    def policy(records: Sequence[CacheRecord], now: float, free: int) -> Mapping[str, Any]:
        times = sorted((r.last_used or 0 for r in records if r.type == kind), reverse=True)
        # Some seconds pass until the engine looks; the rounds lie much further apart. Cache mounts
        # would not do here: counting their sizes is a use of them all.
        age = int(now - times[rank] + 8)
        rule = {"filter": [f"type={kind}", f"unused-for={age}s"]}
        return one_rule(share, **rule)(records, now, free)

    return policy


def min_free_with_floor(records: Sequence[CacheRecord], now: float, free: int) -> Mapping[str, Any]:
    """Wants more free space than there is to gain, but keeps most of the cache."""
    del now
    floor = f"{int(cache_bytes(records) * 0.8)}b"
    rule = {"keepStorage": "1b", "reservedSpace": floor, "minFreeSpace": f"{free + 30_000_000}b"}
    return {"enabled": True, "policy": [{"all": True, **rule}]}


SITUATIONS: Mapping[str, Policy] = {
    "roomy": limits(1.2),
    "layers-go-first": limits(0.75),
    "all-layers-go": limits(0.4),
    "mounts-go-last": limits(0.15),
    "nearly-nothing-stays": limits(0.01),
    "ceiling-alone": one_rule(0.6, all=True),
    "unshared-alone": one_rule(0.5),
    "layers-alone": one_rule(0.7, filter=["type=regular"]),
    "mounts-alone": one_rule(0.8, filter=["type=exec.cachemount"]),
    "old-layers": aged("regular", 2),
}
NEW_SITUATIONS: Mapping[str, Policy] = {
    "min-free": limits(1.2, more_free=6_000_000),
    "min-free-with-floor": min_free_with_floor,
}


def main() -> None:
    """Record every situation on every engine."""
    name = os.environ.get("RUNNERKIT_LAB", "recorder")
    info = json.loads(lab_command(name, "up", "--hosts", "1", "--owner", str(os.getpid())).stdout)
    lab = Lab(name, info)
    lab.call("host", "add", HOST, "--disk", "2500M")
    place = next(host for host in json.loads(lab.call("hosts").stdout) if host["name"] == HOST)
    known, key = (Path(info["hosts"][0][item]) for item in ("known_hosts", "key"))
    login = Login(HOST, parse_target(f"root@{place['address']}"), key, known)
    transport = connect(login)
    CAPTURED.mkdir(parents=True, exist_ok=True)
    for engine in sys.argv[1:] or ENGINES:
        record(Recorder(transport, engine, info["registry"]))
    transport.close()


def record(recorder: Recorder) -> None:
    """All situations of one engine."""
    off = {"enabled": False}
    with recorder.running("base", off):
        for number in (1, 2, 3):
            recorder.sh(FILL, str(number), inside=True)
            time.sleep(25)  # what makes ages
        recorder.records()  # counting sizes for the first time is a use
    for name, policy in {**SITUATIONS, **(NEW_SITUATIONS if recorder.new else {})}.items():
        recorder.copy()
        with recorder.running("copy", off):
            before = recorder.records()
        now, free = recorder.clock(), recorder.free()
        with recorder.running("copy", policy(before, now, free)):
            began = recorder.clock()
            rules = recorder.rules()
            after = recorder.settled()
        content = {
            "engine": recorder.version,
            "situation": name,
            "now": began,
            "free_bytes": free,
            "rules": [asdict(rule) for rule in rules],
            "before": [asdict(item) for item in sorted(before, key=lambda r: r.created)],
            "after": sorted(after),
        }
        path = CAPTURED / f"{recorder.engine}-{name}.json"
        path.write_text(json.dumps(content, indent=1) + "\n")
        sys.stderr.write(f"{path.name}: {len(before)} records, {len(after)} left\n")


class Recorder:
    """One engine on the recording host."""

    def __init__(self, transport: Transport, engine: str, registry: str) -> None:
        self._transport = transport
        self.engine = engine
        self._registry = registry
        self.version = ""

    @property
    def new(self) -> bool:
        """Whether the engine has three sizes."""
        return self.engine == "28.5"

    def sh(self, script: str, *arguments: str, inside: bool = False) -> str:
        """Run a script on the host, or inside the engine's container."""
        where = ["docker", "exec", "-i", NAME] if inside else []
        done = self._transport.run([*where, "sh", "-s", "--", *arguments], script.encode())
        assert done.code == 0, done.stderr.decode()
        return done.stdout.decode()

    @contextmanager
    def running(self, place: str, gc: Mapping[str, Any]) -> Iterator[None]:
        """The engine on a data-root, with that policy."""
        folder = f"{SCRATCH}/{self.engine}-{place}"
        self.sh(START, ENGINES[self.engine], folder, json.dumps(gc), self._registry)
        self._port = DockerPort(self._transport, f"{folder}/run/docker.sock")

        def answers() -> bool:
            argv = ["docker", "exec", NAME, "docker", "version", "-f", "{{.Server.Version}}"]
            done = self._transport.run(argv)
            self.version = done.stdout.decode().strip()
            return done.code == 0

        try:
            until(answers, 60, f"engine {self.engine} answers")
            yield
        finally:
            self._port.close()
            self.sh(STOP)

    def copy(self) -> None:
        """A fresh copy of the filled data-root."""
        base, copy = (f"{SCRATCH}/{self.engine}-{name}" for name in ("base", "copy"))
        self.sh('rm -rf -- "$2"; mkdir "$2"; cp -a "$1/data" "$2/"', base, copy)

    def records(self) -> tuple[CacheRecord, ...]:
        """What is in the cache."""
        return self._port.usage().records

    def settled(self) -> set[str]:
        """What is left once GC, which begins a second after the start, has ended."""
        end, before, left = time.monotonic() + 6, set[str](), self._ids()
        while time.monotonic() < end or before != left:
            time.sleep(1)
            before, left = left, self._ids()
        return left

    def _ids(self) -> set[str]:
        return {record.id for record in self.records()}

    def rules(self) -> Sequence[Any]:
        """The rules in force, asked with the engine's own buildx, or with the host's.

        An older buildx than the engine's knows only one of the sizes.
        """
        socket = f"unix://{SCRATCH}/{self.engine}-copy/run/docker.sock"
        own = f"docker exec {NAME} docker buildx inspect default 2>/dev/null"
        return parse_inspect(self.sh(f'{own} || docker -H "$1" buildx inspect default', socket))

    def clock(self) -> float:
        """The host's time."""
        return float(self.sh("date +%s.%N"))

    def free(self) -> int:
        """Free bytes of the disk, as BuildKit counts them."""
        return int(
            self.sh(f"sync; stat -f -c '%f %S' {SCRATCH} | awk '{{ printf \"%.0f\", $1 * $2 }}'")
        )


if __name__ == "__main__":
    main()
