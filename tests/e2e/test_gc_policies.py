"""Engines start with whatever policy comes of the limits, run the rules meant, and GC never fails.

The policies are drawn anew each time; what was drawn is told by a test that fails.
"""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from runnerkit.cache.rules import differences, rules_of
from runnerkit.change.packages import version_tuple
from runnerkit.change.scripts import script
from runnerkit.desired.gc_policy import CacheLimits, gc_policy
from runnerkit.facts.cache import parse_inspect
from tests.e2e.kit import ENGINES, Lab, until

pytestmark = pytest.mark.lab

NAME, FOLDER = "gc-policies", "/run/gc-policies"

# Takes everything. It comes after all rules of the policy, and an engine that fails at one of them
# never comes to it: an empty cache shows that GC ran to its end.
LAST: dict[str, Any] = {
    "all": True, "keepStorage": "1b", "reservedSpace": "1b", "maxUsedSpace": "1b",
}  # fmt: skip

BUILD = """
docker exec -i $0 sh -c '
mkdir -p /tmp/context && cd /tmp/context && date >file
printf "FROM scratch\\nCOPY file /\\n" >Dockerfile
docker image rm "$(DOCKER_BUILDKIT=1 docker build -q .)"'
"""
SIZE = "docker system df --format '{{.Type}}:{{.Size}}' | sed -n 's/^Build Cache://p'"


class Engine:
    """A throw-away engine on one host, of the version that the host's runner has."""

    def __init__(self, lab: Lab, host: str) -> None:
        self._lab, self._host = lab, host

    def start(self, gc: dict[str, Any]) -> None:
        """With another policy, and with whatever was in its cache."""
        again = self._shell("docker ps -aq --filter name=$0", NAME)
        name = "trial_again" if again else "trial_begin"
        arguments = (NAME, FOLDER) if again else (ENGINES[self._host], NAME, FOLDER)
        text = json.dumps({"builder": {"gc": gc}, "features": {"buildkit": True}})
        self._shell('printf %s "$0" | sh -c "$@"', text, script(name), "sh", *arguments)
        until(lambda: bool(self.version()), 120, f"{NAME} answers on {self._host}")

    def version(self) -> str:
        return self._shell("docker exec $0 docker version -f '{{.Server.Version}}' || :", NAME)

    def build(self) -> None:
        self._shell(BUILD, NAME)

    def cache(self) -> str:
        """How much is in it: records of no size stay."""
        return self._shell('docker exec $0 sh -c "$1"', NAME, SIZE)

    def empties(self, gc: dict[str, Any]) -> bool:
        """Whether its GC empties the cache under this policy, which it starts with.

        Counting sizes holds records for a moment. A GC in that moment passes them over, and there
        is none after it: then it starts once more.
        """
        for _ in range(3):
            self.start(gc)
            with suppress(AssertionError):
                until(lambda: self.cache() == "0B", 20, "it is empty")
                return True
        return False

    def rules(self) -> str:
        """As the engine tells them itself, to its own client of BuildKit or to the host's."""
        inspect = "buildx inspect default 2>/dev/null"
        own = f"docker exec $0 docker {inspect} || docker -H unix://$1/docker.sock {inspect}"
        return self._shell(own, NAME, FOLDER)

    def errors(self) -> str:
        return self._shell("docker logs $0 2>&1 | grep 'gc error' || :", NAME)

    def remove(self) -> None:
        self._shell(script("trial_end"), NAME, FOLDER)

    def _shell(self, text: str, *arguments: str) -> str:
        return self._lab.on(self._host, "sh", "-c", text, *arguments).stdout.strip()


def drawn(seed: int) -> CacheLimits:
    """Limits of every order of magnitude."""
    choice = random.Random(seed)

    def number(highest: int) -> int:
        return int(2 ** choice.uniform(0, highest))

    return CacheLimits(
        max_bytes=number(50),
        min_free_bytes=choice.choice([0, number(50)]),
        keep_mounts_seconds=number(30),
        keep_layers_seconds=number(30),
    )


@pytest.fixture
def engines(lab: Lab) -> Iterator[dict[str, Engine]]:
    found = {host: Engine(lab, host) for host in ENGINES}
    yield found
    for engine in found.values():
        engine.remove()


@pytest.mark.parametrize("count", [4, pytest.param(24, marks=pytest.mark.soak)])
def test_engines_run_whatever_policy_is_drawn(count: int, engines: dict[str, Engine]) -> None:
    first = secrets.randbelow(1 << 32)
    seeds = range(first, first + count)

    def run_all(engine: Engine) -> None:
        engine.start({"enabled": False})
        version = version_tuple(engine.version())
        for seed in seeds:
            engine.build()
            assert engine.cache() != "0B"
            gc = gc_policy(drawn(seed))
            gc["policy"].append(LAST)
            told = (seed, drawn(seed), version)
            assert engine.empties(gc), told
            assert engine.errors() == "", told
            assert differences(rules_of(gc, version), parse_inspect(engine.rules())) == (), told

    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(run_all, engine) for engine in engines.values()]:
            done.result()
