"""The measuring itself: order, medians, goals, what is written. No timings."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tarfile
import threading
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from runnerkit.bench.run import find_project, prepared
from runnerkit.bench.stats import Samples, interleaved
from runnerkit.bench.strategies import HOST, REGISTRY, RUNNER, STRATEGIES, THROW_AWAY
from runnerkit.errors import ConfigError, HostError
from runnerkit.paths import stack_paths
from runnerkit.reach.transport import Completed
from runnerkit.report.bench import bars_svg, bench_json, bench_table
from tests.bench.kit_rows import round_trips
from tests.bench.profile import Part, parts_table, processor_seconds, used
from tests.bench.rows import Goal, Row, readme_table, results_json, results_markdown
from tests.bench.slow_link import slow_link

PATHS = stack_paths("main", "/var/lib/runnerkit")


def samples(*values: float) -> Samples:
    return Samples(values)


def test_everything_takes_turns_and_every_other_round_goes_backwards() -> None:
    order: list[str] = []

    def work(name: str) -> float:
        order.append(name)
        return float(len(order))

    found = interleaved({name: lambda n=name: work(n) for name in "abc"}, 3)  # type: ignore[misc]
    assert "".join(order) == "abc" + "cba" + "abc"
    assert found["a"].values == (1.0, 6.0, 7.0)


def test_one_slow_run_moves_the_median_little() -> None:
    found = samples(1.0, 1.1, 9.0, 1.0, 1.2)
    assert (found.median, found.low, found.high) == (1.1, 1.0, 9.0)


@pytest.mark.parametrize(
    ("goal", "ours", "against", "ratio", "met"),
    [
        (Goal("at most", 1.8), 3.6, 2.0, 1.8, True),
        (Goal("at most", 1.8), 4.0, 2.0, 2.0, False),
        (Goal("faster", 3), 1.0, 3.0, 3.0, True),
        (Goal("faster", 3), 1.0, 2.0, 2.0, False),
        (Goal("up to", 3), 8.0, 5.0, 3.0, True),
        (Goal("up to", 3), 9.0, 5.0, 4.0, False),
        (None, 1.0, 2.0, 0.5, None),
    ],
)
def test_a_goal_is_met_or_not(
    goal: Goal | None, ours: float, against: float, ratio: float, met: bool | None
) -> None:
    row = Row("it", "that", samples(ours), samples(against), goal)
    assert row.ratio == pytest.approx(ratio)
    assert row.met is met


def test_results_say_for_programs_what_they_say_for_people() -> None:
    rows = [
        Row("up", "the floor", samples(0.5, 0.6, 0.7), samples(0.3), Goal("at most", 1.8)),
        Row("it", "pyinfra", samples(1), samples(2), Goal("faster", 3), note="imports"),
    ]
    record = json.loads(results_json(rows, {"rounds": 3}))
    assert [(row["name"], row["ratio"], row["met"]) for row in record["rows"]] == [
        ("up", 2.0, False),
        ("it", 2.0, False),
    ]
    assert {"unit", "ours", "against", "goal"} <= set(record["rows"][0])
    text = results_markdown({"The kit": rows}, {"rounds": 3})
    assert "| up | 0.60 s (0.50 to 0.70) | the floor | 0.30 s (0.30 to 0.30) | 2.00 |" in text
    assert text.count("**no**") == 2
    assert "it: imports" in text


def test_a_profile_is_a_table_of_milliseconds() -> None:
    table = parts_table([Part("log in", 0.2, 0.05, 0.03), Part("judge", 0.001, 0.0011, 0)])
    assert table.splitlines()[2:] == [
        "| log in | 200 ms | 50 ms | 30 ms |", "| judge | 1 ms | 1 ms | 0 ms |",
    ]  # fmt: skip


def test_processor_time_counts_children_and_the_whole_machine() -> None:
    before = used()
    subprocess.run(["sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"], check=True)
    after = used()
    assert after.here > before.here
    assert after.everything > before.everything


def test_readme_quotes_every_row_of_the_results() -> None:
    rows = [
        Row("up", "the floor", samples(0.5), samples(0.25), Goal("at most", 1.8)),
        Row("builds", "one by one", samples(1), samples(2), None),
    ]
    assert readme_table(results_json(rows, {})).splitlines()[2:] == [
        "| up | 0.50 s | the floor | 0.25 s | 2.00 | at most 1.8 x | no |",
        "| builds | 1.00 s | one by one | 2.00 s | 0.50 |  |  |",
    ]


def test_processor_time_is_that_of_the_programs_that_were_run() -> None:
    spin = "import time\nwhile time.process_time() < 0.3: pass"
    argv = [sys.executable, "-c", spin]
    here, everything = processor_seconds(lambda: subprocess.run(argv, check=True))
    assert here >= 0.3
    assert everything >= 0


def test_round_trips_are_what_the_delay_added() -> None:
    assert round_trips(samples(1.0, 1.0), samples(1.5, 1.7)).values == pytest.approx((5, 7))


def test_a_slow_link_carries_every_byte_both_ways() -> None:
    sent = os.urandom(300_000)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def echo() -> None:
            connection, _ = listener.accept()
            with connection:
                while data := connection.recv(65536):
                    connection.sendall(data)

        thread = threading.Thread(target=echo)
        thread.start()
        with (
            slow_link("127.0.0.1", listener.getsockname()[1], 0.001) as port,
            socket.create_connection(("127.0.0.1", port)) as near,
        ):

            def send() -> None:
                near.sendall(sent)
                near.shutdown(socket.SHUT_WR)

            sending = threading.Thread(target=send)
            sending.start()
            with near.makefile("rb") as answers:
                assert answers.read() == sent
            sending.join()
        thread.join()


def project(place: Path) -> Path:
    place.mkdir()
    (place / "Dockerfile").write_text("FROM scratch\nRUN --mount=type=cache,target=/c make\n")
    for number, name in enumerate(("old.go", "new.go")):
        (place / name).write_text("package main\n")
        os.utime(place / name, (number, number))
    (place / ".git").mkdir()
    (place / ".git/index").write_text("")
    return place


def test_the_file_edited_last_is_the_one_that_changes(tmp_path: Path) -> None:
    context = project(tmp_path / "it")
    assert find_project(context, None, None).changed == "new.go"
    assert find_project(context, None, "old.go").changed == "old.go"


@pytest.mark.parametrize(
    ("context", "changed", "words"),
    [("nowhere", None, "there is no"), ("it", "missing.go", "no file"), ("empty", None, "nothing")],
)
def test_a_project_that_cannot_be_measured_is_explained(
    context: str, changed: str | None, words: str, tmp_path: Path
) -> None:
    project(tmp_path / "it")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/Dockerfile").touch()
    with pytest.raises(ConfigError, match=words):
        find_project(tmp_path / context, None, changed)


class Host:
    """Answers every program as a host would on which each build takes 1.5 s."""

    name = "forge"

    def __init__(self, failing: str = "") -> None:
        self.calls: list[tuple[str, ...]] = []
        self.archive = b""
        self._failing = failing

    def run(
        self, argv: list[str], stdin: bytes = b"", *, timeout: float | None = None
    ) -> Completed:
        del timeout
        program, arguments = argv[2], tuple(argv[4:])
        self.calls.append(arguments)
        if self._failing and self._failing in program:
            return Completed(1, b"", b"make: *** [all] Error 1\n")
        if stdin:
            self.archive = stdin
            return Completed(0, b"/var/tmp/runnerkit-bench-1\n", b"")
        return Completed(0, b"1500\n", b"")


def test_every_way_is_measured_on_the_right_daemon_and_cleared_away(tmp_path: Path) -> None:
    host = Host()
    found = find_project(project(tmp_path / "it"), None, None)
    with prepared(host, PATHS, found, "docker:28-dind", {"mtu": 1400}, "lan:5000/c") as ready:  # type: ignore[arg-type]
        measured = ready.compare(STRATEGIES, 2, lambda _: None)
    assert {name: value.values for name, value in measured.items()} == {
        item.name: (1.5, 1.5) for item in STRATEGIES
    }
    # To fill its caches, each way that keeps any builds once more than it is measured.
    assert len(host.calls) == 2 + 2 * len(STRATEGIES) + len(STRATEGIES) - 1
    builds = host.calls[len(STRATEGIES) : 2 * len(STRATEGIES)]
    by_name = dict(zip((item.name for item in STRATEGIES), builds, strict=True))
    folder = "/var/tmp/runnerkit-bench-1"  # noqa: S108 - where the host said it is
    tag = "runnerkit-bench:latest"
    assert by_name[RUNNER.name] == (
        "/run/runnerkit/main/docker.sock", folder, "Dockerfile", "new.go", tag,
    )  # fmt: skip
    assert by_name[HOST.name][0] == "/var/run/docker.sock"
    assert by_name["layers"][2] == "Dockerfile.plain"
    assert by_name["unchanged"][3] == ""
    assert by_name[THROW_AWAY.name] == (folder, "docker:28-dind", "new.go", tag)
    assert "--cache-from=type=registry,ref=lan:5000/c" in by_name[REGISTRY.name]
    assert host.calls[-1] == (
        folder, "/run/runnerkit/main/docker.sock", "/var/run/docker.sock",
    )  # fmt: skip
    with tarfile.open(fileobj=BytesIO(host.archive)) as archive:
        assert set(archive.getnames()) == {
            "context", "context/Dockerfile", "context/new.go", "context/old.go",
            "Dockerfile", "daemon.json",
        }  # fmt: skip
        daemon = archive.extractfile("daemon.json")
        assert daemon is not None
        assert json.load(daemon)["mtu"] == 1400


def test_a_build_that_fails_says_why_and_is_cleared_away(tmp_path: Path) -> None:
    host = Host(failing="began=")
    found = find_project(project(tmp_path / "it"), None, None)
    with (
        pytest.raises(HostError, match="Error 1"),
        prepared(host, PATHS, found, "docker:28-dind", {}) as ready,  # type: ignore[arg-type]
    ):
        ready.seconds(RUNNER)
    assert len(host.calls[-1]) == 3


@pytest.mark.parametrize(
    ("line", "plain"),
    [
        ("RUN --mount=type=cache,target=/c go build", "RUN  go build"),
        ("RUN --mount=type=cache,id=a --mount=type=bind x", "RUN  --mount=type=bind x"),
        ("RUN make # no mount", "RUN make # no mount"),
    ],
)  # fmt: skip
def test_cache_mounts_can_be_left_out_of_a_dockerfile(line: str, plain: str) -> None:
    expression = r"s/--mount=type=cache[^[:space:]]*//g"
    done = subprocess.run(
        ["sed", "-E", expression], input=line, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == plain
    from runnerkit.bench.scripts import script

    assert expression in script("prepare")


def test_the_table_compares_with_the_runner() -> None:
    found = {"throw-away": samples(30.0), "runner": samples(1.0, 2.0, 3.0)}
    from rich.console import Console

    console = Console(width=80, record=True, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115
    console.print(bench_table(found))
    text = console.export_text()
    assert "15.0" in text
    assert "2.00 s" in text
    assert json.loads(bench_json("forge", found))["seconds"]["runner"] == [1.0, 2.0, 3.0]


def test_the_picture_is_one_with_a_bar_for_each() -> None:
    picture = ET.fromstring(bars_svg("A <title>", [("a & b", 10.0), ("c", 0.0)]))  # noqa: S314
    bars = picture.findall("{*}rect")[1:]
    assert [float(bar.attrib["width"]) for bar in bars] == [400.0, 1.0]
