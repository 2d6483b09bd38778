"""Begin a standby cluster out of data directories that are filled: its store, its leader, its members."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from typing import Any, ClassVar

from pgdolly.domain.command import Command
from pgdolly.domain.errors import CommandFailed, DeadlinePassed
from pgdolly.domain.lsn import LSN
from pgdolly.drivers import patroni, postgres, services, store
from pgdolly.drivers.patroni import MemberView
from pgdolly.drivers.postgres import Instance
from pgdolly.drivers.upstream import UpstreamServers, ask_upstream
from pgdolly.engine.step import Effect, StepCheck, StepState
from pgdolly.steps.world import POLL_SECONDS, StepContext, wait_for
from pgdolly.transport.shell import run_checked

LEADER_SECONDS = 180.0
JOIN_SECONDS = 180.0
STALL_SECONDS = 300.0  # a standby that replays nothing for so long is stuck

RECEIVED = """SELECT pg_last_wal_replay_lsn(), pg_last_wal_receive_lsn(),
 coalesce((SELECT status FROM pg_stat_wal_receiver), ''),
 EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'startup' AND wait_event = 'RecoveryApplyDelay')"""
# Of the end of the server's log, as bytes: it may begin within a character. NULL if the server does not collect it.
LOG_END = """SELECT encode(pg_read_binary_file(log, greatest(0, size - 16384), 16384), 'escape')
 FROM pg_current_logfile() AS log, LATERAL pg_stat_file(log) WHERE log IS NOT NULL"""
COMPLAINT = re.compile(r"\b(FATAL|PANIC|ERROR)\b")
# Those of the walreceiver and of the recovery; whoever connects to the standby has complaints of its own.
OF_RECOVERY = re.compile(COMPLAINT.pattern + r".*\b(primary server|WAL|recovery|timeline|archive)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundStandby:
    """Write the new cluster's entries into Patroni's store, `standby_cluster` among them."""

    kind: ClassVar[str] = "found_standby"
    effect: ClassVar[Effect] = Effect.CHANGE

    instance: Instance
    standby_cluster: dict[str, Any]
    system_identifier: int

    def title(self) -> str:
        return f"begin {self.instance.member.cluster} in Patroni's store"

    def commands(self) -> tuple[Command, ...]:
        return (store.found_command(self.instance.member, self.standby_cluster, self.system_identifier),)

    async def check(self, context: StepContext) -> StepCheck:
        return StepCheck(StepState.PENDING)  # no Patroni of the cluster is up yet: again does no harm

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        await run_checked(
            context.world.shell(self.instance.member),
            self.commands()[0],
            doing="begin the cluster in Patroni's store",
        )
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartStandby:
    """Start Patroni on a filled member and wait until it has its place: leading the standby cluster, or behind it."""

    kind: ClassVar[str] = "start_standby"
    effect: ClassVar[Effect] = Effect.CHANGE

    instance: Instance
    patroni_name: str
    leads: bool

    def title(self) -> str:
        return f"start Patroni as {'the standby leader' if self.leads else 'a replica of the standby leader'}"

    def commands(self) -> tuple[Command, ...]:
        return (services.start_command(self.instance.member),)

    async def check(self, context: StepContext) -> StepCheck:
        return StepCheck(StepState.PENDING)  # starting what is up does nothing; the wait is what counts

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        shell, member = context.world.shell(self.instance.member), self.instance.member
        await services.start_service(shell, member)
        seen = "nothing"

        async def placed() -> MemberView | None:
            nonlocal seen
            view = await patroni.read_cluster(shell, member)
            own = view.member(self.patroni_name) if view else None
            if own is not None:
                seen = f"{own.role}, {own.state}"
            up = own is not None and own.state in ("running", "streaming", "in archive recovery")
            return own if own is not None and up and own.leads is self.leads else None

        await wait_for(
            placed,
            what=f"Patroni to run {member.name} as {'the standby leader' if self.leads else 'a replica'}",
            where=member.name,
            deadline_seconds=LEADER_SECONDS,
            describe=lambda: seen,
            next_command=f"pgdolly resume {context.run_id}",
        )
        return None


async def look_at_replay(
    context: StepContext, instance: Instance
) -> tuple[LSN | None, LSN | None, str, bool]:
    """Replayed to, received to, its walreceiver's status ("" for none), whether it stands at its delay."""
    shell = context.world.shell(instance.member)
    command = await postgres.public_sql_command(shell, instance, RECEIVED)
    rows = await postgres.query(shell, command, doing=f"ask {instance.member.name} how far it is")
    replayed, received, status, holds = rows[0]
    return (
        LSN.parse(replayed) if replayed else None,
        LSN.parse(received) if received else None,
        status,
        holds == "t",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUpstream:
    """Wait until a member streams, and has replayed what the upstream had when this step began.

    :param upstream: asked for its position, as a replica asks. :param delayed: it replays late on purpose: it is
        enough that it has received everything, or that it holds back a commit which it has read in the archive. It
        streams only once it has replayed what is there.
    """

    kind: ClassVar[str] = "follow_upstream"
    effect: ClassVar[Effect] = Effect.READ

    instance: Instance
    upstream: UpstreamServers
    delayed: bool = False

    def title(self) -> str:
        if self.delayed:
            return f"wait until it has received what {self.upstream} has now, or holds back what it has of it"
        return f"wait until it has replayed what {self.upstream} has now"

    def commands(self) -> tuple[Command, ...]:
        return (Command(argv=("psql",), summary="ask it for pg_last_wal_replay_lsn() and its walreceiver"),)

    async def check(self, context: StepContext) -> StepCheck:
        return StepCheck(StepState.PENDING)

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        member = self.instance.member
        position = await ask_upstream(
            context.world.shell(member), member, self.upstream, bin_directory=self.instance.bin_directory
        )
        goal, first = position.lsn, None
        moved: tuple[LSN | None, LSN | None] | None = None
        since = time.monotonic()
        while True:
            replayed, received, status, holds = await look_at_replay(context, self.instance)
            at = received if self.delayed else replayed
            if at is not None:
                if first is None:
                    first = at
                if at >= goal and status == "streaming":
                    return {"lsn": str(goal)}
                done, total = at.position - first.position, goal.position - first.position
                context.progress(max(0, done), max(total, done, 0), "bytes", f"WAL, at {at} of {goal}")
            if self.delayed and holds and not status:
                return {"lsn": str(replayed)}
            # A walreceiver that is refused starts again every few seconds: that is no movement.
            if moved != (replayed, received):
                moved, since = (replayed, received), time.monotonic()
            elif time.monotonic() - since > STALL_SECONDS:
                seen = f"{status or 'not streaming'}, received to {received}, replayed to {replayed}"
                raise DeadlinePassed(
                    f"it has not moved for {STALL_SECONDS:.0f} s, and {self.upstream} was at {goal}; last seen: "
                    f"{seen}; {await self._complaint(context)}",
                    where=member.name,
                    next_command=f"look at its log, then pgdolly resume {context.run_id}",
                )
            await asyncio.sleep(POLL_SECONDS)

    async def _complaint(self, context: StepContext) -> str:
        """The last error in the server's log, one of its recovery if there is any; without one its last line."""
        shell, member = context.world.shell(self.instance.member), self.instance.member
        try:
            command = await postgres.public_sql_command(shell, self.instance, LOG_END)
            rows = await postgres.query(shell, command, doing=f"read the log of {member.name}")
        except CommandFailed as error:
            return f"its log could not be read: {error.what}"
        lines = [line for line in (" ".join(row).strip() for row in rows) if line]
        if not lines:
            return "its server collects no log: look where its service's output goes"
        errors = [*filter(COMPLAINT.search, lines), *filter(OF_RECOVERY.search, lines)]
        return f"its log: {[lines[-1], *errors][-1]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinStandby:
    """Wait until a replica streams from the standby leader and has replayed as far as that.

    :param delayed: the cluster replays late on purpose: it is enough that the replica, too, holds back a commit which
        it has read in the archive.
    """

    kind: ClassVar[str] = "join_standby"
    effect: ClassVar[Effect] = Effect.READ

    instance: Instance
    leader: Instance
    patroni_name: str
    delayed: bool = False

    def title(self) -> str:
        also = ", or holds back what it has" if self.delayed else ""
        return f"wait until it streams from {self.leader.member.name}{also}"

    def commands(self) -> tuple[Command, ...]:
        return (
            Command(argv=("psql",), summary=f"ask {self.leader.member.name} for its pg_stat_replication"),
        )

    async def check(self, context: StepContext) -> StepCheck:
        return StepCheck(StepState.PENDING)

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        shell = context.world.shell(self.leader.member)
        sql = (
            "SELECT state, sent_lsn >= pg_last_wal_replay_lsn() FROM pg_stat_replication "
            f"WHERE application_name = '{self.patroni_name}'"
        )
        seen = "not connected"

        async def streams() -> bool | None:
            nonlocal seen
            command = await postgres.public_sql_command(shell, self.leader, sql)
            rows = await postgres.query(shell, command, doing="ask the standby leader for its replicas")
            if rows:
                seen = rows[0][0]
            if rows and rows[0] == ["streaming", "t"]:
                return True
            return True if self.delayed and await self._holds_back(context) else None

        await wait_for(
            streams,
            what=f"{self.instance.member.name} to stream from {self.leader.member.name}",
            where=self.instance.member.name,
            deadline_seconds=JOIN_SECONDS,
            describe=lambda: seen,
            next_command=f"patronictl list {self.instance.member.cluster}; pgdolly resume {context.run_id}",
        )
        return None

    async def _holds_back(self, context: StepContext) -> bool:
        *_, status, holds = await look_at_replay(context, self.instance)
        return holds and not status
