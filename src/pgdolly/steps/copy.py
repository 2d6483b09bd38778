"""Fill a replica by a copy of the new leader, which Patroni takes by base backup."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, ClassVar

from pgdolly.domain.command import Command
from pgdolly.domain.lsn import LSN
from pgdolly.drivers import services
from pgdolly.drivers.postgres import Instance
from pgdolly.engine.step import Effect, StepCheck, StepState
from pgdolly.steps.carry import job_directory
from pgdolly.steps.replication import Streaming, streaming_state
from pgdolly.steps.world import StepContext, wait_for
from pgdolly.transport.shell import run_checked

COPY_SECONDS = 24 * 3600.0  # a base backup of a large cluster takes hours; Patroni shows that it goes on
MEASURE_SECONDS = 2.0  # between two walks over the directory that fills


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyLeader:
    """Empty a member's data directory, let Patroni copy the leader into it, and wait until it has caught up.

    A copy that is under way is never begun again: that would throw hours of it away.
    """

    kind: ClassVar[str] = "copy_leader"
    effect: ClassVar[Effect] = Effect.DESTROY

    instance: Instance
    leader: Instance
    patroni_name: str

    def title(self) -> str:
        return f"copy {self.leader.member.name} by base backup, and stream from it"

    def commands(self) -> tuple[Command, ...]:
        member = self.instance.member
        return (services.stop_command(member), self._empty(), services.start_command(member))

    async def check(self, context: StepContext) -> StepCheck:
        streaming = await self.streams(context)
        if streaming is not None and streaming.caught_up:
            return StepCheck(StepState.DONE, result={"rebuilt": True})
        return StepCheck(StepState.PENDING)

    async def apply(self, context: StepContext) -> dict[str, Any]:
        if not await self.is_begun(context):
            shell, member = context.world.shell(self.instance.member), self.instance.member
            await services.stop_service(shell, member)
            # Only now: a service that is up beside the mark is one that copies the leader.
            await run_checked(
                shell,
                Command(argv=("mkdir", "-p", self._mark(context))),
                doing="mark the member as one that is copied",
            )
        return await self.go_on(context)

    async def go_on(self, context: StepContext) -> dict[str, Any]:
        """Begin the copy, or wait for the one that is under way."""
        shell, member = context.world.shell(self.instance.member), self.instance.member
        if not await services.is_active(shell, member):
            await run_checked(shell, self._empty(), timeout_seconds=3600, doing="empty the data directory")
        await services.start_service(shell, member)
        progress = _Filling(self.instance, self.leader)
        goal: LSN | None = None

        async def caught_up() -> Streaming | None:
            nonlocal goal
            streaming = await self.streams(context)
            if streaming is None:
                await progress.show(context)
                return None
            # What the leader had when it was first seen: applications may be writing to it again.
            goal = goal or streaming.current_lsn
            return streaming if streaming.has_replayed(goal) else None

        streaming = await wait_for(
            caught_up,
            what=f"Patroni to copy {self.leader.member.name} to {member.name}",
            where=member.name,
            deadline_seconds=COPY_SECONDS,
            next_command=f"patronictl list {member.cluster}; pgdolly resume {context.run_id}",
        )
        return {"rebuilt": True, "lsn": str(streaming.replay_lsn)}

    async def streams(self, context: StepContext) -> Streaming | None:
        return await streaming_state(context, self.leader, self.patroni_name)

    async def is_begun(self, context: StepContext) -> bool:
        """Whether its directory was already emptied for a copy."""
        look = Command(
            argv=("sh", "-c", 'if [ -e "$1" ]; then echo yes; else echo no; fi', "look", self._mark(context)),
            summary="look for a copy of the leader",
        )
        return (await run_checked(context.world.shell(self.instance.member), look)).strip() == "yes"

    def _mark(self, context: StepContext) -> str:
        """There from the moment on at which the data directory is emptied for a copy of the leader."""
        return str(job_directory(context, self.instance.member, "rebuild"))

    def _empty(self) -> Command:
        # It may be gone: moved aside, to be kept.
        script = 'mkdir -p -m 0700 "$1" && find "$1" -mindepth 1 -delete'
        return Command(
            argv=("sh", "-c", script, "empty", str(self.instance.data_directory)),
            summary=f"empty {self.instance.data_directory}",
        )


class _Filling:
    """How much of the leader's data is on the replica."""

    def __init__(self, instance: Instance, leader: Instance) -> None:
        self._instance, self._leader = instance, leader
        self._total: int | None = None
        self._measured = 0.0

    async def show(self, context: StepContext) -> None:
        if time.monotonic() - self._measured < MEASURE_SECONDS:
            return
        self._total = self._total or await self._bytes_of(context, self._leader)
        done = await self._bytes_of(context, self._instance)
        context.progress(done, max(self._total, done), "bytes", "copied")
        self._measured = time.monotonic()

    async def _bytes_of(self, context: StepContext, instance: Instance) -> int:
        # Files come and go meanwhile, which du finds wrong. Of pg_wal a base backup takes the newest only.
        script = 'du --summarize --block-size=1 --exclude=pg_wal -- "$1" 2>/dev/null || true'
        command = Command(
            argv=("sh", "-c", script, "measure", str(instance.data_directory)),
            summary=f"measure {instance.data_directory} on {instance.member.name}",
        )
        shell = context.world.shell(instance.member)
        words = (await run_checked(shell, command, timeout_seconds=600)).split()
        return int(words[0]) if words else 0
