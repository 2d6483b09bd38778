"""Positions and segment names, against PostgreSQL's own arithmetic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgdolly.domain.lsn import LSN, WalSegment

MEBIBYTE = 1024 * 1024
sizes = st.sampled_from([2**power * MEBIBYTE for power in range(11)])  # initdb --wal-segsize: 1 MB to 1 GB
lsns = st.builds(LSN, st.integers(0, 2**64 - 1))
timelines = st.integers(1, 2**32 - 1)


@given(lsns)
def test_an_lsn_survives_its_text(lsn: LSN) -> None:
    assert LSN.parse(str(lsn)) == lsn
    assert LSN.parse(f" {str(lsn).lower()}\n") == lsn


@pytest.mark.parametrize(
    ("text", "position"),
    [("0/0", 0), ("0/5000028", 0x5000028), ("16/B374D848", 0x16B374D848), ("FFFFFFFF/FFFFFFFF", 2**64 - 1)],
)
def test_an_lsn_is_two_halves_of_32_bits(text: str, position: int) -> None:
    assert LSN.parse(text).position == position
    assert str(LSN(position)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "/",
        "0/",
        "/0",
        "0/0/0",
        "0x0/1",
        "G/1",
        "-1/1",
        "0/123456789",
        "123456789/0",
        "0/1 0/2",
        "1/ 2",
    ],
)
def test_what_is_no_lsn_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is not an LSN") as raised:
        LSN.parse(text)
    assert repr(text) in str(raised.value)


@given(lsns, lsns)
def test_lsns_run_as_the_log_does(left: LSN, right: LSN) -> None:
    assert (left < right) is (left.position < right.position)
    assert (left >= right) is (left.position >= right.position)


@given(timelines, lsns, sizes)
def test_a_segment_holds_the_byte_that_it_was_asked_for(timeline: int, lsn: LSN, size: int) -> None:
    segment = WalSegment.holding(timeline, lsn, size)
    assert segment.start <= lsn < segment.end
    assert segment.end.position - segment.start.position == size


@given(timelines, lsns, sizes)
def test_a_segment_survives_its_name(timeline: int, lsn: LSN, size: int) -> None:
    segment = WalSegment.holding(timeline, lsn, size)
    assert WalSegment.parse(segment.name, size) == segment
    assert segment.name == f"{timeline:08X}{segment.position_name}"
    assert str(segment) == segment.name


@given(lsns, lsns, sizes, timelines, timelines)
def test_position_names_sort_as_the_log_runs(left: LSN, right: LSN, size: int, one: int, other: int) -> None:
    """The pin of a recovery compares them as text, over all timelines."""
    first, second = WalSegment.holding(one, left, size), WalSegment.holding(other, right, size)
    assert (first.position_name > second.position_name) is (first.number > second.number)


@pytest.mark.parametrize(
    ("lsn", "size", "name"),
    [
        ("0/5000028", 16, "000000020000000000000005"),
        ("0/FFFFFFFF", 16, "0000000200000000000000FF"),
        ("1/0", 16, "000000020000000100000000"),  # the log boundary: FF is followed by 00 of the next log
        ("0/FFFFFFFF", 64, "00000002000000000000003F"),
        ("1/0", 64, "000000020000000100000000"),
        ("0/FFFFFFFF", 1, "000000020000000000000FFF"),
        ("0/FFFFFFFF", 1024, "000000020000000000000003"),
        ("FFFFFFFF/FFFFFFFF", 64, "00000002FFFFFFFF0000003F"),
    ],
)
def test_segments_are_named_as_postgresql_names_them(lsn: str, size: int, name: str) -> None:
    assert WalSegment.holding(2, LSN.parse(lsn), size * MEBIBYTE).name == name


def test_the_segment_after_the_last_one_of_a_log_is_the_first_of_the_next() -> None:
    last = WalSegment.parse("00000001000000000000003F", 64 * MEBIBYTE)
    following = WalSegment(1, last.number + 1, last.size)
    assert following.name == "000000010000000100000000"
    assert last.end == following.start == LSN.parse("1/0")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "00000001",
        "00000001000000000000000",
        "0000000100000000000000011",
        "00000001000000000000000a",
        "000000010000000000000001.partial",
        "00000001.history",
        "000000010000000000000001\n",
    ],
)
def test_what_is_no_segment_is_named(name: str) -> None:
    with pytest.raises(ValueError, match="is not the name of a WAL segment"):
        WalSegment.parse(name)


def test_a_name_that_another_segment_size_made_is_not_taken_for_a_segment() -> None:
    """With 64 MB a log has 64 segments, 00 to 3F: 40 was written with a smaller size."""
    with pytest.raises(ValueError, match="64 MB"):
        WalSegment.parse("000000010000000000000040", 64 * MEBIBYTE)
