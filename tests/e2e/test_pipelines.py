"""What `pipeline init` writes: green on a runner, and fast the second time, for each language."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from tests.e2e.kit import ENGINES, HERE, Kit, Lab, explain, logs_of, only, until
from tests.e2e.packages import CRATE, TARBALL, WHEEL, Packages, serving

pytestmark = pytest.mark.lab

SAMPLES = HERE / "samples"
# What the tests of every sample say when they pass, each in its language.
GREEN = re.compile(r"PASS|^OK$|\bok\b|greets", re.MULTILINE)
READY = {"postgres": "accepting connections", "redis": "PONG", "mariadb": "mysqld is alive"}
ARCHIVES = (WHEEL, TARBALL, CRATE, "download")
DIND = "runnerkit-main-dind-1"


@dataclass(frozen=True)
class Sample:
    """A project, the line that changes in it, and the list of its dependencies."""

    folder: str
    source: str
    dependencies: str
    installs: str
    """Words of the build's output at the layer of the dependencies."""


GO = Sample("go", "main.go", "go.mod", "go mod download")
APT = Sample("apt", "main.sh", "apt.txt", "apt-get install")
PIP = Sample("pip", "main.py", "requirements.txt", "pip install -r requirements.txt")
OTHERS = [
    PIP,
    Sample("uv", "main.py", "pyproject.toml", "uv sync --locked --no-install-project --no-dev"),
    Sample("npm", "main.js", "package.json", "npm ci"),
    Sample("yarn", "main.js", "package.json", "yarn install --frozen-lockfile"),
    Sample("yarn-berry", "main.js", "package.json", "yarn install --immutable"),
    Sample("pnpm", "main.js", "package.json", "pnpm install --frozen-lockfile"),
    Sample("rust", "src/main.rs", "Cargo.toml", "cargo fetch"),
]


@pytest.fixture(scope="module")
def runner(fleet: Kit, lab: Lab) -> Kit:
    """One runner, its build cache empty; the others take no builds meanwhile."""
    for other in ("host2", "host3"):
        fleet("down", other, "--yes")
    lab.on("host1", "docker", "exec", DIND, "docker", "builder", "prune", "--all", "--force")
    return fleet


@pytest.fixture(scope="module")
def packages(lab: Lab) -> Iterator[Packages]:
    gateway = lab.info["registry"].rpartition(":")[0].removeprefix("http://")
    with serving(gateway) as served:
        yield served


