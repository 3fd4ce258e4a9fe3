"""One sweep of the janitor, with a docker and a df that answer from files and note their calls."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from runnerkit.desired.shipped import shipped_files

NOW = int(time.time())

DOCKER = """#!/bin/sh
cd "$(dirname "$0")"
echo "$*" >>calls
case "$*" in
    version*) [ ! -e down ] && echo 1.51 ;;
    "image ls"*) [ -e removed ] || echo sha256:a ;;
    "image inspect --format {{.Id}}"*) [ -e removed ] || cat image ;;
    "image inspect"*) cut -d '|' -f 3 image ;;
    "image rm"*) touch removed ;;
    "ps -a --no-trunc --filter"*) cat containers ;;
    "network ls --filter"*) cat stages ;;
    "system dial-stdio"*) printf 'HTTP/1.0 200 OK\\r\\n\\r\\n%s' "$(cat cache)" ;;
esac
"""

# 1000 KiB and 1000 inodes; with the image removed there are more free ones.
DF = """#!/bin/sh
cd "$(dirname "$0")"
case $1 in
    -Pi) free=$(cat inodes) ;;
    *) free=$(cat kib) ;;
esac
if [ -e removed ]; then free=900; fi
echo "disk 1000 0 $free 0% /data"
"""


def sweep(place: Path, **settings: object) -> tuple[str, str]:
    """The log of the janitor's first sweep, and the commands that it gave."""
    for name, text in {"docker": DOCKER, "df": DF}.items():
        (place / name).write_text(text)
        (place / name).chmod(0o755)
    files = {"containers": "", "stages": "", "inodes": "900", "kib": "900"}
    record = '{"ID":"x","Type":"regular","Shared":false,"Size":5000,"UsageCount":1}'
    files["cache"] = f'{{"BuildCache":[{record}]}}'
    for name, text in (files | {key: str(x) for key, x in settings.items()}).items():
        (place / name).write_text(text)
    (place / "janitor.sh").write_bytes(shipped_files().janitor)
    environment = os.environ | {
        "PATH": f"{place}:{os.environ['PATH']}",
        "JANITOR_KEEP_BUILT": "86400",
        "JANITOR_MIN_FREE": str(200 << 10),
        "JANITOR_KEEP_IMAGES": "golang:1.24",
        "JANITOR_DATA": str(place),
        "JANITOR_STATE": str(place / "state"),
        "JANITOR_WORK": str(place / "work"),
    }
    (place / "state").mkdir()
    log = place / "log"
    with log.open("wb") as output:
        running = subprocess.Popen(
            ["sh", place / "janitor.sh"], env=environment, stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + 60
        while not (place / "work" / "alive").exists():
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
    finally:
        running.terminate()
        running.wait()
    return log.read_text(), (place / "calls").read_text()


def image(age: int, name: str = "app:1", digests: str = "") -> str:
    tagged = time.strftime("%Y-%m-%dT%H:%M:%S.123456789Z", time.gmtime(NOW - age))
    return f'sha256:a|"{tagged}"|"{tagged}"|1000|{name} |{digests}|\n'


def test_an_image_goes_when_inodes_are_short_though_bytes_are_not(tmp_path: Path) -> None:
    log, calls = sweep(tmp_path, image=image(3600), inodes=100)
    assert "100 inodes too few" in log
    assert "image rm app:1" in calls
    assert "enough is free again" in log


def test_with_room_enough_only_old_images_built_here_go(tmp_path: Path) -> None:
    for age, gone in ((3600, False), (2 * 86400, True)):
        place = tmp_path / str(age)
        place.mkdir()
        _, calls = sweep(place, image=image(age))
        assert ("image rm app:1" in calls) is gone


@pytest.mark.parametrize("name", ["golang:1.24", "docker.io/library/golang:1.24"])
def test_what_was_put_there_on_purpose_stays(name: str, tmp_path: Path) -> None:
    log, calls = sweep(tmp_path, image=image(3600, name), kib=100)
    assert "image rm" not in calls
    assert "still short" in log


def test_what_was_used_since_the_oldest_stage_began_stays(tmp_path: Path) -> None:
    stage = f"{NOW + 3600}|false|{NOW - 7200}\n"
    _, calls = sweep(tmp_path, image=image(3600), kib=100, stages=stage)
    assert "image rm" not in calls
    assert "unused-for=72" in calls


def test_only_what_has_expired_and_is_not_protected_is_a_leftover(tmp_path: Path) -> None:
    containers = f"{NOW - 5}|false|past\n{NOW + 500}|false|future\n{NOW - 5}|true|kept\n||foreign\n"
    _, calls = sweep(tmp_path, image=image(3600), containers=containers)
    removed = [line for line in calls.splitlines() if line.startswith("rm ")]
    assert removed == ["rm --force --volumes past"]


def test_a_daemon_that_does_not_answer_is_said_and_nothing_is_done(tmp_path: Path) -> None:
    log, calls = sweep(tmp_path, image=image(9 * 86400), kib=1, down="")
    assert "the daemon does not answer" in log
    assert "image rm" not in calls
