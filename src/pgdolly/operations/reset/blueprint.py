"""Everything that was decided about a reset: from it alone the plan is built, purely, and built further."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pgdolly.domain.cluster import Member
from pgdolly.domain.target import RecoveryTarget, TargetAction
from pgdolly.drivers.pgbackrest import RestoreSource
from pgdolly.drivers.postgres import Instance
from pgdolly.recovery.select import ResolvedRecovery

# What the target's own stanza needs before it accepts WAL and backups of the clone.
StanzaNeed = Literal["nothing", "create", "upgrade"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberBlueprint:
    """One member of the target: its data directory, what fills it, and how Patroni knows it.

    :param kept: where the old data goes; None if it is not kept.
    :param unreadable: why it is not restored, but copied from the new leader: its node cannot read the backup set.
    """

    instance: Instance
    patroni_name: str
    source: RestoreSource
    spool_directory: str
    kept: str | None = None
    unreadable: str | None = None

    @property
    def member(self) -> Member:
        return self.instance.member


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetBlueprint:
    """A reset, decided. It is kept in the journal and goes on with a paused run.

    :param placeholders: timelines that the clone's first one has to come after.
    :param own_passwords: they are its source's until now, as a standby cluster's are.
    :param left_out: members that are down, each with how to bring it back.
    :param repository: the options of the source's repository, masked, if the target's own configuration does not lead
        to it.
    :param beside: restored into another directory of the leader's node; the cluster itself is left alone.
    """

    target_cluster: str
    source_cluster: str
    stanza: str  # the target's own
    resolved: ResolvedRecovery
    leader: MemberBlueprint
    replicas: tuple[MemberBlueprint, ...]
    action: TargetAction
    archive: bool
    cleanup: bool
    stanza_need: StanzaNeed
    placeholders: tuple[int, ...]
    segment_size: int
    beside: bool = False
    backup_after: bool = True
    own_passwords: bool = False
    left_out: tuple[str, ...] = ()
    repository: tuple[tuple[str, str], ...] = ()
    summary: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()

    @property
    def target(self) -> RecoveryTarget:
        return self.resolved.target

    @property
    def members(self) -> tuple[MemberBlueprint, ...]:
        return (self.leader, *self.replicas)

    @property
    def restored(self) -> tuple[MemberBlueprint, ...]:
        """The members that are filled out of the repository, the leader first."""
        return tuple(member for member in self.members if member.unreadable is None)

    @property
    def archives(self) -> bool:
        """Whether the clone archives from its first moment as a cluster of its own."""
        return self.archive or self.cleanup
