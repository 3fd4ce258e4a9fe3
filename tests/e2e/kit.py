"""The product and the lab as a person uses them: two programs, called by their command lines."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ENGINES = {"host1": "docker:28.5-dind", "host2": "docker:26.1-dind", "host3": "docker:20.10-dind"}

HERE = Path(__file__).parent
PIPELINES = HERE / "pipelines"
PROJECTS = HERE / "projects"
ROOT = HERE.parent.parent

# Layers with what is hard to copy: a directory that hides one below it, and a hard link.
HARD_TO_COPY = """
export DOCKER_HOST=unix:///run/runnerkit/main/docker.sock DOCKER_BUILDKIT=1
docker pull -q debian:trixie-slim >/dev/null
printf 'FROM debian:trixie-slim\\nRUN --mount=type=cache,target=/kept %s\\nRUN %s\\n' \\
    'echo x >>/kept/f' 'rm -rf /etc/apt && mkdir /etc/apt && echo x >/a && ln /a /b' |
    docker build --progress=plain -t moved:1 - 2>&1
docker run --rm moved:1 sh -c 'ls -A /etc/apt | wc -l; stat -c %h /a'
"""


@dataclass(frozen=True)
class Result:
    """What a program did."""

    code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return self.stdout + self.stderr


@dataclass
class Lab:
    """A running lab."""

    name: str
    info: dict[str, Any]
    environment: dict[str, str] = field(default_factory=dict)

    def call(self, *arguments: str, check: bool = True) -> Result:
        """`python -m tests.lab ARGUMENTS`."""
        return lab_command(self.name, *arguments, check=check)

    def on(self, host: str, *argv: str, check: bool = True) -> Result:
        """Run a program on a host, past SSH."""
        return self.call("exec", host, "--", *argv, check=check)

    def submit(self, pipeline: Path, repo: Path | None = None) -> dict[str, Any]:
        """Queue a build and wait for its end."""
        arguments = ["submit", str(pipeline), "--wait"]
        if repo is not None:
            arguments += ["--repo", str(repo)]
        return json.loads(self.call(*arguments, check=False).stdout)  # type: ignore[no-any-return]

    def begin(self, host: str, *argv: str) -> subprocess.Popen[str]:
        """Like `on`, without waiting for its end here."""
        return self._begun("exec", host, "--", *argv)

    def queue(self, pipeline: Path, repo: Path | None = None) -> subprocess.Popen[str]:
        """Like submit, without waiting for it here."""
        arguments = ["submit", str(pipeline), "--wait"]
        if repo is not None:
            arguments += ["--repo", str(repo)]
        return self._begun(*arguments)

    def _begun(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.lab", *arguments],
            cwd=ROOT,
            env=os.environ | {"RUNNERKIT_LAB": self.name},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def cancel_builds(self) -> None:
        """End every build that the server takes for unfinished, also those of a host that died."""
        for build in json.loads(self.call("server", "GET", "/lab/builds").stdout):
            if not build["finished"]:
                self.cancel(build["id"])

    def cancel(self, build: int) -> None:
        """End one build."""
        self.call("server", "POST", f"/lab/builds/{build}/cancel")

    @property
    def secret(self) -> str:
        return str(self.info["server"]["secret"])


def lab_command(name: str, *arguments: str, check: bool = True) -> Result:
    environment = os.environ | {"RUNNERKIT_LAB": name}
    done = subprocess.run(
        [sys.executable, "-m", "tests.lab", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if check and done.returncode:
        raise AssertionError(f"lab {' '.join(arguments)}: {done.returncode}\n{done.stderr[-4000:]}")
    return Result(done.returncode, done.stdout, done.stderr)


def lab_name() -> str:
    """What this process calls its lab: test files run side by side, each with its own hosts."""
    name = os.environ.get("RUNNERKIT_LAB", "test")
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    return f"{name}-{worker}" if worker else name


@contextmanager
def running_lab(name: str, *, hosts: int) -> Iterator[Lab]:
    """A lab for as long as the block runs; also gone when this process dies."""
    answer = lab_command(name, "up", "--hosts", str(hosts), "--owner", str(os.getpid()))
    yield Lab(name, json.loads(answer.stdout))
    lab_command(name, "down")


class Kit:
    """`runnerkit` with one configuration file."""

    def __init__(self, config: Path, program: tuple[str, ...] = ()) -> None:
        self.config = config
        self._program = program or (sys.executable, "-m", "runnerkit")

    def __call__(
        self, *arguments: str, expect: int | None = 0, env: dict[str, str] | None = None
    ) -> Result:
        done = subprocess.run(
            [*self._program, *arguments],
            env=os.environ | {"RUNNERKIT_CONFIG": str(self.config)} | (env or {}),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        result = Result(done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in result.output, result.output
        if expect is not None:
            assert done.returncode == expect, (
                f"runnerkit {' '.join(arguments)}: exit {done.returncode}, not {expect}\n"
                f"{result.output[-4000:]}"
            )
        return result

    def edit(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the configuration file."""
        content = yaml.safe_load(self.config.read_text())
        change(content)
        self.config.write_text(yaml.safe_dump(content))


def new_project(place: Path) -> Path:
    """A fresh copy of the sample project."""
    return Path(shutil.copytree(PROJECTS / "greet", place))


def logs_of(build: dict[str, Any], step: str) -> str:
    """The whole output of one step."""
    for stage in build["stages"]:
        for item in stage["steps"]:
            if item["name"] == step:
                return "".join(line["out"] for line in item["log"] or [])
    raise AssertionError(f"no step {step} in {build}")


def explain(build: dict[str, Any]) -> str:
    """What a person would look at when a build is not green."""
    lines = [f"build {build.get('number')}: {build.get('status')} {build.get('error') or ''}"]
    for stage in build["stages"]:
        lines.append(f"{stage['name']}: {stage['status']} {stage['error'] or ''}")
        for step in stage["steps"]:
            lines.append(f"  {step['name']}: {step['status']} {step['error'] or ''}")
            lines += [f"    {line['out'].rstrip()}" for line in (step["log"] or [])[-15:]]
    return "\n".join(lines)


def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for something that is going to happen."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.1)


def only(kit: Kit, host: str) -> None:
    """Let `host` alone take builds."""
    for other in ENGINES:
        if other != host:
            kit("down", other, "--yes")
    kit("up", host, "--yes")


def publish(lab: Lab, host: str, ref: str, dockerfile: str) -> None:
    """Build an image on `host` and put it into the lab's registry; the host forgets it."""
    lab.on(host, "sh", "-c", f'printf %s "$0" | docker build -q -t {ref} -', dockerfile)
    lab.on(host, "docker", "save", "-o", "/var/lib/docker/published.tar", ref)
    # The disk of a host is a folder here; through its standard output it would take a minute.
    [tarball] = Path(lab.info["config"]).parent.glob(f"hosts/{host}/data/docker/published.tar")
    lab.call("image", ref, str(tarball))
    tarball.unlink()
    lab.on(host, "docker", "image", "rm", ref)
