from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from runnerkit.change.actions import Drain, StartServices
from runnerkit.change.apply import Executor
from runnerkit.change.journal import Owner, read_begun, read_history
from runnerkit.change.plan import Plan, diff
from runnerkit.change.remote import Fence, Remote
from runnerkit.change.scripts import script
from runnerkit.errors import ActionError, ConnectionLostError, LockedError
from runnerkit.paths import stack_paths
from runnerkit.reach.transport import ByteStream, Completed
from runnerkit.report.progress import Silent
from runnerkit.secret import Secret
from tests.unit.builders import SECRET, converged, desired_for, with_docker

WRITE_FILES = "\n".join([script("generations"), script("write_files")])
DRAIN, END_BUILDS, FORGET, JOURNAL, RECORD, START_SERVICES, WHY = (
    script(name)
    for name in (
        "drain", "end_builds", "forget_journal", "journal", "record", "start_services",
        "why_not_healthy",
    )
)  # fmt: skip
OWNER = Owner("ops@laptop", 4711, "up")


@dataclass
class ScriptedHost:
    """Answers the scripts that it was told about and fails on any other program."""

    answers: dict[str, list[Completed | Exception]]
    name: str = "forge"
    ran: list[tuple[str, tuple[str, ...], bytes]] = field(default_factory=list)

    def run(
        self,
        argv: Sequence[str],
        stdin: bytes | Iterable[bytes] = b"",
        *,
        timeout: float | None = None,  # noqa: ARG002 - part of the protocol
    ) -> Completed:
        assert isinstance(stdin, bytes)
        assert list(argv[:6]) == ["sh", "-c", script("fenced"), "sh", "/run/runnerkit", "token"]
        program = argv[6]
        self.ran.append((program, tuple(argv[7:]), stdin))
        answers = self.answers[program]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def follow(
        self,
        argv: Sequence[str],
        on_output: Callable[[bytes], None],
        on_error: Callable[[bytes], None] | None = None,
    ) -> int:
        raise AssertionError(f"not scripted: {argv} {on_output} {on_error}")

    def stream(self, argv: Sequence[str]) -> ByteStream:
        raise OSError(f"no daemon answers {argv}")

    def forward(self, argv: Sequence[str], path: Path) -> AbstractContextManager[Path]:
        raise AssertionError(f"not scripted: {argv} {path}")

    def close(self) -> None:
        raise AssertionError("not the executor's to close")

    def arguments(self, program: str) -> list[tuple[str, ...]]:
        return [arguments for ran, arguments, _ in self.ran if ran == program]

    def history(self) -> list[str]:
        lines = [arguments[1] for arguments in self.arguments(RECORD)]
        return [change.result for line in lines for change in read_history(line)]


def ok(text: str = "") -> Completed:
    return Completed(0, text.encode(), b"")


def failed(text: str, code: int = 1) -> Completed:
    return Completed(code, b"", text.encode())


def a_host(answers: dict[str, list[Completed | Exception]]) -> ScriptedHost:
    return ScriptedHost({JOURNAL: [ok()], RECORD: [ok()], **answers})


def executor(host: ScriptedHost, secrets: tuple[Secret, ...] = ()) -> Executor:
    seconds = iter(range(10_000))
    paths = stack_paths("main", "/var/lib/runnerkit")
    return Executor(
        Remote(host, Fence("token")), OWNER, paths, 0, Silent(),
        secrets=secrets, clock=lambda: float(next(seconds)), sleep=lambda _: None,
    )  # fmt: skip


def execute(host: ScriptedHost, plan: Plan, *, force: bool = False) -> None:
    executor(host).execute(plan, force=force)


def test_a_generation_travels_in_one_archive_that_is_checked_by_its_digest(tmp_path: Path) -> None:
    host = a_host({WRITE_FILES: [ok()]})
    plan = diff(desired_for(tmp_path), with_docker())
    files = [action for action in plan.actions if action.title.startswith("write ")]
    execute(host, Plan("forge", tuple(files)))
    [(arguments, stdin)] = [(a, stdin) for ran, a, stdin in host.ran if ran == WRITE_FILES]
    assert "wo#rd" not in " ".join(arguments)
    assert arguments[:4] == (
        "/srv/runnerkit/main", "1", "10", hashlib.sha256(stdin).hexdigest(),
    )  # fmt: skip
    with tarfile.open(fileobj=io.BytesIO(stdin)) as archive:
        modes = {member.name: member.mode for member in archive.getmembers()}
    assert modes == {
        "compose.yml": 0o644,
        ".env": 0o644,
        "daemon.json": 0o644,
        "runner.env": 0o600,
        "steps.env": 0o600,
        "janitor.sh": 0o644,
        "manifest.json": 0o644,
    }


def start(tmp_path: Path) -> StartServices:
    return StartServices(desired_for(tmp_path).paths, ("dind", "runner"), 120, "reason")


def test_a_failed_action_stops_the_plan_and_says_what_the_host_said(tmp_path: Path) -> None:
    said = ok("dind is running, unhealthy; its last lines:\nno space left on device\n")
    host = a_host({START_SERVICES: [failed("dind-1 is unhealthy\n")], WHY: [said]})
    with pytest.raises(ActionError, match=r"(?s)dind-1 is unhealthy.*no space left"):
        execute(host, Plan("forge", (start(tmp_path), start(tmp_path))))
    assert len(host.arguments(START_SERVICES)) == 1
    assert host.history() == ["failed: start dind and runner"]


