"""Sizes, shares and spans of time mean what a person expects, and survive being printed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from runnerkit.units import (
    MAX_BYTES,
    MAX_SECONDS,
    Amount,
    ByteSize,
    Duration,
    format_bytes,
    format_duration,
    go_duration,
)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("8GB", 8 << 30),
        ("8GiB", 8 << 30),
        ("8g", 8 << 30),
        ("512MiB", 512 << 20),
        ("1.5g", 3 << 29),
        ("0.3k", 307),
        ("10 kb", 10 << 10),
        ("2TB", 2 << 40),
        ("1p", 1 << 50),
        ("12b", 12),
        ("12", 12),
        (12, 12),
        (0, 0),
    ],
)
def test_sizes_are_binary_as_the_engines_are(text: str | int, count: int) -> None:
    assert int(ByteSize.parse(text)) == count


@pytest.mark.parametrize(
    "wrong", ["", "GB", "-1", -1, "8XB", "1e5", "8 G B", "1,5g", 1.5, True, None, [], "٣", "8ib"]
)
def test_what_is_no_size_is_refused_with_examples(wrong: object) -> None:
    with pytest.raises(ValueError, match="should be a size such as 8GB"):
        ByteSize.parse(wrong)


def test_a_size_that_no_engine_can_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="too large"):
        ByteSize.parse("9999999PB")


def test_a_percentage_is_of_the_data_disk() -> None:
    assert Amount.parse("50%").of(1001) == 500
    assert Amount.parse("15GB").of(1) == 15 << 30


@pytest.mark.parametrize("wrong", ["0%", "101%", "-5%", "1.5%", "%"])
def test_a_percentage_is_a_whole_number_from_1_to_100(wrong: str) -> None:
    with pytest.raises(ValueError, match="1% to 100%"):
        Amount.parse(wrong)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60d", 5184000), ("72h", 259200), ("1h30m", 5400), ("45s", 45), ("2w", 1209600), ("0s", 0)],
)
def test_durations_have_days_and_weeks(text: str, seconds: int) -> None:
    assert int(Duration.parse(text)) == seconds


@pytest.mark.parametrize("wrong", ["", "5", "1.5h", "30m1h", "-1h", "h", "5 s", None, True, "1y"])
def test_what_is_no_duration_is_refused_with_examples(wrong: object) -> None:
    with pytest.raises(ValueError, match="should be a duration such as 45s"):
        Duration.parse(wrong)


def test_a_bare_number_is_told_that_a_unit_is_missing() -> None:
    with pytest.raises(ValueError, match="a unit is missing: 60s"):
        Duration.parse(60)


@given(st.integers(0, MAX_BYTES))
def test_a_size_reads_back_as_itself(count: int) -> None:
    assert ByteSize.parse(str(ByteSize(count))) == ByteSize(count)


@given(st.one_of(st.builds(Amount, bytes=st.integers(0, MAX_BYTES)),
                 st.builds(Amount, percent=st.integers(1, 100))))  # fmt: skip
def test_an_amount_reads_back_as_itself(amount: Amount) -> None:
    assert Amount.parse(str(amount)) == amount


@given(st.integers(0, MAX_SECONDS))
def test_a_duration_reads_back_as_itself(seconds: int) -> None:
    assert Duration.parse(str(Duration(seconds))) == Duration(seconds)


@pytest.mark.parametrize("value", [ByteSize(5 << 30), Amount(percent=7), Duration(90)])
def test_values_pass_through_models_and_json_unchanged(value: Any) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(type(value))
    assert adapter.validate_python(value) is value
    assert adapter.validate_json(adapter.dump_json(value)) == value


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (8 << 30, "8.0 GiB"),
        (512, "512 B"),
        (1536, "1.5 KiB"),
        ((1 << 30) - 1, "1.0 GiB"),
        (MAX_BYTES, "8192.0 PiB"),
    ],
)
def test_bytes_on_a_screen_are_short(count: int, text: str) -> None:
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text", "go"),
    [
        (1209600, "14d", "336h0m0s"),
        (5400, "1h30m", "1h30m0s"),
        (90, "1m30s", "1m30s"),
        (45, "45s", "45s"),
        (0, "0s", "0s"),
    ],
)
def test_durations_for_people_and_for_go(seconds: int, text: str, go: str) -> None:
    assert format_duration(seconds) == text
    assert go_duration(seconds) == go
