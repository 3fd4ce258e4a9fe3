"""A registry mirror on one host, for its own dind and for that of another host."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from urllib.request import Request, urlopen

import pytest
import yaml

from tests.e2e.kit import ROOT, Kit, Lab, until

pytestmark = pytest.mark.lab

IMAGE = "docker.io/library/python:3.13-slim"


def upstream(lab: Lab) -> list[str]:
    """Every request for the image that the lab's registry answered so far: `METHOD /path`."""
    log = ROOT / ".lab" / lab.name / "services/registry.log"
    found = re.findall(r'"(\w+) (/v2/library/python/\S+) HTTP', log.read_text())
    return [f"{method} {path}" for method, path in found]


@pytest.fixture(scope="module")
def mirrored(lab: Lab, kit: Kit, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    """host1 with a mirror that fetches from the lab's registry; host2 with nothing but that."""
    address = next(host["address"] for host in lab.info["hosts"] if host["name"] == "host1")
    content = yaml.safe_load(kit.config.read_text())
    content["defaults"]["docker"]["mirrors"] = []
    listen = f"{address}:5000"
    content["hosts"] = {name: content["hosts"][name] for name in ("host1", "host2")}
    content["hosts"]["host1"]["registry"] = {
        "mirror": True, "listen": listen, "upstream": lab.info["registry"],
    }  # fmt: skip
    content["hosts"]["host2"]["docker"]["mirrors"] = [f"http://{listen}"]
    config = tmp_path_factory.mktemp("mirror") / "runnerkit.yml"
    config.write_text(yaml.safe_dump(content))
    ours = Kit(config)
    ours("up", "--yes")
    for host in ("host1", "host2"):
        # A layer that a daemon has already, of whatever image, it does not ask the mirror for.
        ours("docker", host, "--", "system", "prune", "--all", "--force")
    yield ours
    kit("up", "host1", "host2", "--yes")


def test_the_mirror_is_part_of_the_stack(mirrored: Kit, lab: Lab) -> None:
    plans = json.loads(mirrored("plan", "--json").stdout)["hosts"]
    assert [plan["actions"] for plan in plans] == [[], []]
    shown = json.loads(mirrored("status", "host1", "--json").stdout)["hosts"][0]
    assert {check["id"]: check["status"] for check in shown["checks"]}["registry-mirror"] == "ok"
    names = lab.on("host1", "sh", "-c", "cd /srv/runnerkit/main && docker compose ps --services")
    assert "mirror" in names.stdout.split()


def ills(kit: Kit, host: str) -> dict[str, str]:
    """The checks that are neither ok nor skipped, with their hints."""
    [report] = json.loads(kit("status", host, "--json", expect=None).stdout)["hosts"]
    return {c["id"]: c["hint"] for c in report["checks"] if c["status"] not in ("ok", "skip")}


def test_a_mirror_that_stopped_is_told_where_it_is_and_where_it_is_used(
    mirrored: Kit, lab: Lab
) -> None:
    lab.on("host1", "docker", "stop", "--time", "0", "runnerkit-main-mirror-1")
    try:
        assert ills(mirrored, "host1")["registry-mirror"] == "runnerkit up host1"
        assert set(ills(mirrored, "host2")) == {"mirror"}
    finally:
        mirrored("up", "host1", "--yes")
    assert ills(mirrored, "host1") == {}
    assert ills(mirrored, "host2") == {}


def blobs_of_image(lab: Lab) -> set[str]:
    """The digests of everything that a pull of the image fetches, without `sha256:`."""
    url = f"{lab.info['registry']}/v2/library/python/manifests/3.13-slim"
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    with urlopen(Request(url, headers={"Accept": kind})) as answer:
        manifest = json.load(answer)
    parts = [manifest["config"], *manifest["layers"]]
    return {part["digest"].removeprefix("sha256:") for part in parts}


def kept(lab: Lab, digests: set[str]) -> bool:
    """Whether the mirror has stored these blobs and will serve them for the image.

    It stores beside serving, a moment later, and links a blob to the image last.
    """
    place = "/var/lib/runnerkit/main.mirror"
    found = lab.on("host1", "find", place, "-path", "*/_layers/sha256/*/link").stdout
    return all(digest in found for digest in digests)


def test_the_second_host_fetches_nothing_from_upstream(mirrored: Kit, lab: Lab) -> None:
    digests = blobs_of_image(lab)
    before = len(upstream(lab))
    mirrored("docker", "host1", "--", "pull", "--quiet", IMAGE)
    until(lambda: kept(lab, digests), 60, "the mirror has stored everything")
    first = len(upstream(lab))
    assert [request for request in upstream(lab)[before:] if "/blobs/" in request]

    mirrored("docker", "host2", "--", "pull", "--quiet", IMAGE)
    second = upstream(lab)[first:]
    # The mirror may ask what the tag means now; Docker Hub counts no HEAD as a pull.
    assert [request for request in second if not request.startswith("HEAD")] == []


def test_without_upstream_builds_of_known_images_work(mirrored: Kit, lab: Lab) -> None:
    dockerfile = f"FROM {IMAGE}\nRUN python3 -c 'print(6 * 7)'\n"
    build = f'printf %s "{dockerfile}" | docker build --progress=plain --pull --no-cache - 2>&1'
    registry = lab.info["registry"].removeprefix("http://").split(":")
    rule = ["-d", registry[0], "-p", "tcp", "--dport", registry[1], "-j", "REJECT"]
    rule += ["--reject-with", "tcp-reset"]  # also ends the connection that the mirror keeps open
    for chain in ("OUTPUT", "FORWARD"):
        lab.on("host1", "iptables", "-I", chain, *rule)
    try:
        for host in ("host1", "host2"):
            mirrored("docker", host, "--", "image", "rm", "--force", IMAGE)
            said = lab.on(host, "docker", "exec", "runnerkit-main-dind-1", "sh", "-c", build)
            assert " 42\n" in said.stdout
    finally:
        for chain in ("OUTPUT", "FORWARD"):
            lab.on("host1", "iptables", "-D", chain, *rule)


def test_above_its_limit_it_is_emptied(mirrored: Kit, lab: Lab) -> None:
    mirrored.edit(lambda content: content["hosts"]["host1"]["registry"].update(max="1MiB"))
    mirrored("up", "host1", "--yes")
    size = lab.on("host1", "du", "-sk", "/var/lib/runnerkit/main.mirror").stdout.split()[0]
    assert int(size) <= 1024
    status = json.loads(mirrored("status", "host1", "--json").stdout)["hosts"][0]
    assert {check["id"]: check["status"] for check in status["checks"]}["registry-mirror"] == "ok"


def test_switched_off_it_goes_and_its_data_stays(mirrored: Kit, lab: Lab) -> None:
    mirrored.edit(lambda content: content["hosts"]["host1"]["registry"].update(mirror=False))
    plan = json.loads(mirrored("plan", "host1", "--json").stdout)["hosts"][0]
    assert "remove mirror" in [action["title"] for action in plan["actions"]]
    mirrored("up", "host1", "--yes")
    listed = lab.on("host1", "docker", "ps", "--all", "--format", "{{.Names}}").stdout
    assert "mirror" not in listed
    lab.on("host1", "test", "-d", "/var/lib/runnerkit/main.mirror")
