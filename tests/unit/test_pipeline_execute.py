"""The order, the failures and the clean-up of a run, with an engine that only pretends."""

# ruff: noqa: ARG002 - a pretender has the signature of what it stands for
from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from runnerkit.errors import HostError
from runnerkit.pipeline.drone import parse
from runnerkit.pipeline.execute import Ended, RunResult, StepResult, execute
from runnerkit.pipeline.plan import plan
from runnerkit.pipeline.planned import PlannedStep, RunPlan
from runnerkit.secret import Secret
from tests.unit.test_pipeline_plan import HEAD, build


class Pretender:
    """An engine whose steps end as scripted: a code, an error, or only when they are stopped."""

    def __init__(self, script: Mapping[str, int | Exception | str] | None = None) -> None:
        self.script = script or {}
        self.calls: list[str] = []
        self.environments: dict[str, Mapping[str, str]] = {}
        self.secrets: dict[str, Mapping[str, Secret]] = {}
        self.said: Mapping[str, str] = {}
        self.stopped = threading.Event()
        self.running = threading.Event()

    def prepare(self, plan: RunPlan) -> None:
        self.calls.append("prepare")

    def fill(self, plan: RunPlan, step: PlannedStep, sources: Path) -> None:
        self.calls.append(f"fill from {sources}")

    def run(
        self,
        plan: RunPlan,
        step: PlannedStep,
        secrets: Mapping[str, Secret],
        on_line: Callable[[str], None],
    ) -> Ended:
        self.calls.append(f"begin {step.name}")
        self.environments[step.name] = step.environment
        self.secrets[step.name] = secrets
        if step.name in self.said:
            on_line(self.said[step.name])
        ending = self.script.get(step.name, 0)
        if isinstance(ending, BaseException):
            raise ending
        if isinstance(ending, str):
            self.running.set()
            assert self.stopped.wait(30)
            raise HostError("stopped")
        self.calls.append(f"end {step.name}")
        return Ended(ending)

    def stop(self, plan: RunPlan) -> None:
        self.stopped.set()

    def clear(self, plan: RunPlan) -> None:
        self.calls.append("clear")


class Notes:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def began(self, step: PlannedStep) -> None:
        pass

    def line(self, step: PlannedStep, text: str) -> None:
        self.lines.append(f"{step.name}: {text}")

    def ended(self, result: StepResult) -> None:
        pass


def run(
    text: str,
    engine: Pretender,
    secrets: Mapping[str, Secret] | None = None,
    notes: Notes | None = None,
) -> RunResult:
    [pipeline] = parse(HEAD + text)
    planned = plan(pipeline, build(), run_id="run")
    return execute(
        planned, engine, notes or Notes(), sources=Path("/sources"), secrets=secrets or {}
    )


def statuses(result: RunResult) -> dict[str, str]:
    return {step.name: step.status for step in result.steps}


THREE = """\
steps:
- {name: one, image: "a:1"}
- {name: two, image: "a:1"}
- {name: three, image: "a:1"}
"""
AFTERMATH = """\
steps:
- {name: one, image: "a:1"}
- {name: two, image: "a:1"}
- {name: mourn, image: "a:1", when: {status: [failure]}}
- {name: always, image: "a:1", when: {status: [success, failure]}}
"""


def test_steps_run_one_after_the_other_and_everything_is_cleared() -> None:
    engine = Pretender()
    result = run(THREE, engine)
    assert result.ok
    assert engine.calls == [
        "prepare", "fill from /sources", "begin one", "end one", "begin two", "end two",
        "begin three", "end three", "clear",
    ]  # fmt: skip


def test_independent_steps_run_at_once() -> None:
    meeting = threading.Barrier(2, timeout=30)

    class Meeting(Pretender):
        def run(
            self,
            plan: RunPlan,
            step: PlannedStep,
            secrets: Mapping[str, Secret],
            on_line: Callable[[str], None],
        ) -> Ended:
            if step.name != "last":
                meeting.wait()  # breaks when the other one is not running
            return super().run(plan, step, secrets, on_line)

    text = """\
steps:
- {name: left, image: "a:1"}
- {name: right, image: "a:1"}
- {name: last, image: "a:1", depends_on: [left, right]}
"""
    engine = Meeting()
    assert run(text, engine).ok
    assert engine.calls[-3:] == ["begin last", "end last", "clear"]


