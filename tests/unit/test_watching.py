"""Looking again and again: connections are kept, hosts come and go, nobody waits for another."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
import yaml

from runnerkit import watching
from runnerkit.change.plan import diff
from runnerkit.commands.status import Form, once
from runnerkit.config.effective import HostConfig
from runnerkit.config.loading import load
from runnerkit.errors import (
    ConnectionLostError,
    ExitCode,
    HostError,
    RunnerkitError,
    UnreachableError,
)
from runnerkit.exporter import serving
from runnerkit.health.judge import judge
from runnerkit.health.look import Look
from runnerkit.health.model import HealthReport, unreachable
from runnerkit.roads import Access
from runnerkit.watching import Fleet, Watch, Watched
from tests.e2e.kit import until
from tests.unit.builders import converged, desired_for

DEADLINE = 30.0


class Hosts:
    """Stands in for the road that surveys: what each host does next, and how often it was."""

    def __init__(self, folder: Path) -> None:
        self.desired = desired_for(folder)
        self.facts = converged(self.desired)
        self.connections: list[str] = []
        self.looks: list[str] = []
        self.closed: list[str] = []
        self.on_look: Callable[[str], None] = lambda _: None

    @contextmanager
    def survey(self, host: HostConfig, *_: object, **__: object) -> Iterator[Any]:
        self.connections.append(host.name)
        try:
            yield self._found(host)
        finally:
            self.closed.append(host.name)

    def _found(self, host: HostConfig) -> Any:
        self.looks.append(host.name)
        self.on_look(host.name)
        hosts = self

        class Found:
            facts = hosts.facts
            plan = diff(hosts.desired, hosts.facts)

            def again(self, **_: object) -> Any:
                return hosts._found(host)

            def report(self) -> Any:
                return judge(hosts.desired, hosts.facts)

        return Found()


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hosts:
    made = Hosts(tmp_path)
    monkeypatch.setattr(watching, "survey", made.survey)
    return made


def configured(folder: Path, *names: str) -> tuple[HostConfig, ...]:
    path = folder / "several.yml"
    entries = {name: {"ssh": f"root@{name}.lan"} for name in names}
    content = {"server": "http://drone", "secret": "env:X", "hosts": entries}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return load(path).hosts


def access(folder: Path) -> Access:
    return Access(base=folder)


def test_looks_share_a_connection_until_it_is_lost(hosts: Hosts, tmp_path: Path) -> None:
    [forge] = configured(tmp_path, "forge")
    watched = Watched(forge, access(tmp_path))
    assert watched.look().report.status == watched.look().report.status == "healthy"
    assert hosts.connections == ["forge"]

    def lose(_: str) -> None:
        raise ConnectionLostError("forge: the connection was lost", hint="look whether it is up")

    hosts.on_look = lose
    gone = watched.look()
    assert (gone.report.status, gone.facts, gone.changes) == ("unreachable", None, None)
    assert hosts.closed == ["forge"]
    hosts.on_look = lambda _: None
    assert watched.look().report.status == "healthy"
    assert hosts.connections == ["forge", "forge"]
    watched.close()
    assert hosts.closed == ["forge", "forge"]


@pytest.mark.parametrize("error", [UnreachableError("no route"), HostError("no shell")])
def test_whatever_goes_wrong_is_a_look_for_those_who_go_on(
    error: RunnerkitError, hosts: Hosts, tmp_path: Path
) -> None:
    def fail(_: str) -> None:
        raise error

    hosts.on_look = fail
    [forge] = configured(tmp_path, "forge")
    look = Watched(forge, access(tmp_path)).look_anyway()
    assert (look.report.status, look.report.checks[0].summary) == ("unreachable", error.message)


def waiters(fleet: Fleet) -> int:
    future: Any = fleet._going_on
    return len(future._condition._waiters)


def test_callers_during_a_look_share_it(hosts: Hosts, tmp_path: Path) -> None:
    began, go_on = threading.Event(), threading.Event()

    def wait(_: str) -> None:
        began.set()
        assert go_on.wait(DEADLINE)

    hosts.on_look = wait
    fleet = Fleet(configured(tmp_path, "forge"), access(tmp_path))
    with fleet, ThreadPoolExecutor(3) as pool:
        first = pool.submit(fleet.look)
        assert began.wait(DEADLINE)
        others = [pool.submit(fleet.look) for _ in range(2)]
        # A look that is over is not shared: both must have joined before it ends.
        until(lambda: waiters(fleet) == 2, DEADLINE, "two wait for the look that goes on")
        go_on.set()
        shared = [first.result(DEADLINE), *(other.result(DEADLINE) for other in others)]
        assert shared[0] is shared[1] is shared[2]
        assert hosts.looks == ["forge"]
        assert fleet.look() is not shared[0]
    assert hosts.looks == ["forge", "forge"]


def test_what_the_others_tell_is_shown_while_one_host_hangs(tmp_path: Path) -> None:
    shown: Queue[str] = Queue()
    three = configured(tmp_path, "attic", "forge", "cellar")

    def look(host: HostConfig) -> HealthReport:
        if host.name == "attic":
            first = {shown.get(timeout=DEADLINE) for _ in range(2)}
            assert first == {"forge", "cellar"}
        return unreachable(host.name, "no route", None)

    ended: list[str] = []
    form = Form(
        one=lambda report: shown.put(report.host),
        end=lambda reports: ended.extend(report.host for report in reports),
    )
    assert once(three, look, form, None) is ExitCode.UNREACHABLE
    assert ended == ["attic", "forge", "cellar"]


def test_a_host_that_hangs_delays_only_itself(hosts: Hosts, tmp_path: Path) -> None:
    go_on = threading.Event()

    def hang(name: str) -> None:
        if name == "attic":
            assert go_on.wait(DEADLINE)

    hosts.on_look = hang
    seen: Queue[Look] = Queue()
    names = configured(tmp_path, "attic", "forge", "cellar")
    with Watch(names, access(tmp_path), 0.01, seen.put):
        looks = [seen.get(timeout=DEADLINE) for _ in range(6)]
        go_on.set()
    assert {look.host.name for look in looks} == {"forge", "cellar"}


def test_each_scrape_looks_over_the_same_connection(hosts: Hosts, tmp_path: Path) -> None:
    fleet = Fleet(configured(tmp_path, "forge"), access(tmp_path))
    with fleet, serving(fleet, ("127.0.0.1", 0)) as url:
        assert hosts.looks == []
        for scrapes in (1, 2):
            with urllib.request.urlopen(url, timeout=DEADLINE) as answer:
                assert 'runnerkit_host_up{host="forge"} 1.0' in answer.read().decode()
            assert hosts.looks == ["forge"] * scrapes
        assert hosts.connections == ["forge"]
        port = int(url.split(":")[2].partition("/")[0])
        with (
            pytest.raises(RunnerkitError, match=f"cannot listen on 127.0.0.1:{port}"),
            serving(fleet, ("127.0.0.1", port)),
        ):
            pytest.fail("two servers on one port")
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=DEADLINE)
