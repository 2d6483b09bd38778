"""Recovery targets: the point that a recovery stops at.

Source: PostgreSQL, "Recovery Target" (recovery_target, _time, _xid, _name, _lsn, _inclusive, _timeline).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from pgdolly.domain.lsn import LSN


class TargetType(StrEnum):
    """pgBackRest's and Pigsty's words for the kinds of target."""

    DEFAULT = "default"  # the end of the archive
    IMMEDIATE = "immediate"  # as soon as the backup is consistent
    TIME = "time"
    XID = "xid"
    NAME = "name"
    LSN = "lsn"


class TargetAction(StrEnum):
    """What the leader does at the target. Replicas always stop there and wait for the leader."""

    PROMOTE = "promote"
    PAUSE = "pause"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryTarget:
    """Where to stop. Just the field that `type` names is set; `exclusive` stops before it, not after."""

    type: TargetType = TargetType.DEFAULT
    time: datetime | None = None
    xid: int | None = None
    name: str | None = None
    lsn: LSN | None = None
    exclusive: bool = False

    def settings(self) -> tuple[tuple[str, str], ...]:
        """The PostgreSQL settings that say this target; none for the end of the archive."""
        match self.type:
            case TargetType.DEFAULT:
                return ()
            case TargetType.IMMEDIATE:
                return (("recovery_target", "immediate"),)
            case TargetType.TIME:
                assert self.time is not None
                # The zone travels with the time: PostgreSQL would otherwise read it in its own `timezone`.
                target = ("recovery_target_time", self.time.astimezone(UTC).isoformat(sep=" "))
            case TargetType.XID:
                target = ("recovery_target_xid", str(self.xid))
            case TargetType.NAME:
                assert self.name is not None
                return (("recovery_target_name", self.name),)  # a restore point has no inside to be excluded
            case TargetType.LSN:
                target = ("recovery_target_lsn", str(self.lsn))
        return (target, ("recovery_target_inclusive", "off")) if self.exclusive else (target,)

    def __str__(self) -> str:
        before = "before " if self.exclusive else ""
        match self.type:
            case TargetType.DEFAULT:
                return "the end of the archive"
            case TargetType.IMMEDIATE:
                return "the end of the backup (immediate)"
            case TargetType.TIME:
                assert self.time is not None
                return f"{before}time {self.time.astimezone(UTC).isoformat(sep=' ')}"
            case TargetType.XID:
                return f"{before}transaction {self.xid}"
            case TargetType.NAME:
                return f"restore point {self.name!r}"
            case TargetType.LSN:
                return f"{before}LSN {self.lsn}"
