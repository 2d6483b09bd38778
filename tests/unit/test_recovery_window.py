"""The recovery window: what can be restored, and where nothing can."""

from __future__ import annotations

import cProfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pgbackrest_recordings import recorded_catalogue
from pgdolly.domain.backup import Archive, ArchivedSegment, Catalogue
from pgdolly.domain.lsn import LSN, WalSegment
from pgdolly.domain.timeline import Fork, TimelineHistory
from pgdolly.recovery.wal import ArchiveWal, WalPath
from pgdolly.recovery.window import recovery_window
from recovery_worlds import SIZE, World, at


def archived(timeline: int, number: int, *, size: int = SIZE) -> ArchivedSegment:
    return ArchivedSegment(segment=WalSegment(timeline, number, size), archived_at=at(number), size=10)


def path(history: TimelineHistory, *segments: ArchivedSegment, size: int = SIZE) -> WalPath:
    archive = Archive(archive_id="18-1", repo_key=1, segments=tuple(segments), histories=(history,))
    return ArchiveWal(archive, size).path_to(history.timeline)


def numbers(found: WalPath) -> list[tuple[int, int]]:
    return [(one.segment.timeline, one.segment.number) for one in found.segments]


def fork(parent: int, number: int, offset: int = 0x1000) -> Fork:
    return Fork(parent, LSN(number * SIZE + offset))


def test_within_a_segment_the_next_timeline_goes_on_in_its_own_file() -> None:
    along = path(
        TimelineHistory(2, (fork(1, 3),)),
        *(archived(1, n) for n in range(1, 6)),
        archived(2, 3),
        archived(2, 4),
    )
    assert numbers(along) == [(1, 1), (1, 2), (2, 3), (2, 4)]


def test_between_segments_the_parents_last_file_counts() -> None:
    along = path(
        TimelineHistory(2, (fork(1, 3, 0),)), archived(1, 1), archived(1, 2), archived(1, 3), archived(2, 3)
    )
    assert numbers(along) == [(1, 1), (1, 2), (2, 3)]


def test_two_forks_in_one_segment_need_the_last_ones_file_alone() -> None:
    history = TimelineHistory(3, (fork(1, 3), fork(2, 3, 0x2000)))
    along = path(history, archived(1, 2), archived(1, 3), archived(2, 3), archived(3, 3))
    assert numbers(along) == [(1, 2), (3, 3)]
    assert not list(along.gaps())


def test_the_parents_file_does_not_stand_in_for_the_childs() -> None:
    along = path(TimelineHistory(2, (fork(1, 3),)), archived(1, 2), archived(1, 3), archived(2, 4))
    (gap,) = along.gaps()
    assert (gap.first.name, gap.count) == ("000000020000000000000003", 1)
    assert along.strays_after(WalSegment(1, 2, SIZE))


def test_a_missing_end_of_the_parent_is_a_gap() -> None:
    along = path(TimelineHistory(2, (fork(1, 5),)), archived(1, 2), archived(2, 5))
    (gap,) = along.gaps()
    assert (gap.first.name, gap.last.name) == ("000000010000000000000003", "000000010000000000000004")
    assert str(gap) == "000000010000000000000003 to 000000010000000000000004 (2)"


def test_names_turn_over_from_log_to_log() -> None:
    along = path(TimelineHistory(1), *(archived(1, number) for number in range(0xFE, 0x103)))
    assert [one.segment.name[8:] for one in along.segments][1:3] == ["00000000000000FF", "0000000100000000"]
    assert len(along.run_from(0xFE)) == 5
    assert not list(along.gaps())


def test_names_turn_over_with_large_segments() -> None:
    size = 64 * 1024 * 1024
    along = path(TimelineHistory(1), *(archived(1, n, size=size) for n in range(0x3E, 0x42)), size=size)
    assert [one.segment.position_name for one in along.segments][1:3] == [
        "000000000000003F",
        "0000000100000000",
    ]
    assert along.covers(0x3E, 0x41)


@given(st.sets(st.integers(0, 40), min_size=1))
def test_runs_and_gaps_make_up_the_whole(found: set[int]) -> None:
    along = path(TimelineHistory(1), *(archived(1, number) for number in sorted(found)))
    in_runs = {one.segment.number for run in along.runs() for one in run}
    in_gaps = {n for gap in along.gaps() for n in range(gap.first.number, gap.last.number + 1)}
    assert in_runs == found
    assert in_gaps == set(range(min(found), max(found) + 1)) - found
    for run in along.runs():
        first, last = run[0].segment.number, run[-1].segment.number
        assert along.covers(first, last)
        assert along.run_end(first) == run[-1].segment
        assert first - 1 not in found and last + 1 not in found


def test_the_window_of_a_plain_cluster() -> None:
    world = World()
    world.write()
    first = world.backup()
    world.write()
    window = recovery_window(world.catalogue())
    assert window.first_at == first.stop_at + timedelta(seconds=1)
    assert window.last_at == at(world.clock)
    assert (window.first_lsn, window.last_lsn) == (first.stop_lsn, LSN(4 * SIZE))
    (archive,) = window.archives
    assert (archive.current, archive.newest_timeline) == (True, 1)
    assert archive.backups[0].usable


