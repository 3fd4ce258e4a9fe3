"""Two very different hosts get different advice; what is applied keeps the file's comments."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.kit import PIPELINES, Kit, Lab, explain, new_project, until

pytestmark = pytest.mark.lab

TEMPLATE = """\
# Two runners, one of them tiny.
server: {server}   # the house's own
secret: {secret}
defaults:
  # both pull from here
  docker: {{image: 'docker:28.5-dind', mirrors: [{mirror}]}}
  runner: {{labels: {{measured: "yes"}}}}   # only builds that ask for it
hosts:
  large:   # the one in the cellar
    ssh: {large}
    identity: {identity}
    known_hosts: {known_hosts}
    docker: {{data: /data}}
    # what it may use
    cache:
      max: 1GB   # to begin with
  tiny: {{ssh: {tiny}, identity: {identity}, known_hosts: {known_hosts}, docker: {{data: /data}}}}
# nothing below
"""


@pytest.fixture(scope="module")
def two(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    """A host with the machine's memory and 60 GB of disk, and one with 2 GB and 4 GB."""
    content = yaml.safe_load(Path(lab.info["config"]).read_text())
    [entry, *_] = content["hosts"].values()
    kinds = {"large": ["--disk", "60G"], "tiny": ["--memory", "2G", "--disk", "4G"]}
    added = {
        name: json.loads(lab.call("host", "add", name, *kind).stdout)
        for name, kind in kinds.items()
    }
    kit = Kit(tmp_path_factory.mktemp("two") / "runnerkit.yml")
    kit.config.write_text(
        TEMPLATE.format(
            server=content["server"],
            secret=content["secret"],
            mirror=lab.info["registry"],
            identity=entry["identity"],
            known_hosts=entry["known_hosts"],
            **{name: f"root@{host['address']}" for name, host in added.items()},
        )
    )
    kit("up", "--yes")
    yield kit
    for name in kinds:
        lab.call("host", "remove", name)


def advice(kit: Kit, host: str) -> dict[str, Any]:
    answer = json.loads(kit("tune", host, "--json").stdout)
    assert answer["schema_version"] == 1
    return answer  # type: ignore[no-any-return]


def comments(kit: Kit) -> list[str]:
    return [line[line.index("#") :] for line in kit.config.read_text().splitlines() if "#" in line]


def ids(lab: Lab, host: str) -> dict[str, str]:
    names = [f"runnerkit-main-{service}-1" for service in ("dind", "runner", "janitor")]
    shown = lab.on(host, "docker", "inspect", "--format", "{{.Id}} {{.State.StartedAt}}", *names)
    return dict(zip(names, shown.stdout.splitlines(), strict=True))


def test_different_hosts_get_different_advice_each_with_its_reason(two: Kit, lab: Lab) -> None:
    place = two.config.parent
    content = yaml.safe_load((PIPELINES / "build-and-run.yml").read_text())
    pipeline = place / "pipeline.yml"
    pipeline.write_text(yaml.safe_dump(content | {"node": {"measured": "yes"}}))
    build = lab.submit(pipeline, new_project(place / "greet"))
    assert build["status"] == "success", explain(build)
    large, tiny = advice(two, "large"), advice(two, "tiny")
    assert tiny["measured"]["memory_bytes"] == 2 << 30
    assert large["measured"]["memory_bytes"] > 4 << 30
    for host in (large, tiny):
        assert all(item["reason"] for item in host["advice"])
        assert host["measured"]["memory_peak_bytes"] > 0
        assert host["measured"]["disk"]["mount"] == "/data"
        assert host["measured"]["cache_bytes"] is not None
    # The one that took the build remembers it.
    assert large["measured"]["history"] or tiny["measured"]["history"]
    said = [{x["key"]: x["advised"] for x in host["advice"]} for host in (large, tiny)]
    assert all(said[0][key] != said[1][key] for key in ("cache.max", "cache.min_free"))
    assert said[1]["runner.capacity"] == "1"
    screen = two("tune", "tiny").stdout
    assert "runner.capacity 2 → 1" in screen
    assert max(map(len, screen.splitlines())) <= 80


def test_a_capacity_of_your_own_restarts_only_the_runner(two: Kit, lab: Lab) -> None:
    before, said = ids(lab, "large"), comments(two)
    two("tune", "large", "--capacity", "3", "--yes")
    after = ids(lab, "large")
    assert [name for name in before if before[name] != after[name]] == ["runnerkit-main-runner-1"]
    assert comments(two) == said
    assert yaml.safe_load(two.config.read_text())["hosts"]["large"]["runner"] == {"capacity": 3}


@pytest.mark.parametrize("host", ["large", "tiny"])
def test_applied_advice_keeps_every_comment_and_is_then_followed(host: str, two: Kit) -> None:
    said = comments(two)

    def followed() -> bool:
        # What was measured may still have been changing when it was asked for.
        two("tune", host, "--apply", "--yes", expect=None)
        assert comments(two) == said
        return not [x for x in advice(two, host)["advice"] if x["advised"] != x["now"]]

    until(followed, 300, "the advice is followed")
    two("plan", host, "--exit-code")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--capacity", "0"], "runner.capacity"),
        (["--cache-max", "50"], "cache.max"),
        (["--keep-layers", "60"], "cache.keep_layers"),
        (["--capacity", "2", "--apply"], "nothing to advise"),
    ],
)
def test_wrong_values_are_refused_before_the_file_changes(
    wrong: list[str], words: str, two: Kit
) -> None:
    before = two.config.read_text()
    assert words in two("tune", "large", *wrong, expect=2).stderr
    assert two.config.read_text() == before
