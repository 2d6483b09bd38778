"""Let the replicas follow the new leader: without a base backup, or with one if need be."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from typing import Any, ClassVar

from pgdolly.domain.command import Command
from pgdolly.domain.errors import DeadlinePassed
from pgdolly.domain.lsn import LSN, WalSegment
from pgdolly.domain.timeline import history_file_name
from pgdolly.drivers import patroni, postgres, services
from pgdolly.drivers.postgres import Instance
from pgdolly.engine.step import Effect, StepCheck, StepState
from pgdolly.steps.copy import CopyLeader
from pgdolly.steps.promote import fork_lsn
from pgdolly.steps.replication import Streaming, streaming_state
from pgdolly.steps.world import POLL_SECONDS, StepContext
from pgdolly.transport.shell import run_checked

PLACEHOLDER = "# placeholder of pgdolly: this timeline was passed over\n"
JOIN_SECONDS = 90.0  # without any progress
CREATING = "creating replica"  # Patroni's word for a member into which it copies the leader


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinReplica:
    """Let a recovered replica follow the leader's new timeline by streaming.

    It stands at the fork, but its pg_wal holds the old timeline past it, in the segment of the fork and perhaps
    later ones: started as it is, it would replay that and be ahead of the leader for ever. Without it, and
    with the leader's history files, it asks the leader for WAL from the fork on. A replica that cannot be joined
    so is rebuilt from the leader, and the run says it did.
    """

    kind: ClassVar[str] = "join_replica"
    effect: ClassVar[Effect] = Effect.DESTROY

    instance: Instance
    leader: Instance
    patroni_name: str
    archive: bool
    spool_directory: str | None
    segment_size: int
    placeholders: tuple[int, ...] = ()

    def title(self) -> str:
        return "join the leader's timeline by streaming"

    def commands(self) -> tuple[Command, ...]:
        # Where to cut is known once the leader is promoted; the plan can say only what is going to be done.
        return (
            Command(
                argv=("pgdolly-hand-over",),
                summary="remove the old timeline's WAL from the fork on, write the leader's history files, "
                + ("keep archive_mode" if self.archive else "archive_mode = 'off'"),
            ),
            services.start_command(self.instance.member),
        )

    async def check(self, context: StepContext) -> StepCheck:
        streaming = await self._streams(context)
        if streaming is not None and streaming.caught_up:
            copied, placeholders = await self._look(context)
            if not placeholders:
                return StepCheck(StepState.DONE, result={"rebuilt": copied})
        return StepCheck(StepState.PENDING)

    async def _streams(self, context: StepContext) -> Streaming | None:
        return await streaming_state(context, self.leader, self.patroni_name)

    @property
    def _copy(self) -> CopyLeader:
        return CopyLeader(instance=self.instance, leader=self.leader, patroni_name=self.patroni_name)

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        shell, member = context.world.shell(self.instance.member), self.instance.member
        copied, _ = await self._look(context)
        if copied:
            return await self._copy.go_on(context)
        stood = LSN.parse(found["lsn"]) if (found := self._stood(context))["lsn"] else None
        if stood is not None and stood > fork_lsn(context):
            return await self._rebuild(context, f"it replayed to {stood}, past the leader's fork")
        if not await services.is_active(shell, member):
            await run_checked(shell, await self._hand_over(context), doing="mend the data directory")
        await services.start_service(shell, member)  # one that is up has to be enabled all the same
        try:
            streaming = await self._wait_until_joined(context)
        except DeadlinePassed as error:
            view = await patroni.read_cluster(shell, member)
            own = view.member(self.patroni_name) if view else None
            if own is not None and own.state == CREATING:
                return await self._copy.go_on(context)
            return await self._rebuild(context, error.what)
        await self._remove_placeholders(context)
        return {"rebuilt": False, "lsn": str(streaming.replay_lsn)}

    async def _wait_until_joined(self, context: StepContext) -> Streaming:
        """Wait as long as it comes nearer: since its last restart point there may be WAL for many minutes of replay.

        :raises DeadlinePassed: if it has replayed nothing new for a while.
        """
        member = self.instance.member
        last = "not connected to the leader"
        goal: LSN | None = None
        furthest, since = LSN(0), time.monotonic()
        while True:
            streaming = await self._streams(context)
            reached = [await self._replaying(context)]
            if streaming is not None:
                # What the leader had when it was first seen: applications may be writing to it again.
                goal = goal or streaming.current_lsn
                last = f"{streaming.state}, replayed to {streaming.replay_lsn}"
                if streaming.has_replayed(goal):
                    return streaming
                reached.append(streaming.replay_lsn)
            # The furthest ever: a server that dies and begins again does not come nearer.
            now = max((lsn for lsn in reached if lsn is not None), default=LSN(0))
            if now > furthest:
                furthest, since = now, time.monotonic()
            elif time.monotonic() - since > JOIN_SECONDS:
                seen = f", and it replayed to {furthest}" if furthest > LSN(0) else ""
                raise DeadlinePassed(
                    f"waited {JOIN_SECONDS:.0f} s for {member.name} to come nearer to streaming from "
                    f"{self.leader.member.name}; last seen: {last}{seen}",
                    where=member.name,
                )
            await asyncio.sleep(POLL_SECONDS)

    async def _replaying(self, context: StepContext) -> LSN | None:
        """Where the segment begins that it replays, by its startup process's title: it may let nobody in yet."""
        script = 'ps --ppid "$(head -n 1 "$1/postmaster.pid")" -o args= 2>/dev/null || true'
        look = Command(
            argv=("sh", "-c", script, "look", str(self.instance.data_directory)),
            summary=f"look how far {self.instance.member.name} has replayed",
        )
        titles = await run_checked(context.world.shell(self.instance.member), look)
        found = re.search(r"startup\s+recovering\s+([0-9A-F]{24})", titles)
        return WalSegment.parse(found[1], self.segment_size).start if found else None

    async def _remove_placeholders(self, context: StepContext) -> None:
        if self.placeholders:
            await run_checked(
                context.world.shell(self.instance.member),
                Command(argv=("rm", "-f", *self._placeholder_paths())),
                doing="remove the placeholders of timelines",
            )

    def _placeholder_paths(self) -> list[str]:
        wal = self.instance.data_directory / "pg_wal"
        return [str(wal / history_file_name(timeline)) for timeline in self.placeholders]

    async def _look(self, context: StepContext) -> tuple[bool, bool]:
        """Whether it is being copied from the leader, or was; and whether a placeholder is there."""
        script = (
            'if [ -e "$1/PG_VERSION" ]; then echo no; else echo yes; fi; shift; '
            'for path; do if [ -e "$path" ]; then echo yes; exit; fi; done; echo no'
        )
        look = Command(
            argv=(
                "sh",
                "-c",
                script,
                "look",
                str(self.instance.data_directory),
                *self._placeholder_paths(),
            ),
            summary="look into the data directory",
        )
        emptied, placeholders = (
            await run_checked(context.world.shell(self.instance.member), look, doing="look at the member")
        ).split()
        return emptied == "yes" or await self._copy.is_begun(context), placeholders == "yes"

    def _stood(self, context: StepContext) -> dict[str, Any]:
        name = self.instance.member.name
        try:
            return context.result_of("hold_replica", name)
        except KeyError:
            return context.result_of("recover", name)

    async def _hand_over(self, context: StepContext) -> Command:
        histories = await postgres.read_histories(context.world.shell(self.leader.member), self.leader)
        # A walreceiver asks for the history of every timeline between its own and the leader's, and gives up at
        # the first that the leader does not have; those that were passed over exist nowhere.
        histories |= {history_file_name(t): PLACEHOLDER for t in self.placeholders}
        left, fork = int(context.result_of("promote_leader")["left"]), fork_lsn(context)
        return postgres.hand_over_command(
            self.instance,
            archive=self.archive,
            spool_directory=self.spool_directory,
            histories=histories,
            cut_at=(WalSegment.holding(left, fork, self.segment_size), fork),
        )

    async def _rebuild(self, context: StepContext, why: str) -> dict[str, Any]:
        """Empty the directory and let Patroni copy the leader into it."""
        name = self.instance.member.name
        context.note(f"{name} is rebuilt from the leader by base backup: {why}")
        return await self._copy.apply(context)
