"""The data-root: nothing is left behind, written over or shared; a move takes everything along."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.kit import HARD_TO_COPY, Kit, Lab

pytestmark = pytest.mark.lab

HOST, OLD, NEW = "mover", "/var/lib/runnerkit/main", "/data/main"


@pytest.fixture(scope="module")
def kit(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    """A runner whose data is in the usual place, on a host that has a disk of its own at /data."""
    content = yaml.safe_load(Path(lab.info["config"]).read_text())
    [entry, *_] = content["hosts"].values()
    added = json.loads(lab.call("host", "add", HOST, "--disk", "6G").stdout)
    settings = {"ssh": f"root@{added['address']}", "docker": {"image": "docker:28.5-dind"}}
    settings["cache"] = {"min_free": "1GB"}
    kit = Kit(tmp_path_factory.mktemp("data") / "runnerkit.yml")
    kit.config.write_text(yaml.safe_dump(content | {"hosts": {HOST: entry | settings}}))
    kit("up", "--yes")
    yield kit
    lab.call("host", "remove", HOST)


def test_a_second_daemon_on_the_data_root_is_refused(kit: Kit, lab: Lab) -> None:
    other = ("--name", "other", "--volume", f"{OLD}:/var/lib/docker", "--entrypoint", "sleep")
    lab.on(HOST, "docker", "run", "--detach", *other, "docker:28.5-dind", "600")
    try:
        assert "is in use by the container other" in kit("up", "--yes", expect=1).output
    finally:
        lab.on(HOST, "docker", "rm", "--force", "other")
    kit("plan", "--exit-code")


def test_data_moves_only_when_asked_and_then_all_of_it(kit: Kit, lab: Lab) -> None:
    lab.on(HOST, "sh", "-c", HARD_TO_COPY)
    kit.edit(lambda content: content["hosts"][HOST]["docker"].update(data="/data"))
    refused = kit("up", "--yes", expect=1).output
    assert f"docker.data says {NEW}, but the images and caches are in {OLD}" in refused
    assert "--move-data" in refused
    lab.on(HOST, "mkdir", "-p", f"{NEW}/something")
    assert f"{NEW} is not empty" in kit("up", "--yes", "--move-data", expect=1).output
    lab.on(HOST, "rm", "-r", NEW)

    kit("up", "--yes", "--move-data")
    kit("plan", "--exit-code")
    again = lab.on(HOST, "sh", "-c", HARD_TO_COPY).stdout
    assert again.count("CACHED") == 2
    assert again.splitlines()[-2:] == ["0", "2"]
    # The old data stays until a person deletes it, and status says so for as long.
    assert OLD in kit("status", "--json").stdout
    lab.on(HOST, "rm", "-r", OLD)
    assert OLD not in kit("status", "--json").stdout


def test_within_one_disk_a_move_is_a_rename(kit: Kit, lab: Lab) -> None:
    before = lab.on(HOST, "stat", "-c", "%i", NEW).stdout
    kit.edit(lambda content: content["hosts"][HOST]["docker"].update(data="/data/deeper"))
    kit("up", "--yes", "--move-data")
    assert lab.on(HOST, "stat", "-c", "%i", "/data/deeper/main").stdout == before
    assert lab.on(HOST, "sh", "-c", HARD_TO_COPY).stdout.count("CACHED") == 2
