"""Carrying out a pipeline's plan as the runner does: runner-go v1.12.0, pipeline/runtime/execer.go.

Each step has a thread that waits for those it depends on. Whatever happens, what the plan created
is removed before `execute` returns.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from runnerkit.errors import RunnerkitError
from runnerkit.pipeline.build_cache import NOTHING_BUILT, CacheCounter, CacheUse
from runnerkit.pipeline.environment import status_environment
from runnerkit.pipeline.planned import PlannedStep, RunPlan
from runnerkit.secret import Secret

Status = Literal["success", "failure", "ignored", "skipped", "cancelled", "service"]

# Exit code with which a step ends the pipeline early, and well.
STOP_HERE = 78
# How long threads may take to notice that their containers were killed.
FAREWELL_SECONDS = 10.0
LOOK_AGAIN_SECONDS = 1.0
MASK = "********"


@dataclass(frozen=True)
class Ended:
    """How a container ended."""

    code: int
    oom_killed: bool = False


class StepEngine(Protocol):
    """The Docker engine that the steps run in. Calls come from several threads at once."""

    def prepare(self, plan: RunPlan) -> None:
        """Create network and volumes. Raises HostError."""

    def fill(self, plan: RunPlan, step: PlannedStep, sources: Path) -> None:
        """Copy what is in `sources` into the workspace. Raises HostError."""

    def run(
        self,
        plan: RunPlan,
        step: PlannedStep,
        secrets: Mapping[str, Secret],
        on_line: Callable[[str], None],
    ) -> Ended:
        """Run one container to its end. Raises HostError, also when it is stopped meanwhile."""

    def stop(self, plan: RunPlan) -> None:
        """Kill the plan's containers, and let no other one start. Never raises."""

    def clear(self, plan: RunPlan) -> None:
        """Remove everything that carries the plan's id. Raises HostError."""


class Listener(Protocol):
    """Is told what happens, from several threads at once."""

    def began(self, step: PlannedStep) -> None:
        """A step starts."""

    def line(self, step: PlannedStep, text: str) -> None:
        """A line of a step's output, without its end and without secrets."""

    def ended(self, result: StepResult) -> None:
        """A step is over, or was never begun."""


@dataclass(frozen=True)
class StepResult:
    """What became of a step. `reason` says why it was skipped or how it failed."""

    name: str
    kind: str
    status: Status
    seconds: float = 0.0
    code: int | None = None
    cache: CacheUse = NOTHING_BUILT
    reason: str = ""


@dataclass(frozen=True)
class RunResult:
    """What became of a pipeline, in the order of its steps."""

    pipeline: str
    seconds: float
    steps: tuple[StepResult, ...]

    @property
    def ok(self) -> bool:
        """Whether CI would call it a success."""
        return all(step.status not in ("failure", "cancelled") for step in self.steps)


def execute(
    plan: RunPlan,
    engine: StepEngine,
    listener: Listener,
    *,
    sources: Path,
    secrets: Mapping[str, Secret],
    clock: Callable[[], float] = time.monotonic,
) -> RunResult:
    """Run the plan to its end and clean up, also when interrupted. Raises HostError.

    `sources` is what goes into the workspace; `secrets` are those of the plan by name.
    """
    run = _Run(plan, engine, listener, sources, secrets, clock)
    began = clock()
    try:
        engine.prepare(plan)
        run.all_steps()
    except BaseException:
        run.cancel()
        raise
    finally:
        engine.stop(plan)
        run.join(FAREWELL_SECONDS)
        engine.clear(plan)
    return RunResult(plan.pipeline, clock() - began, run.results())


