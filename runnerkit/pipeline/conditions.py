"""`when:` of a step and `trigger:` of a pipeline, decided for one build."""

from __future__ import annotations

from collections.abc import Mapping

from runnerkit.pipeline.drone import Pipeline, Step
from runnerkit.pipeline.environment import Build
from runnerkit.pipeline.planned import Kind, RunOn


def run_on(source: Step, build: Build, kind: Kind) -> tuple[RunOn, str]:
    """When the step runs, and for one that never does, why."""
    for key, value in _conditions(build).items():
        condition = source.when.get(key)
        if condition is not None and not condition.matches(value):
            return "never", f"when.{key} does not match {value or 'nothing'}"
    status = source.when.get("status")
    if kind == "service" or status is None or not status.matches("failure"):
        return "success", ""
    return ("always" if status.matches("success") else "failure"), ""


def _conditions(build: Build) -> Mapping[str, str]:
    return {
        "action": "",
        "branch": build.branch,
        "cron": "",
        "event": build.event,
        "instance": build.system_host,
        "ref": build.ref,
        "repo": build.checkout.slug,
        "target": build.target,
    }


def trigger_problem(pipeline: Pipeline, build: Build) -> str:
    """Why the server would make no stage of this pipeline; "" when it would."""
    for key, value in _conditions(build).items():
        condition = pipeline.trigger.get(key)
        if condition is not None and not condition.matches(value):
            return f"trigger.{key} does not match {value or 'nothing'}"
    return ""