@pytest.fixture(scope="module")
def own_engine(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of somebody at a desk: a plain Docker is docker's engine."""
    desk = json.loads(lab.call("host", "add", "desk").stdout)
    # BuildKit speaks TLS to a mirror that is not listed as insecure.
    listed = {"insecure-registries": [lab.info["registry"].partition("://")[2]]}
    settings = json.dumps(listed | {"registry-mirrors": [lab.info["registry"]]})
    reload = 'printf %s "$1" >/etc/docker/daemon.json && kill -HUP "$(cat /run/docker.pid)"'
    lab.on("desk", "sh", "-c", reload, "sh", settings)
    socket = tmp_path_factory.mktemp("desk") / "docker.sock"
    options = ["-i", desk["key"], "-o", f"UserKnownHostsFile={desk['known_hosts']}"]
    forward = ["-N", "-L", f"{socket}:/run/docker.sock", f"root@{desk['address']}"]
    with subprocess.Popen(["ssh", "-F", "none", *options, *forward]) as ssh:
        until(socket.exists, 30, "ssh has forwarded the socket")
        yield {"DOCKER_HOST": f"unix://{socket}"}
        ssh.terminate()
    lab.call("host", "remove", "desk")


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
    changed = text.replace('"1.0.0",', '"1.0.1",', 1) if file.suffix == ".json" else f"{text}#\n"
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


def begin(runner: Kit, project: Path) -> None:
    """Have the files written; they have no findings."""
    runner("pipeline", "init", str(project))
    assert runner("pipeline", "lint", str(project)).stdout == "nothing to complain about\n"


def run_here(runner: Kit, project: Path, own_engine: dict[str, str]) -> None:
    """Green without a push, on an engine that never built it."""
    here = runner("pipeline", "run", str(project), env=own_engine)
    assert GREEN.search(here.stdout), here.stdout


@pytest.mark.soak
def test_go_is_green_without_a_push(
    runner: Kit, own_engine: dict[str, str], tmp_path: Path
) -> None:
    project = new_sample(tmp_path / "greet-here", "go")
    begin(runner, project)
    run_here(runner, project, own_engine)


def test_go_is_green_and_then_compiles_only_what_changed(
    runner: Kit, lab: Lab, tmp_path: Path
) -> None:
    project = new_sample(tmp_path / "greet-go", "go")
    begin(runner, project)
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


@pytest.mark.parametrize(
    "database", ["postgres", "redis", pytest.param("mariadb", marks=pytest.mark.soak)]
)
def test_tests_that_were_built_before_reach_their_database(
    database: str, runner: Kit, lab: Lab, tmp_path: Path
) -> None:
    project = new_sample(tmp_path / f"greet-{database}", "go")
    runner("pipeline", "init", str(project), "--database", database)
    runner("pipeline", "lint", str(project))
    build = run(lab, project)
    assert READY[database] in logs_of(build, "database-ready")
    assert "--- PASS: TestDatabase" in logs_of(build, "test")


@pytest.mark.parametrize(
    "sample",
    [APT, *(pytest.param(sample, marks=pytest.mark.soak) for sample in OTHERS)],
    ids=lambda sample: sample.folder,
)
def test_each_language_uses_both_caches(
    sample: Sample,
    runner: Kit,
    lab: Lab,
    packages: Packages,
    own_engine: dict[str, str],
    tmp_path: Path,
) -> None:
    project = new_sample(tmp_path / f"greet-{sample.folder}", sample.folder, packages)
    begin(runner, project)
    run_here(runner, project, own_engine)
    before = packages.downloads(*ARCHIVES)
    build = run(lab, project)
    assert GREEN.search(logs_of(build, "test")), explain(build)
    downloads = packages.downloads(*ARCHIVES)
    assert sample is APT or downloads > before, "the runner's caches were cold"

    # A line of a source: the dependencies' layer is taken as it is.
    change(project, sample)
    build = run(lab, project)
    assert_cached(logs_of(build, "lint"), sample.installs)
    assert packages.downloads(*ARCHIVES) == downloads
    if sample.folder == "rust":
        assert "Compiling greet" in logs_of(build, "image")
        assert "Compiling words" not in logs_of(build, "image")

    # The list of dependencies: installed again, and nothing is downloaded.
    touch_dependencies(project, sample)
    build = run(lab, project)
    log = logs_of(build, "lint")
    assert_executed(log, sample.installs)
    assert packages.downloads(*ARCHIVES) == downloads
    assert sample is not APT or "Need to get 0 B/" in log, log


@pytest.mark.parametrize(
    ("host", "sample"),
    [
        pytest.param("host3", APT, id="20.10-apt"),
        pytest.param("host2", PIP, id="26.1-pip", marks=pytest.mark.soak),
        pytest.param("host3", PIP, id="20.10-pip", marks=pytest.mark.soak),
    ],
)
def test_what_init_writes_needs_no_new_engine(
    host: str, sample: Sample, runner: Kit, lab: Lab, packages: Packages, tmp_path: Path
) -> None:
    only(runner, host)
    project = new_sample(tmp_path / f"greet-{sample.folder}", sample.folder, packages)
    runner("pipeline", "init", str(project))
    build = run(lab, project)
    assert build["stages"][0]["machine"] == host
    assert GREEN.search(logs_of(build, "test")), explain(build)
    change(project, sample)
    assert_cached(logs_of(run(lab, project), "lint"), sample.installs)


@pytest.fixture
def second(lab: Lab) -> Iterator[dict[str, Any]]:
    """A host that no runner was ever on, as an entry of the configuration."""
    made = json.loads(lab.call("host", "add", "second").stdout)
    yield {
        "ssh": f"root@{made['address']}",
        "identity": made["key"],
        "known_hosts": made["known_hosts"],
        "docker": {"image": ENGINES["host1"]},
    }
    lab.call("host", "remove", "second")


@pytest.mark.soak
def test_the_layers_of_one_runner_serve_another(
    runner: Kit, lab: Lab, second: dict[str, Any], own_engine: dict[str, str], tmp_path: Path
) -> None:
    """`registry.cache`: pushed by a build, taken by a runner that has never built anything."""
    config = tmp_path / "runnerkit.yml"
    content = yaml.safe_load(runner.config.read_text())
    place = f"{lab.info['registry'].removeprefix('http://')}/layers"
    content["defaults"]["registry"] = {"cache": place}
    content["hosts"]["second"] = second
    config.write_text(yaml.safe_dump(content))
    sharing = Kit(config)
    only(sharing, "host1")

    project = new_sample(tmp_path / "greet-shared", "go")
    sharing("pipeline", "init", str(project), "--cache-registry", "auto")
    assert sharing("pipeline", "lint", str(project)).stdout == "nothing to complain about\n"
    # Where nobody says where to share layers, it works all the same.
    run_here(sharing, project, own_engine)
    run(lab, project)
    sharing("down", "host1", "--yes")
    sharing("up", "second", "--yes")
    build = run(lab, project)
    assert build["stages"][0]["machine"] == "second"
    assert_cached(logs_of(build, "test-image"), "go test -c")
    assert f"importing cache manifest from {place}/greet-shared:cache" in logs_of(
        build, "test-image"
    )
