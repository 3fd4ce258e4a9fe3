from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from runnerkit.change.journal import Begun, Owner
from runnerkit.desired.addresses import AddressPool
from runnerkit.errors import ExitCode
from runnerkit.facts.daemon import DaemonFacts, DaemonUnavailable, Mount, Resource
from runnerkit.facts.host import BuildCache, Disk, HostFacts, ServerFacts, Span
from runnerkit.facts.inside import InsideFacts, Way
from runnerkit.facts.janitor import JanitorReport
from runnerkit.facts.names import NameAnswer
from runnerkit.health.judge import CHECKS, judge
from runnerkit.health.model import Status, check_id, meaning, unreachable
from runnerkit.report.status import health_json
from tests.unit.builders import NOW, converged, desired_for

GIB = 1 << 30
MIRROR = "http://mirror.lan:5000"

Step = Callable[[HostFacts], HostFacts]


def system(**changes: object) -> Step:
    return lambda facts: replace(
        facts,
        system=replace(facts.system, **changes),  # type: ignore[arg-type]
    )


def outer(**changes: object) -> Step:
    def step(facts: HostFacts) -> HostFacts:
        assert isinstance(facts.outer, DaemonFacts)
        return replace(facts, outer=replace(facts.outer, **changes))  # type: ignore[arg-type]

    return step


def inner(**changes: object) -> Step:
    def step(facts: HostFacts) -> HostFacts:
        assert isinstance(facts.inner, DaemonFacts)
        return replace(facts, inner=replace(facts.inner, **changes))  # type: ignore[arg-type]

    return step


def inside(**changes: object) -> Step:
    def step(facts: HostFacts) -> HostFacts:
        assert facts.inside is not None
        return replace(facts, inside=replace(facts.inside, **changes))  # type: ignore[arg-type]

    return step


def server(answer: ServerFacts) -> Step:
    return lambda facts: replace(facts, server=answer)


def container(service: str, **changes: object) -> Step:
    def step(facts: HostFacts) -> HostFacts:
        assert isinstance(facts.outer, DaemonFacts)
        changed = tuple(
            replace(item, **changes) if item.service == service else item  # type: ignore[arg-type]
            for item in facts.outer.containers
        )
        return replace(facts, outer=replace(facts.outer, containers=changed))

    return step


def file(name: str, **changes: object) -> Step:
    def step(facts: HostFacts) -> HostFacts:
        changed = tuple(
            replace(item, **changes) if item.name == name else item  # type: ignore[arg-type]
            for item in facts.system.files
        )
        return replace(facts, system=replace(facts.system, files=changed))

    return step


def stages(count: int) -> Step:
    """So many pipelines run in dind."""

    def step(facts: HostFacts) -> HostFacts:
        assert isinstance(facts.outer, DaemonFacts)
        labels = {"io.drone": "true", "io.drone.repo.slug": "a/b", "io.drone.build.number": "1"}
        some = facts.outer.containers[0]
        running = tuple(
            replace(some, labels=labels | {"io.drone.stage.number": str(number)})
            for number in range(count)
        )
        return inner(containers=running)(facts)

    return step


def log(seconds_ago: int, message: str) -> Step:
    from datetime import UTC, datetime

    stamp = datetime.fromtimestamp(NOW - seconds_ago, UTC).isoformat()
    line = f'time="{stamp}" level=error msg="{message}"'
    return lambda facts: replace(facts, runner_log=line)


def disk(available: int = 80 * GIB, inodes_available: int = 900_000, kind: str = "ext4") -> Step:
    full = Disk("/data", kind, 100 * GIB, available, 1_000_000, inodes_available)
    return system(data_disk=full)


def pulled(image_id: str) -> Step:
    """The newest image of dind is on the host; its containers run sha256:1."""

    def step(facts: HostFacts) -> HostFacts:
        there = outer(images={"docker@sha256:new": image_id})(facts)
        return replace(there, newest={"docker:28-dind": "sha256:new"})

    return step


ANSWERED = Span(NOW, NOW + 0.5)
OLD = str(NOW - 7200)
SILENT = Way("drone.example.com", 443, "no answer within 5 s")
REFUSED = Way("mirror.lan", 5000, "Connection refused", refused=True)

