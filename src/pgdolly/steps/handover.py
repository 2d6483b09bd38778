"""Free a recovered data directory of its origin, and hand the leader to Patroni."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pgdolly.domain.command import Command
from pgdolly.drivers import patroni, postgres, services
from pgdolly.drivers.patroni import MemberView
from pgdolly.drivers.postgres import Instance
from pgdolly.engine.step import Effect, StepCheck, StepState
from pgdolly.steps.world import StepContext, wait_for
from pgdolly.transport.shell import run_checked

LEADER_SECONDS = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOverLeader:
    """Free the leader's data directory of the source and of the recovery; and any member's of a standby cluster.

    :param standby: it goes on as a standby, whoever starts it.
    """

    kind: ClassVar[str] = "hand_over_leader"
    effect: ClassVar[Effect] = Effect.CHANGE

    instance: Instance
    archive: bool
    placeholders: tuple[int, ...]
    spool_directory: str | None
    standby: bool = False

    def title(self) -> str:
        return "free the data directory from its origin"

    def commands(self) -> tuple[Command, ...]:
        return (
            postgres.hand_over_command(
                self.instance,
                archive=self.archive,
                placeholders=self.placeholders,
                spool_directory=self.spool_directory,
                standby=self.standby,
            ),
        )

    async def check(self, context: StepContext) -> StepCheck:
        return StepCheck(StepState.PENDING)

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        await run_checked(
            context.world.shell(self.instance.member), self.commands()[0], doing="mend the data directory"
        )
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartLeader:
    """Start Patroni on the promoted leader and wait until it leads."""

    kind: ClassVar[str] = "start_leader"
    effect: ClassVar[Effect] = Effect.CHANGE

    instance: Instance
    patroni_name: str

    def title(self) -> str:
        return "start Patroni, which makes it the leader"

    def commands(self) -> tuple[Command, ...]:
        return (services.start_command(self.instance.member),)

    async def check(self, context: StepContext) -> StepCheck:
        return StepCheck(StepState.PENDING)  # starting what is up does nothing; the wait is what counts

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        shell, member = context.world.shell(self.instance.member), self.instance.member
        await services.start_service(shell, member)
        seen = "nothing"

        async def leads() -> MemberView | None:
            nonlocal seen
            view = await patroni.read_cluster(shell, member)
            own = view.member(self.patroni_name) if view else None
            if own is not None:
                seen = f"{own.role}, {own.state}, timeline {own.timeline}"
            return own if own and own.leads and own.state == "running" and own.timeline else None

        own = await wait_for(
            leads,
            what=f"Patroni to make {member.name} the leader",
            where=member.name,
            deadline_seconds=LEADER_SECONDS,
            describe=lambda: seen,
            next_command=f"pgdolly resume {context.run_id}",
        )
        return {"timeline": own.timeline}
