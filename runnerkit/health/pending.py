"""Why a build waits: every waiting stage against every configured host. Pure.

The order of the questions is the server's own (drone v2.24.0, scheduler/queue/queue.go): kind,
platform, labels; then whether a runner is there to take it; then what that runner does with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from runnerkit.config.effective import HostConfig, LimitSettings
from runnerkit.desired.traits import ARCHITECTURES
from runnerkit.facts.queue import RUNNING, Build, Queue, Stage
from runnerkit.health.limits import refusal
from runnerkit.health.model import HealthReport, Status

# A host with one of these red takes no work; the others make builds fail, not wait.
NEEDED_TO_POLL = ("reachable", "engine", "dind", "dind-api", "runner", "server", "polling")


class Step(IntEnum):
    """How far a stage gets with a host; the furthest one is the one to help along."""

    KIND = 0
    PLATFORM = 1
    LABELS = 2
    UNWELL = 3
    BUSY = 4
    REFUSED = 5
    FREE = 6


@dataclass(frozen=True)
class Offer:
    """What a host's runner asks the server for, and how it is.

    `arch` is None where it could not be found out. `trouble` is why it takes no work now.
    """

    host: str
    machine: str
    os: str
    arch: str | None
    variant: str
    kernel: str
    labels: Mapping[str, str]
    capacity: int
    limit: LimitSettings
    trouble: str = ""


@dataclass(frozen=True)
class Answer:
    """One host's answer to one stage."""

    host: str
    step: Step
    reason: str
    hint: str


@dataclass(frozen=True)
class Verdict:
    """Why one stage waits. `held` is a limit of its own that no host can help with, or ""."""

    stage: Stage
    build: Build | None
    held: str
    answers: tuple[Answer, ...]

    @property
    def hint(self) -> str:
        """What to do for the host that is nearest to taking it."""
        if self.held or not self.answers:
            return ""
        return max(self.answers, key=lambda answer: answer.step).hint


def offer_of(host: HostConfig, report: HealthReport, machine_arch: str | None) -> Offer:
    """What the runner of `host` asks for; `machine_arch` is as `uname -m` says, None if unknown."""
    env = host.runner.env
    arch = env.get("DRONE_PLATFORM_ARCH") or (
        ARCHITECTURES.get(machine_arch, machine_arch) if machine_arch else None
    )
    return Offer(
        host=host.name,
        machine=host.runner.name or host.name,
        os=env.get("DRONE_PLATFORM_OS") or "linux",
        arch=arch,
        variant=env.get("DRONE_PLATFORM_VARIANT", ""),
        kernel=env.get("DRONE_PLATFORM_KERNEL", ""),
        labels=host.runner.labels,
        capacity=host.runner.capacity,
        limit=host.runner.limit,
        trouble=_trouble(report),
    )


def explain(queue: Queue, offers: Iterable[Offer]) -> tuple[Verdict, ...]:
    """A verdict for each stage that waits, oldest first."""
    hosts = tuple(offers)
    verdicts = []
    for stage in queue.waiting:
        build = queue.builds.get(stage.build_id)
        answers = tuple(answer(stage, build, offer, queue) for offer in hosts)
        verdicts.append(Verdict(stage, build, _held(stage, queue), answers))
    return tuple(verdicts)


def trust_hint(build: Build) -> str:
    """What helps a build that was refused for want of trust."""
    return f"runnerkit pipeline trust {build.repo}, then restart the build"


def answer(stage: Stage, build: Build | None, offer: Offer, queue: Queue) -> Answer:
    """Why the runner behind `offer` does not have this stage."""
    host = offer.host
    if (stage.kind, stage.type) != ("pipeline", "docker"):
        hint = f"it needs a {stage.type} runner; this kit sets up docker ones"
        return Answer(host, Step.KIND, f"is no {stage.type} runner", hint)
    if different := _platform(stage, offer):
        hint = "set the pipeline's `platform:`, or add a host of that kind"
        return Answer(host, Step.PLATFORM, different, hint)
    if stage.labels != offer.labels:
        return Answer(host, Step.LABELS, _labels(stage, offer), _labels_hint(stage, offer))
    if offer.trouble:
        return Answer(host, Step.UNWELL, offer.trouble, f"runnerkit status {host}")
    if (running := queue.running_on(offer.machine)) >= offer.capacity:
        slots = "its only slot is" if offer.capacity == 1 else f"all {offer.capacity} slots are"
        hint = f"wait, or raise hosts.{host}.runner.capacity"
        return Answer(host, Step.BUSY, f"{slots} busy ({running} running)", hint)
    if build is not None:
        setting, reason = refusal(
            offer.limit, repo=build.repo, event=build.event, trusted=build.trusted
        )
        if setting:
            hint = f"change hosts.{host}.{setting}, or give the runner labels of its own"
            return Answer(host, Step.REFUSED, f"would end it with an error: {reason}", hint)
    return Answer(host, Step.FREE, "is free and would take it", _FREE_HINT)


_FREE_HINT = (
    "look again: the server gives it out within a minute. If not, its queue may be paused; "
    "POST /api/queue resumes it"
)


def _platform(stage: Stage, offer: Offer) -> str:
    """What differs, or "". Variant and kernel count only where the stage names them."""
    arch = offer.arch or stage.arch
    if (stage.os, stage.arch) != (offer.os, arch):
        return f"is {offer.os}/{arch}, it needs {stage.os}/{stage.arch}"
    for what in ("variant", "kernel"):
        wanted, given = getattr(stage, what), getattr(offer, what)
        if wanted and wanted != given:
            return f"has the {what} {given or '(none)'}, it needs {wanted}"
    return ""


def _labels(stage: Stage, offer: Offer) -> str:
    parts = []
    for key in sorted(stage.labels.keys() | offer.labels.keys()):
        wanted, given = stage.labels.get(key), offer.labels.get(key)
        if given is None:
            parts.append(f"it lacks {key}={wanted}")
        elif wanted is None:
            parts.append(f"it has {key}={given}, not asked for")
        elif wanted != given:
            parts.append(f"it has {key}={given}, not {wanted}")
    return "labels differ: " + "; ".join(parts)


def _labels_hint(stage: Stage, offer: Offer) -> str:
    wanted = _mapping(stage.labels)
    if offer.labels:
        node = f"write `node: {_mapping(offer.labels)}` in the pipeline"
    else:
        node = "take `node:` out of the pipeline"
    return f"{node}, or set hosts.{offer.host}.runner.labels to {wanted}"


def _mapping(labels: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in sorted(labels.items())) + "}"


def _held(stage: Stage, queue: Queue) -> str:
    """The limits on how many stages of a pipeline, or of a repository, run at once."""
    others = [x for x in queue.stages if x.repo_id == stage.repo_id and x.id != stage.id]
    same = sum(
        1
        for other in others
        if other.name == stage.name and (other.id < stage.id or other.status == RUNNING)
    )
    if stage.limit and same >= stage.limit:
        return f"its `concurrency: limit: {stage.limit}` is reached: {same} go first"
    earlier = sum(1 for other in others if other.id < stage.id)
    if stage.throttle and earlier >= stage.throttle:
        return f"its repository's throttle of {stage.throttle} is reached: {earlier} go first"
    return ""


def _trouble(report: HealthReport) -> str:
    found = {check.id: check for check in report.checks}
    for name in NEEDED_TO_POLL:
        check = found.get(name)
        if check is not None and check.status is Status.FAIL:
            return f"{name}: {check.summary}"
        if name == "runner" and check is not None and check.status is Status.WARN:
            return f"{name}: {check.summary}"
    return ""
