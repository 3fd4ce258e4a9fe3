"""The janitor on small disks: leftovers go, the disk recovers, no build suffers, mounts go last."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.kit import (
    PIPELINES,
    PROJECTS,
    Kit,
    Lab,
    explain,
    lab_name,
    logs_of,
    running_lab,
    until,
)

pytestmark = pytest.mark.lab

HOSTS = {
    "small28": "docker:28.5-dind",
    "small26": "docker:26.1-dind",
    "small20": "docker:20.10-dind",
}
# For what differs least from engine to engine.
NEWEST_AND_OLDEST = ("small28", pytest.param("small26", marks=pytest.mark.soak), "small20")
DISK, MIN_FREE = "2300M", 1400 << 20
BUILDS = 24
ORDER = ("built,", "pulled,", "cache: regular", "cache: exec.cachemount")

# A second janitor beside the first, in a hurry: arguments are its settings.
BY_HAND = """
docker exec "$@" -e JANITOR_WORK=/tmp/hand -e JANITOR_STATE=/tmp runnerkit-main-janitor-1 sh -c '
rm -rf /tmp/hand /tmp/report
sh /etc/runnerkit/janitor.sh & while [ ! -e /tmp/report ]; do sleep 0.1; done; kill $!'
"""

# Arguments: names for images, each with layers and a part in a cache mount of its own.
BUILD = """
export DOCKER_HOST=unix:///run/runnerkit/main/docker.sock DOCKER_BUILDKIT=1
docker pull -q debian:trixie-slim
for name in "$@"; do
    printf 'FROM debian:trixie-slim\\nRUN --mount=type=cache,id=%s,target=/kept %s\\nRUN %s\\n' \\
        "$name" 'head -c 5000000 /dev/zero >/kept/f' "echo $name; date >/date" |
        docker build -q -t "$name" -
done
"""

# A cache mount and three layers of 190 MB each; the images are gone again, so GC may take them.
OVERFILL = """
export DOCKER_HOST=unix:///run/runnerkit/main/docker.sock DOCKER_BUILDKIT=1
docker pull -q debian:trixie-slim
for number in 1 2 3; do
    docker image rm "$(printf 'FROM debian:trixie-slim\n%s\nRUN echo %s; %s\n' \
        'RUN --mount=type=cache,id=stays,target=/stays echo x >>/stays/f' \
        "$number" 'head -c 190000000 /dev/urandom >/f' | docker build -q -)"
done
"""

# A second janitor, in a hurry, until it has missed layers; what it noted then.
COUNT = """
docker exec -e JANITOR_WORK=/tmp/count -e JANITOR_STATE=/tmp/counted \
    -e JANITOR_SWEEP_EVERY=1 -e JANITOR_LOOK_EVERY=1 runnerkit-main-janitor-1 sh -c '