# Check, how bad, one step away from a healthy host, words of the hint.
FAULTS: list[tuple[str, Status, Step, str]] = [
    ("root", Status.FAIL, system(uid=1000), "hosts.forge.sudo: true"),
    ("platform", Status.FAIL, system(arch="riscv64"), "x86_64"),
    ("platform", Status.FAIL, container("dind", arch="arm64"), "runnerkit upgrade forge"),
    ("clock", Status.WARN, system(clock=NOW - 60), "timedatectl"),
    ("clock", Status.FAIL, system(clock=NOW + 900), "timedatectl"),
    ("clock", Status.UNKNOWN, system(clock=None), ""),
    ("disk-space", Status.WARN, disk(available=4 * GIB), "system df"),
    ("disk-space", Status.FAIL, disk(available=GIB // 2), "system df"),
    ("inodes", Status.WARN, disk(inodes_available=50_000), "--inodes /data"),
    ("inodes", Status.FAIL, disk(inodes_available=10), "--inodes /data"),
    ("memory", Status.WARN, system(memory_available_bytes=GIB // 2), "docker.memory"),
    ("memory", Status.FAIL, system(memory_available_bytes=GIB // 8), "runner.capacity"),
    (
        "memory", Status.WARN,
        system(swap_free_bytes=1, memory_available_bytes=GIB), "docker.memory",
    ),
    ("files", Status.WARN, file("daemon.json", sha256="0" * 64), "runnerkit plan forge"),
    ("files", Status.FAIL, file("manifest.json", content=b"{"), "runnerkit plan forge"),
    ("secret-files", Status.FAIL, file("runner.env", mode=0o644), "runnerkit up forge"),
    ("secret-files", Status.FAIL, file("runner.env", owner="ops:ops"), "runnerkit up forge"),
    ("secret-files", Status.FAIL, system(directory_mode=0o755), "runnerkit up forge"),
    ("drift", Status.WARN, container("runner", labels={}), "runnerkit plan forge"),
    ("engine", Status.FAIL, outer(version="20.10.24"), "docker.source: official"),
    ("compose", Status.FAIL, system(compose_version=None), "docker-compose-plugin"),
    ("compose", Status.FAIL, system(compose_version="2.3.1"), "docker.source: official"),
    (
        "updates", Status.WARN,
        lambda facts: replace(facts, newest={"docker:28-dind": "sha256:new"}),
        "runnerkit upgrade forge",
    ),
    ("updates", Status.WARN, pulled("sha256:2"), "runnerkit upgrade forge"),
    (
        "updates", Status.UNKNOWN,
        lambda facts: replace(facts, newest={"docker:28-dind": None}), "docker login",
    ),
    ("dind", Status.FAIL, container("dind", health="unhealthy"), "runnerkit logs forge dind"),
    ("dind", Status.WARN, container("dind", health="starting"), "runnerkit logs forge dind"),
    ("dind", Status.FAIL, container("dind", state="restarting"), "runnerkit logs forge dind"),
    (
        "dind", Status.WARN,
        container("dind", restarts=1, started_at="2026-01-01T02:50:00Z"),
        "runnerkit logs forge dind",
    ),
    ("runner", Status.FAIL, container("runner", state="exited"), "runnerkit up forge"),
    ("runner", Status.FAIL, container("runner", state="restarting"), "runnerkit logs forge runner"),
    (
        "runner", Status.FAIL,
        container("runner", restarts=9, started_at="2026-01-01T02:59:50.123456789Z"),
        "runnerkit logs forge runner",
    ),
    ("runner", Status.WARN, system(draining="runner-id"), "runnerkit up forge"),
    (
        "dind-api", Status.FAIL,
        lambda facts: replace(facts, inner=DaemonUnavailable("refused")),
        "runnerkit logs forge dind",
    ),
    ("janitor", Status.FAIL, container("janitor", state="exited"), "runnerkit up forge"),
    ("clean-up", Status.WARN, system(janitor=JanitorReport(NOW - 7200, 0, 0)), "forge janitor"),
    ("storage-driver", Status.FAIL, inner(storage_driver="vfs"), "ext4"),
    ("data-root", Status.FAIL, container("dind", mounts=()), "docker rm -f"),
    (
        "data-root", Status.FAIL,
        container("dind", mounts=(Mount("volume", "a1b2", "/var/lib/docker"),)), "docker rm -f",
    ),
    (
        "data-root", Status.FAIL,
        container("dind", mounts=(Mount("bind", "/elsewhere", "/var/lib/docker"),)), "docker rm -f",
    ),
    ("data-root", Status.FAIL, disk(kind="tmpfs"), "docker.data"),
    ("data-root", Status.FAIL, inside(data_there="8:99"), "docker restart"),
    ("data-root", Status.UNKNOWN, inside(data_seen=None), ""),
    (
        "one-daemon", Status.FAIL,
        outer(data_users=("other", "runnerkit-main-dind-1")), "docker stop other",
    ),
    ("one-daemon", Status.FAIL, outer(data_root="/var/lib/runnerkit/main"), "docker.data"),
    ("oom", Status.WARN, inside(oom_kills=((40.0, "cc1plus"), (4000.0, "go"))), "step_memory"),
    (
        "leftovers", Status.WARN,
        inner(volumes=(Resource("volume", "drone-x", {"io.drone.expires": OLD}),)),
        "runnerkit docker forge -- volume rm drone-x",
    ),
    (
        "address-pools", Status.FAIL,
        inner(pools=(AddressPool(IPv4Network("10.9.0.0/29"), 29),), subnets=("10.9.0.0/29",)),
        "network prune",
    ),
    ("mtu", Status.FAIL, inside(devices={"eth0": 1400, "docker0": 1500}), "docker.mtu: 1400"),
    ("mtu", Status.UNKNOWN, inside(devices={}), ""),
    ("egress", Status.FAIL, inside(ways=(SILENT,), names={}), "ip_forward"),
    ("dns", Status.FAIL, inside(names={"192.168.1.1": NameAnswer.SILENT}), "docker.dns"),
    ("dns", Status.FAIL, inside(names={"192.168.1.1": NameAnswer.NO_SUCH_NAME}), "docker.dns"),
    (
        "dns", Status.WARN,
        inside(names={"1.1.1.1": NameAnswer.SILENT, "192.168.1.1": NameAnswer.FOUND}), "docker.dns",
    ),
    (
        "firewall", Status.FAIL,
        inside(dind_log=('level=error msg="x" error="(iptables failed: iptables --wait)"',)),
        "docker restart runnerkit-main-dind-1",
    ),
    ("runner-api", Status.FAIL, inner(min_api_version="1.44"), "docker:28-dind"),
    ("polling", Status.FAIL, log(5, "poller: cannot request stage"), "runnerkit logs forge runner"),
    ("polling", Status.WARN, inside(runner_links=0), "runnerkit logs forge runner"),
    ("slots", Status.WARN, stages(3), "ps --filter label=io.drone"),
    (
        "cache-use", Status.WARN,
        lambda facts: replace(facts, build_cache=BuildCache(60 * GIB)), "runnerkit logs forge dind",
    ),
    (
        "cache-use", Status.UNKNOWN,
        lambda facts: replace(facts, build_cache=BuildCache(unknown="no answer")), "",
    ),
    ("server", Status.FAIL, server(ServerFacts(401)), "DRONE_RPC_SECRET"),
    ("server", Status.FAIL, server(ServerFacts(403)), "on the server"),
    ("server", Status.FAIL, server(ServerFacts(404)), "URL"),
    ("server", Status.FAIL, server(ServerFacts(500)), "log"),
    ("server", Status.FAIL, server(ServerFacts(None, "refused")), "curl"),
    (
        "certificate", Status.FAIL,
        server(ServerFacts(None, distrust="certificate has expired")), "renew",
    ),
    (
        "certificate", Status.FAIL,
        server(ServerFacts(None, distrust="Hostname mismatch, certificate is not valid")), "name",
    ),
    (
        "certificate", Status.FAIL,
        server(ServerFacts(None, distrust="self-signed certificate")), "tls_verify",
    ),
    (
        "certificate", Status.WARN,
        server(ServerFacts(200, clock=NOW, asked=ANSWERED, certificate_ends=NOW + 9e4)), "renew",
    ),
    (
        "server-clock", Status.FAIL,
        server(ServerFacts(200, clock=NOW - 900, asked=ANSWERED, certificate_ends=NOW + 9e6)),
        "timedatectl",
    ),
]  # fmt: skip

# They need another configuration, or have their own tests below.
ELSEWHERE = {
    "reachable", "change", "mirror", "selection", "gc-policy", "gc-errors", "hardening",
    "isolation", "registry-mirror", "pins", "layer-cache",
}  # fmt: skip


def bad(folder: Path, facts: HostFacts, **sections: Any) -> dict[str, str]:
    """The checks that are not ok, with their hints."""
    report = judge(desired_for(folder, **sections), facts)
    return {c.id: c.hint for c in report.checks if c.status not in (Status.OK, Status.SKIP)}


@pytest.fixture
def well(tmp_path: Path) -> HostFacts:
    return converged(desired_for(tmp_path))


def test_a_converged_host_is_healthy(tmp_path: Path, well: HostFacts) -> None:
    report = judge(desired_for(tmp_path), well)
    assert (report.status, report.exit_code) == ("healthy", ExitCode.OK), bad(tmp_path, well)


@pytest.mark.parametrize(
    ("check", "status", "step", "words"),
    FAULTS,
    ids=[f"{check}-{number}" for number, (check, *_) in enumerate(FAULTS)],
)
def test_a_fault_turns_its_own_check_red_and_no_other(
    check: str, status: Status, step: Step, words: str, tmp_path: Path, well: HostFacts
) -> None:
    report = judge(desired_for(tmp_path), step(well))
    found = {c.id: c.status for c in report.checks if c.status not in (Status.OK, Status.SKIP)}
    assert found == {check: status}
    [finding] = [item for item in report.checks if item.id == check]
    assert words in finding.hint
    assert finding.summary
    if status in (Status.WARN, Status.FAIL):
        assert finding.evidence
        assert finding.hint


def test_a_container_that_ended_tells_how_and_not_how_well_it_was(
    tmp_path: Path, well: HostFacts
) -> None:
    killed = container("runner", state="exited", exit_code=137, oom_killed=True)(well)
    [check] = [c for c in judge(desired_for(tmp_path), killed).checks if c.id == "runner"]
    image = "drone/drone-runner-docker:1.8.4"
    assert check.evidence == f"exited, exit code 137, out of memory, {image}"


def test_the_newest_image_is_one_that_runs(tmp_path: Path, well: HostFacts) -> None:
    assert bad(tmp_path, pulled("sha256:1")(well)) == {}


def test_every_check_has_a_fault() -> None:
    known = {check_id(check) for checks in CHECKS.values() for check in checks}
    assert known - {check for check, *_ in FAULTS} - ELSEWHERE == set()


def test_every_check_says_what_it_means() -> None:
    for checks in CHECKS.values():
        for check in checks:
            assert meaning(check).endswith("."), check_id(check)


MIRRORED = {"docker": {"mirrors": [MIRROR]}}


@pytest.mark.parametrize(
    ("way", "used", "expected"),
    [
        (Way("mirror.lan", 5000, None, status="HTTP/1.0 200 OK"), True, set()),
        (Way("mirror.lan", 5000, None, status="HTTP/1.0 401 Unauthorized"), True, set()),
        (Way("mirror.lan", 5000, None, status="HTTP/1.0 404 Not Found"), True, {"mirror"}),
        (REFUSED, True, {"mirror"}),
        (Way("mirror.lan", 5000, None, status="HTTP/1.0 200 OK"), False, {"mirror"}),
    ],
)
def test_a_mirror_must_be_in_use_and_answer(
    way: Way, used: bool, expected: set[str], tmp_path: Path
) -> None:
    facts = converged(desired_for(tmp_path, **MIRRORED))
    facts = inside(ways=(way,))(inner(registry_mirrors=(MIRROR + "/",) if used else ())(facts))
    assert set(bad(tmp_path, facts, **MIRRORED)) == expected


@pytest.mark.parametrize(
    ("cache", "way", "expected"),
    [
        ("mirror.lan:5000/layers", Way("mirror.lan", 5000, None), set()),
        ("mirror.lan:5000/layers", REFUSED, {"layer-cache"}),
        ("r.lan/layers", Way("r.lan", 443, None), set()),
        ("octocat/layers", Way("registry-1.docker.io", 443, None), set()),
        ("r.lan/layers", Way("r.lan", 5000, None), {"layer-cache"}),
    ],
)
def test_a_registry_of_shared_layers_must_answer(
    cache: str, way: Way, expected: set[str], tmp_path: Path
) -> None:
    sections = {"registry": {"cache": cache}}
    facts = inside(ways=(way,))(converged(desired_for(tmp_path, **sections)))
    assert set(bad(tmp_path, facts, **sections)) == expected


@pytest.mark.parametrize(
    ("repos", "expected"),
    [(["octocat/*"], set()), (["octocat"], {"selection"}), (["a/b", "a/b/c"], {"selection"})],
)
def test_patterns_that_can_never_match_are_told(
    repos: list[str], expected: set[str], tmp_path: Path
) -> None:
    sections = {"runner": {"limit": {"repos": repos}}}
    facts = converged(desired_for(tmp_path, **sections))
    assert set(bad(tmp_path, facts, **sections)) == expected


def test_a_stopped_daemon_is_one_failure_not_many(tmp_path: Path, well: HostFacts) -> None:
    stopped = container("dind", state="exited", health=None, exit_code=0)(well)
    facts = replace(
        stopped,
        inner=DaemonUnavailable("no socket"),
        inside=InsideFacts(runner_links=2),
        build_cache=BuildCache(unknown="no socket"),
    )
    assert bad(tmp_path, facts) == {"dind": "runnerkit up forge"}


def test_an_engine_that_does_not_answer_is_one_failure(tmp_path: Path, well: HostFacts) -> None:
    none = DaemonUnavailable("no socket")
    facts = replace(well, outer=none, inner=none, inside=None, build_cache=BuildCache(unknown="-"))
    assert set(bad(tmp_path, facts)) == {"engine"}


def test_no_way_out_is_one_failure(tmp_path: Path) -> None:
    facts = converged(desired_for(tmp_path, **MIRRORED))
    ways = (SILENT, Way("mirror.lan", 5000, "no answer within 5 s"))
    facts = inside(ways=ways, names={"192.168.1.1": NameAnswer.SILENT})(facts)
    assert set(bad(tmp_path, facts, **MIRRORED)) == {"egress"}


def test_a_changed_configuration_is_drift_and_a_hand_on_a_file_is_not(
    tmp_path: Path, well: HostFacts
) -> None:
    assert set(bad(tmp_path, well, runner={"capacity": 3})) == {"drift"}


def test_an_old_complaint_of_a_runner_that_works_is_no_failure(
    tmp_path: Path, well: HostFacts
) -> None:
    assert bad(tmp_path, log(600, "cannot ping the remote server")(well)) == {}


def test_a_clock_is_right_for_as_long_as_the_answer_took() -> None:
    span = Span(100.0, 130.0)
    assert [span.distance(clock) for clock in (99, 100, 130, 98, 131)] == [0, 0, 0, -1, 1]


def test_an_unreachable_host_has_a_report_of_its_own() -> None:
    report = unreachable("forge", "forge.lan: connection refused", "is sshd running?")
    assert report.exit_code is ExitCode.UNREACHABLE
    shown = json.loads(health_json([report]))
    assert shown["schema_version"] == 1
    assert shown["hosts"][0]["status"] == "unreachable"
    assert set(shown["hosts"][0]["checks"][0]) == {
        "id", "group", "status", "summary", "evidence", "hint",
    }  # fmt: skip


BEGUN = Begun(Owner("ops@laptop", 4711, "up"), 1_700_000_000, "drain the runner", 2, 5)


def test_an_interrupted_change_is_told_until_it_is_mended(tmp_path: Path, well: HostFacts) -> None:
    system = replace(well.system, journal=BEGUN.to_line())
    report = judge(desired_for(tmp_path), replace(well, system=system))
    [found] = [check for check in report.checks if check.id == "change"]
    assert found.status is Status.WARN
    assert "interrupted at step 2 of 5: drain the runner" in found.summary
    assert found.hint == "runnerkit up forge"


def test_a_change_under_way_is_no_interrupted_one(tmp_path: Path, well: HostFacts) -> None:
    system = replace(well.system, journal=BEGUN.to_line(), lock_owner=BEGUN.owner.to_line())
    assert bad(tmp_path, replace(well, system=system)) == {}
