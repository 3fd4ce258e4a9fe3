"""One sweep of the janitor, with a docker and a df that answer from files and note their calls."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from runnerkit.desired.shipped import shipped_files

DOCKER = """#!/bin/sh
cd "$(dirname "$0")"
echo "$*" >>calls
case "$*" in
    version*) [ ! -e down ] && cat api ;;
    "image ls"*) [ -e removed ] || echo sha256:a ;;
    "image inspect --format {{.Id}}"*) [ -e removed ] || cat image ;;
    "image inspect"*) cut -d '|' -f 3 image ;;
    "image rm"*) touch removed ;;
    "ps -a --no-trunc --filter"*) cat containers ;;
    "network ls --filter"*) cat stages ;;
    "system dial-stdio"*)
        head -n 1 >>requests
        printf 'HTTP/1.0 200 OK\\r\\n\\r\\n%s' "$(cat cache)"
        if [ -e cache-next ]; then mv cache-next cache; fi
        ;;
    events*type=builder*) [ ! -e pruned ] || echo prune ;;
    "builder prune --help") echo --reserved-space ;;
    "builder prune"*) [ ! -e cache-pruned ] || mv cache-pruned cache ;;
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
    files = {"containers": "", "stages": "", "inodes": "900", "kib": "900", "api": "1.51"}
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
    tagged = time.strftime("%Y-%m-%dT%H:%M:%S.123456789Z", time.gmtime(time.time() - age))
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
    now = int(time.time())
    stage = f"{now + 3600}|false|{now - 7200}\n"
    _, calls = sweep(tmp_path, image=image(3600), kib=100, stages=stage)
    assert "image rm" not in calls
    assert "unused-for=72" in calls


def test_only_what_has_expired_and_is_not_protected_is_a_leftover(tmp_path: Path) -> None:
    past, future = int(time.time()) - 5, int(time.time()) + 5000
    containers = f"{past}|false|past\n{future}|false|future\n{past}|true|kept\n||foreign\n"
    _, calls = sweep(tmp_path, image=image(3600), containers=containers)
    removed = [line for line in calls.splitlines() if line.startswith("rm ")]
    assert removed == ["rm --force --volumes past"]


def test_a_daemon_that_does_not_answer_is_said_and_nothing_is_done(tmp_path: Path) -> None:
    log, calls = sweep(tmp_path, image=image(9 * 86400), kib=1, down="")
    assert "the daemon does not answer" in log
    assert "image rm" not in calls


def records(*entries: tuple[str, str, int]) -> str:
    """The engine's list: id, type and for how many seconds it was not used; 5000 bytes each."""
    listed = [
        {
            "ID": name,
            "Type": kind,
            "InUse": name == "busy",
            "Shared": name == "shared",
            "Size": 5000,
            "CreatedAt": "2020-01-01T00:00:00Z",
            "LastUsedAt": time.strftime("%Y-%m-%dT%H:%M:%S.5Z", time.gmtime(time.time() - unused)),
            "UsageCount": 1,
        }
        for name, kind, unused in entries
    ]
    return json.dumps({"BuildCache": listed}, separators=(",", ":"))


def evictions(place: Path) -> list[list[str]]:
    """What was noted of them, without the day."""
    lines = (place / "state" / "evictions").read_text().splitlines()
    return [line.split()[1:] for line in sorted(lines)]


MOUNT = "exec.cachemount"


def full() -> str:
    return records(
        ("stays", "regular", 9), ("young", "regular", 600), ("old", "regular", 86400),
        ("shared", "regular", 5), ("mount", MOUNT, 7200), ("busy", "regular", 2),
    )  # fmt: skip


def left() -> str:
    return records(("stays", "regular", 9))


def aged() -> dict[str, str]:
    """The image goes because of its age, so the cache is listed twice."""
    return {"image": image(2 * 86400), "cache": full(), "cache-next": left()}


def test_what_vanished_between_two_looks_was_taken_by_gc(tmp_path: Path) -> None:
    sweep(tmp_path, **aged())
    (by, kind, *mount), (_, other, *layers) = evictions(tmp_path)
    assert (by, kind, other) == ("gc", MOUNT, "regular")
    assert [int(mount[0]), int(mount[1]), int(mount[2]) // 3600] == [1, 5000, 2]
    # Of the layers the one that was used last; what an image holds was not in the way, and the
    # record of a step that ran has only become another one.
    assert [int(layers[0]), int(layers[1]), int(layers[2]) // 60] == [2, 10000, 10]


def test_what_somebody_pruned_was_not_evicted(tmp_path: Path) -> None:
    sweep(tmp_path, **aged(), pruned="")
    assert evictions(tmp_path) == []


def test_a_list_that_is_empty_may_be_no_answer(tmp_path: Path) -> None:
    sweep(tmp_path, **aged() | {"cache-next": "{}"})
    assert evictions(tmp_path) == []


def test_what_the_janitor_takes_is_its_own(tmp_path: Path) -> None:
    settings = {"image": image(3600, "golang:1.24"), "cache": full(), "cache-pruned": left()}
    sweep(tmp_path, **settings, kib=100, pruned="")
    assert [line[:3] for line in evictions(tmp_path)] == [
        ["janitor", MOUNT, "1"], ["janitor", "regular", "2"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("api", "path"),
    [
        ("1.41", "/v1.41/system/df"),
        ("1.45", "/v1.45/system/df?type=build-cache"),  # engine 26 says nothing in 1.42
        ("1.52", "/v1.51/system/df?type=build-cache"),
    ],
)
def test_the_cache_is_asked_for_in_words_that_the_engine_answers(
    api: str, path: str, tmp_path: Path
) -> None:
    sweep(tmp_path, image=image(3600), api=api)
    [request, *_] = (tmp_path / "requests").read_text().splitlines()
    assert request.split()[1] == path
