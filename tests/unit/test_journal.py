from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runnerkit.change.journal import (
    Begun,
    Ended,
    Owner,
    read_begun,
    read_history,
    read_owner,
)

NUMBERS = st.integers(0, 1 << 40)
OWNERS = st.builds(Owner, who=st.text(), pid=NUMBERS, command=st.text())

STEPS = st.lists(st.text(), max_size=3).map(tuple)
ENDED = st.builds(Ended, OWNERS, NUMBERS, NUMBERS, NUMBERS, st.text(), STEPS)


@given(st.builds(Begun, OWNERS, NUMBERS, st.text(), NUMBERS, NUMBERS))
def test_a_journal_is_one_line_and_is_read_back(begun: Begun) -> None:
    line = begun.to_line()
    assert line.isprintable()
    assert read_begun(line) == begun
    assert read_owner(begun.owner.to_line()) == begun.owner


@given(st.lists(ENDED, max_size=5))
def test_a_history_is_read_back_whatever_tore_its_last_line(changes: list[Ended]) -> None:
    text = "".join(f"{change.to_line()}\n" for change in changes)
    assert read_history(text) == tuple(changes)
    assert read_history(text + '{"owner": {"who": "x", "p') == tuple(changes)


@given(st.text() | st.none())
def test_what_is_no_journal_is_none(text: str | None) -> None:
    assert read_begun(text) is None
    assert read_owner(text) is None
