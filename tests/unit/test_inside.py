"""What inside.sh answers, and datagrams of name servers."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerkit.facts.inside import InsideFacts, Way, parse_inside
from runnerkit.facts.names import NameAnswer, answer, asked_name, question

SCRIPT = Path(__file__).parent.parent.parent / "runnerkit" / "collect" / "inside.sh"


def seen(*lines: str) -> InsideFacts:
    facts = parse_inside("".join(f"{line}\n" for line in (*lines, "end")))
    assert facts is not None
    return facts


def reply(code: int) -> bytes:
    asked = question("drone.lan")
    return asked[:2] + bytes([0x81, 0x80 | code]) + asked[4:]


def test_a_cut_answer_is_no_answer() -> None:
    assert parse_inside("device\teth0\t1500\n") is None


def test_what_was_not_said_is_unknown() -> None:
    facts = seen()
    assert (facts.oom_kills, facts.dind_log, facts.runner_links, facts.data_seen) == (None,) * 4


@pytest.mark.parametrize(
    ("line", "way"),
    [
        ("way\tgit.lan\t443\t0\t", Way("git.lan", 443, None)),
        ("way\tgit.lan\t443\t124\t", Way("git.lan", 443, "no answer within 5 s")),
        (
            "way\tgit.lan\t80\t1\tgit.lan: connect: Connection refused "
            "git.lan: line 1: /dev/tcp/git.lan/80: Connection refused",
            Way("git.lan", 80, "Connection refused", refused=True),
        ),
        (
            "way\tgit.lan\t80\t1\tgit.lan: git.lan: Name or service not known "
            "git.lan: line 1: /dev/tcp/git.lan/80: Invalid argument",
            Way("git.lan", 80, "the name does not resolve"),
        ),
        ("reply\tm\t5000\t0\tHTTP/1.0 200 OK", Way("m", 5000, None, status="HTTP/1.0 200 OK")),
        ("reply\tm\t5000\t124\t", Way("m", 5000, "no answer within 5 s")),
    ],
)
def test_attempts_to_connect(line: str, way: Way) -> None:
    assert seen(line).ways == (way,)
    assert seen(line).way((way.host, way.port)) == way


def test_a_refusal_is_an_answer_and_silence_is_none() -> None:
    assert Way("a", 1, "Connection refused", refused=True).answered
    assert not Way("a", 1, "no answer within 5 s").answered


def test_kills_are_told_in_seconds_ago() -> None:
    facts = seen("uptime\t1000.5", "kernel_log\t1", "oom_kill\t900.25\tcc1plus", "oom_kill\t\tx")
    assert facts.oom_kills == ((100.25, "cc1plus"),)
    assert seen("uptime\t1000.5").oom_kills is None


def test_only_connections_to_others_count() -> None:
    facts = seen(
        "runner_links_read\t1",
        "runner_link\t0105D50A:1F90\t01",  # open
        "runner_link\t0105D50A:1F90\t06",  # has just ended
        "runner_link\t0105D50A:1F90\t02",  # nobody has answered yet
        "runner_link\t0100007F:0BB8\t06",  # its own health check
    )
    assert facts.runner_links == 2


@pytest.mark.parametrize(
    ("datagram", "said"),
    [
        (reply(0), NameAnswer.FOUND),
        (reply(3), NameAnswer.NO_SUCH_NAME),
        (reply(5), NameAnswer.REFUSED),
        (reply(2), NameAnswer.REFUSED),
        (b"", NameAnswer.SILENT),
        (b"xx" + reply(0)[2:], NameAnswer.SILENT),
    ],
)
def test_what_a_name_server_says(datagram: bytes, said: NameAnswer) -> None:
    assert answer(datagram) is said
    line = f"name_answer\t10.0.0.1\t{base64.b64encode(datagram).decode()}"
    assert seen(line).names == {"10.0.0.1": said}


@given(st.binary(max_size=64))
def test_no_datagram_breaks_the_reader(datagram: bytes) -> None:
    assert answer(datagram) in NameAnswer


def test_a_question_is_as_the_standard_has_it() -> None:
    assert (
        question("a.bc").hex() == "524b01000001000000000000" + "0161" + "026263" + "00" + "00010001"
    )


def test_a_server_without_a_name_is_not_asked_for() -> None:
    assert asked_name("https://drone.lan:8443/x") == "drone.lan"
    assert asked_name("http://10.0.0.7") == asked_name("http://[fd00::1]:80") != "10.0.0.7"


def test_the_script_has_nothing_to_say_of_containers_that_are_not_there() -> None:
    argv = ["sh", "-s", "--", "", "", "", "/nowhere", "", "", "open:127.0.0.1:1"]
    done = subprocess.run(argv, input=SCRIPT.read_bytes(), capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"end\n", b"")
