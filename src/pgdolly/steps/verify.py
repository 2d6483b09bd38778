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

LEVEL_SECONDS = 60.0

_LOOK = """SELECT pg_is_in_recovery(),
 CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
 CASE WHEN pg_is_in_recovery() THEN (SELECT received_tli FROM pg_stat_wal_receiver WHERE status = 'streaming')
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
    """One leader, every replica streaming from it on its timeline and level with it, and archiving as it should be.

    Applications may be writing all the while: a replica is level that has replayed what the leader had when it was
    first asked. Replay only goes forward, so however much is written, a replica that follows gets there.
    """

    kind: ClassVar[str] = "verify_cluster"
    effect: ClassVar[Effect] = Effect.READ

    leader: Instance
    replicas: tuple[Instance, ...]
    archive: bool
    left_out: tuple[str, ...] = ()  # members that are down, each with how to bring it back

    def title(self) -> str:
        return f"verify {self.leader.member.cluster}: one leader, one timeline, every replica level with it"

    def commands(self) -> tuple[Command, ...]:
        return (
            Command(argv=("psql",), summary="ask every member for its role, LSN, timeline and archive_mode"),
        )

    async def check(self, context: StepContext) -> StepCheck:
        return StepCheck(StepState.PENDING)

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        seen: dict[str, _Seen] = {}
        goal: _Seen | None = None

        async def level() -> _Seen | None:
            nonlocal goal
            # The leader first: what a replica had replayed before the leader was asked says nothing.
            first = await self._look(context, self.leader)
            others = await together(*(self._look(context, instance) for instance in self.replicas))
            members = (self.leader, *self.replicas)
            seen.update({i.member.name: found for i, found in zip(members, (first, *others), strict=True)})
            if first.in_recovery or first.lsn is None:
                return None
            if goal is None or goal.timeline != first.timeline:
                goal = first
            return goal if all(_follows(other, goal) for other in others) else None

        at = await wait_for(
            level,
            what=f"every replica of {self.leader.member.cluster} to stream on the leader's timeline and to have "
            "replayed what it had",
            where=self.leader.member.name,
            deadline_seconds=LEVEL_SECONDS,
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
        return {"timeline": at.timeline, "lsn": str(at.lsn), "members": len(seen)}

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


def _follows(replica: _Seen, goal: _Seen) -> bool:
    return (
        replica.in_recovery
        and replica.timeline == goal.timeline
        and replica.lsn is not None
        and goal.lsn is not None
        and replica.lsn >= goal.lsn
    )
