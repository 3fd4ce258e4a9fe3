"""The pipelines that run in the runner's daemon, told by the labels of their containers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from runnerkit.facts.daemon import ContainerFacts
from runnerkit.units import Duration


@dataclass(frozen=True)
class RunningStep:
    """One step at work. `created` is Unix seconds of its stage's begin, 0 when it is not told."""

    repo: str
    build: str
    stage: str
    step: str
    created: int

    def told(self, now: int | None) -> str:
        """`octocat/app #12 default/test, 3m` with the age at `now`, Unix seconds of the host."""
        text = f"{self.repo} #{self.build} {self.stage}/{self.step}"
        if not now or not self.created:
            return text
        return f"{text}, {Duration(max(0, now - self.created))}"


def running_steps(containers: Iterable[ContainerFacts]) -> tuple[RunningStep, ...]:
    """The steps at work among the containers of the runner's daemon, the oldest first.

    Labels are those of drone-runner-docker v1.8.4 (engine/compiler): `io.drone.*`.
    """
    found = [
        RunningStep(
            repo=_label(item, "repo.slug") or "a repository",
            build=_label(item, "build.number") or "?",
            stage=_label(item, "stage.name") or "?",
            step=_label(item, "step.name") or "?",
            created=int(created) if (created := _label(item, "created")).isdigit() else 0,
        )
        for item in containers
        if item.state == "running" and _label(item, "step.name")
    ]
    return tuple(sorted(found, key=lambda step: (step.created, step.repo, step.step)))


def _label(container: ContainerFacts, name: str) -> str:
    return container.labels.get(f"io.drone.{name}", "")