def test_the_history_tells_what_was_done(tmp_path: Path) -> None:
    host = a_host({WRITE_FILES: [ok()], START_SERVICES: [ok()]})
    plan = diff(desired_for(tmp_path), with_docker())
    files = [action for action in plan.actions if action.title.startswith("write ")]
    execute(host, Plan("forge", (*files, start(tmp_path))))
    [(_, line)] = host.arguments(RECORD)
    [change] = read_history(line)
    assert (change.before, change.after) == (0, 1)
    assert change.steps == (
        "write compose.yml, .env, daemon.json, runner.env, steps.env, janitor.sh",
        "start dind and runner",
    )


def test_every_action_is_in_the_journal_before_it_begins(tmp_path: Path) -> None:
    host = a_host({DRAIN: [ok("gone\n")], START_SERVICES: [ok()]})
    execute(host, Plan("forge", (draining(tmp_path, 5), start(tmp_path))))
    assert [ran for ran, _, _ in host.ran] == [JOURNAL, DRAIN, JOURNAL, START_SERVICES, RECORD]
    begun = [read_begun(line) for _, line in host.arguments(JOURNAL)]
    assert [item and (item.step, item.number, item.of, item.owner) for item in begun] == [
        ("drain the runner", 1, 2, OWNER),
        ("start dind and runner", 2, 2, OWNER),
    ]
    assert host.history() == ["done"]


def test_a_lost_connection_leaves_the_journal_for_the_next_one(tmp_path: Path) -> None:
    host = a_host({START_SERVICES: [ConnectionLostError("the connection was lost")]})
    with pytest.raises(ConnectionLostError, match="lost during `start dind and runner`"):
        execute(host, Plan("forge", (start(tmp_path),)))
    assert host.history() == []


def test_who_has_lost_the_lock_changes_nothing_more(tmp_path: Path) -> None:
    host = a_host({JOURNAL: [failed("", code=75)]})
    with pytest.raises(LockedError, match="lock was taken away"):
        execute(host, Plan("forge", (start(tmp_path),)))
    assert [ran for ran, _, _ in host.ran] == [JOURNAL]


def draining(tmp_path: Path, seconds: int) -> Drain:
    return Drain(desired_for(tmp_path).paths, "runner-id", seconds, "reason")


def drain(host: ScriptedHost, what: Drain, *, force: bool = False) -> None:
    execute(host, Plan("forge", (what,)), force=force)


def test_draining_waits_until_the_runner_is_done(tmp_path: Path) -> None:
    host = a_host({DRAIN: [ok("true\n"), ok("true\n"), ok("false\n")]})
    drain(host, draining(tmp_path, 3600))
    assert len(host.arguments(DRAIN)) == 3


def test_a_drain_that_takes_too_long_kills_nothing(tmp_path: Path) -> None:
    host = a_host({DRAIN: [ok("true\n")]})
    with pytest.raises(ActionError, match="nothing was killed"):
        drain(host, draining(tmp_path, 5))
    assert {ran for ran, _, _ in host.ran} == {DRAIN, JOURNAL, RECORD}


def test_force_ends_what_still_runs_when_the_time_is_over(tmp_path: Path) -> None:
    host = a_host({DRAIN: [ok("true\n")], END_BUILDS: [ok()]})
    drain(host, draining(tmp_path, 5), force=True)
    assert len(host.arguments(DRAIN)) > 1
    assert host.arguments(END_BUILDS) == [("/run/runnerkit/main", "runner-id")]


def test_a_converged_host_is_left_alone(tmp_path: Path) -> None:
    host = ScriptedHost({})
    desired = desired_for(tmp_path)
    execute(host, diff(desired, converged(desired)))
    assert host.ran == []


def test_what_the_runner_said_never_shows_a_secret(tmp_path: Path) -> None:
    told = json.dumps({"msg": f"X-Drone-Token: {SECRET.reveal()}"}) + "\n"
    host = a_host({START_SERVICES: [failed("unhealthy\n")], WHY: [ok(told + SECRET.reveal())]})
    with pytest.raises(ActionError) as failure:
        executor(host, secrets=(SECRET,)).execute(Plan("forge", (start(tmp_path),)))
    assert "ss'wo" not in failure.value.message
    assert failure.value.message.count("********") == 2


def test_fetching_and_switching_are_one_change(tmp_path: Path) -> None:
    host = a_host({START_SERVICES: [ok()], FORGET: [ok()]})
    one = executor(host)
    one.begin(Plan("forge", (start(tmp_path),)))
    assert host.history() == []
    one.execute(Plan("forge", (start(tmp_path),)))
    assert host.history() == ["done"]
    # Nothing is to be told of what only asked, and nothing looks interrupted afterwards.
    one.begin(Plan("forge", ()))
    one.end("failed: the image does not fit")
    assert host.history() == ["done"]
    assert [ran for ran, _, _ in host.ran][-1] == RECORD