mkdir -p /tmp/counted
sh /etc/runnerkit/janitor.sh >/dev/null 2>&1 &
until grep -q " regular " /tmp/counted/evictions 2>/dev/null; do sleep 0.2; done
kill $!
cat /tmp/counted/evictions'
"""

MAKE_LEFTOVERS = """
docker() { command docker -H unix:///run/runnerkit/main/docker.sock "$@"; }
now=$(date +%s)
docker pull -q debian:trixie-slim
for name in past future; do
    if [ $name = past ]; then expires=$((now - 5)); else expires=$((now + 600)); fi
    set -- --label io.drone=true --label io.drone.protected=false \\
        --label io.drone.expires=$expires --label io.drone.created=$((now - 60))
    docker volume create "$@" $name
    docker network create "$@" $name
    docker run -d "$@" --network $name -v $name:/v --name $name debian:trixie-slim sleep 600
done
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A lab of its own: no other runner shall take the builds that fill the disks."""
    with running_lab(f"{lab_name()}-janitor", hosts=1) as lab:
        yield lab


@pytest.fixture(scope="module")
def small(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    """Three runners, each with its data on a disk of 2.3 GB of which 1.4 have to stay free."""
    content = yaml.safe_load(Path(lab.info["config"]).read_text())
    [entry, *_] = content["hosts"].values()
    hosts = {}
    for name, image in HOSTS.items():
        added = json.loads(lab.call("host", "add", name, "--disk", DISK).stdout)
        hosts[name] = entry | {
            "ssh": f"root@{added['address']}",
            "docker": {"image": image, "data": "/data"},
            "cache": {"max": "90%", "min_free": f"{MIN_FREE >> 20}MiB"},
        }
    kit = Kit(tmp_path_factory.mktemp("small") / "runnerkit.yml")
    kit.config.write_text(yaml.safe_dump(content | {"hosts": hosts}))
    kit("up", "--yes")
    yield kit
    for name in HOSTS:
        lab.call("host", "remove", name)


def disk_bytes(lab: Lab, host: str) -> tuple[int, int]:
    """The size of the data disk and what is free of it."""
    _, total, _, free, *_ = lab.on(host, "df", "-Pk", "/data").stdout.splitlines()[-1].split()
    return int(total) * 1024, int(free) * 1024


def by_hand(lab: Lab, host: str, **settings: int) -> str:
    """The log of one sweep with other settings."""
    arguments = [text for key, value in settings.items() for text in ("-e", f"{key}={value}")]
    return lab.on(host, "sh", "-c", BY_HAND, "sh", *arguments).stdout


def docker(kit: Kit, host: str, *arguments: str) -> list[str]:
    return kit("docker", host, "--", *arguments).stdout.split()


def test_builds_that_fill_the_disk_succeed_and_keep_their_cache_mount(small: Kit, lab: Lab) -> None:
    queued = [lab.queue(PIPELINES / "fill.yml", PROJECTS / "fill") for _ in range(BUILDS)]
    builds = [json.loads(process.communicate(timeout=400)[0]) for process in queued]
    for build in builds:
        assert build["status"] == "success", explain(build)
    for host in HOSTS:
        until(lambda host=host: disk_bytes(lab, host)[1] >= MIN_FREE, 60, f"room on {host}")  # type: ignore[misc]
        log = small("logs", host, "janitor", "--tail", "1000").stdout
        assert "the disk is short" in log
        assert "exec.cachemount" not in log
        # Every build saw the marks of all builds before it on its host: the mount was never lost.
        seen = [
            int(found[1])
            for build in builds
            if build["stages"][0]["machine"] == host
            and (found := re.search(r"mount has seen (\d+) builds", logs_of(build, "build")))
        ]
        assert sorted(seen) == list(range(1, len(seen) + 1))
        assert len(seen) >= 3
        evicted = json.loads(small("tune", host, "--json").stdout)["measured"]["evictions"]
        # On the newest engine GC may have been the faster one, and not be noticed yet.
        assert evicted["janitor"] or host == "small28", evicted


@pytest.mark.parametrize("host", NEWEST_AND_OLDEST)
def test_what_drone_left_behind_goes_and_what_runs_stays(host: str, small: Kit, lab: Lab) -> None:
    lab.on(host, "bash", "-c", MAKE_LEFTOVERS)
    try:
        by_hand(lab, host)
        assert docker(small, host, "ps", "-a", "--format", "{{.Names}}") == ["future"]
        assert docker(small, host, "volume", "ls", "-q") == ["future"]
        networks = docker(small, host, "network", "ls", "--format", "{{.Name}}")
        assert sorted(networks) == ["bridge", "future", "host", "none"]
    finally:
        docker(small, host, "rm", "-f", "future")
        docker(small, host, "network", "rm", "future")
        docker(small, host, "volume", "rm", "future")


@pytest.mark.parametrize("host", NEWEST_AND_OLDEST)
def test_old_images_built_here_go_and_pulled_ones_stay(host: str, small: Kit, lab: Lab) -> None:
    lab.on(host, "sh", "-c", BUILD, "sh", "old:1", "used:1")
    docker(small, host, "create", "--name", "user", "used:1")
    try:
        assert "removed image old:1" in by_hand(lab, host, JANITOR_KEEP_BUILT=0)
        left = docker(small, host, "image", "ls", "--format", "{{.Repository}}:{{.Tag}}")
        assert {"used:1", "debian:trixie-slim"} <= set(left)
        assert "old:1" not in left
    finally:
        docker(small, host, "rm", "user")


@pytest.mark.parametrize("host", HOSTS)
def test_when_everything_has_to_go_cache_mounts_go_last(host: str, small: Kit, lab: Lab) -> None:
    lab.on(host, "sh", "-c", BUILD, "sh", "last:1")
    total, _ = disk_bytes(lab, host)
    log = ""

    def swept_to_the_last() -> bool:
        # What was used within the last two seconds waits for the next sweep.
        nonlocal log
        log += by_hand(lab, host, JANITOR_MIN_FREE=total - 1)
        return ORDER[-1] in log

    until(swept_to_the_last, 30, "cache mounts go")
    assert "removed image last:1" in log
    assert "still short" in log
    built, pulled, layers, mounts = (log.find(words) for words in ORDER)
    assert built < pulled < mounts
    assert max(built, pulled, layers) < mounts
    assert small("status", host).code == 0


def test_what_the_engine_itself_evicts_is_counted(small: Kit, lab: Lab) -> None:
    """Above its ceiling: layers of images that are gone, while the cache mount stays."""
    host, before = "small28", small.config.read_text()
    small.edit(lambda content: content["hosts"][host]["cache"].update(max="512MiB"))
    try:
        small("up", host, "--yes")
        counting = lab.begin(host, "sh", "-c", COUNT)
        lab.on(host, "sh", "-c", OVERFILL)
        lines = [line.split()[1:] for line in counting.communicate(timeout=300)[0].splitlines()]
        [(_, size, _)] = [found for by, kind, *found in lines if (by, kind) == ("gc", "regular")]
        assert int(size) >= 150_000_000, lines
        assert "exec.cachemount" not in {kind for _, kind, *_ in lines}
        cache = json.loads(small("cache", "show", host, "--json").stdout)
        assert cache["cache_bytes"] <= 512 << 20
        assert "/stays" in {item["mount"]["target"] for item in cache["mounts"]}
    finally:
        small.config.write_text(before)
        small("up", host, "--yes")
