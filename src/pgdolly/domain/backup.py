"""What a pgBackRest repository holds for one stanza.

Source: pgBackRest's `info --output=json` and `repo-ls --output=json`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pgdolly.domain.lsn import LSN, WalSegment
from pgdolly.domain.timeline import TimelineHistory

BackupType = Literal["full", "diff", "incr"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSystem:
    """One generation of a stanza: a stanza-upgrade begins the next.

    `archive_history_id` is set where archive.info counts otherwise than backup.info (a stanza that was once
    created anew beside its backups): pgBackRest matches the two by version and system identifier.
    """

    history_id: int
    version: str
    system_identifier: int
    repo_key: int
    archive_history_id: int | None = None

    @property
    def archive_id(self) -> str:
        """The folder of its WAL in the archive: `15-1`."""
        return f"{self.version}-{self.archive_history_id or self.history_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupSet:
    """One backup that a restore can start from. Sizes in bytes; times are aware UTC, whole seconds."""

    label: str
    type: BackupType
    repo_key: int
    history_id: int
    start_at: datetime
    stop_at: datetime
    start_lsn: LSN
    stop_lsn: LSN
    start_segment: WalSegment
    stop_segment: WalSegment
    database_size: int
    repository_size: int
    error: bool = False

    @property
    def timeline(self) -> int:
        return self.stop_segment.timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedSegment:
    """One WAL segment in the archive. `archived_at` is when the file came there: no commit in it is later."""

    segment: WalSegment
    archived_at: datetime
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """All WAL of one generation of the stanza in one repository.

    `segments` are sorted by timeline, then position. `duplicates` lie there twice with different content (two
    primaries archived): archive-get refuses them, so they are not among `segments`. `history_files` are the
    timelines whose history file is there, with the time when it came: the timeline began to exist just then.
    """

    archive_id: str
    repo_key: int
    segments: tuple[ArchivedSegment, ...]
    histories: tuple[TimelineHistory, ...]
    duplicates: tuple[WalSegment, ...] = ()
    history_files: tuple[tuple[int, datetime], ...] = ()

    @property
    def timelines(self) -> tuple[int, ...]:
        """Every timeline that has left a trace here: a segment or a history file."""
        found = {archived.segment.timeline for archived in self.segments}
        found.update(history.timeline for history in self.histories)
        found.update(timeline for timeline, _ in self.history_files)
        return tuple(sorted(found))

    def history_of(self, timeline: int) -> TimelineHistory:
        """The history of `timeline`; without a file it has no ancestors."""
        return next(
            (history for history in self.histories if history.timeline == timeline), TimelineHistory(timeline)
        )

    def history_archived_at(self, timeline: int) -> datetime | None:
        """When the history file of `timeline` came here; None if it never did (and for timeline 1)."""
        return dict(self.history_files).get(timeline)


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """A stanza's backups and WAL, of every generation and repository.

    `remarks` say what was passed over: a repository that could not be read, a backup made offline.
    """

    stanza: str
    systems: tuple[DatabaseSystem, ...]
    backups: tuple[BackupSet, ...]
    archives: tuple[Archive, ...]
    cipher: str = "none"
    status: str = "ok"
    remarks: tuple[str, ...] = ()

    @property
    def current(self) -> DatabaseSystem | None:
        """The generation that accepts WAL and backups now."""
        return max(self.systems, key=lambda system: (system.history_id, -system.repo_key), default=None)

    def system(self, history_id: int, repo_key: int) -> DatabaseSystem | None:
        return next((s for s in self.systems if s.history_id == history_id and s.repo_key == repo_key), None)

    def archive(self, archive_id: str, repo_key: int) -> Archive | None:
        return next((a for a in self.archives if a.archive_id == archive_id and a.repo_key == repo_key), None)
