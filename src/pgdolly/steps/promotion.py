"""Cut a standby cluster off from its upstream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from pgdolly.domain.command import Command
from pgdolly.domain.errors import CommandFailed, PgdollyError
from pgdolly.drivers import patroni, postgres
from pgdolly.drivers.node_program import run_node_program
from pgdolly.drivers.patroni import MemberView, RecoverySetting
from pgdolly.drivers.postgres import Instance
from pgdolly.drivers.repository import upstream_path
from pgdolly.engine.step import Effect, StepCheck, StepState
from pgdolly.steps.world import StepContext, wait_for
from pgdolly.transport.shell import run_checked

PROMOTE_SECONDS = 300.0
RELOAD_SECONDS = 120.0  # Patroni looks at its configuration every loop_wait; PostgreSQL 13 is restarted by it
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
    """Let a member of a standby cluster that replays late catch up.

    :param leads: Patroni has the delay of the standby leader out of its store; that of its replicas stands in
        patroni.yml, which every member has for the time when it leads.
    """

    kind: ClassVar[str] = "end_delay"
    effect: ClassVar[Effect] = Effect.CHANGE

    instance: Instance
    leads: bool = True

    def title(self) -> str:
        return "end the delay of its replay"

    def commands(self) -> tuple[Command, ...]:
        edit = patroni.edit_configuration_command(
            self.instance.member,
            {"standby_cluster": {"recovery_min_apply_delay": None}},
            f"patronictl edit-config {self.instance.member.cluster} "
            "--set standby_cluster.recovery_min_apply_delay=null --force",
        )
        return (*([edit] if self.leads else []), *_leave_commands(self.instance, "recovery_min_apply_delay"))

    async def check(self, context: StepContext) -> StepCheck:
        return StepCheck(StepState.PENDING)

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        member = self.instance.member
        if self.leads:
            await patroni.edit_configuration(context.world.shell(member), member, self.commands()[0])
        await _leave(
            context, self.instance, "recovery_min_apply_delay", lambda value: value == "0", "end its delay"
        )
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveArchive:
    """Let a replica fetch no more WAL out of the source's archive, before its leader is promoted.

    What the source archives after the cut is not the cluster's: a replica whose stream ends with the promotion looks
    there first. It replays the segment in which the timelines part as the source went on with it, past the leader, or
    follows a timeline of the source's that has the number of its leader's. The leader itself keeps its way there: it
    replays what there is until it is promoted, and nothing after that.
    """

    kind: ClassVar[str] = "leave_archive"
    effect: ClassVar[Effect] = Effect.CHANGE

    instance: Instance

    def title(self) -> str:
        return "leave the source's archive"

    def commands(self) -> tuple[Command, ...]:
        return _leave_commands(self.instance, "restore_command")

    async def check(self, context: StepContext) -> StepCheck:
        return StepCheck(StepState.PENDING)

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        upstream = str(upstream_path(self.instance.member))
        await _leave(
            context,
            self.instance,
            "restore_command",
            lambda value: upstream not in value,
            "leave the source's archive",
        )
        return None


def _leave_commands(instance: Instance, setting: RecoverySetting) -> tuple[Command, ...]:
    return (
        patroni.leave_recovery_command(instance.member, setting),
        patroni.reload_command(instance.member),
        Command(argv=("psql", "-c", f"SHOW {setting}"), summary=f"ask it for {setting} until it is gone"),
    )


async def _leave(
    context: StepContext,
    instance: Instance,
    setting: RecoverySetting,
    gone: Callable[[str], bool],
    what: str,
) -> None:
    """Take a setting out of a member's patroni.yml, and wait until its server does without.

    A patroni.yml that no clone made is its administrator's, who may want it.
    """
    shell, member = context.world.shell(instance.member), instance.member
    program, reload, _ = _leave_commands(instance, setting)
    if not (await run_node_program(shell, program))["made"]:
        return
    await patroni.reload(shell, member, reload, next_command=f"pgdolly resume {context.run_id}")
    seen = "nothing"

    async def left() -> bool | None:
        nonlocal seen
        try:
            command = await postgres.public_sql_command(shell, instance, f"SHOW {setting}")
            rows = await postgres.query(shell, command, doing=f"ask {member.name} for its {setting}")
        except CommandFailed as error:  # it is restarted, perhaps
            seen = error.what
            return None
        seen = "\t".join(rows[0]) if rows else ""
        return True if gone(seen) else None

    await wait_for(
        left,
        what=f"Patroni to let {member.name} {what}",
        where=member.name,
        deadline_seconds=RELOAD_SECONDS,
        describe=lambda: f"{setting} = {seen!r}",
        next_command=f"pgdolly resume {context.run_id}",
    )


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
        shell, member = context.world.shell(self.instance.member), self.instance.member
        try:
            configuration = await patroni.edit_configuration(shell, member, self.commands()[0])
        except PgdollyError as error:
            if self.kept:
                raise
            # The source may be gone for good, which is why its clone is promoted or dropped.
            there = self.commands()[0].shown()
            context.note(
                f"slot {self.slot} stays at {member.cluster}, and keeps WAL there ({error}): {there}"
            )
            return None
        if (
            configuration.get("slots") == {}
        ):  # it was the only one: the source is to be as if it had never been
            command = patroni.edit_configuration_command(
                member, {"slots": None}, f"patronictl edit-config {member.cluster} --set slots=null --force"
            )
            await patroni.edit_configuration(shell, member, command)
        return None
