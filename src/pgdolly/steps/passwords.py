"""The passwords of a clone's own roles: until now they were its source's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pgdolly.domain.command import Command
from pgdolly.drivers import passwords, patroni, postgres
from pgdolly.drivers.node_program import run_node_program
from pgdolly.drivers.postgres import Instance
from pgdolly.engine.step import Effect, StepCheck, StepState
from pgdolly.steps.world import StepContext
from pgdolly.transport.shell import run_checked


@dataclass(frozen=True, slots=True, kw_only=True)
class MakePasswords:
    """Make the passwords up that the inventory does not give, once: they wait on this node for all members."""

    kind: ClassVar[str] = "make_passwords"
    effect: ClassVar[Effect] = Effect.CHANGE

    instance: Instance

    def title(self) -> str:
        return f"choose the passwords of {self.instance.member.cluster}'s own roles"

    def commands(self) -> tuple[Command, ...]:
        return (passwords.make_command(self.instance.member, {}),)

    async def check(self, context: StepContext) -> StepCheck:
        return StepCheck(StepState.PENDING)  # those that are kept already stay

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        await chosen(context, self.instance)
        return None


async def chosen(context: StepContext, keeper: Instance) -> dict[str, str]:
    """The passwords by Patroni's names of the roles, from the node that keeps them."""
    given = {role: secret.reveal() for role, secret in context.world.passwords.items()}
    shell = context.world.shell(keeper.member)
    return await run_node_program(shell, passwords.make_command(keeper.member, given))


@dataclass(frozen=True, slots=True, kw_only=True)
class SetOwnRoles:
    """Give the roles of the promoted cluster its own passwords."""

    kind: ClassVar[str] = "set_own_roles"
    effect: ClassVar[Effect] = Effect.CHANGE

    instance: Instance  # the leader, which keeps the passwords

    def title(self) -> str:
        return "set the passwords of Patroni's roles"

    def commands(self) -> tuple[Command, ...]:
        return (postgres.set_public_roles_command(self.instance, None),)

    async def check(self, context: StepContext) -> StepCheck:
        return StepCheck(StepState.PENDING)

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        found = await chosen(context, self.instance)
        await run_checked(
            context.world.shell(self.instance.member),
            postgres.set_public_roles_command(self.instance, found),
            doing="set the passwords of Patroni's roles",
        )
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class UseOwnPasswords:
    """Put the cluster's own passwords into a member's patroni.yml, and take out what led to the source.

    Before the roles get them: whatever happens then, they are written down. Patroni reads them when it is told to.
    """

    kind: ClassVar[str] = "use_own_passwords"
    effect: ClassVar[Effect] = Effect.CHANGE

    instance: Instance
    keeper: Instance

    def title(self) -> str:
        return "write the cluster's own passwords into its configuration"

    def commands(self) -> tuple[Command, ...]:
        return (passwords.own_command(self.instance.member, None),)

    async def check(self, context: StepContext) -> StepCheck:
        return StepCheck(StepState.PENDING)

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        shell, member = context.world.shell(self.instance.member), self.instance.member
        found = await chosen(context, self.keeper)
        await run_node_program(shell, passwords.own_command(member, found))
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadPatroni:
    """Let a member's Patroni read its file again."""

    kind: ClassVar[str] = "reload_patroni"
    effect: ClassVar[Effect] = Effect.CHANGE

    instance: Instance

    def title(self) -> str:
        return "let Patroni use them"

    def commands(self) -> tuple[Command, ...]:
        return (patroni.reload_command(self.instance.member),)

    async def check(self, context: StepContext) -> StepCheck:
        return StepCheck(StepState.PENDING)

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        shell, member = context.world.shell(self.instance.member), self.instance.member
        await patroni.reload(
            shell, member, self.commands()[0], next_command=f"pgdolly resume {context.run_id}"
        )
        return None
