"""Status that stays, status among dead hosts, and metrics, on hosts of the lab."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from tests.e2e.kit import Kit, Lab, until
from tests.e2e.prometheus import prometheus
from tests.e2e.tls import certificate, tls_server

pytestmark = pytest.mark.lab

COMMAND = (sys.executable, "-m", "runnerkit")
LEAVE = "\x1b[?1049l"
# An old engine does not tell everything, and what is unknown is no clean bill of health.
WELL = r"host[123] +(?:healthy|degraded)"


@pytest.fixture(scope="module", autouse=True)
def _all_take_builds(fleet: Kit) -> None:
    """Whatever another file left behind."""
    fleet("up", "--yes")


class Terminal:
    """A program on a terminal of 24 lines and 80 columns."""

    def __init__(self, kit: Kit, *arguments: str) -> None:
        self._controller, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        environment = os.environ | {"RUNNERKIT_CONFIG": str(kit.config), "TERM": "xterm"}
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env={key: value for key, value in environment.items() if key != "COLUMNS"},
            start_new_session=True,
        )
        os.close(terminal)
        self.written = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                chunk = os.read(self._controller, 65536)
            except OSError:  # the other end is closed
                return
            if not chunk:
                return
            self.written += chunk.decode(errors="replace")

    def frame(self) -> str:
        """The screen as it was drawn last, without colours."""
        last = self.written.rpartition("\x1b[H")[2]
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", last).replace("\r", "")

    def end(self) -> int:
        """Ctrl-C, and the exit code."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(60)
        self._reader.join(10)
        os.close(self._controller)
        return code


def test_a_watch_survives_a_host_that_goes_and_comes_back(fleet: Kit, lab: Lab) -> None:
    terminal = Terminal(fleet, "status", "--watch", "--every", "1s")
    try:
        until(lambda: len(re.findall(WELL, terminal.frame())) == 3, 90, "three healthy hosts")
        assert max(map(len, terminal.frame().splitlines())) <= 80
        lab.call("cut", "host3")
        until(lambda: re.search(r"host3 +unreachable", terminal.frame()) is not None, 90, "it went")
        assert len(re.findall(WELL, terminal.frame())) == 2
        lab.call("boot", "host3")
        until(lambda: len(re.findall(WELL, terminal.frame())) == 3, 120, "it is back")
    finally:
        lab.call("boot", "host3")
        code = terminal.end()
    assert code == 0
    assert terminal.written.count("\x1b[?1049h") == terminal.written.count(LEAVE) == 1
    after = terminal.written.rpartition(LEAVE)[2]
    assert "Traceback" not in terminal.written
    assert len(re.findall(WELL, re.sub(r"\x1b\[[0-9;]*m", "", after))) == 3
    assert "\x1b[?25h" in terminal.written.rpartition("\x1b[?25l")[2]


def test_a_watch_keeps_one_connection_a_host(fleet: Kit, lab: Lab) -> None:
    with watching_in_a_pipe(fleet, "host1") as lines:
        assert re.fullmatch(r"\S+  host1  healthy\n", next(lines))
        before = connections(lab, "host1")
        lab.on("host1", "docker", "stop", "runnerkit-main-runner-1")
        try:
            assert re.fullmatch(r"\S+  host1  unhealthy  .*runner.*\n", next(lines))
            assert connections(lab, "host1") == before
        finally:
            lab.on("host1", "docker", "start", "runnerkit-main-runner-1")
        while not (line := next(lines)).endswith("host1  healthy\n"):
            assert "\x1b" not in line
        assert connections(lab, "host1") == before


def connections(lab: Lab, host: str) -> set[str]:
    """The far ends of the SSH connections that a host has now (state 01, local port 22)."""
    table = lab.on(host, "cat", "/proc/net/tcp").stdout.splitlines()[1:]
    rows = [line.split() for line in table]
    return {row[2] for row in rows if row[1].endswith(":0016") and row[3] == "01"}


