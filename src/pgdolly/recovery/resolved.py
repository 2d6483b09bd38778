"""What a recovery is going to read: chosen before anything is touched, and nothing left for pgBackRest to choose."""

from __future__ import annotations

from dataclasses import dataclass

from pgdolly.domain.backup import BackupSet
from pgdolly.domain.lsn import WalSegment
from pgdolly.domain.target import RecoveryTarget
from pgdolly.domain.timeline import TimelineHistory


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedRecovery:
    """A recovery target with the repository, backup set and timeline that lead to it, and the WAL in between.

    :param timeline: the number to recover along, always pinned. Where `history_archived` is false, PostgreSQL
        refuses the number ("recovery target timeline … does not exist"); `current` then means the same.
    :param first_segment: where replay begins.
    :param last_segment: where replay ends at most. For a time it is the first segment archived at or after it:
        replay goes on beyond only if no transaction ended between the target and that segment's end.
    :param reachable_segment: the last segment from `first_segment` on without a gap, when this was resolved.
    :param pinned_segment: nothing beyond may be replayed. Set for the end of the archive, which would not be the
        same for every member; and where PostgreSQL would go on into a branch that the path has left.
    :param wal_segments: from the first to the last segment; `wal_size` is their size in the repository in bytes.
    :param highest_timeline: of all in this generation's archives: a new timeline must be higher.
    :param crosses_timelines: whether replay may switch timelines on the way.
    :param notes: what a person should know, a sentence each.
    """

    stanza: str
    repo_key: int
    history_id: int
    archive_id: str
    system_identifier: int
    postgres_version: str
    backup: BackupSet
    timeline: int
    history: TimelineHistory
    history_archived: bool
    target: RecoveryTarget
    first_segment: WalSegment
    last_segment: WalSegment
    reachable_segment: WalSegment
    pinned_segment: WalSegment | None
    wal_segments: int
    wal_size: int
    highest_timeline: int
    crosses_timelines: bool
    notes: tuple[str, ...]

    @property
    def backup_set(self) -> str:
        """The label of the backup."""
        return self.backup.label
