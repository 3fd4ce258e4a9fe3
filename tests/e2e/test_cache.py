"""The build cache on three generations of the engine: what GC does, and what is told of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from runnerkit.change.scripts import script
from tests.e2e.kit import ENGINES, Kit, Lab, until

pytestmark = pytest.mark.lab

DIND, FILE = "runnerkit-main-dind-1", "/srv/runnerkit/main/daemon.json"
Rule = dict[str, Any]


def checks(kit: Kit, host: str) -> dict[str, dict[str, Any]]:
    [answer] = json.loads(kit("status", host, "--json", expect=None).stdout)["hosts"]
    return {check["id"]: check for check in answer["checks"]}


def shown(kit: Kit, host: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(kit("cache", "show", host, "--json").stdout)
    return answer


def test_engines_keep_to_the_ceiling_and_mounts_outlive_layers(fleet: Kit) -> None:
    with ThreadPoolExecutor() as pool:
        work = {host: pool.submit(fleet, "cache", "verify", host, "--json") for host in ENGINES}
    for host, result in work.items():
        trial = json.loads(result.result().stdout)
        assert trial["passed"], trial
        assert trial["left_bytes"] <= trial["max_bytes"] < trial["filled_bytes"]
        assert trial["evicted"]
        assert "exec.cachemount" not in {record["type"] for record in trial["evicted"]}
        assert trial["gc"]["errors"] == []
        # Engines before 28 cannot look at free space.
        assert trial["free_space_obeyed"] is (True if host == "host1" else None)


@pytest.mark.parametrize("host", ENGINES)
def test_the_rules_in_force_are_read_back_from_every_engine(host: str, fleet: Kit) -> None:
    found = checks(fleet, host)
    assert (found["gc-policy"]["status"], found["gc-errors"]["status"]) == ("ok", "ok"), found


# Changes of one rule, as a person may have read of them somewhere: None takes a key away.
TRAPS: dict[str, tuple[str, Rule, str]] = {
    "comma-types": ("host1", {"filter": ["type=source.local,exec.cachemount"]}, "one a rule"),
    "repeated-filter": ("host3", {"filter": ["type=regular", "type=internal"]}, "refuses to start"),
    "double-equals": ("host1", {"filter": ["type==regular"]}, "aborts every GC"),
    "keep-duration": ("host1", {"keepDuration": "48h"}, "an age stands in filter"),
    "missing-keep-storage": ("host3", {"keepStorage": None}, "engines before 27.5 stop"),
    "zero-size": ("host3", {"keepStorage": "0"}, "read as defaultKeepStorage"),
    "percentage": ("host3", {"keepStorage": "10%"}, "no engine takes percentages"),
    "unknown-key": ("host1", {"maxSize": "40GB"}, "drop it without a word"),
}
ZERO: Rule = dict.fromkeys(("keepStorage", "reservedSpace", "maxUsedSpace", "minFreeSpace"), "0")


@pytest.fixture
def edit(lab: Lab) -> Iterator[Callable[[str, Rule], None]]:
    """Change the first rule of a host's daemon.json by hand; afterwards it is as it was."""
    before: dict[str, str] = {}

    def write(host: str, text: str) -> None:
        lab.on(host, "sh", "-c", 'printf %s "$1" >"$0.mine" && mv "$0.mine" "$0"', FILE, text)

    def edit(host: str, change: Rule) -> None:
        text = lab.on(host, "cat", FILE).stdout
        before.setdefault(host, text)
        options = json.loads(text)
        policy = options["builder"]["gc"]["policy"]
        changed = {key: value for key, value in (policy[0] | change).items() if value is not None}
        options["builder"]["gc"]["policy"] = [changed, *policy[1:]]
        write(host, json.dumps(options))

    yield edit
    for host, text in before.items():
        write(host, text)


@pytest.mark.parametrize(
    ("name", "host", "change", "why"),
    [
        *((name, *trap) for name, trap in TRAPS.items()),
        ("zero-size", "host1", ZERO, "delete all that it matches at each GC"),
    ],
)
def test_a_trap_in_daemon_json_fails_the_check_that_names_it(
    name: str,
    host: str,
    change: Rule,
    why: str,
    fleet: Kit,
    edit: Callable[[str, Rule], None],
) -> None:
    edit(host, change)
    found = checks(fleet, host)["gc-policy"]
    assert found["status"] == "fail"
    assert name in found["summary"]
    assert why in found["evidence"]
    assert found["hint"] == f"runnerkit up {host} writes the file anew"


def test_a_file_that_dind_died_of_is_put_right_by_up(
    fleet: Kit, lab: Lab, edit: Callable[[str, Rule], None]
) -> None:
    edit("host3", {"keepStorage": None})
    lab.on("host3", "docker", "restart", "--time", "30", DIND)
    state = ("docker", "inspect", "--format", "{{.State.Status}}", DIND)
    until(lambda: lab.on("host3", *state).stdout.strip() == "restarting", 60, "dind dies")
    found = checks(fleet, "host3")
    # It dies again and again, so one may see it while it starts.
    assert found["dind"]["status"] in ("fail", "warn")
    assert found["gc-policy"]["status"] == "fail"
    assert "missing-keep-storage" in found["gc-policy"]["summary"]
    fleet("up", "host3", "--yes")
    found = checks(fleet, "host3")
    assert {found[name]["status"] for name in ("dind-api", "gc-policy", "polling")} == {"ok"}, found
    fleet("plan", "host3", "--exit-code")


