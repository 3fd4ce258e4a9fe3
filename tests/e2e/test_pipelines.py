"""What `pipeline init` writes: green on a runner, and fast the second time, for each language."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.e2e.kit import HERE, Kit, Lab, explain, logs_of
from tests.e2e.packages import CRATE, TARBALL, WHEEL, Packages, serving

pytestmark = pytest.mark.lab

SAMPLES = HERE / "samples"
DIND = "runnerkit-main-dind-1"


@dataclass(frozen=True)
class Sample:
    """A project, the line that changes in it, and the list of its dependencies."""

    language: str
    source: str
    dependencies: str
    installs: str
    """Words of the build's output at the layer of the dependencies."""


GO = Sample("go", "main.go", "go.mod", "go mod download")
SAMPLES_WITH_PACKAGES = [
    Sample("pip", "main.py", "requirements.txt", "pip install -r requirements.txt"),
    Sample("npm", "main.js", "package.json", "npm ci"),
    Sample("rust", "src/main.rs", "Cargo.toml", "cargo fetch"),
    Sample("apt", "main.sh", "apt.txt", "apt-get install"),
]


@pytest.fixture(scope="module")
def runner(fleet: Kit, lab: Lab) -> Iterator[Kit]:
    """One runner, its build cache empty; the others take no builds meanwhile."""
    for other in ("host2", "host3"):
        fleet("down", other, "--yes")
    lab.on("host1", "docker", "exec", DIND, "docker", "builder", "prune", "--all", "--force")
    yield fleet
    fleet("up", "--yes")


@pytest.fixture(scope="module")
def packages(lab: Lab) -> Iterator[Packages]:
    gateway = lab.info["registry"].rpartition(":")[0].removeprefix("http://")
    with serving(gateway) as served:
        yield served


def new_sample(place: Path, language: str, packages: Packages | None = None) -> Path:
    """A fresh copy of a sample, its packages served by this test."""
    project = Path(shutil.copytree(SAMPLES / language, place))
    values = {} if packages is None else packages.values | {"packages": packages.address}
    values |= {} if packages is None else {"host": packages.host}
    for path in project.rglob("*") if values else ():
        if path.is_file():
            text = path.read_text()
            for name, value in values.items():
                text = text.replace(f"@{name}@", value)
            path.write_text(text)
    return project


def change(project: Path, sample: Sample, old: str = "hello", new: str = "good morning") -> None:
    file = project / sample.source
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


def touch_dependencies(project: Path, sample: Sample) -> None:
    """Change the list of dependencies without changing what it lists."""
    file = project / sample.dependencies
    text = file.read_text()
    changed = text.replace('"1.0.0",', '"1.0.1",', 1) if file.suffix == ".json" else f"{text}# \n"
    assert changed != text
    file.write_text(changed)


def run(lab: Lab, project: Path) -> dict[str, Any]:
    build = lab.submit(project / ".drone.yml", project)
    assert build["status"] == "success", explain(build)
    return build


def mount_files(lab: Lab, mount: str) -> int:
    """How many files are in a cache mount of host1's daemon: a build that only looks.

    Not with --no-cache, which makes BuildKit give the RUN an empty mount of its own.
    """
    look = f"RUN --mount=type=cache,id={mount},target=/m : {uuid4()}; find /m -type f | wc -l"
    dockerfile = f"FROM debian:trixie-slim\n{look} | sed s/^/found-/\n"
    script = (
        'cd "$(mktemp -d)" && printf "%s" "$0" >Dockerfile && docker build --progress=plain . 2>&1'
    )
    argv = ["docker", "exec", DIND, "sh", "-c", script, dockerfile]
    output = lab.on("host1", *argv).stdout
    [count] = re.findall(r" found-(\d+)$", output, re.MULTILINE)
    return int(count)


def assert_cached(log: str, words: str) -> None:
    """The step of the build that runs `words` came from the layer cache."""
    [number] = {line.split()[0] for line in log.splitlines() if words in line and "] RUN" in line}
    assert f"{number} CACHED" in log, log


