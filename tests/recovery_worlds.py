"""Clusters with a known past, and what PostgreSQL would make of their archives.

A :class:`World` writes WAL, backs up, fails over and recovers in place on a clock of its own, and remembers every
transaction; so what a cluster held at a moment is known, whatever the code under test thinks. :func:`replay` reads
an archive as PostgreSQL does (xlogrecovery.c, `XLogFileReadAnyTLI`), including where that goes wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pgdolly.domain.backup import Archive, ArchivedSegment, BackupSet, Catalogue, DatabaseSystem
from pgdolly.domain.lsn import DEFAULT_SEGMENT_SIZE, LSN, WalSegment
from pgdolly.domain.timeline import Fork, TimelineHistory

SIZE = DEFAULT_SEGMENT_SIZE
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
SYSTEM = 7588470953413201282


@dataclass(frozen=True, slots=True)
class Commit:
    """A transaction's end: on which timeline, where, and when (seconds of the world's clock)."""

    timeline: int
    position: int
    time: int


@dataclass(slots=True)
class World:
    """One cluster and its repository."""

    clock: int = 0
    timeline: int = 1
    number: int = 1  # the segment being written
    begun: bool = False  # it holds something already
    histories: dict[int, tuple[Fork, ...]] = field(default_factory=lambda: {1: ()})
    born: dict[int, int] = field(default_factory=dict)
    commits: list[Commit] = field(default_factory=list)
    archived: dict[tuple[int, int], int] = field(default_factory=dict)
    backups: list[BackupSet] = field(default_factory=list)
    epochs: list[tuple[int, int]] = field(default_factory=lambda: [(0, 1)])
    lost: set[tuple[int, int]] = field(default_factory=set)

    def write(self) -> None:
        """Fill and archive a segment, with two transactions in it."""
        self._commit(0x10000, 2)
        self._commit(0x20000, 5)
        self._archive(10)

    def idle(self) -> None:
        """Archive a segment without a transaction in it."""
        self._archive(4)

    def backup(self, *, error: bool = False) -> BackupSet:
        """Make a full backup in a segment of its own: PostgreSQL switches before and after."""
        if self.begun:
            self._archive(1)
        start = self.number * SIZE + 0x28
        segment = WalSegment(self.timeline, self.number, SIZE)
        made = BackupSet(
            label=f"{EPOCH + timedelta(seconds=self.clock):%Y%m%d-%H%M%S}F",
            type="full",
            repo_key=1,
            history_id=1,
            start_at=at(self.clock + 1),
            stop_at=at(self.clock + 3),
            start_lsn=LSN(start),
            stop_lsn=LSN(start + 0xD8),
            start_segment=segment,
            stop_segment=segment,
            database_size=1000,
            repository_size=100,
            error=error,
        )
        self.backups.append(made)
        self._archive(4)
        return made

    def fail_over(self) -> None:
        """Crash in the middle of a segment, which is never archived whole; a replica goes on from there."""
        self._commit(0x10000, 2)
        fork = Fork(self.timeline, LSN(self._begin + 0x18000))
        self._branch((*self.histories[self.timeline], fork))

    def recover(self, commit: Commit) -> None:
        """Recover in place, to right after a transaction of any timeline; shutting down archives the segment."""
        self._archive(1)
        self.number = commit.position // SIZE
        fork = Fork(commit.timeline, LSN(commit.position + 0x1000))
        self._branch((*self.histories[commit.timeline], fork))

    def recover_to_boundary(self, timeline: int, number: int) -> None:
        """Recover in place to exactly where a segment of a timeline ends."""
        self._archive(1)
        self.number = number + 1
        self._branch((*self.histories[timeline], Fork(timeline, LSN(self.number * SIZE))))

    def state_at(self, moment: int) -> frozenset[Commit]:
        """The transactions that were there at a moment."""
        timeline = max((begun, timeline) for begun, timeline in self.epochs if begun <= moment)[1]
        return frozenset(commit for commit in self.line(timeline) if commit.time <= moment)

    def line(self, timeline: int) -> list[Commit]:
        """All transactions on the way to and on a timeline, in order."""
        path = self.history(timeline)
        return sorted(
            (commit for commit in self.commits if _lies_on(path, commit)), key=lambda commit: commit.position
        )

    def history(self, timeline: int) -> TimelineHistory:
        return TimelineHistory(timeline, self.histories[timeline])

    def files(self) -> set[tuple[int, int]]:
        """Timeline and number of every segment that can be had."""
        return set(self.archived) - self.lost

    def catalogue(self) -> Catalogue:
        filed = sorted(timeline for timeline in self.histories if timeline > 1)
        archive = Archive(
            archive_id="18-1",
            repo_key=1,
            segments=tuple(
                ArchivedSegment(
                    segment=WalSegment(timeline, number, SIZE),
                    archived_at=at(self.archived[timeline, number]),
                    size=10,
                )
                for timeline, number in sorted(self.files())
            ),
            histories=tuple(self.history(timeline) for timeline in filed),
            history_files=tuple((timeline, at(self.born[timeline])) for timeline in filed),
        )
        system = DatabaseSystem(history_id=1, version="18", system_identifier=SYSTEM, repo_key=1)
        return Catalogue(
            stanza="pg-meta", systems=(system,), backups=tuple(self.backups), archives=(archive,)
        )

    @property
    def _begin(self) -> int:
        """Where the timeline's own part of the segment begins: at the fork, if that is in it."""
        return self.histories[self.timeline][-1].at.position if self.begun else self.number * SIZE

    def _commit(self, offset: int, seconds: int) -> None:
        self.commits.append(Commit(self.timeline, self._begin + offset, self.clock + seconds))

    def _archive(self, seconds: int) -> None:
        self.clock += seconds
        self.archived[self.timeline, self.number] = self.clock
        self.number += 1
        self.begun = False

    def _branch(self, forks: tuple[Fork, ...]) -> None:
        self.clock += 6
        self.timeline = max(self.histories) + 1
        self.histories[self.timeline] = forks
        self.born[self.timeline] = self.clock
        self.epochs.append((self.clock, self.timeline))
        self.begun = forks[-1].at.position % SIZE != 0


