"""Choices over repositories that a real pgBackRest wrote (tests/data/pgbackrest).

The targets of `FORKS` were also recovered by PostgreSQL 15 from the recorded repository, with the set and timeline
that are expected here; each stopped as the comments say.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter

from pgbackrest_recordings import recorded_catalogue
from pgdolly.domain.errors import InvalidInput, Refused
from pgdolly.domain.lsn import LSN
from pgdolly.domain.target import RecoveryTarget, TargetType
from pgdolly.recovery.select import ResolvedRecovery, resolve

NOW = datetime(2026, 11, 23, tzinfo=UTC)
THE_END = RecoveryTarget()
FULL = "20261122-173946F"
DIFF = "20261122-173946F_20261122-173949D"
INCR = "20261122-173946F_20261122-173953I"
FULL_2 = "20261122-174006F"
INCR_4 = "20261122-174006F_20261122-174021I"


def time(clock: str) -> RecoveryTarget:
    return RecoveryTarget(type=TargetType.TIME, time=datetime.fromisoformat(f"2026-11-22 {clock}+00:00"))


def lsn(text: str) -> RecoveryTarget:
    return RecoveryTarget(type=TargetType.LSN, lsn=LSN.parse(text))


FORKS = [
    # target, set and timeline asked for, set, timeline, last segment, pinned
    (THE_END, None, None, INCR_4, 4, "00000004000000000000000B", True),
    (THE_END, None, 1, INCR, 1, "00000001000000000000000B", True),
    (THE_END, None, "2", FULL_2, 2, "00000002000000000000000E", True),
    (THE_END, None, "0x2", FULL_2, 2, "00000002000000000000000E", True),
    (THE_END, None, "current", INCR_4, 4, "00000004000000000000000B", True),
    (THE_END, FULL_2, None, FULL_2, 3, "00000003000000000000000D", True),
    (RecoveryTarget(type=TargetType.IMMEDIATE), None, None, INCR_4, 4, "00000004000000000000000B", False),
    # stopped before the commit of 17:39:51.689, two idle segments later
    (time("17:39:48"), None, None, FULL, 4, "000000010000000000000004", False),
    (time("17:39:52"), None, None, DIFF, 4, "000000010000000000000007", False),
    # stopped before the commits of 17:39:59.837 and 17:40:01.085, which timelines 2, 3 and 4 do not have
    (time("17:39:58"), None, None, INCR, 1, "000000010000000000000009", False),
    (time("17:40:00"), None, None, INCR, 1, "00000001000000000000000A", False),
    # stopped before the commit of 17:40:08.706
    (time("17:40:05"), None, None, INCR, 3, "00000002000000000000000A", False),
    # stopped before the commits of 17:40:13.953 and 17:40:15.196, which timeline 3 does not have
    (time("17:40:10"), None, None, FULL_2, 2, "00000002000000000000000D", False),
    (time("17:40:14"), None, None, FULL_2, 2, "00000002000000000000000D", False),
    (time("17:40:00"), None, 4, INCR, 4, "000000040000000000000009", False),
    (lsn("0/5000050"), None, None, DIFF, 4, "000000010000000000000005", False),  # just where the set ends
    (lsn("0/500004F"), None, None, FULL, 4, "000000010000000000000005", False),
    (lsn("0/9000100"), None, None, INCR, 4, "000000040000000000000009", False),  # the segment of the fork
    (lsn("0/D000000"), None, 3, FULL_2, 3, "00000003000000000000000D", False),
]


@pytest.mark.parametrize(
    ("target", "asked_set", "asked_timeline", "label", "timeline", "last", "pinned"), FORKS
)
def test_what_is_chosen_where_timelines_fork(
    target: RecoveryTarget,
    asked_set: str | None,
    asked_timeline: int | str | None,
    label: str,
    timeline: int,
    last: str,
    pinned: bool,
) -> None:
    resolved = resolve(
        recorded_catalogue("pg-forks", "forks"),
        target=target,
        backup_set=asked_set,
        timeline=asked_timeline,
        now=NOW,
    )
    assert (resolved.backup_set, resolved.timeline, resolved.last_segment.name) == (label, timeline, last)
    assert (resolved.pinned_segment is not None) is pinned
    assert resolved.highest_timeline == 4
    assert resolved.history_archived


def test_a_time_after_the_last_transaction_is_accepted_with_a_warning() -> None:
    """PostgreSQL: "recovery ended before configured recovery target was reached": only a backup wrote after it."""
    resolved = resolve(recorded_catalogue("pg-forks", "forks"), target=time("17:40:20"), now=NOW)
    assert resolved.timeline == 4
    assert "recovery ends before the target is reached" in " ".join(resolved.notes)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (
            time("17:39:47"),
            "does not lie after the first usable backup set",
        ),  # the second in which it stopped
        (time("17:40:03"), "later than the last WAL of timeline 1"),  # the cluster was down
        (time("17:40:16"), "later than the last WAL of timeline 2"),
        (time("17:40:23"), "pg_switch_wal"),
        (lsn("0/2000000"), "does not lie after the first usable backup set"),
        (lsn("0/D000000"), "it can be reached along timeline 3, 2, with --timeline"),
        (lsn("0/F000000"), "timeline 4 ends there at 0/C000000"),
        (RecoveryTarget(type=TargetType.XID, xid=730), f"{FULL} (stopped 2026-11-22 17:39:47+00)"),
        (RecoveryTarget(type=TargetType.NAME, name="before-drop"), "the oldest is always right"),
    ],
)
def test_what_is_refused_names_the_window(target: RecoveryTarget, reason: str) -> None:
    with pytest.raises(Refused) as caught:
        resolve(recorded_catalogue("pg-forks", "forks"), target=target, now=NOW, cluster="pg-meta")
    assert reason in caught.value.what
    assert "holds, along timeline" in caught.value.what
    assert "2026-11-22 17:39:48+00 to 2026-11-22 17:40:" in caught.value.what
    assert "LSNs 0/2000100 to 0/" in caught.value.what
    expected = (
        f"the same command with --set {FULL}" if "oldest" in caught.value.what else "pgdolly window pg-meta"
    )
    assert caught.value.next_command == expected


@pytest.mark.parametrize(
    ("asked_set", "asked_timeline", "repo_key", "reason"),
    [
        (
            "20200101-000000F",
            None,
            None,
            "there is no backup set '20200101-000000F'; there are: 20261122-173946F",
        ),
        (FULL_2, 4, None, "made on timeline 2 at 0/B000050, not on the way to timeline 4"),
        (None, 7, None, "holds nothing of timeline 7; it has 1, 2, 3, 4"),
        (None, None, 2, "there is no repository 2 to read from; there is 1"),
    ],
)
def test_what_is_asked_for_must_be_there(
    asked_set: str | None, asked_timeline: int | None, repo_key: int | None, reason: str
) -> None:
    with pytest.raises(Refused) as caught:
        resolve(
            recorded_catalogue("pg-forks", "forks"),
            target=THE_END,
            backup_set=asked_set,
            timeline=asked_timeline,
            repo_key=repo_key,
            now=NOW,
        )
    assert reason in caught.value.what
    assert "LSNs" in caught.value.what


@pytest.mark.parametrize("timeline", ["newest", "", "0x", "-1", 0, "4294967296"])
def test_a_timeline_that_cannot_be_read(timeline: int | str) -> None:
    with pytest.raises(InvalidInput, match="is no timeline"):
        resolve(recorded_catalogue("pg-forks", "forks"), target=THE_END, timeline=timeline, now=NOW)


@pytest.mark.parametrize(
    "target",
    [
        RecoveryTarget(type=TargetType.TIME, time=datetime(2026, 11, 22, 17, 40)),  # noqa: DTZ001 that is the point
        RecoveryTarget(type=TargetType.TIME),
        RecoveryTarget(type=TargetType.LSN),
        RecoveryTarget(type=TargetType.NAME),
    ],
)
def test_a_target_that_says_nothing(target: RecoveryTarget) -> None:
    with pytest.raises(InvalidInput, match=r"no time zone|needs a value"):
        resolve(recorded_catalogue("pg-forks", "forks"), target=target, now=NOW)


def test_wal_lost_on_the_way_to_the_end() -> None:
    catalogue = recorded_catalogue("pg-forks", "forks", drop=("00000004000000000000000A",))
    with pytest.raises(Refused) as caught:
        resolve(catalogue, target=THE_END, now=NOW)
    assert "WAL is missing: 00000004000000000000000A" in caught.value.what
    before_it = resolve(catalogue, target=lsn("0/9003000"), now=NOW)
    assert before_it.last_segment.name == "000000040000000000000009"


def test_a_timeline_whose_history_file_is_lost_is_recovered_along_its_own_backups() -> None:
    """PostgreSQL refuses its number ("recovery target timeline 4 does not exist"), and takes `current`."""
    lost = ("2.history", "3.history", "4.history")
    resolved = resolve(recorded_catalogue("pg-forks", "forks", drop=lost), target=THE_END, now=NOW)
    assert (resolved.backup_set, resolved.timeline, resolved.history_archived) == (INCR_4, 4, False)


def test_without_its_backup_a_timeline_of_unknown_origin_makes_the_end_unclear() -> None:
    lost = ("3.history", "4.history", "00000004000000000000000A")
    with pytest.raises(Refused, match=r"timeline 4 .*no usable backup leads to it"):
        resolve(recorded_catalogue("pg-forks", "forks", drop=lost), target=THE_END, now=NOW)


def test_the_first_segment_of_a_timeline_is_not_replaced_by_its_parents() -> None:
    """Without it, PostgreSQL 15 replayed 000000010000000000000009 whole, and reported success."""
    lost = ("0000000400000000/",)
    resolved = resolve(recorded_catalogue("pg-forks", "forks", drop=lost), target=THE_END, now=NOW)
    assert resolved.timeline == 4
    assert resolved.pinned_segment is not None
    assert resolved.pinned_segment.name == "000000010000000000000008"


def test_the_present_system_and_former_ones() -> None:
    catalogue = recorded_catalogue("pg-two", "two-repos")
    former, present = catalogue.systems[0].system_identifier, catalogue.systems[1].system_identifier
    now = resolve(catalogue, target=THE_END, now=NOW)
    assert (now.archive_id, now.repo_key, now.system_identifier) == ("15-2", 1, present)
    then = resolve(catalogue, target=THE_END, system_identifier=former, now=NOW)
    # The newest set of the two repositories.
    assert (then.archive_id, then.repo_key, then.timeline) == ("15-1", 2, 2)
    assert then.backup.stop_at == max(b.stop_at for b in catalogue.backups if b.history_id == 1)
    by_set = resolve(catalogue, target=THE_END, backup_set="20261122-174024F", now=NOW)
    assert (by_set.archive_id, by_set.repo_key) == ("15-1", 1)
    assert any("former system" in note for note in by_set.notes)
    with pytest.raises(Refused, match="no backup of the present system"):
        resolve(catalogue, target=THE_END, repo_key=2, now=NOW)


def test_after_an_upgrade_without_a_backup_the_cure_is_named() -> None:
    with pytest.raises(Refused) as caught:
        resolve(recorded_catalogue("pg-two", "upgraded"), target=THE_END, now=NOW, cluster="pg-two")
    assert "3 of a former system can be named with --set" in caught.value.what
    assert caught.value.next_command == "pg-backup full, on the leader of pg-two"


def test_a_resolved_recovery_survives_json() -> None:
    resolved = resolve(recorded_catalogue("pg-forks", "forks"), target=time("17:40:05"), now=NOW)
    adapter = TypeAdapter(ResolvedRecovery)
    assert adapter.validate_json(adapter.dump_json(resolved)) == resolved
