"""Timeline histories: read as PostgreSQL writes them, and what lies on them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgdolly.domain.lsn import LSN
from pgdolly.domain.timeline import Fork, TimelineHistory, history_file_name, newest

WRITTEN = """\
1\t0/5000028\tbefore 2025-12-27 17:50:00.123456+08

2\t0/7000110\tat restore point "before the drop"
3\t1/0\tno recovery target specified
"""
THIRD = TimelineHistory(
    5,
    (
        Fork(1, LSN.parse("0/5000028"), "before 2025-12-27 17:50:00.123456+08"),
        Fork(2, LSN.parse("0/7000110"), 'at restore point "before the drop"'),
        Fork(3, LSN.parse("1/0"), "no recovery target specified"),
    ),
)


@st.composite
def histories(draw: st.DrawFn) -> TimelineHistory:
    numbers = sorted(draw(st.sets(st.integers(1, 40), min_size=1, max_size=6)))
    positions = sorted(
        draw(st.lists(st.integers(0, 1000), min_size=len(numbers) - 1, max_size=len(numbers) - 1))
    )
    forks = tuple(Fork(parent, LSN(at), "why") for parent, at in zip(numbers[:-1], positions, strict=True))
    return TimelineHistory(numbers[-1], forks)


lsns = st.builds(LSN, st.integers(0, 1100))


def test_a_history_is_read_as_postgresql_writes_it() -> None:
    assert TimelineHistory.parse(5, WRITTEN) == THIRD
    assert THIRD.path == (1, 2, 3, 5)


@given(histories())
def test_a_history_survives_its_text(history: TimelineHistory) -> None:
    text = "".join(f"{fork.parent}\t{fork.at}\t{fork.reason}\n" for fork in history.forks)
    assert TimelineHistory.parse(history.timeline, text) == history


@pytest.mark.parametrize(
    "text", ["", "\n\n", "# placeholder of pgdolly: this timeline is taken\n", "  # 1 0/0\n"]
)
def test_comments_and_empty_lines_are_no_forks(text: str) -> None:
    assert TimelineHistory.parse(2, text) == TimelineHistory(2)


def test_a_line_without_a_reason_is_a_fork() -> None:
    assert TimelineHistory.parse(2, "1 0/3000000").forks == (Fork(1, LSN.parse("0/3000000"), ""),)


@pytest.mark.parametrize(
    "line",
    ["1", "one\t0/3000000\twhy", "-1\t0/3000000\twhy", "1\t3000000\twhy", "1\t0/G\twhy", "²\t0/1\twhy"],
)
def test_a_broken_line_is_an_error_that_names_timeline_and_line(line: str) -> None:
    with pytest.raises(ValueError, match="timeline 7: ") as raised:
        TimelineHistory.parse(7, f"1\t0/1000000\twhy\n{line}\n")
    assert repr(line) in str(raised.value)


@given(histories(), lsns)
def test_a_position_lies_on_the_timeline_that_the_history_passes_it_on(
    history: TimelineHistory, lsn: LSN
) -> None:
    assert history.holds(history.timeline_at(lsn), lsn)


@given(histories(), lsns, lsns)
def test_a_history_goes_forward_through_its_path(history: TimelineHistory, one: LSN, other: LSN) -> None:
    earlier, later = sorted((one, other))
    path = history.path
    assert path.index(history.timeline_at(earlier)) <= path.index(history.timeline_at(later))


@given(histories(), lsns, st.data())
def test_what_is_held_was_reached_between_two_forks(
    history: TimelineHistory, lsn: LSN, data: st.DataObject
) -> None:
    """A recovery may stop right at a fork, so both ends belong to a timeline's part of the way."""
    timeline = data.draw(st.sampled_from((*history.path, 45)))
    starts = {history.path[0]: LSN(0)} | {
        child: fork.at for fork, child in zip(history.forks, history.path[1:], strict=True)
    }
    ends = {fork.parent: fork.at for fork in history.forks} | {history.timeline: LSN(2**64 - 1)}
    on_the_way = timeline in starts and starts[timeline] <= lsn <= ends[timeline]
    assert history.holds(timeline, lsn) is on_the_way


@given(histories())
def test_the_fork_belongs_to_the_child(history: TimelineHistory) -> None:
    for fork in history.forks:
        assert history.timeline_at(fork.at) > fork.parent
        assert history.fork_from(fork.parent) == fork
    assert history.fork_from(history.timeline) is None


@given(st.integers(1, 2**32 - 1))
def test_a_history_file_has_the_name_that_postgresql_looks_for(timeline: int) -> None:
    name = history_file_name(timeline)
    assert len(name) == len("00000001.history")
    assert int(name.removesuffix(".history"), 16) == timeline
    assert name == name.upper().replace(".HISTORY", ".history")


def test_a_cluster_begins_on_timeline_1() -> None:
    assert newest(()) == 1
    assert newest((1, 7, 3)) == 7


def test_a_history_that_runs_backwards_is_read_as_postgresql_reads_it() -> None:
    """Recovered along timeline 2, to a point before 2 left 1: PostgreSQL writes it so."""
    history = TimelineHistory.parse(
        4, "1\t0/B0000A0\tno recovery target\n2\t0/600DFA8\tbefore\n3\t0/6013320\tx\n"
    )
    assert history.timeline_at(LSN.parse("0/6000000")) == 1
    assert history.timeline_at(LSN.parse("0/600DFA8")) == 3
    assert history.timeline_at(LSN.parse("0/7000028")) == 4
    assert history.timeline_at(LSN.parse("0/C000000")) == 4
    assert history.holds(4, LSN.parse("0/7000028"))
    assert history.holds(1, LSN.parse("0/5000000"))
    assert not history.holds(1, LSN.parse("0/7000028")), "1 was left at the target"
    assert not history.holds(2, LSN.parse("0/B000100"))
