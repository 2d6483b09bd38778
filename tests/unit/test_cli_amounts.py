"""Amounts, durations and the pace, as they are printed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgdolly.cli.amounts import Pace, amount, amount_of, duration, percentage


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0, "bytes", "0 B"),
        (999, "bytes", "999 B"),
        (1000, "bytes", "1.0 kB"),
        (45_200_000, "bytes", "45.2 MB"),
        (999_949_999, "bytes", "999.9 MB"),
        (999_960_000, "bytes", "1.0 GB"),
        (2.5e12, "bytes", "2.5 TB"),
        (12, "segments", "12 segments"),
        (1.26, "files", "1.3 files"),
        (3, "", "3"),
    ],
)
def test_amounts(value: float, unit: str, expected: str) -> None:
    assert amount(value, unit) == expected


def test_amount_of_a_total() -> None:
    assert amount_of(45_200_000, 170_000_000, "bytes") == "45.2 MB of 170.0 MB"
    assert amount_of(3, 10, "files") == "3 of 10 files"
    assert amount_of(3, None, "files") == "3 files"


@pytest.mark.parametrize(
    ("done", "total", "expected"),
    [
        (26.9, 100, "26%"),
        (99.99, 100, "99%"),
        (100, 100, "100%"),
        (120, 100, "100%"),
        (5, None, ""),
        (0, 0, ""),
    ],
)
def test_percentage(done: float, total: float | None, expected: str) -> None:
    assert percentage(done, total) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.04, "0.0 s"),
        (9.44, "9.4 s"),
        (45.4, "45 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7620, "2 h 07 min"),
    ],
)
def test_duration(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def test_what_was_done_before_the_first_look_is_no_part_of_the_pace() -> None:
    pace = Pace()
    pace.update(100e6, 50)
    assert pace.seconds_left(100e6, 170e6) is None
    pace.update(110e6, 51)
    assert pace.rate == 10e6
    assert pace.seconds_left(110e6, 170e6) == 6


def test_a_stall_brings_the_pace_down_and_a_new_beginning_starts_it_anew() -> None:
    pace = Pace()
    for second in range(10):
        pace.update(second * 10, second)
    assert pace.rate == pytest.approx(10)
    for second in range(10, 30):
        pace.update(90, second)
    assert pace.rate is not None and 0 < pace.rate < 1
    pace.update(0, 31)
    assert pace.seconds_left(0, 100) is None


@given(st.floats(1, 1e9), st.lists(st.floats(0.001, 30), min_size=40, max_size=60))
def test_a_steady_pace_is_found_however_often_it_is_looked_at(rate: float, gaps: list[float]) -> None:
    pace, now = Pace(), 0.0
    pace.update(0, now)
    for gap in [*gaps, 1.0]:
        now += gap
        pace.update(rate * now, now)
    assert pace.rate == pytest.approx(rate, rel=1e-3)
