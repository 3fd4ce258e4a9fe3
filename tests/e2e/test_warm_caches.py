"""Caches stay warm: after a change of the source, and after a power cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.kit import PIPELINES, Kit, Lab, explain, logs_of, new_project, only, until

pytestmark = pytest.mark.lab

BUILD_AND_RUN = PIPELINES / "build-and-run.yml"
NEW_ENGINES = ["host1", "host2"]


@pytest.mark.parametrize("host", NEW_ENGINES)
def test_caches_are_warm_after_a_change_and_after_a_power_cut(
    host: str, fleet: Kit, lab: Lab, tmp_path: Path
) -> None:
    only(fleet, host)
    project = new_project(tmp_path / f"greet-{host}")
    first = lab.submit(BUILD_AND_RUN, project)
    assert first["status"] == "success", explain(first)

    change_a_line(project, "good morning")
    assert_warm(lab.submit(BUILD_AND_RUN, project))

    lab.call("cut", host)
    lab.call("boot", host)
    until(lambda: fleet("status", host, expect=None).code == 0, 90, f"{host} healthy again")
    change_a_line(project, "good evening")
    assert_warm(lab.submit(BUILD_AND_RUN, project))


def change_a_line(project: Path, greeting: str) -> None:
    lines = (project / "main.go").read_text().splitlines()
    changed = [
        f'const greeting = "{greeting}"' if line.startswith("const greeting") else line
        for line in lines
    ]
    (project / "main.go").write_text("\n".join(changed) + "\n")


def assert_warm(build: dict[str, object]) -> None:
    assert build["status"] == "success", explain(build)
    output = logs_of(build, "build")
    assert "CACHED" in output, output
    steps_before_the_change = [x for x in output.splitlines() if "RUN go version" in x]
    number = steps_before_the_change[0].split()[0]
    assert f"{number} CACHED" in output, output
    [line] = [
        x
        for x in output.splitlines()
        if "compiled packages in the cache mount: " in x and "echo" not in x
    ]
    # net/http alone makes well over a hundred of them; a cold cache has none.
    assert int(line.rsplit(" ", 1)[1]) > 50, output
