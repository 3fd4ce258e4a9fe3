from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runnerkit.shell import quote

PRINT_WORDS = "import os, sys; sys.stdout.buffer.write(b'\\0'.join(map(os.fsencode, sys.argv[1:])))"
ANY_WORD = st.binary(max_size=30).map(lambda data: os.fsdecode(data.replace(b"\0", b"")))


@settings(max_examples=40, deadline=None)
@given(st.lists(ANY_WORD, min_size=1, max_size=5))
def test_words_arrive_through_a_real_shell(words: list[str]) -> None:
    command = quote([sys.executable, "-S", "-c", PRINT_WORDS, *words])
    completed = subprocess.run(["sh", "-c", command], capture_output=True, check=True)
    assert completed.stdout.split(b"\0") == [os.fsencode(word) for word in words]


@pytest.mark.parametrize("word", ["$HOME", "`id`", "a b", "", "*", "~", "'", '"', "\n", "!x", "-n"])
def test_nothing_is_special(word: str) -> None:
    completed = subprocess.run(
        ["sh", "-c", quote(["printf", "%s.", word])], capture_output=True, check=True
    )
    assert completed.stdout == f"{word}.".encode()


def test_refuses_nul() -> None:
    with pytest.raises(ValueError, match="NUL"):
        quote(["echo", "a\0b"])


def test_refuses_nothing() -> None:
    with pytest.raises(ValueError, match="program name"):
        quote([])
