"""Let PostgreSQL itself promote the leader at the target, and make it ready for Patroni."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pgdolly.domain.command import Command
from pgdolly.domain.errors import CommandFailed, Refused
from pgdolly.domain.lsn import LSN
from pgdolly.drivers import postgres
from pgdolly.drivers.postgres import Instance, RecoveryState
from pgdolly.engine.step import Effect, StepCheck, StepState
from pgdolly.steps.recover import CHECKPOINT_SECONDS, Recover
from pgdolly.steps.world import POLL_SECONDS, StepContext, wait_for
from pgdolly.transport.shell import run_checked

PROMOTE_SECONDS = CHECKPOINT_SECONDS  # its recovery ends with one


@dataclass(frozen=True, slots=True, kw_only=True)
class PromoteLeader:
    """Promote the leader where it stands, once every member is seen to stand at the very same point.

    Never by Patroni: it blanks every recovery target, and would replay past the target first.
    """

    kind: ClassVar[str] = "promote_leader"
    effect: ClassVar[Effect] = Effect.CHANGE

    recover: Recover
    replicas: tuple[str, ...] = ()

    @property
    def instance(self) -> Instance:
        return self.recover.instance

    def title(self) -> str:
        return "promote it at the target"

    def commands(self) -> tuple[Command, ...]:
        return (postgres.private_sql_command(self.instance, "SELECT pg_wal_replay_resume()"),)

    async def check(self, context: StepContext) -> StepCheck:
        state = await self._state(context)
        if state.promoted:
            try:
                return StepCheck(StepState.DONE, result=await self._result(context, state))
            except CommandFailed as error:
                return StepCheck(StepState.CONFLICT, reason=error.what, next_command=error.next_command)
        return StepCheck(StepState.PENDING)

    async def _state(self, context: StepContext) -> RecoveryState:
        return await postgres.recovery_state(context.world.shell(self.instance.member), self.instance)

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        shell, member = context.world.shell(self.instance.member), self.instance.member
        self._compare(context)
        state = await self.recover.stand_again(context)
        if not state.promoted and state.stopped is None:
            await self.recover.apply(context)  # it was started again and is on its way to the target

        async def promoted() -> RecoveryState | None:
            """Look, and tell it to go on wherever it waits at the target: that it was told before is not known."""
            nonlocal state
            state = await self._state(context)
            if not state.running:
                raise CommandFailed(
                    "the leader went down while it was promoted",
                    where=member.name,
                    stderr_end=state.log_end,
                    next_command=f"pgdolly resume {context.run_id}",
                )
            if state.paused and state.stopped is not None:
                await run_checked(shell, self.commands()[0], doing="promote the leader")
            return state if state.promoted else None

        state = await wait_for(
            promoted,
            what=f"PostgreSQL to promote {member.name}",
            where=member.name,
            deadline_seconds=PROMOTE_SECONDS,
            describe=lambda: _seen(state),
            next_command=f"pgdolly resume {context.run_id}",
            poll_seconds=POLL_SECONDS,
        )
        return await self._result(context, state)

    def _compare(self, context: StepContext) -> None:
        """All members say the same of where they stopped, or nobody is promoted."""
        leader = context.result_of("recover", self.instance.member.name)
        if leader["stopped"] is None:
            return  # without a target the end of the archive is the point: `Recover` saw to it that it was reached
        for name in self.replicas:
            replica = context.result_of("recover", name)
            if replica["stopped"] != leader["stopped"]:
                raise Refused(
                    f"{name} stopped elsewhere than the leader: {replica['stopped']!r}, not {leader['stopped']!r}",
                    where=name,
                    untouched="no member was promoted or handed to Patroni",
                )

    async def _result(self, context: StepContext, state: RecoveryState) -> dict[str, Any]:
        """Where it left the timeline that was recovered along.

        :raises CommandFailed: if it left recovery without beginning a timeline of its own.
        """
        member, timeline = self.instance.member, state.timeline
        assert timeline is not None
        fork = await postgres.last_fork(context.world.shell(member), self.instance, timeline)
        if fork is None or (self.recover.timeline.isdigit() and timeline <= int(self.recover.timeline)):
            raise CommandFailed(
                f"the leader left recovery, and is on timeline {timeline}, which it did not begin itself: "
                "it may have gone past the target",
                where=member.name,
                stderr_end=state.log_end,
                untouched="the source and its repository; no member was handed to Patroni",
                next_command=self.recover.afresh(context),
            )
        return {"timeline": timeline, "left": fork.parent, "fork": str(fork.at), "lsn": str(state.lsn)}


def _seen(state: RecoveryState) -> str:
    if not state.answers:
        return "it lets nobody in; its log ends with " + repr(state.log_end.rpartition("\n")[2])
    return f"in recovery, {'paused' if state.paused else 'not paused'}, at {state.lsn}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetRoles:
    """Give the clone the roles and passwords of the target's Patroni: those in the data are the source's."""

    kind: ClassVar[str] = "set_roles"
    effect: ClassVar[Effect] = Effect.CHANGE

    recover: Recover

    @property
    def instance(self) -> Instance:
        return self.recover.instance

    def title(self) -> str:
        return "set the passwords of Patroni's roles"

    def commands(self) -> tuple[Command, ...]:
        return (postgres.set_roles_command(self.instance),)

    async def check(self, context: StepContext) -> StepCheck:
        return StepCheck(StepState.PENDING)

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        await self.recover.stand_again(context)
        await run_checked(
            context.world.shell(self.instance.member),
            self.commands()[0],
            doing="set the passwords of Patroni's roles",
        )
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRecovered:
    """Stop the private server cleanly; with `rotate`, put its log aside for the next recovery."""

    kind: ClassVar[str] = "stop_recovered"
    effect: ClassVar[Effect] = Effect.CHANGE

    instance: Instance
    rotate: bool = False

    def title(self) -> str:
        return "stop the private server"

    def commands(self) -> tuple[Command, ...]:
        stop = postgres.stop_command(self.instance)
        return (stop, postgres.rotate_log_command(self.instance)) if self.rotate else (stop,)

    async def check(self, context: StepContext) -> StepCheck:
        return StepCheck(StepState.PENDING)

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        shell = context.world.shell(self.instance.member)
        state = await postgres.recovery_state(shell, self.instance)
        if state.running:
            await run_checked(
                shell,
                postgres.stop_command(self.instance),
                timeout_seconds=330,
                doing="stop the private server",
            )
        if self.rotate:
            await run_checked(shell, postgres.rotate_log_command(self.instance))
        return None


def fork_lsn(context: StepContext) -> LSN:
    """Where the promoted leader left the timeline that was recovered along."""
    return LSN.parse(context.result_of("promote_leader")["fork"])
