"""Replay the archive to the target, privately: PostgreSQL is its own judge of where that is."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pgdolly.domain.command import Command
from pgdolly.domain.errors import CommandFailed, DeadlinePassed
from pgdolly.domain.lsn import LSN, WalSegment
from pgdolly.domain.target import RecoveryTarget, TargetType
from pgdolly.drivers import postgres
from pgdolly.drivers.postgres import Instance, RecoveryState
from pgdolly.engine.step import Effect, StepCheck, StepState
from pgdolly.steps.world import POLL_SECONDS, StepContext
from pgdolly.transport.shell import run_checked
from pgdolly.transport.units import in_unit

START_SECONDS = 15.0  # pg_ctl --no-wait returns before the server has written its postmaster.pid
STALL_SECONDS = 600.0  # a replay that comes no further for so long is stuck
# Once it has replayed all, it writes it out in a checkpoint, which shows nothing of itself; so does a shutdown.
CHECKPOINT_SECONDS = 4 * 3600.0

# pause: the leader, readable at the target. shutdown: a replica, or a cluster that is to stay down.
# end: the leader without a target, which leaves recovery by itself at the end of the archive.
# wait: a replica without a target, which waits at the end of the archive for the leader's word.
Mode = Literal["pause", "shutdown", "end", "wait"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareRecovery:
    """Write the private server's configuration, and steer the timeline that the leader is going to begin.

    PostgreSQL chooses one more than the newest history file in sight. The target's own stanza may hold
    timelines of an earlier clone from the same source; on the same timeline its WAL would collide with theirs
    ([045]).
    """

    kind: ClassVar[str] = "prepare_recovery"
    effect: ClassVar[Effect] = Effect.CHANGE

    instance: Instance
    placeholders: tuple[int, ...] = ()
    wait_for_more: bool = False

    def title(self) -> str:
        return "prepare the recovery"

    def commands(self) -> tuple[Command, ...]:
        prepare = postgres.prepare_recovery_command(
            self.instance, placeholders=self.placeholders, wait_for_more=self.wait_for_more
        )
        return (prepare, postgres.rotate_log_command(self.instance))

    async def check(self, context: StepContext) -> StepCheck:
        return StepCheck(StepState.PENDING)  # writes the same files again

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        shell = context.world.shell(self.instance.member)
        for command in self.commands():
            await run_checked(shell, command, doing="prepare the recovery")
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recover:
    """Start the private server and wait until it stands at the target.

    "Consistent recovery state reached" is not the target: what counts is PostgreSQL's line "recovery stopping …".
    """

    kind: ClassVar[str] = "recover"
    effect: ClassVar[Effect] = Effect.DESTROY

    instance: Instance
    target: RecoveryTarget
    timeline: str  # a number, or `current` where the number has no history file in the archive
    mode: Mode
    first_segment: WalSegment | None  # None: of a copy that brings its own WAL, nobody knows how much
    last_segment: WalSegment | None

    def title(self) -> str:
        end = {"pause": "pause", "shutdown": "shut down", "end": "leave recovery", "wait": "wait there"}[
            self.mode
        ]
        return f"replay to {self.target}, then {end}"

    def commands(self) -> tuple[Command, ...]:
        start = postgres.start_recovery_command(
            self.instance,
            self.target,
            timeline=self.timeline,
            action="pause" if self.mode == "pause" else "shutdown",
        )
        return (
            postgres.clear_pid_command(self.instance),
            in_unit(self.instance.member, start, forking=True),
        )

    async def check(self, context: StepContext) -> StepCheck:
        state = await postgres.recovery_state(context.world.shell(self.instance.member), self.instance)
        if self._reached(state):
            if (short := await self._ended_short(context, state)) is not None:
                return StepCheck(StepState.CONFLICT, reason=short, next_command=self.afresh(context))
            return StepCheck(StepState.DONE, result=self._result(state))
        return StepCheck(StepState.RUNNING if state.running else StepState.PENDING)

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        shell = context.world.shell(self.instance.member)
        state = await postgres.recovery_state(shell, self.instance)
        starting_until = 0.0
        if not state.running and not self._reached(state):
            await run_checked(shell, postgres.rotate_log_command(self.instance))
            for command in self.commands():
                await run_checked(shell, command, doing="start the recovery")
            starting_until = time.monotonic() + START_SECONDS
        advance = _Advance()
        while True:
            state = await postgres.recovery_state(shell, self.instance)
            if self._reached(state):
                if (short := await self._ended_short(context, state)) is not None:
                    raise CommandFailed(
                        short,
                        where=self.instance.member.name,
                        argv=self.commands()[-1].argv,
                        stderr_end=state.log_end,
                        untouched="the source and its repository; no member was handed to Patroni",
                        next_command=self.afresh(context),
                    )
                self._show(context, state)
                return self._result(state)
            if state.running or state.fatal or "database system is shut down" in state.log_end:
                starting_until = 0.0
            if state.insufficient or (not state.running and time.monotonic() >= starting_until):
                raise self._failed(context, state)
            self._show(context, state)
            writes = state.ending or (self.mode == "shutdown" and state.stopped is not None)
            patience = CHECKPOINT_SECONDS if writes else STALL_SECONDS
            if advance.stands_still_seconds(state) > patience:
                raise DeadlinePassed(
                    f"the replay has not moved for {patience:.0f} s; it is at {state.segment or state.lsn}"
                    + (", and its last checkpoint is not done" if writes else ""),
                    where=self.instance.member.name,
                    next_command=f"pgdolly resume {context.run_id}",
                )
            await asyncio.sleep(POLL_SECONDS)

    async def stand_again(self, context: StepContext) -> RecoveryState:
        """How the recovered server is now, started again if it went down since: its node's failure, say."""
        shell = context.world.shell(self.instance.member)
        state = await postgres.recovery_state(shell, self.instance)
        if state.running:
            return state
        context.note(f"the recovered server of {self.instance.member.name} was down and is started again")
        await run_checked(shell, postgres.rotate_log_command(self.instance))
        await self.apply(context)
        return await postgres.recovery_state(shell, self.instance)

    def _reached(self, state: RecoveryState) -> bool:
        match self.mode:
            case "pause":
                # promoted: the server went down after its promotion and was started again. With a target and its
                # recovery.signal, PostgreSQL does not promote before the target: it ends with FATAL.
                return state.promoted or (state.stopped is not None and state.paused)
            case "shutdown":
                return (
                    state.stopped is not None
                    and not state.running
                    and state.control_state in ("shut down in recovery", "shut down")
                )
            case "end":
                return state.promoted
            case "wait":
                return state.answers and state.in_recovery is True

    async def _ended_short(self, context: StepContext, state: RecoveryState) -> str | None:
        """What is wrong if a leader without a target left recovery too early.

        It promotes itself wherever "no such file" is the answer: at the end of the archive, and as well where a
        segment has gone from it since the plan was made.
        """
        if self.mode != "end" or self.last_segment is None or state.timeline is None:
            return None
        shell = context.world.shell(self.instance.member)
        fork = await postgres.last_fork(shell, self.instance, state.timeline)
        if fork is None or fork.at >= self.last_segment.start:
            return None  # one that began no timeline of its own is judged by PromoteLeader
        return (
            f"the recovery ended at {fork.at}, before it came to {self.last_segment}, the archive's last segment "
            "when the plan was made; the server has promoted itself there, too early"
        )

    def afresh(self, context: StepContext) -> str:
        """What to type once the leader is on a timeline of its own: only a restore leads back from there."""
        return f"pgdolly resume {context.run_id} --abandon, and pgdolly reset again"

    def _result(self, state: RecoveryState) -> dict[str, Any]:
        lsn = state.lsn or state.minimum_recovery_lsn
        return {"stopped": state.stopped, "lsn": str(lsn) if lsn else None}

    def _show(self, context: StepContext, state: RecoveryState) -> None:
        if self.first_segment is None or self.last_segment is None:
            return
        position: LSN | None = state.lsn
        if position is None and state.segment:
            # It may be one that is read ahead (recovery_prefetch), beyond all that is going to be replayed.
            ahead = WalSegment.parse(state.segment, self.first_segment.size).start
            position = min(ahead, self.last_segment.start)
        if position is None:
            return
        start, end = self.first_segment.start.position, self.last_segment.end.position
        if self.target.lsn is not None:
            end = self.target.lsn.position
        replayed = max(0, position.position - start)
        context.progress(replayed, max(end - start, replayed), "bytes", f"WAL replayed, at {position}")

    def _failed(self, context: StepContext, state: RecoveryState) -> CommandFailed:
        member = self.instance.member.name
        resume = f"pgdolly resume {context.run_id}"
        if state.insufficient:
            what = f"the recovery cannot go on: {state.insufficient}"
        elif any(
            "recovery ended before configured recovery target was reached" in line for line in state.fatal
        ):
            what = (
                f"the archive ended before {self.target} was reached: nothing in it comes after that"
                if self.target.type is TargetType.TIME
                else f"the archive holds no {self.target}"
            )
            resume = (
                f"pgdolly resume {context.run_id}, once the source has committed and archived something later; "
                f"or pgdolly resume {context.run_id} with a later target; "
                f"or pgdolly resume {context.run_id} --abandon, and pgdolly reset with another target"
            )
        else:
            what = "the recovery ended before it reached its target"
        return CommandFailed(
            what,
            where=member,
            argv=self.commands()[-1].argv,
            stderr_end=state.log_end,
            untouched="the source and its repository; no member was handed to Patroni",
            next_command=resume,
        )