@contextmanager
def watching_in_a_pipe(kit: Kit, *hosts: str) -> Iterator[Iterator[str]]:
    watch = subprocess.Popen(
        [*COMMAND, "status", "--watch", "--every", "1s", *hosts],
        env=os.environ | {"RUNNERKIT_CONFIG": str(kit.config)},
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    assert watch.stdout is not None
    try:
        yield iter(watch.stdout)
    finally:
        watch.send_signal(signal.SIGINT)
        assert watch.wait(60) in {0, 4}


def test_four_hosts_are_told_whatever_becomes_of_a_dead_fifth(
    fleet: Kit, lab: Lab, tmp_path: Path
) -> None:
    content = yaml.safe_load(fleet.config.read_text())
    address = lab.info["hosts"][0]["address"]
    nobody = f"{address.rpartition('.')[0]}.250"
    dead = content["hosts"]["host1"] | {"ssh": f"root@{nobody}"}
    again = content["hosts"]["host1"] | {"stack": "other"}
    content["hosts"] = {"dead": dead, "again": again, **content["hosts"]}
    path = tmp_path / "runnerkit.yml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    answer = Kit(path)("status", expect=5)
    titles = [line for line in answer.stdout.splitlines() if line[:1].isalnum()]
    alive = [title for title in titles if re.fullmatch(WELL, title)]
    assert sorted(set(titles) - set(alive)) == ["again  unhealthy", "dead  unreachable"]
    assert len(alive) == 3
    assert all(line == line.rstrip() and len(line) <= 80 for line in answer.stdout.splitlines())
    assert "\x1b" not in answer.stdout
    brief = Kit(path)("status", "--brief", expect=5).stdout.splitlines()
    assert [line.split()[0] for line in brief] == ["dead", "again", "host1", "host2", "host3"]
    assert brief[0] == "dead   unreachable"


@contextmanager
def exporting(kit: Kit, *hosts: str, **env: str) -> Iterator[str]:
    """An exporter on a free port; gives its URL."""
    exporter = subprocess.Popen(
        [*COMMAND, "metrics", "--listen", "0", *hosts],
        env=os.environ | {"RUNNERKIT_CONFIG": str(kit.config)} | env,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    assert exporter.stderr is not None
    try:
        said = exporter.stderr.readline()
        [url] = re.findall(r"http://127\.0\.0\.1:\d+/metrics", said)
        yield url
    finally:
        exporter.send_signal(signal.SIGINT)
        assert exporter.wait(60) == 0


def scraped(url: str) -> str:
    with urllib.request.urlopen(url, timeout=120) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        return str(answer.read().decode())


def test_an_exporter_answers_many_scrapes_with_one_look(fleet: Kit, lab: Lab) -> None:
    with exporting(fleet) as url:
        assert scraped(url).count("runnerkit_host_up{") == 3
        held = connections(lab, "host1")
        with ThreadPoolExecutor(4) as pool:
            for text in pool.map(scraped, [url] * 4):
                assert text.count('runnerkit_server_up{host="host') == 3
                assert "runnerkit_check_status" in text
        assert connections(lab, "host1") == held


def test_prometheus_has_data_for_every_panel_of_the_dashboard(
    fleet: Kit, lab: Lab, tmp_path: Path
) -> None:
    """The server speaks TLS, so that there is a certificate, and is not the one in force."""
    dashboard = json.loads(fleet("metrics", "--dashboard").stdout)
    address = str(urlsplit(lab.info["server"]["url"]).hostname)
    made = certificate(tmp_path, address, 90)
    with tls_server(address, made, 0) as server:
        config = tmp_path / "runnerkit.yml"
        content = yaml.safe_load(fleet.config.read_text())
        config.write_text(yaml.safe_dump(content | {"server": server}))
        with (
            exporting(Kit(config), "host1", SSL_CERT_FILE=str(made.authority)) as url,
            prometheus(tmp_path, url) as found,
        ):
            linted = subprocess.run(
                ["promtool", "check", "metrics"],
                input=scraped(url), capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert (linted.returncode, linted.stdout + linted.stderr) == (0, "")
            for panel in dashboard["panels"]:
                for target in panel["targets"]:
                    asked = target["expr"].replace("$host", "(host1)").replace("$__range", "1h")
                    until(lambda asked=asked: bool(found.query(asked)), 60, asked)  # type: ignore[misc]
            assert found.label_values("runnerkit_host_up", "host") == ["host1"]


def test_a_picture_and_a_textfile_are_written(fleet: Kit, tmp_path: Path) -> None:
    fleet("status", "--svg", str(tmp_path / "status.svg"))
    assert (tmp_path / "status.svg").read_text().startswith("<svg")
    fleet("metrics", "--textfile", str(tmp_path / "kit.prom"))
    assert (tmp_path / "kit.prom").read_text().count("runnerkit_host_healthy{") == 3