class _Run:
    def __init__(
        self,
        plan: RunPlan,
        engine: StepEngine,
        listener: Listener,
        sources: Path,
        secrets: Mapping[str, Secret],
        clock: Callable[[], float],
    ) -> None:
        self._plan = plan
        self._engine = engine
        self._listener = listener
        self._sources = sources
        self._secrets = secrets
        self._clock = clock
        self._lock = threading.Lock()
        self._over = {step.name: threading.Event() for step in plan.steps}
        self._failed: list[str] = []
        self._results: dict[str, StepResult] = {}
        self._cancelled = False
        self._stopped_early = False
        self._closing = False
        self._threads = [
            threading.Thread(target=self._follow, args=(step,), daemon=True) for step in plan.steps
        ]
        self._services: list[threading.Thread] = []

    def all_steps(self) -> None:
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            while thread.is_alive():
                thread.join(LOOK_AGAIN_SECONDS)
                self._stop_if_cancelled()
        self._closing = True

    def cancel(self) -> None:
        self._cancelled = True
        self._engine.stop(self._plan)

    def join(self, seconds: float) -> None:
        deadline = self._clock() + seconds
        for thread in (*self._threads, *self._services):
            if thread.ident is not None:
                thread.join(max(0.0, deadline - self._clock()))

    def _stop_if_cancelled(self) -> None:
        # A container that was being made when the others were killed.
        if self._cancelled:
            self._engine.stop(self._plan)

    def results(self) -> tuple[StepResult, ...]:
        with self._lock:
            return tuple(
                self._results[step.name] for step in self._plan.steps if step.name in self._results
            )

    def _follow(self, step: PlannedStep) -> None:
        """Wait for what the step depends on, then do it. Dependants go on in any case."""
        try:
            for name in step.depends_on:
                if name in self._over:
                    self._over[name].wait()
            if reason := self._why_not(step):
                status: Status = "cancelled" if self._cancelled else "skipped"
                self._end(StepResult(step.name, step.kind, status, reason=reason))
            elif step.detach:
                thread = threading.Thread(target=self._do, args=(step,), daemon=True)
                self._services.append(thread)
                thread.start()
            else:
                self._do(step)
        finally:
            self._over[step.name].set()

    def _why_not(self, step: PlannedStep) -> str:
        if self._cancelled:
            return "the pipeline was ended"
        if step.run_on == "never":
            return step.why_never
        if step.run_on == "success" and self._failed:
            return f"{self._failed[0]} failed"
        if step.run_on == "failure" and not self._failed:
            return "nothing failed"
        if self._stopped_early and step.run_on != "always":
            return f"a step ended the pipeline with exit code {STOP_HERE}"
        return ""

    def _do(self, step: PlannedStep) -> None:
        self._listener.began(step)
        began = self._clock()
        counter = CacheCounter()
        code: int | None = None
        try:
            code, reason = self._perform(step, counter)
        except RunnerkitError as error:
            reason = error.message
        if step.detach and self._closing:
            code, reason = None, ""  # its end is that of the pipeline
        status = self._status(step, code)
        if reason and not self._cancelled:
            self._listener.line(step, reason)
        self._end(
            StepResult(
                step.name, step.kind, status, self._clock() - began, code, counter.use, reason
            )
        )

    def _perform(self, step: PlannedStep, counter: CacheCounter) -> tuple[int, str]:
        if step.kind == "clone":
            self._engine.fill(self._plan, step, self._sources)
            return 0, ""
        own = {variable: self._secrets[name] for variable, name in step.secrets.items()}
        hidden = _hidden(own.values())

        def on_line(text: str) -> None:
            counter.add(text)
            for value in hidden:
                text = text.replace(value, MASK)
            self._listener.line(step, text)

        now = {**step.environment, **status_environment(self._failed)}
        ended = self._engine.run(self._plan, replace(step, environment=now), own, on_line)
        if ended.oom_killed:
            return 137, "killed: out of memory"
        return ended.code, f"exit code {ended.code}" if ended.code else ""

    def _status(self, step: PlannedStep, code: int | None) -> Status:
        with self._lock:
            if self._cancelled:
                return "cancelled"
            if step.detach:
                return "service"
            if code == STOP_HERE:
                self._stopped_early = True
                return "success"
            if code == 0:
                return "success"
            if step.on_error == "ignore":
                return "ignored"
            self._failed.append(step.name)
        if step.on_error == "fast":
            self.cancel()
        return "failure"

    def _end(self, result: StepResult) -> None:
        with self._lock:
            self._results[result.name] = result
        self._listener.ended(result)


def _hidden(secrets: Iterable[Secret]) -> list[str]:
    """What must not be printed, longest first; lines of a secret one by one, as output has them."""
    lines = {line.strip() for secret in secrets for line in secret.reveal().splitlines()}
    return sorted((line for line in lines if len(line) > 1), key=len, reverse=True)
