"""Let PostgreSQL itself promote the leader at the target, and make it ready for Patroni."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pgdolly.domain.command import Command
from pgdolly.domain.errors import Refused
from pgdolly.domain.lsn import LSN
from pgdolly.drivers import postgres
from pgdolly.drivers.postgres import Instance, RecoveryState
from pgdolly.engine.step import Effect, StepCheck, StepState
from pgdolly.steps.recover import Recover
from pgdolly.steps.world import StepContext, wait_for
from pgdolly.transport.shell import run_checked

PROMOTE_SECONDS = 300.0


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
            return StepCheck(StepState.DONE, result=await self._result(context, state))
        return StepCheck(StepState.PENDING)

    async def _state(self, context: StepContext) -> RecoveryState:
        return await postgres.recovery_state(context.world.shell(self.instance.member), self.instance)

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        shell, member = context.world.shell(self.instance.member), self.instance.member
        self._compare(context)
        state = await self.recover.stand_again(context)
        if not state.promoted:
            if not state.paused:
                raise Refused(
                    "the leader is not paused at the target any more",
                    where=member.name,
                    next_command=f"pgdolly show {context.run_id}",
                )
            await run_checked(shell, self.commands()[0], doing="promote the leader")

        async def promoted() -> RecoveryState | None:
            now = await self._state(context)
            return now if now.promoted else None

        state = await wait_for(
            promoted,
            what=f"PostgreSQL to promote {member.name}",
            where=member.name,
            deadline_seconds=PROMOTE_SECONDS,
            next_command=f"pgdolly resume {context.run_id}",
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
        assert state.timeline is not None
        shell = context.world.shell(self.instance.member)
        fork = await postgres.last_fork(shell, self.instance, state.timeline)
        return {"timeline": state.timeline, "left": fork.parent, "fork": str(fork.at), "lsn": str(state.lsn)}


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