def test_rules_that_dind_has_loaded_already_are_put_right_by_up(
    fleet: Kit, lab: Lab, edit: Callable[[str, Rule], None]
) -> None:
    edit("host1", {"filter": ["type==source.local"]})
    lab.on("host1", "docker", "restart", "--time", "30", DIND)
    assert checks(fleet, "host1")["gc-policy"]["status"] == "fail"
    ran = lab.on("host1", "docker", "inspect", "--format", "{{.Id}} {{.State.StartedAt}}", DIND)

    plan = fleet("plan", "host1").stdout
    assert "halt dind" in plan
    assert "dind was started with another daemon.json" in plan
    fleet("up", "host1", "--yes")
    found = checks(fleet, "host1")
    assert (found["gc-policy"]["status"], found["gc-errors"]["status"]) == ("ok", "ok"), found
    again = lab.on("host1", "docker", "inspect", "--format", "{{.Id}} {{.State.StartedAt}}", DIND)
    assert ran.stdout.split()[0] == again.stdout.split()[0]
    assert ran.stdout != again.stdout
    fleet("plan", "host1", "--exit-code")


@pytest.mark.parametrize("host", ["host1", "host3"])
def test_what_builds_left_is_shown_and_pruned_by_kind(host: str, fleet: Kit, lab: Lab) -> None:
    fill = script("trial_fill")
    lab.on(host, "sh", "-c", fill, "sh", DIND, "2", "2048", "3072")
    before = shown(fleet, host)
    [mount] = [item for item in before["mounts"] if item["mount"]["target"] == "/cache"]
    assert mount["size"] == 3072 * 1024
    foreseen = json.loads(fleet("cache", "simulate", host, "--max", "100GB", "--json").stdout)
    assert foreseen["evictions"] == []
    assert shown(fleet, host)["cache_bytes"] == before["cache_bytes"]

    assert "nobody is there to ask" in fleet("cache", "prune", host, "--layers", expect=2).stderr
    assert "freed" in fleet("cache", "prune", host, "--layers", "--yes").stdout
    after = shown(fleet, host)
    assert mount["id"] in {item["id"] for item in after["mounts"]}
    assert not [item for item in after["biggest"] if item["size"] >= 2048 * 1024]
    assert "/cache" in fleet("cache", "prune", host, "--mounts", "--yes").stdout
    assert shown(fleet, host)["mounts"] == []


# Arguments: a name. Two images of that name, with 8 MB in a layer of each; a container uses one.
IMAGES = """
export DOCKER_HOST=unix:///run/runnerkit/main/docker.sock DOCKER_BUILDKIT=1
docker pull -q debian:trixie-slim
for tag in gone used; do
    printf 'FROM debian:trixie-slim\\nRUN echo %s; head -c 8000000 /dev/urandom >/f\\n' $tag |
        docker build -q -t "$0:$tag" -
done
docker create --name user "$0:used"
"""


@pytest.mark.parametrize("host", ["host1", "host3"])
def test_images_go_and_with_layers_all_that_the_disk_holds_of_them(
    host: str, fleet: Kit, lab: Lab
) -> None:
    lab.on(host, "sh", "-c", IMAGES, "pruned")
    said = fleet("cache", "prune", host, "--images", "--yes").stdout
    assert "pruned:gone" in said
    assert "pruned:used" not in said
    # What it holds did not come back yet, and is not claimed.
    assert "the build cache still holds layers" in said
    assert "8.0 MiB" not in said.partition("freed")[2]
    images = fleet("docker", host, "--", "image", "ls", "--format", "{{.Tag}}").stdout.split()
    assert images == ["used"]

    fleet("docker", host, "--", "rm", "user")
    said = fleet("cache", "prune", host, "--images", "--layers", "--yes").stdout
    assert "pruned:used" in said
    assert "still holds" not in said
    layers = "/var/lib/runnerkit/main/overlay2"
    assert int(lab.on(host, "du", "-sk", layers).stdout.split()[0]) < 8000


# Arguments: what the image's label says. Builds with a cache mount, and leaves no image.
LABELLED = """
export DOCKER_HOST=unix:///run/runnerkit/main/docker.sock DOCKER_BUILDKIT=1
docker pull -q debian:trixie-slim
printf 'FROM debian:trixie-slim\\nRUN --mount=type=cache,id=whose,target=/k echo %s >/k/f\\n' \
    "$0" | docker build -q -t labelled --label "org.opencontainers.image.source=$0" -
docker image rm labelled debian:trixie-slim
"""


def test_a_cache_mount_is_said_to_be_of_the_repository_that_used_it_last(
    fleet: Kit, lab: Lab
) -> None:
    for repository in ("https://git.lan/lab/first", "https://robot:s3cret@git.lan/lab/second.git"):
        lab.on("host1", "sh", "-c", LABELLED, repository)
    lab.on("host3", "sh", "-c", LABELLED, "https://git.lan/lab/first")
    found = {host: shown(fleet, host) for host in ("host1", "host3")}
    mounts = {
        host: item
        for host, answer in found.items()
        for item in answer["mounts"]
        if item["mount"]["target"] == "/k"
    }
    assert mounts["host1"]["last_build"]["repository"] == "git.lan/lab/second"
    assert "last used by a build of git.lan/lab/second" in fleet("cache", "show", "host1").stdout
    # Engine 20.10 keeps no history.
    assert mounts["host3"]["last_build"] is None
    assert "buildx from 0.21" in found["host3"]["last_builds_unknown"]
    for host in found:
        fleet("cache", "prune", host, "--mounts", "--yes")
