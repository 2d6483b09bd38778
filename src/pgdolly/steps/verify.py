"""Say that a cluster is what it was to become, or fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pgdolly.domain.command import Command
from pgdolly.domain.errors import CommandFailed
from pgdolly.domain.lsn import LSN
from pgdolly.drivers import postgres
from pgdolly.drivers.postgres import Instance
from pgdolly.engine.step import Effect, StepCheck, StepState
from pgdolly.steps.world import StepContext, wait_for
from pgdolly.transport.together import together

SAME_LSN_SECONDS = 60.0

_LOOK = """SELECT pg_is_in_recovery(),
 CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
 CASE WHEN pg_is_in_recovery() THEN (SELECT received_tli FROM pg_stat_wal_receiver)
      ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END,
 current_setting('archive_mode')"""


@dataclass(frozen=True, slots=True)
class _Seen:
    in_recovery: bool
    lsn: LSN | None
    timeline: int | None
    archive_mode: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyCluster:
    """One leader, every other member streaming from it, one timeline, one LSN, and archiving as it should be."""

    kind: ClassVar[str] = "verify_cluster"
    effect: ClassVar[Effect] = Effect.READ

    leader: Instance
    replicas: tuple[Instance, ...]
    archive: bool
    left_out: tuple[str, ...] = ()  # members that are down, each with how to bring it back

    def title(self) -> str:
        return f"verify {self.leader.member.cluster}: one leader, one timeline, one LSN on every member"

    def commands(self) -> tuple[Command, ...]:
        return (
            Command(argv=("psql",), summary="ask every member for its role, LSN, timeline and archive_mode"),
        )

    async def check(self, context: StepContext) -> StepCheck:
        return StepCheck(StepState.PENDING)

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        seen: dict[str, _Seen] = {}

        async def same() -> bool | None:
            everyone = (self.leader, *self.replicas)
            found = await together(*(self._look(context, instance) for instance in everyone))
            seen.update({instance.member.name: f for instance, f in zip(everyone, found, strict=True)})
            first, *others = found
            if first.in_recovery or not all(other.in_recovery for other in others):
                return None
            alike = all(other.timeline == first.timeline and other.lsn == first.lsn for other in others)
            return True if alike else None

        await wait_for(
            same,
            what=f"every member of {self.leader.member.cluster} to be at the leader's LSN on its timeline",
            where=self.leader.member.name,
            deadline_seconds=SAME_LSN_SECONDS,
            describe=lambda: ", ".join(f"{n}: {s.lsn} on timeline {s.timeline}" for n, s in seen.items()),
            next_command=f"pgdolly status {self.leader.member.cluster}",
        )
        wrong = [name for name, s in seen.items() if (s.archive_mode == "off") is self.archive]
        if wrong:
            raise CommandFailed(
                f"archive_mode is {'off' if self.archive else 'not off'} on {', '.join(wrong)}",
                where=self.leader.member.cluster,
                next_command=f"pgdolly check {self.leader.member.cluster}",
            )
        for text in self.left_out:
            context.note(text)
        leader = seen[self.leader.member.name]
        return {"timeline": leader.timeline, "lsn": str(leader.lsn), "members": len(seen)}

    async def _look(self, context: StepContext, instance: Instance) -> _Seen:
        shell = context.world.shell(instance.member)
        command = await postgres.public_sql_command(shell, instance, _LOOK)
        rows = await postgres.query(shell, command, doing=f"ask {instance.member.name} how it stands")
        recovering, lsn, timeline, archive_mode = rows[0]
        return _Seen(
            recovering == "t",
            LSN.parse(lsn) if lsn else None,
            int(timeline) if timeline else None,
            archive_mode,
        )
