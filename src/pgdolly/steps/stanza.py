"""Give a cluster a working backup history: its stanza, its archiving, a first backup."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from pgdolly.domain.command import Command
from pgdolly.domain.errors import CommandFailed, DeadlinePassed, Refused
from pgdolly.drivers import patroni, pgbackrest, postgres
from pgdolly.drivers.node_program import run_node_program
from pgdolly.drivers.postgres import Instance
from pgdolly.drivers.server_state import ARCHIVE_COMMAND_WRITTEN, ARCHIVE_MODE_CONFIGURED, archive_mode_of
from pgdolly.engine.step import Effect, StepCheck, StepState
from pgdolly.steps.carry import carry_job, job_directory
from pgdolly.steps.replication import streaming_state
from pgdolly.steps.world import StepContext, wait_for
from pgdolly.transport.jobs import JobState, JobView, look_at_job
from pgdolly.transport.shell import last_lines, run_checked

RESTART_SECONDS = 300.0
CONFIGURATION_SECONDS = 30.0  # Patroni's loop_wait is 10 s if nobody says otherwise
CHECK_SECONDS = 150.0  # pgbackrest check waits 60 s for the segment it switched to
_BACKED_UP = re.compile(r"DETAIL: backup file \S+ .*?\(.*?([0-9.]+)%\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class MendStanza:
    """Create the cluster's stanza, or upgrade it to the system that the clone brought along.

    Without it the next backup says "[051]: … do not match stanza …" and every push of WAL "[044]".
    """

    kind: ClassVar[str] = "mend_stanza"
    effect: ClassVar[Effect] = Effect.CHANGE

    instance: Instance
    stanza: str
    need: Literal["create", "upgrade"]
    online: bool

    def title(self) -> str:
        return f"{self.need} stanza {self.stanza}"

    def commands(self) -> tuple[Command, ...]:
        options = () if self.online else ("--no-online",)
        if not self.online:
            options = (*options, f"--pg1-path={self.instance.data_directory}")
        return (
            pgbackrest.stanza_command(self.instance.member, self.stanza, f"stanza-{self.need}", *options),
        )

    async def check(self, context: StepContext) -> StepCheck:
        return StepCheck(StepState.PENDING)  # both commands do nothing where nothing is to be done

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        await run_checked(
            context.world.shell(self.instance.member),
            self.commands()[0],
            timeout_seconds=300,
            doing=f"{self.need} the stanza",
        )
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnableArchiving:
    """Take `archive_mode = 'off'` out of one member's postgresql.auto.conf and restart it through Patroni.

    It is per node: left on a replica, archiving would stop at the next failover. archive_mode needs a restart.
    """

    kind: ClassVar[str] = "enable_archiving"
    effect: ClassVar[Effect] = Effect.CHANGE

    instance: Instance
    stanza: str
    patroni_name: str
    leader: Instance | None = None  # None on the leader itself

    def title(self) -> str:
        return f"see that {self.instance.member.name} archives (restart if it does not)"

    def commands(self) -> tuple[Command, ...]:
        restart = patroni.restart_command(self.instance.member)
        return (
            Command(
                argv=("psql",), summary="psql -c 'ALTER SYSTEM RESET archive_mode'  # if archive_mode is off"
            ),
            replace(restart, summary=f"{restart.shown()}  # if archive_mode was off"),
        )

    async def check(self, context: StepContext) -> StepCheck:
        try:
            archives = await self._archives(context)
        except CommandFailed:
            archives = False  # it restarts, perhaps: `apply` waits for it
        return StepCheck(StepState.DONE if archives else StepState.PENDING)

    async def _wait_until_it_answers(self, context: StepContext) -> str:
        """Return its archive_command. The controller may have been killed while the member restarts."""
        member, problem = self.instance.member, ""

        async def answer() -> str | None:
            nonlocal problem
            try:
                [archive_command] = await self._setting(context, ARCHIVE_COMMAND_WRITTEN)
            except CommandFailed as error:
                problem = error.stderr_end or error.what
                return None
            return archive_command

        return await wait_for(
            answer,
            what=f"PostgreSQL on {member.name} to answer",
            where=member.name,
            deadline_seconds=RESTART_SECONDS,
            describe=lambda: problem,
            next_command=f"pgdolly status {member.cluster}",
        )

    async def _setting(self, context: StepContext, sql: str) -> list[str]:
        shell = context.world.shell(self.instance.member)
        command = await postgres.public_sql_command(shell, self.instance, sql)
        rows = await postgres.query(shell, command, doing=f"ask {self.instance.member.name} for its settings")
        return rows[0] if rows else []

    async def _archives(self, context: StepContext) -> bool:
        mode, pending = await self._setting(
            context,
            "SELECT setting, pending_restart FROM pg_settings WHERE name = 'archive_mode'",
        )
        return mode != "off" and pending == "f"

    async def _wait_for_configuration(self, context: StepContext) -> None:
        """No restart turns archiving on against Patroni's configuration; that may have been mended just now.

        :raises Refused: if it still says off after Patroni's next round.
        """
        member = self.instance.member

        async def on() -> bool | None:
            configured = await self._setting(context, ARCHIVE_MODE_CONFIGURED)
            return None if configured and archive_mode_of(configured[0]) == "off" else True

        try:
            await wait_for(
                on,
                what="archive_mode on in the cluster's configuration",
                where=member.name,
                deadline_seconds=CONFIGURATION_SECONDS,
            )
        except DeadlinePassed:
            raise Refused(
                "archive_mode is off by the cluster's configuration",
                where=member.name,
                untouched=f"{member.name} was not restarted",
                next_command=f"pgdolly check {member.cluster}, which names the command that sets it",
            ) from None

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        shell, member = context.world.shell(self.instance.member), self.instance.member
        archive_command = await self._wait_until_it_answers(context)
        refuse_foreign_archive_command(archive_command, self.stanza, member.name)
        if await self._archives(context):
            return {"restarted": False}
        await self._wait_for_configuration(context)
        command = await postgres.public_sql_command(shell, self.instance, "ALTER SYSTEM RESET archive_mode")
        await run_checked(shell, command, doing="reset archive_mode")
        answer = await run_node_program(
            shell, patroni.restart_command(member), timeout_seconds=RESTART_SECONDS
        )
        if answer["status"] not in (200, 202):
            raise CommandFailed(
                f"Patroni refused the restart: {answer['body']}",
                where=member.name,
                next_command=f"pgdolly cleanup {member.cluster}",
            )

        async def archives() -> bool | None:
            try:
                if not await self._archives(context):
                    return None
            except CommandFailed:
                return None  # it is on its way up
            if self.leader is None:
                return True
            streaming = await streaming_state(context, self.leader, self.patroni_name)
            return True if streaming is not None and streaming.state == "streaming" else None

        await wait_for(
            archives,
            what=f"{member.name} to be back with archiving on",
            where=member.name,
            deadline_seconds=RESTART_SECONDS,
            next_command=f"pgdolly cleanup {member.cluster}",
        )
        return {"restarted": True}


def refuse_foreign_archive_command(archive_command: str, stanza: str, member: str) -> None:
    """A clone's system identifier is the source's, so pgBackRest would take its WAL into the source's archive.

    :raises Refused: if the command does not push into the cluster's own stanza.
    """
    named = re.search(r"--stanza[= ]['\"]?([^\s'\"]+)", archive_command)
    if named is not None and named[1] != stanza:
        raise Refused(
            f"archive_command pushes into stanza {named[1]!r}, not into {stanza!r}: {archive_command}",
            where=member,
            untouched="archiving stays off",
            next_command=f"patronictl edit-config, or set archive_command in Patroni's configuration of {member}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckStanza:
    """`pgbackrest check`: switch a segment and see it arrive in the archive."""

    kind: ClassVar[str] = "check_stanza"
    effect: ClassVar[Effect] = Effect.CHANGE

    instance: Instance
    stanza: str

    def title(self) -> str:
        return f"check that stanza {self.stanza} receives WAL"

    def commands(self) -> tuple[Command, ...]:
        return (pgbackrest.stanza_command(self.instance.member, self.stanza, "check"),)

    async def check(self, context: StepContext) -> StepCheck:
        return StepCheck(StepState.PENDING)

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        await run_checked(
            context.world.shell(self.instance.member),
            self.commands()[0],
            timeout_seconds=CHECK_SECONDS,
            doing=f"check stanza {self.stanza}",
        )
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeBackup:
    """A backup of the leader, as a detached job."""

    kind: ClassVar[str] = "take_backup"
    effect: ClassVar[Effect] = Effect.CHANGE

    instance: Instance
    stanza: str
    backup_type: Literal["full", "diff", "incr"]

    def title(self) -> str:
        return f"{self.backup_type} backup of {self.stanza}"

    def commands(self) -> tuple[Command, ...]:
        return (pgbackrest.backup_command(self.instance.member, self.stanza, self.backup_type),)

    async def check(self, context: StepContext) -> StepCheck:
        member = self.instance.member
        view = await look_at_job(context.world.shell(member), job_directory(context, member, "backup"))
        if view.state is JobState.FINISHED and view.status == 0:
            return StepCheck(StepState.DONE)
        return StepCheck(StepState.RUNNING if view.state is JobState.RUNNING else StepState.PENDING)

    async def apply(self, context: StepContext) -> dict[str, Any] | None:

        def show(view: JobView) -> None:
            found = _BACKED_UP.findall(view.stdout_end)
            if found:
                context.progress(float(found[-1]), 100.0, "%", "backed up")

        view = await carry_job(context, self.instance.member, "backup", self.commands()[0], show=show)
        if view.state is not JobState.FINISHED or view.status != 0:
            errors = [line for line in view.stdout_end.splitlines() if "ERROR" in line or "HINT" in line]
            raise CommandFailed(
                "the backup failed",
                where=self.instance.member.name,
                argv=self.commands()[0].argv,
                status=view.status,
                stderr_end=last_lines("\n".join([*errors, view.stderr_end])),
                next_command=f"pgdolly check {self.instance.member.cluster}",
            )
        label = re.search(r"new backup label = (\S+)", view.stdout_end)
        return {"label": label[1] if label else None}
