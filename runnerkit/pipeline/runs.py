"""From a repository's folder to the results of its pipelines: read, plan, check, run."""

from __future__ import annotations

import os
import posixpath
import secrets as randomness
import shutil
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from runnerkit.config.effective import HostConfig
from runnerkit.errors import ConfigError
from runnerkit.pipeline.checkout import make_checkout
from runnerkit.pipeline.conditions import trigger_problem
from runnerkit.pipeline.drone import FILE_NAME, Pipeline, PipelineError, parse
from runnerkit.pipeline.environment import (
    Build,
    Checkout,
    build_environment,
)
from runnerkit.pipeline.execute import Listener, RunResult, StepEngine, execute
from runnerkit.pipeline.files import read_text
from runnerkit.pipeline.plan import PLAIN_RUNNER, plan
from runnerkit.pipeline.planned import RunnerTraits, RunPlan
from runnerkit.pipeline.substitution import substitute
from runnerkit.secret import Secret


@dataclass(frozen=True)
class Wish:
    """What a person asked for."""

    folder: Path
    pipelines: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    event: str = "push"
    branch: str = ""
    target: str = ""
    tag: str = ""


@dataclass(frozen=True)
class Place:
    """Where it runs, as the steps see it."""

    machine: str
    system_proto: str
    system_host: str
    runner: RunnerTraits = PLAIN_RUNNER


def here() -> Place:
    """The engine of this machine itself; no server is behind it."""
    return Place(socket.gethostname(), "http", "localhost")


def place_of(host: HostConfig) -> Place:
    """A runner's engine, with what its runner adds to every step."""
    server, runner = urlsplit(host.server), host.runner
    traits = RunnerTraits(
        environ=host.step_environment,
        volumes=dict(runner.volumes),
        networks=tuple(runner.networks),
        privileged_images=tuple(map(str, runner.privileged_images)),
        memory=int(runner.step_memory or 0),
        cpus=float(runner.step_cpus or 0),
    )
    return Place(runner.name or host.name, server.scheme, server.netloc, traits)


@dataclass(frozen=True)
class Prepared:
    """Pipelines planned, in the order in which they run, and what they need."""

    checkout: Checkout
    plans: tuple[RunPlan, ...]
    depends_on: Mapping[str, tuple[str, ...]]
    passed_over: Mapping[str, str]
    """Pipelines that CI would not run for this event, and why."""
    sources: Mapping[str, Path]

    @property
    def secrets(self) -> tuple[str, ...]:
        """Names of all secrets that are asked for."""
        return tuple(sorted({name for item in self.plans for name in item.secrets}))


def prepare(wish: Wish, place: Place, workbench: Path, *, now: int | None = None) -> Prepared:
    """Read and plan; nothing is created but the sources below the folder `workbench`.

    Raises ConfigError for what is wrong with the file, the wish or the repository.
    """
    file = wish.folder / FILE_NAME
    text = read_text(file)
    if text is None:
        raise ConfigError(f"{file} does not exist", hint=f"runnerkit pipeline init {wish.folder}")
    with _naming(file):
        depths = {pipeline.clone.depth for pipeline in parse(text)} or {0}
    sources = workbench / "sources"
    checkout = make_checkout(wish.folder, sources, depth=0 if 0 in depths else max(depths))
    build = Build(
        checkout=checkout,
        event=wish.event,
        started=int(time.time()) if now is None else now,
        machine=place.machine,
        system_proto=place.system_proto,
        system_host=place.system_host,
        branch=wish.branch or checkout.branch,
        target=wish.target,
        tag=wish.tag,
    )
    with _naming(file):
        pipelines = parse(substitute(text, build_environment(build)))
        plans, passed_over = _plans(wish, place, build, pipelines)
    return Prepared(
        checkout,
        plans,
        {pipeline.title: tuple(map(str, pipeline.depends_on)) for pipeline in pipelines},
        passed_over,
        {item.id: _laid_out(sources, item, workbench) for item in plans},
    )


def _plans(
    wish: Wish, place: Place, build: Build, pipelines: Sequence[Pipeline]
) -> tuple[tuple[RunPlan, ...], Mapping[str, str]]:
    known = [pipeline.title for pipeline in pipelines]
    if not known:
        raise ConfigError(
            f"there is no pipeline in {wish.folder / FILE_NAME}",
            hint="one begins with `kind: pipeline` and `type: docker`",
        )
    for name in wish.pipelines:
        if name not in known:
            raise ConfigError(f"there is no pipeline {name}", hint=f"known: {', '.join(known)}")
    passed_over: dict[str, str] = {}
    plans: list[RunPlan] = []
    run_id = f"runnerkit-{randomness.token_hex(4)}"
    for number, pipeline in _in_order(pipelines):
        if wish.pipelines and pipeline.title not in wish.pipelines:
            continue
        reason = "" if wish.pipelines else trigger_problem(pipeline, build)
        if reason:
            passed_over[pipeline.title] = reason
            continue
        plans.append(
            plan(
                pipeline,
                build,
                run_id=f"{run_id}-{number}",
                runner=place.runner,
                only=wish.steps,
                number=number,
            )
        )
    return tuple(plans), passed_over


def _in_order(pipelines: Sequence[Pipeline]) -> Iterator[tuple[int, Pipeline]]:
    """Each after those it depends on, otherwise as written; numbers count from 1 as written."""
    left = list(enumerate(pipelines, start=1))
    names = {pipeline.title for pipeline in pipelines}
    done: set[str] = set()
    while left:
        ready = [item for item in left if set(item[1].depends_on) & names <= done]
        if not ready:
            first = left[0][1]
            raise PipelineError(f"pipeline {first.title} waits for itself", first.line)
        left.remove(ready[0])
        done.add(ready[0][1].title)
        yield ready[0]


def _laid_out(sources: Path, item: RunPlan, workbench: Path) -> Path:
    """A folder that, copied to the volume of the workspace, has the sources where they belong."""
    below = posixpath.relpath(item.workspace, item.workspace_base)
    if below == ".":
        return sources
    place = workbench / item.id
    shutil.copytree(sources, place / below, symlinks=True, copy_function=os.link)
    return place


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Errors of the pipeline file name the file, too."""
    try:
        yield
    except PipelineError as error:
        raise ConfigError(f"{file}:{error.line}: {error.what}", hint=error.hint) from None


def run(
    prepared: Prepared,
    engine: StepEngine,
    listener: Listener,
    secrets: Mapping[str, Secret],
) -> Iterator[RunResult]:
    """Run one pipeline after the other; those that depend on a failed one are left out."""
    failed: set[str] = set()
    for item in prepared.plans:
        if failed & set(prepared.depends_on[item.pipeline]):
            failed.add(item.pipeline)
            continue
        result = execute(item, engine, listener, sources=prepared.sources[item.id], secrets=secrets)
        if not result.ok:
            failed.add(item.pipeline)
        yield result
