"""The choice of a backup set on one shelf: which set, along which timeline, and whether its WAL reaches the target.

Sources: pgBackRest, `command/restore/select.c.inc` (a time wants the backup's stop strictly before it, in whole
seconds; an LSN wants it at or before); PostgreSQL, "Recovery Target Settings".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from pgdolly.domain.backup import ArchivedSegment, BackupSet
from pgdolly.domain.lsn import WalSegment
from pgdolly.domain.target import RecoveryTarget, TargetType
from pgdolly.recovery.branches import Departure, at, departure, rivals
from pgdolly.recovery.shelf import Shelf
from pgdolly.recovery.wal import WalGap, WalPath


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked for. `moment` is the target's time without its fraction of a second."""

    target: RecoveryTarget
    moment: datetime | None
    backup_set: str | None
    timeline: int | str | None

    @property
    def timeline_is_free(self) -> bool:
        return self.timeline is None

    def leaves_room_for(self, backup: BackupSet) -> bool:
        """Whether a backup ended before the target, as far as that can be told."""
        if self.moment is not None:
            return backup.stop_at < self.moment
        if self.target.lsn is not None:
            return backup.stop_lsn <= self.target.lsn
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A backup set and a timeline on one shelf, and the WAL between the backup's beginning and the target."""

    shelf: Shelf
    timeline: int
    backup: BackupSet
    wal: tuple[ArchivedSegment, ...]
    reachable: WalSegment
    notes: tuple[str, ...] = ()

    @property
    def path(self) -> WalPath:
        return self.shelf.path_to(self.timeline)