def test_a_gap_parts_the_window() -> None:
    world = World()
    world.write()
    world.backup()
    world.write()
    world.write()
    world.write()
    world.backup()
    world.write()
    world.lost = {(1, 4)}
    (archive,) = recovery_window(world.catalogue()).archives
    before, after = archive.spans
    assert before.last_lsn == LSN(4 * SIZE)
    assert after.first_lsn > LSN(6 * SIZE)
    (gap,) = archive.timelines[0].gaps
    assert str(gap) == "000000010000000000000004"
    assert [wal_range.count for wal_range in archive.timelines[0].ranges] == [3, 3]


def test_a_backup_without_its_wal_is_not_usable() -> None:
    world = World()
    world.write()
    world.backup()
    world.write()
    world.lost = {(1, 2)}
    window = recovery_window(world.catalogue())
    assert window.first_at is None and window.last_at is None and window.first_lsn is None
    (backup,) = window.archives[0].backups
    assert not backup.usable
    assert backup.problem is not None and "000000010000000000000002" in backup.problem


def test_a_segment_stored_twice_is_a_gap_and_said_so() -> None:
    world = World()
    for _ in range(3):
        world.write()
    catalogue = world.catalogue()
    (archive,) = catalogue.archives
    doubled = archive.segments[1].segment
    kept = tuple(one for one in archive.segments if one.segment != doubled)
    twice = replace(catalogue, archives=(replace(archive, segments=kept, duplicates=(doubled,)),))
    (gap,) = recovery_window(twice).archives[0].timelines[0].gaps
    assert gap.stored_twice
    assert str(gap) == "000000010000000000000002, stored twice with different content"


def test_a_backup_whose_wal_came_in_its_last_second_holds_no_time() -> None:
    window = recovery_window(recorded_catalogue("pg-two", "two-repos"))
    assert window.first_at is None and window.last_at is None
    assert window.first_lsn == LSN.parse("0/2000100")
    assert not window.archives[0].spans[0].holds_times


def test_an_empty_stanza_has_an_empty_window() -> None:
    window = recovery_window(Catalogue(stanza="pg-meta", systems=(), backups=(), archives=()))
    assert window.archives == () and window.first_at is None


def test_the_recorded_forks() -> None:
    (archive,) = recovery_window(recorded_catalogue("pg-forks", "forks")).archives
    assert archive.newest_timeline == 4
    one, two, three, four = archive.timelines
    assert (one.fork, one.began_at) == (None, None)
    assert four.fork is not None and (four.fork.parent, four.fork.at) == (1, LSN.parse("0/9002FA0"))
    assert three.fork is not None and (three.fork.parent, three.fork.at) == (2, LSN.parse("0/D001928"))
    assert two.began_at == datetime(2026, 11, 22, 17, 40, 4, tzinfo=UTC)
    assert [str(t.spans[-1].last_lsn) for t in archive.timelines] == [
        "0/C000000",
        "0/F000000",
        "0/E000000",
        "0/C000000",
    ]
    assert [backup.timelines for backup in archive.backups] == [
        (1, 2, 3, 4),
        (1, 2, 3, 4),
        (1, 2, 3, 4),
        (2, 3),
        (4,),
    ]
    assert archive.backups[3].problem == "made on timeline 2 at 0/B000050, not on the way to timeline 4"


def test_the_recorded_generations() -> None:
    window = recovery_window(recorded_catalogue("pg-two", "two-repos"))
    assert [(a.system.archive_id, a.repo_key, a.current, a.newest_timeline) for a in window.archives] == [
        ("15-2", 1, True, 1),
        ("15-2", 2, True, None),
        ("15-1", 1, False, 2),
        ("15-1", 2, False, 2),
    ]


def test_a_repository_that_was_added_later_counts_generations_anew() -> None:
    catalogue = recorded_catalogue("pg-two", "two-repos")
    present = catalogue.systems[1].system_identifier
    systems = tuple(
        replace(system, history_id=1) if system.repo_key == 2 else system
        for system in catalogue.systems
        if (system.repo_key, system.history_id) != (2, 1)
    )
    window = recovery_window(replace(catalogue, systems=systems))
    assert [(a.repo_key, a.system.history_id) for a in window.current] == [(1, 2), (2, 1)]
    assert {a.system.system_identifier for a in window.current} == {present}


def test_the_work_grows_with_the_segments_and_no_faster() -> None:
    """A month of a busy cluster's WAL, with fifty timelines: a hundred thousand segments."""
    forks = tuple(Fork(timeline, LSN(timeline * 2000 * SIZE + 0x1000)) for timeline in range(1, 50))
    segments = []
    timeline = 1
    for number in range(1, 100_000):
        if timeline < 50 and number == timeline * 2000:
            timeline += 1
        segments.append(archived(timeline, number))
    world = World()
    world.write()
    world.backup()
    catalogue = world.catalogue()
    archive = Archive(
        archive_id="18-1",
        repo_key=1,
        segments=tuple(segments),
        histories=tuple(TimelineHistory(t, forks[: t - 1]) for t in range(2, 51)),
        history_files=tuple((t, at(t)) for t in range(2, 51)),
    )
    profile = cProfile.Profile()
    window = profile.runcall(recovery_window, replace(catalogue, archives=(archive,)))
    calls = sum(entry.callcount for entry in profile.getstats())
    assert calls < 60 * len(segments)
    assert window.last_lsn == LSN(100_000 * SIZE)