def test_after_a_failure_only_those_run_that_want_to() -> None:
    engine = Pretender({"one": 3})
    result = run(AFTERMATH, engine)
    assert not result.ok
    assert statuses(result) == {
        "clone": "success", "one": "failure", "two": "skipped",
        "mourn": "success", "always": "success",
    }  # fmt: skip
    by_name = {step.name: step for step in result.steps}
    assert (by_name["one"].code, by_name["one"].reason) == (3, "exit code 3")
    assert by_name["two"].reason == "one failed"
    assert engine.environments["mourn"]["DRONE_BUILD_STATUS"] == "failure"
    assert engine.environments["mourn"]["DRONE_FAILED_STEPS"] == "one"
    assert engine.environments["one"]["DRONE_BUILD_STATUS"] == "success"


def test_after_success_nobody_mourns() -> None:
    assert statuses(run(AFTERMATH, Pretender()))["mourn"] == "skipped"


def test_an_ignored_failure_is_told_and_forgotten() -> None:
    text = THREE.replace('one, image: "a:1"', 'one, image: "a:1", failure: ignore')
    result = run(text, Pretender({"one": 1}))
    assert result.ok
    assert statuses(result)["one"] == "ignored"
    assert statuses(result)["three"] == "success"


def test_exit_code_78_ends_the_pipeline_well() -> None:
    result = run(AFTERMATH, Pretender({"one": 78}))
    assert result.ok
    assert statuses(result) == {
        "clone": "success", "one": "success", "two": "skipped",
        "mourn": "skipped", "always": "success",
    }  # fmt: skip


def test_fail_fast_ends_what_runs_beside_it() -> None:
    text = """\
steps:
- {name: quick, image: "a:1", failure: fast}
- {name: slow, image: "a:1"}
- {name: last, image: "a:1", depends_on: [quick, slow]}
"""
    result = run(text, Pretender({"quick": 1, "slow": "until stopped"}))
    assert not result.ok
    assert statuses(result)["slow"] in ("cancelled", "skipped")
    assert statuses(result)["last"] == "cancelled"


def test_an_engine_that_cannot_is_a_failed_step_not_a_crash() -> None:
    notes = Notes()
    result = run(
        THREE, Pretender({"one": HostError("could not pull a:1: no such host")}), {}, notes
    )
    assert statuses(result)["one"] == "failure"
    assert "one: could not pull a:1: no such host" in notes.lines


def test_a_service_runs_beside_the_steps_until_they_are_done() -> None:
    text = 'services:\n- {name: database, image: "db:1"}\n' + THREE
    engine = Pretender({"database": "until stopped"})
    result = run(text, engine)
    assert result.ok
    assert statuses(result)["database"] == "service"
    assert {s.name: s.reason for s in result.steps}["database"] == ""


def test_a_service_that_dies_is_told() -> None:
    text = 'services:\n- {name: database, image: "db:1"}\n' + THREE
    waited = threading.Event()

    class Slow(Pretender):
        def run(
            self,
            plan: RunPlan,
            step: PlannedStep,
            secrets: Mapping[str, Secret],
            on_line: Callable[[str], None],
        ) -> Ended:
            if step.name == "three":
                assert waited.wait(30)
            return super().run(plan, step, secrets, on_line)

    class Waiting(Notes):
        def ended(self, result: StepResult) -> None:
            if result.name == "database":
                waited.set()

    result = run(text, Slow({"database": 1}), {}, Waiting())
    assert result.ok  # as in CI, where only steps count
    assert {s.name: s.reason for s in result.steps}["database"] == "exit code 1"


def test_secrets_reach_their_step_and_not_the_output() -> None:
    text = (
        'steps:\n- {name: one, image: "a:1", environment: {TOKEN: {from_secret: t}}}\n'
        '- {name: two, image: "a:1"}\n'
    )
    engine = Pretender()
    engine.said = {"one": "the token is hunter2 and s3cond"}
    notes = Notes()
    run(text, engine, {"t": Secret("hunter2\ns3cond\n")}, notes)
    assert engine.secrets["one"]["TOKEN"].reveal() == "hunter2\ns3cond\n"
    assert engine.secrets["two"] == {}
    assert notes.lines == ["one: the token is ******** and ********"]


def test_an_interruption_stops_the_containers_and_clears_up() -> None:
    engine = Pretender({"one": "until stopped"})

    def interrupt() -> None:
        assert engine.running.wait(30)
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, signal.SIGINT)

    class Impatient(Notes):
        def began(self, step: PlannedStep) -> None:
            if step.name == "one":
                threading.Thread(target=interrupt).start()

    with pytest.raises(KeyboardInterrupt):
        run(THREE, engine, {}, Impatient())
    assert engine.calls == ["prepare", "fill from /sources", "begin one", "clear"]


def test_a_broken_preparation_clears_up_too() -> None:
    class Broken(Pretender):
        def prepare(self, plan: RunPlan) -> None:
            raise HostError("no network")

    engine = Broken()
    with pytest.raises(HostError, match="no network"):
        run(THREE, engine)
    assert engine.calls == ["clear"]
