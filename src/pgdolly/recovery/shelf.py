"""One generation of a stanza in one repository: what a recovery takes its backup and all its WAL from."""

from __future__ import annotations

from collections.abc import Iterable

from pgdolly.domain.backup import Archive, BackupSet, Catalogue, DatabaseSystem
from pgdolly.domain.lsn import DEFAULT_SEGMENT_SIZE
from pgdolly.recovery.wal import ArchiveWal, WalPath


class Shelf:
    """A generation's backups and archive in one repository.

    pgBackRest could fetch WAL from another repository than the backup. pgdolly names one for both, so that
    what was proven is what is read.
    """

    def __init__(self, system: DatabaseSystem, archive: Archive, backups: tuple[BackupSet, ...]) -> None:
        self.system = system
        self.archive = archive
        self.backups = backups
        self.wal = ArchiveWal(archive, _segment_size(archive, backups))
        self._usable: dict[int, tuple[BackupSet, ...]] = {}

    @property
    def repo_key(self) -> int:
        return self.system.repo_key

    @property
    def name(self) -> str:
        return f"repo{self.repo_key} {self.system.archive_id}"

    @property
    def timelines(self) -> tuple[int, ...]:
        """Every timeline of which something is here; at least the first."""
        found = {*self.archive.timelines, *(backup.timeline for backup in self.backups)}
        return tuple(sorted(found)) or (1,)

    def has_history_file(self, timeline: int) -> bool:
        """Whether PostgreSQL accepts the timeline's number as a target: it asks for the history file of all but 1."""
        return timeline == 1 or self.archive.history_archived_at(timeline) is not None

    def path_to(self, timeline: int) -> WalPath:
        return self.wal.path_to(timeline)

    def usable_along(self, timeline: int) -> tuple[BackupSet, ...]:
        """The backups that a recovery towards `timeline` can start from, oldest first."""
        if timeline not in self._usable:
            usable = (backup for backup in self.backups if self.problem(backup, timeline) is None)
            self._usable[timeline] = tuple(sorted(usable, key=lambda backup: (backup.stop_at, backup.label)))
        return self._usable[timeline]

    def problem(self, backup: BackupSet, timeline: int) -> str | None:
        """Why a recovery towards `timeline` cannot start from `backup`, in a few words."""
        if backup.error:
            return "pages with wrong checksums were found while it was made"
        path = self.path_to(timeline)
        if not path.history.holds(backup.timeline, backup.stop_lsn):
            return f"made on timeline {backup.timeline} at {backup.stop_lsn}, not on the way to timeline {timeline}"
        first, last = backup.start_segment.number, backup.stop_segment.number
        if not path.covers(first, last):
            missing = next(path.missing(first, last))
            return f"WAL segment {missing}, without which it is not consistent, is not in the archive"
        return None

    @property
    def newest_reachable(self) -> int | None:
        """The highest timeline to which some backup leads."""
        return next((timeline for timeline in reversed(self.timelines) if self.usable_along(timeline)), None)


def shelves_of(catalogue: Catalogue) -> tuple[Shelf, ...]:
    """Every generation in every repository, newest generation first, then by repository."""
    systems = sorted(catalogue.systems, key=lambda system: (-system.history_id, system.repo_key))
    return tuple(
        Shelf(
            system,
            catalogue.archive(system.archive_id, system.repo_key)
            or Archive(archive_id=system.archive_id, repo_key=system.repo_key, segments=(), histories=()),
            tuple(
                backup
                for backup in catalogue.backups
                if backup.history_id == system.history_id and backup.repo_key == system.repo_key
            ),
        )
        for system in systems
    )


def newest_of_each_repository(shelves: Iterable[Shelf], system_identifier: int) -> tuple[Shelf, ...]:
    """The newest generation of a system in each repository, by repository.

    Repositories count generations on their own: one that was added later begins with 1.
    """
    newest: dict[int, Shelf] = {}
    for shelf in shelves:
        if shelf.system.system_identifier == system_identifier:
            known = newest.get(shelf.repo_key)
            if known is None or shelf.system.history_id > known.system.history_id:
                newest[shelf.repo_key] = shelf
    return tuple(newest[repo_key] for repo_key in sorted(newest))


def _segment_size(archive: Archive, backups: tuple[BackupSet, ...]) -> int:
    if archive.segments:
        return archive.segments[0].segment.size
    return backups[0].start_segment.size if backups else DEFAULT_SEGMENT_SIZE