class NoWay(Exception):
    """A shelf does not lead to the target.

    :param reason: why, without a full stop.
    :param timeline: the timeline whose window helps to see it; None for the newest that can be reached.
    """

    def __init__(self, reason: str, *, timeline: int | None = None, next_command: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.timeline = timeline
        self.next_command = next_command


def choose(shelf: Shelf, question: Question) -> Choice:
    """Choose from one shelf.

    :raises NoWay: if it does not lead to the target.
    """
    if not shelf.backups:
        raise NoWay(f"{shelf.name} holds no backup")
    notes: list[str] = []
    departures: dict[int, Departure] = {}
    refusals: list[NoWay] = []
    for timeline in _timelines(shelf, question):
        if not _starts(shelf, timeline, question):
            if question.timeline_is_free and question.backup_set is None:
                notes.append(f"timeline {timeline} is newer, but no usable backup lies on the way to it")
            continue
        if question.timeline_is_free and question.moment is not None:
            left = departure(shelf, timeline, question.moment)
            if left is not None:
                departures[left.child] = left
                continue
        passed_over = [_about_departures(departures.values())] if departures else []
        try:
            choice = _choose_along(shelf, timeline, question)
            _refuse_older_end(choice, question)
        except NoWay as refusal:
            refusals.append(_with_detours(refusal, shelf, timeline, question, [*notes, *passed_over]))
            if question.timeline_is_free and _begins_after(shelf, timeline, question.moment):
                continue  # an older timeline was the cluster's at that moment
            break
        return replace(choice, notes=tuple(dict.fromkeys((*notes, *passed_over, *choice.notes))))
    raise refusals[0] if refusals else _no_start(shelf, question)


def _begins_after(shelf: Shelf, timeline: int, moment: datetime | None) -> bool:
    began_at = shelf.archive.history_archived_at(timeline)
    return moment is not None and began_at is not None and moment < began_at


def _timelines(shelf: Shelf, question: Question) -> list[int]:
    """The timelines to try, in order."""
    match question.timeline:
        case None:
            return sorted(shelf.timelines, reverse=True)
        case "latest":
            return [max(shelf.timelines)]
        case int(number):
            if number not in shelf.timelines:
                there = ", ".join(str(timeline) for timeline in shelf.timelines)
                raise NoWay(f"{shelf.name} holds nothing of timeline {number}; it has {there}")
            return [number]
        case _:  # current: that of the backup
            newest_first = sorted(shelf.backups, key=lambda backup: backup.stop_at, reverse=True)
            fitting = (backup for backup in newest_first if question.leaves_room_for(backup))
            return list(dict.fromkeys(backup.timeline for backup in fitting))


def _starts(shelf: Shelf, timeline: int, question: Question) -> list[BackupSet]:
    """The usable backups that the question lets a recovery towards `timeline` start from, oldest first."""
    return [
        backup
        for backup in shelf.usable_along(timeline)
        if (question.backup_set is None or backup.label == question.backup_set)
        and (question.timeline != "current" or backup.timeline == timeline)
    ]


def _choose_along(shelf: Shelf, timeline: int, question: Question) -> Choice:
    starts = _starts(shelf, timeline, question)
    fitting = [backup for backup in starts if question.leaves_room_for(backup)]
    if not fitting:
        raise _too_early(shelf, timeline, question, starts[0])
    match question.target.type:
        case TargetType.IMMEDIATE:
            backup = fitting[-1]
            if question.timeline_is_free and shelf.problem(backup, backup.timeline) is None:
                timeline = backup.timeline  # no switch is needed, so none is risked
            last = backup.stop_segment.number
        case TargetType.TIME:
            backup = fitting[-1]
            last = _last_for_time(shelf, timeline, question, backup)
        case TargetType.LSN:
            backup = fitting[-1]
            last = _last_for_lsn(shelf, timeline, question, backup)
        case TargetType.DEFAULT:
            backup = fitting[-1]
            last = _end_of(shelf, timeline, backup)
        case TargetType.XID | TargetType.NAME:
            backup = _only_start(shelf, timeline, question, fitting)
            last = _end_of(shelf, timeline, backup)
    path = shelf.path_to(timeline)
    run = path.run_from(backup.start_segment.number)
    notes = _about_newer(shelf, timeline, question, backup) if question.backup_set is None else ()
    return Choice(
        shelf=shelf,
        timeline=timeline,
        backup=backup,
        wal=tuple(run[: last - backup.start_segment.number + 1]),
        reachable=run[-1].segment,
        notes=tuple(notes),
    )


def _refuse_older_end(choice: Choice, question: Question) -> None:
    """Refuse "the end of the archive" where a timeline that does not lie on the path was written later.

    Either the newest timeline comes of a stray promotion, and the cluster went on along another; or it is the
    one in use, and no backup leads to it yet.
    """
    if question.target.type is not TargetType.DEFAULT or question.backup_set is not None:
        return
    later = rivals(choice.shelf, choice.timeline) if question.timeline_is_free else []
    if later:
        others = ", ".join(
            f"timeline {other} (until {at(last_at)}"
            + ("" if choice.shelf.usable_along(other) else "; no usable backup leads to it")
            + ")"
            for other, last_at in later
        )
        raise NoWay(
            f"where the archive ends is not clear: the newest timeline that can be reached is {choice.timeline}, "
            f"but others beside it were written later: {others}; say which one is meant",
            timeline=choice.timeline,
            next_command=f"the same command with --timeline {_meant(choice, later)}",
        )


def _meant(choice: Choice, later: list[tuple[int, datetime]]) -> int:
    """The timeline that is most likely in use: of those that can be reached, the one that was written last."""
    reachable = [(last_at, other) for other, last_at in later if choice.shelf.usable_along(other)]
    return max(reachable)[1] if reachable else choice.timeline


def _last_for_time(shelf: Shelf, timeline: int, question: Question, backup: BackupSet) -> int:
    """The position of the first segment that can hold a transaction that ended after the target."""
    assert question.moment is not None
    path = shelf.path_to(timeline)
    run = path.run_from(backup.start_segment.number)
    for archived in run:
        if archived.archived_at >= question.moment:
            return archived.segment.number
    gap = gap_after(shelf, timeline, run[-1].segment)
    if gap is not None:
        raise NoWay(f"{question.target} cannot be reached: WAL is missing: {gap}", timeline=timeline)
    newest = timeline == max(shelf.timelines)
    raise NoWay(
        f"{question.target} is later than the last WAL of timeline {timeline}, archived at "
        f"{at(run[-1].archived_at)}: no transaction after it is in the archive, and recovery would end with "
        '"recovery ended before configured recovery target was reached"'
        + ("; if the source runs, commit something there and SELECT pg_switch_wal()" if newest else ""),
        timeline=timeline,
    )


def _last_for_lsn(shelf: Shelf, timeline: int, question: Question, backup: BackupSet) -> int:
    assert question.target.lsn is not None
    path = shelf.path_to(timeline)
    number = question.target.lsn.position // path.segment_size
    if path.covers(backup.start_segment.number, number):
        return number
    reached = path.run_end(backup.start_segment.number)
    gap = gap_after(shelf, timeline, reached)
    if gap is not None and gap.first.number <= number:
        raise NoWay(f"{question.target} cannot be reached: WAL is missing: {gap}", timeline=timeline)
    raise NoWay(
        f"{question.target} lies in WAL segment {path.segment_at(number)}, which is not in the archive; "
        f"timeline {timeline} ends there at {reached.end}",
        timeline=timeline,
    )


def _end_of(shelf: Shelf, timeline: int, backup: BackupSet) -> int:
    reached = shelf.path_to(timeline).run_end(backup.start_segment.number)
    gap = gap_after(shelf, timeline, reached)
    if gap is not None:
        raise NoWay(
            f"the end of timeline {timeline} cannot be reached from backup set {backup.label}: WAL is missing: "
            f"{gap}; what lies before it can be reached with a time or an LSN",
            timeline=timeline,
        )
    return reached.number


def _only_start(shelf: Shelf, timeline: int, question: Question, fitting: list[BackupSet]) -> BackupSet:
    """The one backup for a target whose place nobody can tell from the outside."""
    path = shelf.path_to(timeline)
    ends = [path.run_end(backup.start_segment.number) for backup in fitting]
    whole = [
        backup for backup, end in zip(fitting, ends, strict=True) if gap_after(shelf, timeline, end) is None
    ]
    if len(whole) == 1 or not whole:
        return (whole or fitting)[-1]
    sets = ", ".join(f"{backup.label} (stopped {at(backup.stop_at)})" for backup in whole)
    raise NoWay(
        f"nobody can tell from the outside which backup set lies before {question.target}; choose one with --set: "
        f"{sets}; the oldest is always right, a later one replays less",
        timeline=timeline,
        next_command=f"the same command with --set {whole[0].label}",
    )


def gap_after(shelf: Shelf, timeline: int, segment: WalSegment) -> WalGap | None:
    """What is missing right after `segment`, if the path goes on behind it."""
    gaps = shelf.path_to(timeline).gaps(shelf.archive.duplicates)
    return next((gap for gap in gaps if gap.first.number == segment.number + 1), None)


def _too_early(shelf: Shelf, timeline: int, question: Question, first: BackupSet) -> NoWay:
    stop = f"stopped at {at(first.stop_at)}, LSN {first.stop_lsn}"
    if question.backup_set is not None:
        return NoWay(
            f"{question.target} does not lie after backup set {first.label}, which {stop}", timeline=timeline
        )
    return NoWay(
        f"{question.target} does not lie after the first usable backup set on the way to timeline {timeline}, "
        f"{first.label}, which {stop}",
        timeline=timeline,
    )


def _no_start(shelf: Shelf, question: Question) -> NoWay:
    """Why no timeline that was asked for can be reached."""
    if question.backup_set is not None:
        backup = next(backup for backup in shelf.backups if backup.label == question.backup_set)
        asked = question.timeline if isinstance(question.timeline, int) else None
        if question.timeline == "latest":
            asked = max(shelf.timelines)
        problem = shelf.problem(backup, asked or backup.timeline)
        if problem is not None:
            return NoWay(f"backup set {backup.label} cannot be used: {problem}", timeline=asked)
        if not question.leaves_room_for(backup):
            return _too_early(shelf, backup.timeline, question, backup)
    if question.moment is not None and question.timeline_is_free and shelf.newest_reachable is not None:
        return NoWay(f"{question.target} lies on no timeline that a usable backup leads to")
    reasons = "; ".join(
        f"{backup.label}: {shelf.problem(backup, _tried(shelf, question, backup))}"
        for backup in shelf.backups
    )
    asked_for = f" that leads to timeline {question.timeline}" if question.timeline is not None else ""
    return NoWay(f"{shelf.name} holds no usable backup set{asked_for} ({reasons})")


def _tried(shelf: Shelf, question: Question, backup: BackupSet) -> int:
    match question.timeline:
        case int(number):
            return number
        case "latest":
            return max(shelf.timelines)
        case _:
            return backup.timeline


def _with_detours(refusal: NoWay, shelf: Shelf, timeline: int, question: Question, notes: list[str]) -> NoWay:
    """Add why newer timelines were passed over, and other ones along which the target could be reached."""
    refusal.reason = "; ".join([refusal.reason, *dict.fromkeys(notes)])
    if question.target.type not in (TargetType.TIME, TargetType.LSN) or not question.timeline_is_free:
        return refusal
    detours = ", ".join(str(other) for other in _detours(shelf, timeline, question))
    if detours:
        refusal.reason += f"; it can be reached along timeline {detours}, with --timeline"
    return refusal


def _detours(shelf: Shelf, timeline: int, question: Question) -> Iterator[int]:
    for other in sorted(shelf.timelines, reverse=True):
        if other == timeline or not _starts(shelf, other, question):
            continue
        if question.moment is not None and departure(shelf, other, question.moment) is not None:
            continue
        try:
            _choose_along(shelf, other, question)
        except NoWay:
            continue
        yield other


def _about_departures(departures: Iterable[Departure]) -> str:
    begun = ", ".join(f"timeline {left.child} (begun {at(left.began_at)})" for left in departures)
    return f"passed over, since they begin after the target and leave out what the cluster did until then: {begun}"


def _about_newer(shelf: Shelf, timeline: int, question: Question, chosen: BackupSet) -> list[str]:
    """Backups that look the better choice, and why they are none."""
    newer = [
        backup
        for backup in shelf.backups
        if backup.stop_at > chosen.stop_at and question.leaves_room_for(backup)
    ]
    return [
        f"backup set {backup.label} is newer, but cannot be used: {problem}"
        for backup in newer
        if (problem := shelf.problem(backup, timeline)) is not None
    ]
