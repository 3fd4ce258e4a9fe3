"""A pipeline and a build become containers to run, in order. Pure: equal arguments, equal plans.

The rules are those of drone-runner-docker 1.8.4, engine/compiler.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from runnerkit.errors import ConfigError
from runnerkit.pipeline.conditions import run_on
from runnerkit.pipeline.drone import FromSecret, Pipeline, PipelineError, Step, Volume
from runnerkit.pipeline.environment import (
    Build,
    build_environment,
    stage_environment,
    step_environment,
)
from runnerkit.pipeline.images import expand_image, is_latest, repository_of
from runnerkit.pipeline.planned import (
    Kind,
    OnError,
    PlannedMount,
    PlannedStep,
    Pull,
    RunnerTraits,
    RunPlan,
)
from runnerkit.pipeline.script import COMMAND, ENTRYPOINT, shell_script
from runnerkit.units import ByteSize

PLAIN_RUNNER = RunnerTraits()
CLONE_IMAGE = "drone/git:latest"
WORKSPACE = "/drone/src"
# The runner mounts no workspace there (runner-go, container/volume.go).
_RESTRICTED = ("/", "/etc", "/var")
_RESTRICTED_TREES = (
    "/etc/docker", "/var/run", "/proc", "/usr/local/bin", "/usr/local/sbin", "/usr/bin", "/bin",
    "/mnt", "/mount", "/media", "/sys", "/dev",
)  # fmt: skip
# Plugins that run privileged without being told to, when they are used as plain plugins.
PRIVILEGED_PLUGINS = ("docker", "acr", "ecr", "gcr", "heroku", "gar")


def plan(
    pipeline: Pipeline,
    build: Build,
    *,
    run_id: str,
    runner: RunnerTraits = PLAIN_RUNNER,
    only: Sequence[str] = (),
    number: int = 1,
) -> RunPlan:
    """The plan for `pipeline`; with `only`, for these steps and what they depend on.

    Raises PipelineError for what the runner refuses, and ConfigError for an unknown step in `only`.
    """
    _check(pipeline)
    frame = _Frame(pipeline, build, run_id, runner, number)
    steps = frame.steps()
    if only:
        steps = _selected(steps, only)
    return RunPlan(
        id=run_id,
        pipeline=pipeline.title,
        workspace_base=frame.base,
        workspace=frame.workspace,
        network=run_id,
        volumes=(frame.workspace_volume, *frame.temporary.values()),
        labels=_labels(pipeline, build, number),
        steps=tuple(steps),
    )


class _Frame:
    """What the steps of one pipeline have in common."""

    def __init__(
        self, pipeline: Pipeline, build: Build, run_id: str, runner: RunnerTraits, number: int
    ) -> None:
        self._pipeline = pipeline
        self._build = build
        self._runner = runner
        base = str(pipeline.workspace_base) or WORKSPACE
        path = str(pipeline.workspace_path)
        self.workspace = posixpath.normpath(posixpath.join(base, path.lstrip("/")))
        if _is_restricted(self.workspace):
            base, path, self.workspace = WORKSPACE, "", WORKSPACE
        self.base = base
        self.workspace_volume = f"{run_id}-workspace"
        self.temporary = {
            volume.name: f"{run_id}-{index}"
            for index, volume in enumerate(pipeline.volumes)
            if volume.temp and volume.medium != "memory"
        }
        self._environment = {
            **runner.environ,
            **pipeline.environment,
            **build_environment(build),
            **stage_environment(build, number=number, name=pipeline.title),
            **_git_environment(build),
            "DRONE_WORKSPACE": self.workspace,
            "DRONE_WORKSPACE_BASE": base,
            "DRONE_WORKSPACE_PATH": path,
            "DRONE_DOCKER_NETWORK_ID": run_id,
            "DRONE_DOCKER_VOLUME_ID": self.workspace_volume,
        }

    def steps(self) -> list[PlannedStep]:
        """Clone, services and steps in the order of the runner, with what each waits for."""
        planned = [] if self._pipeline.clone.disable else [self._clone()]
        for source in self._pipeline.services:
            planned.append(self._step(len(planned) + 1, source, "service"))
        for source in self._pipeline.steps:
            planned.append(self._step(len(planned) + 1, source, "step"))
        return _ordered(planned)

    def _clone(self) -> PlannedStep:
        return PlannedStep(
            number=1, name="clone", kind="clone", image=CLONE_IMAGE,
            pull="if-not-exists", environment=self._environment | step_environment(1, "clone"),
            secrets={}, entrypoint=(), command=(), working_dir=self.workspace,
            mounts=(PlannedMount(self.base, self.workspace_volume),), depends_on=(),
            run_on="always", why_never="", on_error="stop", detach=False, user="",
            privileged=False, network_mode="", networks=(), dns=(), dns_search=(),
            extra_hosts=(), devices=(), memory=0, memory_swap=0, shm_size=0, cpus=0.0,
        )  # fmt: skip

    def _step(self, number: int, source: Step, kind: Kind) -> PlannedStep:
        own, secrets = _variables(source)
        environment = {
            **self._environment,
            **own,
            **step_environment(number, source.name),
        }
        entrypoint, command = tuple(map(str, source.entrypoint)), tuple(map(str, source.command))
        if source.commands:
            entrypoint, command = ENTRYPOINT, COMMAND
            environment["DRONE_SCRIPT"] = shell_script(source.commands)
        detach = source.detach or kind == "service"
        when, why_never = run_on(source, self._build, kind)
        # A service without commands keeps the working directory of its image.
        own_place = detach and not source.commands
        return PlannedStep(
            number=number,
            name=str(source.name),
            kind=kind,
            image=expand_image(source.image),
            pull=_pull(source),
            environment={key: value for key, value in environment.items() if value},
            secrets=secrets,
            entrypoint=entrypoint,
            command=command,
            working_dir=str(source.working_dir) or ("" if own_place else self.workspace),
            mounts=tuple(self._mounts(source)),
            depends_on=tuple(map(str, source.depends_on)),
            run_on=when,
            why_never=why_never,
            on_error=_on_error(source),
            detach=detach,
            user=str(source.user),
            privileged=source.privileged or self._is_privileged_plugin(source),
            network_mode=str(source.network_mode),
            networks=self._runner.networks,
            dns=tuple(map(str, source.dns)),
            dns_search=tuple(map(str, source.dns_search)),
            extra_hosts=tuple(map(str, source.extra_hosts)),
            devices=tuple(self._devices(source)),
            memory=_bytes(source.mem_limit) or self._runner.memory,
            memory_swap=_bytes(source.memswap_limit),
            shm_size=_bytes(source.shm_size),
            cpus=self._runner.cpus,
        )

    def _mounts(self, source: Step) -> Iterable[PlannedMount]:
        for mount in source.volumes:
            volume = self._pipeline.volume(mount.name)
            if volume is not None:
                yield self._mounted(volume, str(mount.path))
        yield PlannedMount(self.base, self.workspace_volume)
        for host, path in self._runner.volumes.items():
            yield PlannedMount(path, host)

    def _mounted(self, volume: Volume, path: str) -> PlannedMount:
        if volume.name in self.temporary:
            return PlannedMount(path, self.temporary[volume.name])
        if volume.temp:
            return PlannedMount(path, in_memory=True, size=_bytes(volume.size_limit))
        return PlannedMount(path, str(volume.host))

    def _devices(self, source: Step) -> Iterable[str]:
        for device in source.devices:
            volume = self._pipeline.volume(device.name)
            if volume is not None and (volume.host or "").startswith("/dev/"):
                yield f"{volume.host}:{device.path}"

    def _is_privileged_plugin(self, source: Step) -> bool:
        if source.commands or source.command or source.entrypoint or source.volumes:
            return False
        names = (*self._runner.privileged_images, *(f"plugins/{x}" for x in PRIVILEGED_PLUGINS))
        return repository_of(source.image) in {repository_of(name) for name in names}


def _check(pipeline: Pipeline) -> None:
    """What the runner's linter refuses, apart from trust: who runs it here is trusted."""
    known = set() if pipeline.clone.disable else {"clone"}
    if not pipeline.steps:
        raise PipelineError(f"pipeline {pipeline.title} has no steps", pipeline.line)
    if pipeline.os not in ("", "linux"):
        raise PipelineError(f"pipeline {pipeline.title} is for {pipeline.os}", pipeline.os.line)
    for step in (*pipeline.services, *pipeline.steps):
        if step.name in known:
            raise PipelineError(f"there are two steps called {step.name}", step.line)
        known.add(str(step.name))
        if not step.image:
            raise PipelineError(f"step {step.name} has no image", step.line)
        for other in step.depends_on:
            if other not in known or other == step.name:
                raise PipelineError(
                    f"step {step.name} depends on {other}, which is no step before it",
                    other.line,
                    hint="steps can only depend on steps that are written above them",
                )