@dataclass(frozen=True, slots=True)
class Replay:
    """What became of a recovery: the transactions that are there, the files read, and whether it met its target."""

    state: frozenset[Commit]
    read: tuple[tuple[int, int], ...]
    met: bool


def replay(
    world: World,
    backup: BackupSet,
    timeline: int,
    *,
    until: int | None = None,
    pinned: WalSegment | None = None,
) -> Replay:
    """Recover as PostgreSQL does, up to before the first transaction that ended after `until`."""
    history = world.history(timeline)
    begins = {
        child: fork.at.position // SIZE for fork, child in zip(history.forks, history.path[1:], strict=True)
    }
    files = world.files()
    state = {c for c in world.line(backup.timeline) if c.position < backup.start_lsn.position}
    read: list[tuple[int, int]] = []
    current = 0
    number = backup.start_segment.number
    while pinned is None or number <= pinned.number:
        opened = next(
            (
                candidate
                for candidate in reversed(history.path)
                if candidate >= current
                and number >= begins.get(candidate, 0)
                and (candidate, number) in files
            ),
            None,
        )
        if opened is None:
            break
        current = opened
        read.append((opened, number))
        for commit in world.line(opened):
            if commit.position // SIZE != number or commit.position < backup.start_lsn.position:
                continue
            if until is not None and commit.time > until:
                return Replay(frozenset(state), tuple(read), met=True)
            state.add(commit)
        number += 1
    return Replay(frozenset(state), tuple(read), met=until is None)


def at(seconds: int) -> datetime:
    """A moment of the world's clock."""
    return EPOCH + timedelta(seconds=seconds)


def _lies_on(path: TimelineHistory, commit: Commit) -> bool:
    if commit.timeline == path.timeline:
        return True
    return any(fork.parent == commit.timeline and commit.position < fork.at.position for fork in path.forks)
