"""A recovery target, and what a stanza holds, become one recovery that is proven possible; or a refusal.

pgBackRest chooses a backup set by itself only for times and LSNs, does not look at timelines before 2.55, and
never looks whether the WAL is there. So everything is chosen here and pinned.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from pgdolly.domain.backup import Catalogue
from pgdolly.domain.errors import InvalidInput, Refused
from pgdolly.domain.target import RecoveryTarget, TargetType
from pgdolly.recovery.branches import at, departure, parse_timeline, rivals
from pgdolly.recovery.choose import Choice, NoWay, Question, choose
from pgdolly.recovery.resolved import ResolvedRecovery
from pgdolly.recovery.shelf import Shelf, newest_of_each_repository, shelves_of
from pgdolly.recovery.window import spans_along

__all__ = ["ResolvedRecovery", "resolve"]

UNTOUCHED = "nothing was changed"


def resolve(
    catalogue: Catalogue,
    *,
    target: RecoveryTarget,
    backup_set: str | None = None,
    timeline: int | str | None = None,
    repo_key: int | None = None,
    system_identifier: int | None = None,
    now: datetime,
    cluster: str | None = None,
) -> ResolvedRecovery:
    """Choose repository, generation, backup set and timeline for a target, and prove that its WAL is there. Pure.

    :param backup_set: the label of the set to start from; None (or `latest`) for the newest that fits.
    :param timeline: a number, `latest` or `current`; None for the newest that leads to the target.
    :param repo_key: the repository to use; None for whichever serves best.
    :param system_identifier: of the source cluster as it is now: picks the generation of the stanza. None for the
        one that accepts WAL now.
    :param now: aware; nothing later can be a target.
    :param cluster: the cluster's name in commands that are recommended; None if it is the stanza's.
    :raises InvalidInput: if a value cannot be understood.
    :raises Refused: if it cannot be done; with the recovery window.
    """
    question = Question(
        target=target,
        moment=_moment(target),
        backup_set=None if backup_set in (None, "", "latest") else backup_set,
        timeline=parse_timeline(timeline),
    )
    refuse = _Refusal(catalogue, cluster or catalogue.stanza)
    shelves = _shelves(catalogue, question, repo_key, system_identifier, refuse)
    if question.moment is not None and question.moment > now:
        raise refuse(f"{target} lies in the future: it is {at(now)}", shelves)
    choices: list[Choice] = []
    refusals: list[NoWay] = []
    for shelf in shelves:
        try:
            choices.append(choose(shelf, question))
        except NoWay as refusal:
            refusals.append(refusal)
    if not choices:
        raise refuse.joined(shelves, refusals)
    return _resolved(catalogue, question, min(choices, key=lambda choice: _rank(choice, target)), shelves)


def _moment(target: RecoveryTarget) -> datetime | None:
    """:raises InvalidInput: if the target lacks its value, or its time has no zone."""
    values = {
        TargetType.TIME: target.time,
        TargetType.XID: target.xid,
        TargetType.NAME: target.name,
        TargetType.LSN: target.lsn,
    }
    if target.type in values and values[target.type] is None:
        raise InvalidInput(f"a target of type {target.type.value} needs a value", untouched=UNTOUCHED)
    if target.type is not TargetType.TIME or target.time is None:
        return None
    if target.time.tzinfo is None:
        raise InvalidInput(
            f"{target.time} has no time zone: pgBackRest and PostgreSQL would each read it in its own; add +00",
            untouched=UNTOUCHED,
        )
    return target.time.astimezone(UTC).replace(microsecond=0)


def _rank(choice: Choice, target: RecoveryTarget) -> tuple[int, int, float, int]:
    """The best choice first: highest timeline, furthest end where that is the target, newest set, first repository."""
    to_the_end = target.type in (TargetType.DEFAULT, TargetType.XID, TargetType.NAME)
    reach = choice.reachable.number if to_the_end else 0
    return (-choice.timeline, -reach, -choice.backup.stop_at.timestamp(), choice.shelf.repo_key)


def _shelves(
    catalogue: Catalogue,
    question: Question,
    repo_key: int | None,
    system_identifier: int | None,
    refuse: _Refusal,
) -> tuple[Shelf, ...]:
    """The generation to take from, in each repository that may be used."""
    everywhere = shelves_of(catalogue)
    if not everywhere:
        raise refuse("the stanza holds neither backups nor WAL", ())
    if repo_key is not None and not any(shelf.repo_key == repo_key for shelf in everywhere):
        keys = ", ".join(str(key) for key in sorted({shelf.repo_key for shelf in everywhere}))
        remarks = "".join(f"; {remark}" for remark in catalogue.remarks)
        raise refuse(f"there is no repository {repo_key} to read from; there is {keys}{remarks}", everywhere)
    allowed = tuple(shelf for shelf in everywhere if repo_key in (None, shelf.repo_key))
    if question.backup_set is not None:
        return _shelves_with(question.backup_set, allowed, refuse)
    current = catalogue.current
    if system_identifier is None and current is not None:
        system_identifier = current.system_identifier
    found = newest_of_each_repository(allowed, system_identifier or 0)
    if not found:
        known = ", ".join(sorted({str(shelf.system.system_identifier) for shelf in allowed}))
        raise refuse(
            f"the stanza is not of the system that the source runs now: system identifier {system_identifier}, "
            f"the stanza's {known}; a backup set of a former system can be named with --set",
            allowed,
        )
    if not any(shelf.backups for shelf in found):
        raise _no_backup(catalogue, found, everywhere, refuse)
    return found


def _shelves_with(label: str, allowed: tuple[Shelf, ...], refuse: _Refusal) -> tuple[Shelf, ...]:
    holding = tuple(shelf for shelf in allowed if any(backup.label == label for backup in shelf.backups))
    if not holding:
        labels = ", ".join(backup.label for shelf in allowed for backup in shelf.backups) or "none"
        raise refuse(f"there is no backup set {label!r}; there are: {labels}", allowed)
    return holding


def _no_backup(
    catalogue: Catalogue, found: tuple[Shelf, ...], everywhere: tuple[Shelf, ...], refuse: _Refusal
) -> Refused:
    """pgBackRest refuses to restore by default between a stanza-upgrade and the first backup after it."""
    former = [backup.label for shelf in everywhere for backup in shelf.backups]
    names = ", ".join(shelf.name for shelf in found)
    what = f"there is no backup of the present system in stanza {catalogue.stanza!r} ({names})"
    if former:
        what += f"; {len(former)} of a former system can be named with --set, the newest is {former[-1]}"
    return refuse(what, found, next_command=f"pg-backup full, on the leader of {refuse.cluster}")


def _resolved(
    catalogue: Catalogue, question: Question, choice: Choice, shelves: Iterable[Shelf]
) -> ResolvedRecovery:
    shelf, target, path = choice.shelf, question.target, choice.path
    ends_early = target.type in (TargetType.IMMEDIATE, TargetType.LSN)
    furthest = choice.wal[-1].segment.timeline if ends_early else choice.timeline
    strays = target.type is not TargetType.IMMEDIATE and path.strays_after(choice.reachable)
    return ResolvedRecovery(
        stanza=catalogue.stanza,
        repo_key=shelf.repo_key,
        history_id=shelf.system.history_id,
        archive_id=shelf.system.archive_id,
        system_identifier=shelf.system.system_identifier,
        postgres_version=shelf.system.version,
        backup=choice.backup,
        timeline=choice.timeline,
        history=path.history,
        history_archived=shelf.has_history_file(choice.timeline),
        target=target,
        first_segment=choice.wal[0].segment,
        last_segment=choice.wal[-1].segment,
        reachable_segment=choice.reachable,
        pinned_segment=choice.reachable if strays or target.type is TargetType.DEFAULT else None,
        wal_segments=len(choice.wal),
        wal_size=sum(archived.size for archived in choice.wal),
        highest_timeline=max(timeline for each in shelves for timeline in each.timelines),
        crosses_timelines=choice.backup.timeline != furthest,
        notes=(*choice.notes, *_notes(catalogue, question, choice, strays), *catalogue.remarks),
    )


def _notes(catalogue: Catalogue, question: Question, choice: Choice, strays: bool) -> Iterable[str]:
    shelf, target, timeline = choice.shelf, question.target, choice.timeline
    current = catalogue.current
    if current is not None and shelf.system.system_identifier != current.system_identifier:
        yield (
            f"backup set {choice.backup.label} is of a former system of the stanza "
            f"({shelf.system.archive_id}, {shelf.system.system_identifier})"
        )
    if question.timeline_is_free and target.type is not TargetType.IMMEDIATE:
        for other, last_at in rivals(shelf, timeline, moment=question.moment, lsn=target.lsn):
            yield (
                f"timeline {other} was written beside timeline {timeline}, until {at(last_at)}: "
                f"if that is the one that is meant, add --timeline {other}"
            )
    elif question.moment is not None and (left := departure(shelf, timeline, question.moment)) is not None:
        yield f"{left}: the target may lie there, with --timeline {left.fork.parent}"
    if not shelf.has_history_file(timeline):
        yield f"the history file of timeline {timeline} never came into the archive: where it forked is unknown"
    if strays:
        yield (
            f"timeline {timeline} has no WAL of its own in the archive from where it forked: the end is segment "
            f"{choice.reachable}, since PostgreSQL would go on into the timeline that was left"
        )
    if target.type is TargetType.TIME and not _shows_activity_after(choice):
        yield (
            f"no WAL beyond segment {choice.wal[-1].segment} speaks for a transaction that ended after the target; "
            "if there is none, recovery ends before the target is reached, and nothing is opened"
        )
    if target.type is TargetType.LSN and choice.wal[-1].segment == choice.reachable:
        yield (
            f"the target lies in the last archived segment, {choice.reachable}: unless a record begins there after "
            "it, recovery ends before the target is reached, and nothing is opened"
        )
    if target.type in (TargetType.XID, TargetType.NAME):
        yield f"nobody can tell from the outside whether {target} lies between the backup and the end of the archive"


def _shows_activity_after(choice: Choice) -> bool:
    """Whether there is WAL beyond the target's segment that does not come of a backup.

    A backup fills segments of its own (it switches at its beginning and at its end) without any transaction.
    """
    beyond = range(choice.wal[-1].segment.number + 1, choice.reachable.number + 1)
    of_backups = {
        number
        for backup in choice.shelf.backups
        for number in range(backup.start_segment.number, backup.stop_segment.number + 1)
    }
    return any(number not in of_backups for number in beyond)


class _Refusal:
    """Makes refusals that name the recovery window."""

    def __init__(self, catalogue: Catalogue, cluster: str) -> None:
        self._stanza = catalogue.stanza
        self.cluster = cluster

    def __call__(
        self,
        what: str,
        shelves: Iterable[Shelf],
        *,
        timelines: Iterable[int | None] = (),
        next_command: str | None = None,
    ) -> Refused:
        shelves = tuple(shelves)
        wanted = tuple(timelines) or (None,) * len(shelves)
        windows = [window_words(shelf, timeline) for shelf, timeline in zip(shelves, wanted, strict=True)]
        return Refused(
            "; ".join([what, *windows]),
            where=f"stanza {self._stanza}",
            untouched=UNTOUCHED,
            next_command=next_command or f"pgdolly window {self.cluster}",
        )

    def joined(self, shelves: tuple[Shelf, ...], refusals: list[NoWay]) -> Refused:
        """One refusal for all repositories: the reasons, if they differ, then the windows."""
        reasons = list(dict.fromkeys(refusal.reason for refusal in refusals))
        if len(reasons) > 1:
            reasons = [
                f"repo{shelf.repo_key}: {refusal.reason}"
                for shelf, refusal in zip(shelves, refusals, strict=True)
            ]
        next_commands = [refusal.next_command for refusal in refusals if refusal.next_command]
        return self(
            "; ".join(reasons),
            shelves,
            timelines=[refusal.timeline for refusal in refusals],
            next_command=next(iter(next_commands), None),
        )


def window_words(shelf: Shelf, timeline: int | None = None) -> str:
    """The recovery window of one shelf along a timeline (the newest that can be reached), as part of a sentence."""
    along = timeline if timeline is not None else shelf.newest_reachable
    spans = spans_along(shelf, along) if along is not None else ()
    if not spans:
        return f"nothing can be restored from {shelf.name}"
    parts = [
        (
            f"times {at(span.first_at)} to {at(span.last_at)}"
            if span.holds_times
            else f"no time after its backup, {at(span.last_at)},"
        )
        + f" (LSNs {span.first_lsn} to {span.last_lsn})"
        for span in spans
    ]
    return f"{shelf.name} holds, along timeline {along}, {' and '.join(parts)}"