class _Advance:
    """For how long a replay has come no further than it was before.

    What it logs is none of that: a standby that waits for a segment says so every 5 seconds, for ever (PostgreSQL
    15 and later), and looks for it on one timeline after another. Before the first segment there is nothing else
    to go by: what is done then, such as a walk over all files, is told in the log alone.
    """

    def __init__(self) -> None:
        self._furthest: tuple[str, LSN, LSN] = ("", LSN(0), LSN(0))
        self._log_end = ""
        self._since = time.monotonic()

    def stands_still_seconds(self, state: RecoveryState) -> float:
        segment, lsn, minimum = self._furthest
        name = state.segment[8:] if state.segment else ""  # without the timeline it sorts as WAL does
        furthest = (
            max(segment, name),
            max(lsn, state.lsn or LSN(0)),
            max(minimum, state.minimum_recovery_lsn or LSN(0)),
        )
        begins = not furthest[0] and furthest[1] == LSN(0)
        if furthest != self._furthest or (begins and state.log_end != self._log_end):
            self._furthest, self._log_end, self._since = furthest, state.log_end, time.monotonic()
        return time.monotonic() - self._since


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldReplica:
    """Wait until a replica without a target has replayed as far as the leader did, and stop it there."""

    kind: ClassVar[str] = "hold_replica"
    effect: ClassVar[Effect] = Effect.CHANGE

    recover: Recover

    @property
    def instance(self) -> Instance:
        return self.recover.instance

    def title(self) -> str:
        return "stop it where the leader left the old timeline"

    def commands(self) -> tuple[Command, ...]:
        return (postgres.stop_command(self.instance),)

    async def check(self, context: StepContext) -> StepCheck:
        state = await postgres.recovery_state(context.world.shell(self.instance.member), self.instance)
        if not state.running and state.control_state == "shut down in recovery":
            return StepCheck(StepState.DONE)
        return StepCheck(StepState.PENDING)

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        shell = context.world.shell(self.instance.member)
        fork = LSN.parse(context.result_of("promote_leader")["fork"])
        seen, since = "", time.monotonic()
        await self.recover.stand_again(context)
        while True:
            state = await postgres.recovery_state(shell, self.instance)
            if not state.running:
                raise CommandFailed(
                    "the replica's replay ended by itself",
                    where=self.instance.member.name,
                    stderr_end=state.log_end,
                    next_command=f"pgdolly resume {context.run_id}",
                )
            if state.lsn is not None and state.lsn >= fork:
                break
            if state.lsn is not None:
                context.progress(
                    state.lsn.position, fork.position, "bytes", f"WAL replayed, at {state.lsn} of {fork}"
                )
            if str(state.lsn) != seen:
                seen, since = str(state.lsn), time.monotonic()
            elif time.monotonic() - since > STALL_SECONDS:
                raise DeadlinePassed(
                    f"waited {STALL_SECONDS:.0f} s for the replica to replay to {fork}; it is at {seen}",
                    where=self.instance.member.name,
                )
            await asyncio.sleep(POLL_SECONDS)
        if state.lsn > fork:
            context.note(f"{self.instance.member.name} replayed to {state.lsn}, past the leader's {fork}")
        await run_checked(shell, self.commands()[0], timeout_seconds=330, doing="stop the replica")
        return {"lsn": str(state.lsn)}
