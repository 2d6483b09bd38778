"""Patroni's store, while a cluster's data is replaced, and when its new life begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pgdolly.domain.command import Command
from pgdolly.drivers import store
from pgdolly.drivers.postgres import Instance
from pgdolly.engine.step import Effect, StepCheck, StepState
from pgdolly.steps.world import StepContext
from pgdolly.transport.shell import run_checked


@dataclass(frozen=True, slots=True, kw_only=True)
class FenceStore:
    """Let no Patroni of the cluster come up while its data is replaced.

    A member that was down, or a service that somebody starts, would find a cluster without a leader: with old data it
    would become the leader itself.
    """

    kind: ClassVar[str] = "fence_store"
    effect: ClassVar[Effect] = Effect.CHANGE

    instance: Instance

    def title(self) -> str:
        return f"let no Patroni of {self.instance.member.cluster} come up meanwhile"

    def commands(self) -> tuple[Command, ...]:
        return (store.fence_command(self.instance.member),)

    async def check(self, context: StepContext) -> StepCheck:
        return StepCheck(StepState.PENDING)

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        await run_checked(
            context.world.shell(self.instance.member), self.commands()[0], doing="fence Patroni's store"
        )
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginStore:
    """Begin the entries of a cluster that is new; one that lives by the store's word is left alone."""

    kind: ClassVar[str] = "begin_store"
    effect: ClassVar[Effect] = Effect.CHANGE

    instance: Instance

    def title(self) -> str:
        return f"begin {self.instance.member.cluster} in Patroni's store"

    def commands(self) -> tuple[Command, ...]:
        return (store.begin_command(self.instance.member),)

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
class ResetStore:
    """Make the cluster's entries in Patroni's store those of a cluster whose life begins now."""

    kind: ClassVar[str] = "reset_store"
    effect: ClassVar[Effect] = Effect.DESTROY

    instance: Instance

    def title(self) -> str:
        return f"clear the former life of {self.instance.member.cluster} out of Patroni's store"

    def commands(self) -> tuple[Command, ...]:
        return (store.reset_command(self.instance.member),)

    async def check(self, context: StepContext) -> StepCheck:
        return StepCheck(
            StepState.PENDING
        )  # no member is started before the next step, so again does no harm

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        await run_checked(
            context.world.shell(self.instance.member), self.commands()[0], doing="clear Patroni's store"
        )
        return None
