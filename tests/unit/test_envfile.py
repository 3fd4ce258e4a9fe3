from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerkit.desired.envfile import (
    UnwritableValueError,
    compose_env,
    read_godotenv_line,
    runner_env,
)

printable = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f"))


@pytest.mark.parametrize(
    ("line", "pair"),
    [
        ("A=b", ("A", "b")),
        ("A='$b'", ("A", "$b")),
        ('A="\\$b"', ("A", "$b")),
        ("A=$b", None),
        ("A=b # comment", ("A", "b")),
        ("A='b # c'", ("A", "b # c")),
        ("A='it's'", ("A", "it's")),
        ('A="x\\"y"', ("A", 'x"y')),
        ("A:b=c", None),
    ],
)
def test_lines_are_read_as_the_runner_reads_them(line: str, pair: tuple[str, str] | None) -> None:
    assert read_godotenv_line(line) == pair


@pytest.mark.parametrize(
    "secret",
    ["p$A\"ss'wo#rd =x", "$HOME", "#", "a b", "=", "'", '"', "\\", "", "a:b", "${X}", "\\$"],
)
def test_awkward_secrets_reach_the_runner_unchanged(secret: str) -> None:
    line = runner_env({"DRONE_RPC_SECRET": secret}).rstrip("\n")
    assert read_godotenv_line(line) == ("DRONE_RPC_SECRET", secret)


@given(printable)
def test_a_value_arrives_unchanged_or_is_refused_without_being_shown(value: str) -> None:
    try:
        text = runner_env({"KEY": value})
    except UnwritableValueError as error:
        shown = str(error)
    else:
        shown = ""
        assert read_godotenv_line(text.removesuffix("\n")) == ("KEY", value)
    assert len(value) < 4 or value not in shown


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\x00b"])
def test_a_line_break_cannot_smuggle_in_a_second_setting(value: str) -> None:
    for write in (compose_env, runner_env):
        with pytest.raises(UnwritableValueError, match="KEY holds a line break"):
            write({"KEY": value})


def test_compose_values_with_special_characters_are_quoted() -> None:
    assert compose_env({"A": "plain/path:1", "B": "two words", "C": "$x#y", "D": "it's $5"}) == (
        "A=plain/path:1\nB='two words'\nC='$x#y'\nD=\"it's \\$5\"\n"
    )


def test_a_name_that_is_no_variable_is_refused() -> None:
    with pytest.raises(UnwritableValueError, match="not a variable name"):
        runner_env({"A=B": "c"})
