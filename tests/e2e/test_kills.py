"""Killing the client, its connection and the host in the middle of a change, and what is left.

After each kill `up` must converge, with nothing left over and data and caches intact.
"""

from __future__ import annotations

import os
import pty
import random
import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.kit import Kit, Lab

pytestmark = pytest.mark.lab

HOST = "host1"
TICK = "✓".encode()
INNER = "docker -H unix:///run/runnerkit/main/docker.sock"
PATIENCE = 300.0

BUILD = "printf 'FROM kept:1\\nRUN --mount=type=cache,target=/c %s\\n'"
REMEMBER = f"""
set -eu
{INNER} pull -q debian:trixie-slim >/dev/null
{INNER} tag debian:trixie-slim kept:1
{BUILD} "echo warm >/c/x # $(date +%s)" | {INNER} build -q - >/dev/null
"""
# --no-cache would begin with an empty mount, too; a command that is new runs all the same.
CACHE_IS_WARM = f"""{BUILD} "grep warm /c/x # $(date +%s)" | {INNER} build -q -"""
# Everything that must hold after a convergence, each that does not on a line of its own.
LEFTOVERS = f"""
cd /srv/runnerkit/main
find . -name .incoming -o -name .new -o -name '.journal*' -o -name journal.json
generation=$(sed -n 's/.*"generation": \\([0-9]*\\).*/\\1/p' manifest.json)
for name in compose.yml .env daemon.json runner.env manifest.json; do
    cmp -s "$name" "generations/$generation/$name" || echo "$name is not that of $generation"
done
docker ps --all --format '{{{{.Names}}}} {{{{.State}}}}' \\
    --filter label=com.docker.compose.project=runnerkit-main |
    grep -vxE 'runnerkit-main-(dind|runner|janitor)-1 running'
{INNER} image inspect kept:1 >/dev/null || echo "an image is gone"
if [ -e /run/runnerkit/.holder ]; then echo "somebody still holds the lock"; fi
true
"""


class Client:
    """`up`, seen as on a terminal: a tick for each step that is done."""

    def __init__(self, kit: Kit) -> None:
        self._master, terminal = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "runnerkit", "up", HOST, "--yes"],
            env=os.environ | {"RUNNERKIT_CONFIG": str(kit.config)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=terminal,
        )
        os.close(terminal)
        self.ticks = 0

    def watch(self, done: Callable[[Client], bool]) -> None:
        """Read what it says until `done` or its end."""
        deadline = time.monotonic() + PATIENCE
        while not done(self):
            assert time.monotonic() < deadline
            ready, _, _ = select.select([self._master], [], [], 0.02)
            if not ready:
                continue
            try:
                said = os.read(self._master, 65536)
            except OSError:  # the terminal's other side is closed: it has ended
                return
            self.ticks += said.count(TICK)

    def end(self) -> int:
        self.watch(lambda client: client.process.poll() is not None)
        code = self.process.wait(PATIENCE)
        os.close(self._master)
        return code


def kill_client(client: Client, lab: Lab) -> None:
    del lab
    client.process.kill()


def kill_connection(client: Client, lab: Lab) -> None:
    del client
    # Each login is a process of its own; the listener is the one that others descend from.
    lab.on(
        HOST, "sh", "-c",
        "for p in $(pgrep -x sshd-session || true); do kill -9 $p 2>/dev/null; done; true",
    )  # fmt: skip


def kill_host(client: Client, lab: Lab) -> None:
    del client
    lab.call("cut", HOST)
    lab.call("boot", HOST)


STRIKES = {"client": kill_client, "connection": kill_connection, "host": kill_host}


@contextmanager
def changes(kit: Kit) -> Iterator[Callable[[], None]]:
    """Gives the next configuration with each call: runner, daemon, both; then as it was."""
    before = kit.config.read_text()
    count = 0

    def following() -> None:
        nonlocal count
        count += 1

        def change(content: dict[str, object]) -> None:
            host = content["hosts"][HOST]  # type: ignore[index]
            host["runner"] = {"capacity": 2 + count % 3}
            if count % 4 == 0:
                host["cache"] = {"max": f"{20 + count % 7}GB"}

        kit.edit(change)

    yield following
    kit.config.write_text(before)
    kit("up", HOST, "--yes", "--lock-wait", "2m")


def strike(kit: Kit, lab: Lab, what: str, when: Callable[[Client], bool]) -> int:
    """Begin `up`, kill `what` at the moment `when`, let `up` mend it; the ticks seen before."""
    client = Client(kit)
    client.watch(lambda it: when(it) or it.process.poll() is not None)
    STRIKES[what](client, lab)
    client.end()
    kit("up", HOST, "--yes", "--lock-wait", "2m")
    kit("plan", HOST, "--exit-code")
    assert lab.on(HOST, "sh", "-c", LEFTOVERS).stdout == ""
    return client.ticks


def after_ticks(count: int) -> Callable[[Client], bool]:
    return lambda client: client.ticks >= count


def after_seconds(seconds: float) -> Callable[[Client], bool]:
    end = time.monotonic() + seconds
    return lambda _: time.monotonic() >= end


@pytest.fixture(scope="module")
def remembering(fleet: Kit, lab: Lab) -> Kit:
    """host1 with an image and a cache mount that must not get lost."""
    lab.on(HOST, "sh", "-c", REMEMBER)
    return fleet


@pytest.mark.timeout(1500)
def test_up_converges_after_a_kill_at_every_boundary(remembering: Kit, lab: Lab) -> None:
    with changes(remembering) as following:
        for what in STRIKES:
            # drain | write | start | check health
            for boundary in range(4):
                following()
                strike(remembering, lab, what, after_ticks(boundary))
    lab.on(HOST, "sh", "-c", CACHE_IS_WARM)


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
def test_up_converges_after_two_hundred_kills(
    remembering: Kit, lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    kills: Counter[tuple[str, str]] = Counter()
    started = time.monotonic()
    with changes(remembering) as following:
        while kills.total() < 204:
            what = list(STRIKES)[kills.total() % 3]
            following()
            if kills.total() % 2:
                moment, when = "a boundary", after_ticks(kills.total() // 6 % 5)
            else:
                moment, when = "random", after_seconds(chance.uniform(0, 9))
            try:
                strike(remembering, lab, what, when)
            except AssertionError as error:
                raise AssertionError(f"seed {seed}, {kills}, {what} at {moment}") from error
            kills[what, moment] += 1
            with capsys.disabled():
                sys.stdout.write(f"\r{kills.total()} kills")
                sys.stdout.flush()
    lab.on(HOST, "sh", "-c", CACHE_IS_WARM)
    with capsys.disabled():
        seconds = time.monotonic() - started
        sys.stdout.write(f"\n{kills.total()} kills in {seconds:.0f} s, seed {seed}:\n")
        for (what, moment), count in sorted(kills.items()):
            sys.stdout.write(f"  {what} at {moment}: {count}\n")
