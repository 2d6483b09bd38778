"""Everything that was decided about a clone. It holds no secret, and is kept in the journal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from pgdolly.domain.draft import DraftPath
from pgdolly.drivers.pgbackrest import RestoreSource
from pgdolly.drivers.postgres import Instance
from pgdolly.drivers.upstream import UpstreamServers
from pgdolly.operations.reset.blueprint import ResetBlueprint
from pgdolly.recovery.resolved import ResolvedRecovery


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMember:
    """One member: what is written on its node, and from what it is filled (None: a base backup)."""

    instance: Instance
    files: tuple[DraftPath, ...]
    directories: tuple[PurePosixPath, ...]
    source: RestoreSource | None = None

    @property
    def name(self) -> str:
        return self.instance.member.name

    @property
    def unit(self) -> bool:
        """Whether its service's unit is among the files."""
        return any(file.path.suffix == ".service" for file in self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class StandbyPlan:
    """How a standby cluster begins.

    :param configuration: `standby_cluster`, for Patroni's store.
    :param resolved: the backup set that its members are filled from; None: base backups of the upstream.
    :param slot: at the source; `source` is the member there whose Patroni is told.
    """

    upstream: UpstreamServers
    configuration: dict[str, Any]
    system_identifier: int
    resolved: ResolvedRecovery | None
    slot: str | None = None
    source: Instance | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneBlueprint:
    """A clone, decided: a standby cluster (`standby`), or a recovery to a point (`reset`).

    :param promote: the standby cluster is cut off at once.
    """

    source_cluster: str
    new_cluster: str
    leader: NewMember
    replicas: tuple[NewMember, ...]
    standby: StandbyPlan | None = None
    promote: bool = False
    backup: bool = True
    reset: ResetBlueprint | None = None
    summary: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()

    @property
    def members(self) -> tuple[NewMember, ...]:
        return (self.leader, *self.replicas)

    @property
    def resolved(self) -> ResolvedRecovery | None:
        """What its members are filled from; None: base backups."""
        if self.reset is not None:
            return self.reset.resolved
        return self.standby.resolved if self.standby is not None else None
