"""Findings about the backups, and the WAL that they need to be of use. Pure.

A backup is of use if it lies on the way to where the cluster is now: of its system, and on its timeline or on an
ancestor before the fork.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from pgdolly.domain.backup import BackupSet
from pgdolly.domain.timeline import TimelineHistory
from pgdolly.operations.check.finding import Cure, Finding, error, warning
from pgdolly.operations.check.observe import CheckFacts
from pgdolly.operations.check.stanza import accepts, present_systems
from pgdolly.recovery.shelf import Shelf, shelves_of
from pgdolly.recovery.wal import WalGap, WalPath

OLD_AFTER = timedelta(days=8)  # a weekly full backup that did not come
# Archived segments may come out of order (archive-async): what came just now may have its forerunner on the way.
_SETTLED_AFTER = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class PresentShelf:
    """The cluster's present generation in one repository, along the cluster's own history."""

    shelf: Shelf
    history: TimelineHistory

    @property
    def path(self) -> WalPath:
        return WalPath(self.history, self.shelf.wal.of_timeline, self.shelf.wal.segment_size)

    def usable(self) -> tuple[BackupSet, ...]:
        """Oldest first."""
        path = self.path
        return tuple(
            sorted(
                (
                    backup
                    for backup in self.shelf.backups
                    if not backup.error
                    and self.history.holds(backup.timeline, backup.stop_lsn)
                    and path.covers(backup.start_segment.number, backup.stop_segment.number)
                ),
                key=lambda backup: (backup.stop_at, backup.label),
            )
        )


def present_shelves(facts: CheckFacts) -> tuple[PresentShelf, ...]:
    """The present generation in each repository whose stanza is of the cluster's system."""
    if facts.stanza.catalogue is None or facts.history is None:
        return ()
    present = {(s.repo_key, s.history_id) for s in present_systems(facts) if accepts(facts, s)}
    return tuple(
        PresentShelf(shelf, facts.history)
        for shelf in shelves_of(facts.stanza.catalogue)
        if (shelf.repo_key, shelf.system.history_id) in present
    )


def newest_usable(facts: CheckFacts) -> BackupSet | None:
    """The newest backup that a recovery of the present cluster can start from."""
    found = [backup for present in present_shelves(facts) for backup in present.usable()]
    return max(found, key=lambda backup: backup.stop_at, default=None)


def backup_findings(facts: CheckFacts) -> Iterator[Finding]:
    """What keeps the cluster from being restored out of its stanza."""
    shelves = present_shelves(facts)
    if not shelves:
        return  # no stanza, or one of another system: that is a finding of its own
    yield from _backups(facts)
    for present in shelves:
        yield from _arrival(facts, present)
        yield from _gaps(facts, present)
        yield from _strangers(facts, present)


def _backups(facts: CheckFacts) -> Iterator[Finding]:
    assert facts.stanza.catalogue is not None
    backups, newest = facts.stanza.catalogue.backups, newest_usable(facts)
    cleanup = Cure(command=f"pgdolly cleanup {facts.name}")
    if not backups:
        yield error("no_backup", facts.name, f"stanza {facts.stanza.name!r} holds no backup", cleanup)
        return
    latest = max(backups, key=lambda backup: backup.stop_at)
    if newest is None:
        yield error(
            "no_backup_since_clone",
            facts.name,
            f"no backup is of the cluster's present history: the newest, {latest.label}, {_why_not(facts, latest)}",
            cleanup,
        )
        return
    take = Cure(command="pg-backup full", on=facts.leader.name if facts.leader else None)
    if latest.error:
        yield warning(
            "backup_damaged", facts.name, f"backup {latest.label} has pages with wrong checksums", take
        )
    elif latest.stop_at > newest.stop_at:
        yield warning(
            "newest_backup_left_behind",
            facts.name,
            f"the newest backup, {latest.label}, {_why_not(facts, latest)}; of use is {newest.label}",
            take,
        )
    age = facts.now - newest.stop_at
    if age > OLD_AFTER:
        yield warning(
            "backup_old",
            facts.name,
            f"the newest backup, {newest.label}, is {age.days} days old: a recovery replays all WAL since",
            take,
        )


def _why_not(facts: CheckFacts, backup: BackupSet) -> str:
    assert facts.stanza.catalogue is not None
    system = facts.stanza.catalogue.system(backup.history_id, backup.repo_key)
    identifier = facts.leader.facts.system_identifier if facts.leader is not None else None
    if system is not None and system.system_identifier != identifier:
        return f"is of system {system.system_identifier}, the cluster is {identifier}"
    if facts.history is not None and not facts.history.holds(backup.timeline, backup.stop_lsn):
        return (
            f"ends at {backup.stop_lsn} on timeline {backup.timeline}, which is not on the way to the cluster's "
            f"timeline {facts.history.timeline}"
        )
    if backup.error:
        return "has pages with wrong checksums"
    return "lacks WAL that makes it consistent"