def assert_executed(log: str, words: str) -> None:
    [number] = {line.split()[0] for line in log.splitlines() if words in line and "] RUN" in line}
    assert f"{number} CACHED" not in log, log


def test_go_is_green_and_then_compiles_only_what_changed(
    runner: Kit, lab: Lab, tmp_path: Path
) -> None:
    project = new_sample(tmp_path / "greet-go", "go")
    runner("pipeline", "init", str(project))
    assert runner("pipeline", "lint", str(project)).stdout == "nothing to complain about\n"
    build = run(lab, project)
    assert "--- PASS: TestGreet" in logs_of(build, "test")
    cold = mount_files(lab, "go-build")
    assert cold > 500, "the standard library's packages are in the cache mount"

    change(project, GO)
    build = run(lab, project)
    assert_cached(logs_of(build, "lint"), GO.installs)
    assert_executed(logs_of(build, "test-image"), "go test -c")
    hot = mount_files(lab, "go-build")
    assert cold < hot < cold + 50, "a change of one line compiles one package"


def test_tests_that_were_built_before_reach_their_database(
    runner: Kit, lab: Lab, tmp_path: Path
) -> None:
    project = new_sample(tmp_path / "greet-database", "go")
    runner("pipeline", "init", str(project), "--database", "postgres")
    runner("pipeline", "lint", str(project))
    build = run(lab, project)
    assert "accepting connections" in logs_of(build, "database-ready")
    assert "--- PASS: TestDatabase" in logs_of(build, "test")


@pytest.mark.soak
def test_the_layers_of_one_runner_serve_another(runner: Kit, lab: Lab, tmp_path: Path) -> None:
    """`--cache-registry`: pushed by one build, used by a daemon that has nothing else."""
    reference = f"{lab.info['registry'].removeprefix('http://')}/greet:cache"
    project = new_sample(tmp_path / "greet-shared", "go")
    runner("pipeline", "init", str(project), "--cache-registry", reference)
    runner("pipeline", "lint", str(project))
    run(lab, project)
    prune = ["docker", "system", "prune", "--all", "--force"]
    lab.on("host1", "docker", "exec", DIND, *prune)
    build = run(lab, project)
    assert_cached(logs_of(build, "test-image"), "go test -c")


@pytest.mark.soak
@pytest.mark.parametrize("sample", SAMPLES_WITH_PACKAGES, ids=lambda sample: sample.language)
def test_each_language_uses_both_caches(
    sample: Sample, runner: Kit, lab: Lab, packages: Packages, tmp_path: Path
) -> None:
    project = new_sample(tmp_path / f"greet-{sample.language}", sample.language, packages)
    runner("pipeline", "init", str(project))
    assert runner("pipeline", "lint", str(project)).stdout == "nothing to complain about\n"
    build = run(lab, project)
    assert "ok" in logs_of(build, "test").lower() or "greets" in logs_of(build, "test")
    downloads = packages.downloads(WHEEL, TARBALL, CRATE, "download")
    assert sample.language == "apt" or downloads > 0

    # A line of a source: the dependencies' layer is taken as it is.
    change(project, sample)
    build = run(lab, project)
    assert_cached(logs_of(build, "lint"), sample.installs)
    assert packages.downloads(WHEEL, TARBALL, CRATE, "download") == downloads
    if sample.language == "rust":
        assert "Compiling greet" in logs_of(build, "image")
        assert "Compiling words" not in logs_of(build, "image")

    # The list of dependencies: installed again, and nothing is downloaded.
    touch_dependencies(project, sample)
    build = run(lab, project)
    log = logs_of(build, "lint")
    assert_executed(log, sample.installs)
    assert packages.downloads(WHEEL, TARBALL, CRATE, "download") == downloads
    assert sample.language != "apt" or "Need to get 0 B/" in log, log