def _variables(source: Step) -> tuple[dict[str, str], dict[str, str]]:
    """Plain values, and secret names, by variable."""
    plain: dict[str, str] = {}
    secrets: dict[str, str] = {}
    settings = {f"PLUGIN_{key.upper()}": value for key, value in source.settings.items()}
    for key, value in {**source.environment, **settings}.items():
        if isinstance(value, FromSecret):
            secrets[key] = str(value.name)
        elif value is not None:
            plain[key] = _encoded(value)
    return plain, secrets


def _encoded(value: Any) -> str:
    """A setting as plugins get it: drone-runner-docker, internal/encoder."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list) and not any(isinstance(item, dict | list) for item in value):
        return ",".join(_encoded(item) for item in value)
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return str(value)


def _pull(source: Step) -> Pull:
    match source.pull.lower():
        case "always" | "never" | "if-not-exists" as policy:
            return policy
    return "always" if is_latest(source.image) else "if-not-exists"


def _on_error(source: Step) -> OnError:
    if source.failure == "ignore":
        return "ignore"
    return "fast" if source.failure in ("fast", "fast-fail", "fail-fast") else "stop"


def _git_environment(build: Build) -> Mapping[str, str]:
    name, email = build.checkout.author_name or "drone", build.checkout.author_email
    return {
        "GIT_AUTHOR_NAME": name,
        "GIT_AUTHOR_EMAIL": email or "noreply@drone",
        "GIT_COMMITTER_NAME": name,
        "GIT_COMMITTER_EMAIL": email or "noreply@drone",
        "GIT_TERMINAL_PROMPT": "0",
    }


def _ordered(steps: list[PlannedStep]) -> list[PlannedStep]:
    """Without any depends_on one after the other; with one, the others wait only for the clone."""
    if not any(step.depends_on for step in steps):
        before = [(), *((step.name,) for step in steps)]
        return [replace(step, depends_on=names) for step, names in zip(steps, before, strict=False)]
    if steps[0].kind != "clone":
        return steps
    return [
        step if step.depends_on or step.kind == "clone" else replace(step, depends_on=("clone",))
        for step in steps
    ]


def _selected(steps: list[PlannedStep], only: Sequence[str]) -> list[PlannedStep]:
    known = {step.name: step for step in steps}
    wanted: set[str] = {step.name for step in steps if step.kind != "step"}
    queue = list(only)
    while queue:
        name = queue.pop()
        if name not in known:
            names = ", ".join(step.name for step in steps if step.kind == "step")
            raise ConfigError(f"there is no step {name}", hint=f"known: {names}")
        wanted.add(name)
        queue += [other for other in known[name].depends_on if other not in wanted]
    return [step for step in steps if step.name in wanted]


def _labels(pipeline: Pipeline, build: Build, number: int) -> Mapping[str, str]:
    """Drone's own, so that whoever cleans up after killed builds knows these too."""
    hour = 3600
    return {
        "io.drone": "true",
        "io.drone.protected": "false",
        "io.drone.repo.namespace": build.checkout.owner,
        "io.drone.repo.name": build.checkout.name,
        "io.drone.repo.slug": build.checkout.slug,
        "io.drone.build.number": str(build.number),
        "io.drone.stage.name": pipeline.title,
        "io.drone.stage.number": str(number),
        "io.drone.ttl": "1h0m0s",
        "io.drone.created": str(build.started),
        "io.drone.expires": str(build.started + 2 * hour),
    }


def _is_restricted(path: str) -> bool:
    plain = posixpath.normpath(posixpath.join("/", path)).lower()
    return plain in _RESTRICTED or any(
        plain == tree or plain.startswith(f"{tree}/") for tree in _RESTRICTED_TREES
    )


def _bytes(text: str) -> int:
    """A size as the engine reads it; 0 where there is none, or nonsense."""
    try:
        return int(ByteSize.parse(str(text)))
    except ValueError:
        return 0
