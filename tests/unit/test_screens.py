"""What is drawn: 80 columns, no control characters in a pipe, as much as fits on a terminal."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from runnerkit.facts.queue import Build, Queue
from runnerkit.health.model import Check, Group, HealthReport, Status, unreachable
from runnerkit.health.pending import explain
from runnerkit.report.live import Lines, Screen
from runnerkit.report.queue import queue_json, queue_text
from runnerkit.report.screens import show
from runnerkit.report.status import brief_text, health_text
from tests.unit.test_pending import FORGE, STAGE

WORDS = st.text(alphabet="abc defg-/:", min_size=1, max_size=200).map(str.strip)
CHECKS = st.builds(
    Check,
    id=st.from_regex(r"[a-z]{3,12}(-[a-z]{3,8})?", fullmatch=True),
    group=st.sampled_from(Group),
    status=st.sampled_from(Status),
    summary=WORDS,
    evidence=WORDS | st.just(""),
    hint=WORDS | st.just(""),
)
REPORTS = st.lists(
    st.builds(
        HealthReport,
        host=st.from_regex(r"[a-z0-9.-]{1,63}", fullmatch=True),
        checks=st.lists(CHECKS, min_size=1, max_size=40).map(tuple),
    ),
    min_size=1,
    max_size=5,
)

GOOD = HealthReport("forge", (Check("reachable", Group.HOST, Status.OK, "logged in"),))
BAD = HealthReport(
    "attic",
    (
        Check("reachable", Group.HOST, Status.OK, "logged in"),
        Check("mirror", Group.DIND, Status.SKIP, "none is configured"),
        Check("server", Group.SERVER, Status.FAIL, "no", "HTTP 401", "compare the secrets"),
        Check("drift", Group.HOST, Status.WARN, "2 changes", "", "runnerkit plan attic"),
    ),
)


def drawn(screen: RenderableType, *, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(screen)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined, no-any-return]


@given(reports=REPORTS)
@pytest.mark.parametrize("verbose", [False, True])
def test_no_line_is_wider_than_80_columns(reports: list[HealthReport], verbose: bool) -> None:
    for screen in (health_text(reports, verbose=verbose), brief_text(reports)):
        assert max(map(len, drawn(screen)), default=0) <= 80


@given(reports=REPORTS)
def test_the_screen_names_every_check_that_is_not_well(reports: list[HealthReport]) -> None:
    text = "\n".join(drawn(health_text(reports)))
    for report in reports:
        assert report.host in text
        for check in report.checks:
            assert check.id in text or check.status is Status.SKIP


def test_good_checks_share_a_line_and_others_say_what_to_do() -> None:
    assert [line.rstrip() for line in drawn(health_text([BAD]))] == [
        "attic  unhealthy",
        " host   ✓ reachable",
        "        ! drift  2 changes",
        "          hint: runnerkit plan attic",
        " server ✗ server  no",
        "          HTTP 401",
        "          hint: compare the secrets",
    ]


def test_verbose_shows_what_was_skipped_and_why() -> None:
    assert any("mirror  none is configured" in x for x in drawn(health_text([BAD], verbose=True)))


def test_brief_is_one_line_a_host_failures_first() -> None:
    gone = unreachable("cellar", "no route", None)
    assert drawn(brief_text([GOOD, BAD, gone])) == [
        "forge   healthy",
        "attic   unhealthy  server, drift",
        "cellar  unreachable",
    ]


@pytest.mark.parametrize(
    "environment", [{}, {"NO_COLOR": "1", "TERM": "xterm-256color"}, {"COLUMNS": "200"}]
)
def test_a_pipe_gets_plain_text(
    environment: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    show(health_text([GOOD, BAD]))
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\r" not in out
    assert all(line == line.rstrip() and len(line) <= 80 for line in out.splitlines())


def test_no_colour_where_the_terminal_is_asked_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    console.print(health_text([BAD]))
    written = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b[3" not in written
    assert "attic" in written


class Terminal:
    """A watch's screen on a terminal of some height, and what it drew last."""

    def __init__(self, height: int, hosts: Iterable[str]) -> None:
        self.console = Console(
            file=io.StringIO(), force_terminal=True, width=80, height=height, highlight=False
        )
        self.screen = Screen(self.console, hosts, 5)

    def text(self) -> str:
        return "\n".join(line.rstrip() for line in drawn(self.screen.content()))


def test_a_screen_shows_less_of_each_host_rather_than_run_off() -> None:
    for height, detail in ((40, True), (6, False)):
        terminal = Terminal(height, ["forge", "attic"])
        with terminal.screen as screen:
            assert "asking forge, attic" in terminal.text()
            screen.show(GOOD)
            assert "asking attic" in terminal.text()
            screen.show(BAD)
            assert ("hint: compare the secrets" in terminal.text()) is detail
            assert ("attic  unhealthy  server, drift" in terminal.text()) is not detail
            assert len(terminal.text().splitlines()) <= height


def test_a_screen_is_left_as_it_was_found_and_steps_aside_for_a_question() -> None:
    terminal = Terminal(20, ["forge"])
    with terminal.screen as screen, screen.aside():
        written = terminal.console.file.getvalue()  # type: ignore[attr-defined]
        assert written.count("\x1b[?1049h") == written.count("\x1b[?1049l") == 1
    written = terminal.console.file.getvalue()  # type: ignore[attr-defined]
    assert written.count("\x1b[?1049h") == written.count("\x1b[?1049l") == 2
    assert written.endswith("\x1b[?25h\x1b[?1049l")


def test_a_pipe_gets_a_line_for_each_change() -> None:
    console = Console(file=io.StringIO(), width=80, highlight=False)
    with Lines(console) as lines:
        for report in (GOOD, GOOD, unreachable("forge", "gone", None), GOOD):
            lines.show(report)
            lines.tick()
    told = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [line.split(maxsplit=1)[1] for line in told] == [
        "forge  healthy", "forge  unreachable", "forge  healthy",
    ]  # fmt: skip


def test_a_queue_is_told_build_by_build() -> None:
    untrusted = Build(7, 12, "octo/app", "push", trusted=False)
    error = "linter: untrusted repositories cannot mount host volumes"
    never = Build(6, 3, "octo/web", "push", trusted=False, status="error", error=error)
    queue = Queue((STAGE,), {7: untrusted}, "me", whole=False, refused=(never,))
    verdicts = explain(queue, [FORGE])
    lines = [line.rstrip() for line in drawn(queue_text("http://drone", queue, verdicts, 1420))]
    assert lines[:6] == [
        "http://drone  1 waiting, 0 running",
        " me is no system admin there: only builds of its own repositories are shown",
        " octo/web #3  never queued  push",
        f"  ✗ {error}",
        "    hint: runnerkit pipeline trust octo/web, then restart the build",
        " octo/app #12  default  push  for 7m",
    ]
    assert "  ✓ forge is free and would take it" in lines
    told = json.loads(json.dumps(queue_json("http://drone", queue, verdicts)))
    assert told["waiting"][0]["hosts"][0]["step"] == "free"
    assert told["refused"][0]["error"] == error
