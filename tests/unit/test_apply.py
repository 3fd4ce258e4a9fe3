from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from runnerkit.change.apply import DRAIN, START_SERVICES, WRITE_FILES, Executor
from runnerkit.change.plan import Drain, Plan, StartServices, diff
from runnerkit.errors import ActionError
from runnerkit.reach.transport import ByteStream, Completed
from runnerkit.report.progress import Silent
from tests.unit.builders import converged, desired_for, with_docker


@dataclass
class ScriptedHost:
    """Answers the scripts that it was told about and fails on any other program."""

    answers: dict[str, list[Completed]]
    name: str = "forge"
    ran: list[tuple[tuple[str, ...], bytes]] = field(default_factory=list)

    def run(
        self,
        argv: Sequence[str],
        stdin: bytes | Iterable[bytes] = b"",
        *,
        timeout: float | None = None,  # noqa: ARG002 - part of the protocol
    ) -> Completed:
        assert isinstance(stdin, bytes)
        self.ran.append((tuple(argv), stdin))
        key = argv[2] if argv[:2] == ["sh", "-c"] else " ".join(argv[:2])
        answers = self.answers[key]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def follow(self, argv: Sequence[str], on_output: Callable[[bytes], None]) -> int:
        raise AssertionError(f"not scripted: {argv} {on_output}")

    def stream(self, argv: Sequence[str]) -> ByteStream:
        raise AssertionError(f"not scripted: {argv}")

    def forward(self, argv: Sequence[str], path: Path) -> AbstractContextManager[Path]:
        raise AssertionError(f"not scripted: {argv} {path}")

    def close(self) -> None:
        raise AssertionError("not the executor's to close")


def ok(text: str = "") -> Completed:
    return Completed(0, text.encode(), b"")


def executor(host: ScriptedHost) -> Executor:
    seconds = iter(range(10_000))
    return Executor(
        "forge", host, Silent(), clock=lambda: float(next(seconds)), sleep=lambda _: None
    )


def test_files_travel_in_one_archive_with_their_modes(tmp_path: Path) -> None:
    host = ScriptedHost({WRITE_FILES: [ok()]})
    plan = diff(desired_for(tmp_path), with_docker())
    files = [action for action in plan.actions if action.title.startswith("write ")]
    executor(host).execute(Plan("forge", tuple(files)), manifest=None)
    [(argv, stdin)] = host.ran
    assert "wo#rd" not in " ".join(argv)
    with tarfile.open(fileobj=io.BytesIO(stdin)) as archive:
        modes = {member.name: member.mode for member in archive.getmembers()}
    assert modes == {
        "compose.yml": 0o644,
        ".env": 0o644,
        "daemon.json": 0o644,
        "runner.env": 0o600,
        "manifest.json": 0o644,
    }


def test_a_failed_action_stops_the_plan_and_says_what_the_host_said(tmp_path: Path) -> None:
    desired = desired_for(tmp_path)
    failed = Completed(1, b"", b"line\ncontainer runnerkit-main-dind-1 is unhealthy\n")
    host = ScriptedHost({START_SERVICES: [failed]})
    start = StartServices(desired.paths, ("dind", "runner"), 120, "reason")
    with pytest.raises(ActionError, match="dind-1 is unhealthy"):
        executor(host).execute(Plan("forge", (start, start)), manifest=None)
    assert len(host.ran) == 1


def draining(tmp_path: Path, seconds: int) -> Drain:
    return Drain(desired_for(tmp_path).paths, "runner-id", seconds, "reason")


def test_draining_waits_until_the_runner_is_done(tmp_path: Path) -> None:
    host = ScriptedHost({DRAIN: [ok("true\n"), ok("true\n"), ok("false\n")]})
    executor(host).drain(draining(tmp_path, 3600))
    assert len(host.ran) == 3


def test_a_drain_that_takes_too_long_kills_nothing(tmp_path: Path) -> None:
    host = ScriptedHost({DRAIN: [ok("true\n")]})
    with pytest.raises(ActionError, match="nothing was killed"):
        executor(host).drain(draining(tmp_path, 5))
    assert {argv[2] for argv, _ in host.ran} == {DRAIN}


def test_force_ends_what_still_runs(tmp_path: Path) -> None:
    host = ScriptedHost({DRAIN: [ok("true\n")], "docker kill": [ok()]})
    executor(host).drain(draining(tmp_path, 3600), force=True)
    assert host.ran[-1][0] == ("docker", "kill", "runner-id")


def test_a_converged_host_is_left_alone(tmp_path: Path) -> None:
    host = ScriptedHost({})
    desired = desired_for(tmp_path)
    executor(host).execute(diff(desired, converged(desired)), manifest=None)
    assert host.ran == []
