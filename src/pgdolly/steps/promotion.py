"""Cut a standby cluster off from its upstream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pgdolly.domain.command import Command
from pgdolly.domain.errors import CommandFailed
from pgdolly.drivers import patroni, postgres
from pgdolly.drivers.patroni import MemberView
from pgdolly.drivers.postgres import Instance
from pgdolly.engine.step import Effect, StepCheck, StepState
from pgdolly.steps.world import StepContext, wait_for
from pgdolly.transport.shell import run_checked

PROMOTE_SECONDS = 300.0
CHECKPOINT_SECONDS = 3600.0  # it writes whatever shared_buffers holds
_SLOT_PREFIX = "pgdolly_"


def slot_for(cluster: str) -> str:
    """The slot in which a clone has its source keep WAL for the new cluster."""
    return _SLOT_PREFIX + cluster.replace("-", "_").replace(".", "_").lower()


def is_made(slot: str | None) -> bool:
    """Whether a clone had its source keep this slot: its name says so."""
    return (slot or "").startswith(_SLOT_PREFIX)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndDelay:
    """Let a standby cluster that replays late catch up."""

    kind: ClassVar[str] = "end_delay"
    effect: ClassVar[Effect] = Effect.CHANGE

    instance: Instance

    def title(self) -> str:
        return "end the delay of its replay"

    def commands(self) -> tuple[Command, ...]:
        return (
            patroni.edit_configuration_command(
                self.instance.member,
                {"standby_cluster": {"recovery_min_apply_delay": None}},
                f"patronictl edit-config {self.instance.member.cluster} "
                "--set standby_cluster.recovery_min_apply_delay=null --force",
            ),
        )

    async def check(self, context: StepContext) -> StepCheck:
        return StepCheck(StepState.PENDING)

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        member = self.instance.member
        await patroni.edit_configuration(context.world.shell(member), member, self.commands()[0])
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class PromoteStandby:
    """Take `standby_cluster` out of the cluster's configuration: Patroni promotes its leader.

    Never with pg_ctl promote: Patroni would take it for a failure, and make a standby of it again.
    """

    kind: ClassVar[str] = "promote_standby"
    effect: ClassVar[Effect] = Effect.CHANGE

    instance: Instance
    patroni_name: str

    def title(self) -> str:
        return f"promote {self.instance.member.cluster} through Patroni"

    def commands(self) -> tuple[Command, ...]:
        cluster = self.instance.member.cluster
        return (
            patroni.edit_configuration_command(
                self.instance.member,
                {"standby_cluster": None},
                f"patronictl edit-config {cluster} --set standby_cluster=null --force",
            ),
            Command(argv=("psql",), summary="ask it for pg_is_in_recovery() until it is not"),
            Command(argv=("psql", "-c", "CHECKPOINT")),
        )

    async def check(self, context: StepContext) -> StepCheck:
        return StepCheck(StepState.PENDING)  # taking it out twice does nothing; the wait is what counts

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        shell, member = context.world.shell(self.instance.member), self.instance.member
        await patroni.edit_configuration(shell, member, self.commands()[0])
        seen = "nothing"

        async def promoted() -> MemberView | None:
            nonlocal seen
            view = await patroni.read_cluster(shell, member)
            own = view.member(self.patroni_name) if view else None
            if own is None:
                return None
            seen = f"{own.role}, {own.state}, timeline {own.timeline}"
            if own.role != "leader" or own.state != "running":
                return None
            # Patroni calls it so as soon as standby_cluster is gone; the server may be replaying still.
            try:
                command = await postgres.public_sql_command(
                    shell, self.instance, "SELECT pg_is_in_recovery()"
                )
                rows = await postgres.query(shell, command, doing="ask whether it is promoted")
            except CommandFailed as error:
                seen += f", {error.what}"
                return None
            seen += ", not in recovery" if rows == [["f"]] else ", still in recovery"
            return own if rows == [["f"]] else None

        own = await wait_for(
            promoted,
            what=f"Patroni to promote {member.name}",
            where=member.name,
            deadline_seconds=PROMOTE_SECONDS,
            describe=lambda: seen,
            next_command=f"pgdolly resume {context.run_id}",
        )
        # Until there is a checkpoint, pg_control has the former timeline, and pgBackRest refuses to back up [058].
        checkpoint = await postgres.public_sql_command(shell, self.instance, "CHECKPOINT")
        await run_checked(shell, checkpoint, timeout_seconds=CHECKPOINT_SECONDS, doing="make a checkpoint")
        return {"timeline": own.timeline}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepSlot:
    """Have the source keep WAL for a standby cluster, or end that.

    A slot that Patroni does not know is dropped by it, so the source's configuration names it: the one thing that a
    clone changes there, and only if it is asked to.
    """

    kind: ClassVar[str] = "keep_slot"
    effect: ClassVar[Effect] = Effect.CHANGE

    instance: Instance  # a member of the source's
    slot: str
    kept: bool

    def title(self) -> str:
        cluster = self.instance.member.cluster
        return (
            f"have {cluster} keep WAL in slot {self.slot}"
            if self.kept
            else f"drop slot {self.slot} of {cluster}"
        )

    def commands(self) -> tuple[Command, ...]:
        value = '{"type": "physical"}' if self.kept else "null"
        return (
            patroni.edit_configuration_command(
                self.instance.member,
                {"slots": {self.slot: {"type": "physical"} if self.kept else None}},
                f"patronictl edit-config {self.instance.member.cluster} --set slots.{self.slot}='{value}' --force",
            ),
        )

    async def check(self, context: StepContext) -> StepCheck:
        return StepCheck(StepState.PENDING)

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        member = self.instance.member
        await patroni.edit_configuration(context.world.shell(member), member, self.commands()[0])
        return None
