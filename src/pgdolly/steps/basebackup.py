"""Fill a data directory with a base backup of a running server."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from pgdolly.domain.command import Command
from pgdolly.domain.errors import CommandFailed
from pgdolly.drivers import postgres
from pgdolly.drivers.postgres import Instance
from pgdolly.drivers.upstream import UpstreamServers
from pgdolly.engine.step import Effect, StepCheck, StepState
from pgdolly.steps.carry import BEGINNINGS, carry_job, job_directory
from pgdolly.steps.room import if_full
from pgdolly.steps.world import StepContext
from pgdolly.transport.jobs import JobState, JobView, look_at_job
from pgdolly.transport.shell import last_lines

_PROGRESS = re.compile(r"(\d+)/(\d+) kB")


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeBaseBackup:
    """Copy the upstream with pg_basebackup, as a detached job.

    One that was cut off begins again, with an empty directory. The password comes out of the member's own patroni.yml.
    """

    kind: ClassVar[str] = "take_base_backup"
    effect: ClassVar[Effect] = Effect.DESTROY

    instance: Instance
    upstream: UpstreamServers

    def title(self) -> str:
        return f"copy {self.upstream} by base backup"

    def commands(self) -> tuple[Command, ...]:
        upstream = self.upstream
        return (
            postgres.base_backup_command(
                self.instance, upstream.host, upstream.port, session=upstream.session
            ),
        )

    async def check(self, context: StepContext) -> StepCheck:
        member = self.instance.member
        view = await look_at_job(context.world.shell(member), job_directory(context, member, "basebackup"))
        if view.state is JobState.RUNNING:
            return StepCheck(StepState.RUNNING)
        if view.state is JobState.FINISHED and view.status == 0:
            return StepCheck(StepState.DONE)
        return StepCheck(StepState.PENDING)

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        def show(view: JobView) -> None:
            found = _PROGRESS.findall(view.stderr_end)
            if found:
                done, total = (int(number) * 1024 for number in found[-1])
                context.progress(done, max(done, total), "bytes", "copied")

        member = self.instance.member
        view = await carry_job(context, member, "basebackup", self.commands()[0], show=show)
        if view.state is not JobState.FINISHED or view.status != 0:
            shell = context.world.shell(member)
            raise CommandFailed(
                f"the base backup failed{await if_full(shell, self.instance.data_directory)}"
                if view.state is JobState.FINISHED
                else f"the node went down {BEGINNINGS} times during the base backup",
                where=member.name,
                argv=(self.commands()[0].shown(),),
                status=view.status,
                stderr_end=last_lines(_PROGRESS.sub("", view.stderr_end)),
                untouched="the source",
                next_command=f"pgdolly resume {context.run_id}",
            )
        return None