def _arrival(facts: CheckFacts, present: PresentShelf) -> Iterator[Finding]:
    """What the archiver has acknowledged, and the archive lacks."""
    server = facts.writer
    if server is None or facts.leader is None or server.archive_mode == "off":
        return
    segment = server.archiver.last_segment(facts.leader.facts.segment_size)
    held = present.shelf.wal.of_timeline
    if not held:
        return  # a new stanza: what was archived before it went into the one that was deleted
    if segment is None or any(a.segment == segment for a in held.get(segment.timeline, [])):
        return
    if segment in present.shelf.archive.duplicates:
        return
    yield error(
        "wal_not_arriving",
        facts.leader.name,
        f"the archiver says that {segment.name} is archived, and {present.shelf.name} of stanza "
        f"{facts.stanza.name!r} does not have it: archive_command puts it elsewhere, or drops it "
        "(archive-push-queue-max)",
        Cure(command="pb check", on=facts.leader.name),
        Cure(command="pg-backup full", on=facts.leader.name),
    )


def _gaps(facts: CheckFacts, present: PresentShelf) -> Iterator[Finding]:
    """WAL that is missing after the newest backup: no recovery from it comes past the gap."""
    usable = present.usable()
    if not usable:
        return
    path, start = present.path, usable[-1].start_segment.number
    duplicates = present.shelf.archive.duplicates
    gaps = [
        gap
        for gap in path.gaps(duplicates)
        if gap.last.number > start
        and ((seen_at := _seen_at(present, gap)) is not None)
        and facts.now - seen_at > _SETTLED_AFTER
    ]
    if not gaps:
        return
    listed = "; ".join(str(gap) for gap in gaps[:3]) + ("; …" if len(gaps) > 3 else "")
    yield error(
        "wal_gap",
        facts.name,
        f"WAL is missing in {present.shelf.name} after backup {usable[-1].label}: {listed}. "
        "No recovery from it comes past that",
        Cure(command="pg-backup full", on=facts.leader.name if facts.leader else None),
    )


def _seen_at(present: PresentShelf, gap: WalGap) -> datetime | None:
    """When something arrived that lies behind the gap: a segment, or the history of the timeline that follows."""
    after = present.path.find(gap.last.number + 1)
    if after is not None:
        return after.archived_at
    return present.shelf.archive.history_archived_at(present.history.timeline)


def _strangers(facts: CheckFacts, present: PresentShelf) -> Iterator[Finding]:
    """WAL in the archive that this cluster cannot have written."""
    archive, timeline = present.shelf.archive, present.history.timeline
    ahead = [other for other in archive.timelines if other > timeline]
    if ahead:
        yield error(
            "timeline_ahead",
            facts.name,
            f"{present.shelf.name} holds timeline {', '.join(map(str, ahead))}, the cluster is on {timeline}: another "
            "cluster of the same system has archived here. A recovery along the latest timeline leads to its data; "
            "this cluster's own WAL will collide with it [045]",
            *_stop_stranger(facts),
        )
    collision = _collision(facts, present)
    if collision is not None:
        leader = facts.leader.name if facts.leader else None
        commands = ("pb stop --force", "pb stanza-delete --force", "pb start")
        yield error(
            "wal_collides",
            facts.name,
            f"{present.shelf.name} holds WAL of another clone of the same source on timeline {timeline}: "
            f"{collision}. This cluster's WAL collides with it [045]",
            *(Cure(command=command, on=leader) for command in commands),
            Cure(command=f"pgdolly cleanup {facts.name}"),
        )


def _collision(facts: CheckFacts, present: PresentShelf) -> str | None:
    """Why the archive's WAL of the present timeline is not this cluster's, if that can be told.

    A second clone of one source has the same system identifier, so pgBackRest takes its WAL for the first one's:
    pgBackRest issue 1908.
    """
    timeline, archive = present.history.timeline, present.shelf.archive
    own = present.shelf.wal.of_timeline.get(timeline, [])
    if own and facts.lsn_after is not None:
        here = facts.lsn_after.position // present.shelf.wal.segment_size
        if own[-1].segment.number > here:
            return f"{own[-1].segment.name} is there, and the leader is at {facts.lsn_after}"
    theirs = next((history for history in archive.histories if history.timeline == timeline), None)
    if theirs is not None and _forks(theirs) != _forks(present.history):
        return f"its history file of timeline {timeline} tells of another fork"
    return None


def _forks(history: TimelineHistory) -> list[tuple[int, object]]:
    return [(fork.parent, fork.at) for fork in history.forks]


def _stop_stranger(facts: CheckFacts) -> tuple[Cure, ...]:
    """Other clusters of the same system in the inventory: one of them may be it."""
    identifier = facts.leader.facts.system_identifier if facts.leader is not None else None
    alike = [
        neighbour.look.name
        for neighbour in facts.neighbours
        if any(member.facts.system_identifier == identifier for member in neighbour.look.members)
    ]
    return tuple(Cure(command=f"pgdolly check {name}") for name in alike) or (
        Cure(command=f"pgdolly window {facts.name}"),
    )
