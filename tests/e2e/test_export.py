"""What a host has built goes into a file, and into the host again after a new installation."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.kit import HARD_TO_COPY, Kit, Lab

pytestmark = pytest.mark.lab

HOST, DATA = "host1", "/var/lib/runnerkit/main"


def ids(lab: Lab, host: str = HOST) -> str:
    """The containers of the stack and the data-root: the same as long as nothing was touched."""
    listed = "docker ps --no-trunc --format '{{.ID}} {{.State}}' | sort; stat -c '%i %z' $0"
    return lab.on(host, "sh", "-c", listed, DATA).stdout


def beside(lab: Lab) -> list[str]:
    """What lies next to the data-root."""
    return lab.on(HOST, "ls", str(Path(DATA).parent)).stdout.split()


def test_a_host_that_was_installed_anew_starts_warm(fleet: Kit, lab: Lab, tmp_path: Path) -> None:
    lab.on(HOST, "sh", "-c", HARD_TO_COPY)
    file = tmp_path / "host1.tar"
    fleet("cache", "export", HOST, str(file))
    assert file.stat().st_mode & 0o777 == 0o600
    fleet("plan", HOST, "--exit-code")
    assert "is there already" in fleet("cache", "export", HOST, str(file), expect=2).output

    older = ids(lab, "host3")
    assert "is older" in fleet("cache", "import", "host3", str(file), "--yes", expect=1).output
    assert ids(lab, "host3") == older

    leftovers = [f"{DATA}.incoming", f"{DATA}.before-import"]
    lab.on(HOST, "mkdir", *leftovers)
    named = fleet("down", HOST, "--purge", "--yes").stdout
    assert all(place in named for place in (DATA, *leftovers))
    assert beside(lab) == []
    fleet("up", HOST, "--yes")
    before = ids(lab)
    cut = tmp_path / "cut.tar"
    cut.write_bytes(file.read_bytes()[:-10240])
    assert "not whole" in fleet("cache", "import", HOST, str(cut), "--yes", expect=2).output
    damaged = tmp_path / "damaged.tar"
    damaged.write_bytes(file.read_bytes()[:-1] + b"x")
    assert "is damaged" in fleet("cache", "import", HOST, str(damaged), "--yes", expect=1).output
    assert "nobody is there" in fleet("cache", "import", HOST, str(file), expect=2).output
    assert ids(lab) == before
    assert beside(lab) == ["main"]

    fleet("cache", "import", HOST, str(file), "--yes")
    again = lab.on(HOST, "sh", "-c", HARD_TO_COPY).stdout
    assert again.count("CACHED") == 2
    assert again.splitlines()[-2:] == ["0", "2"]
    assert beside(lab) == ["main"]
    fleet("plan", HOST, "--exit-code")
