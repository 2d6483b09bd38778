"""Fill a data directory from a backup set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pgdolly.domain.command import Command
from pgdolly.domain.errors import CommandFailed
from pgdolly.drivers import pgbackrest
from pgdolly.drivers.pgbackrest import RestoreSource
from pgdolly.drivers.postgres import Instance
from pgdolly.engine.step import Effect, StepCheck, StepState
from pgdolly.steps.carry import BEGINNINGS, carry_job, job_directory
from pgdolly.steps.room import if_full
from pgdolly.steps.world import StepContext
from pgdolly.transport.jobs import JobState, JobView, look_at_job
from pgdolly.transport.shell import last_lines


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreDataDirectory:
    """Fill one member's data directory from a backup set.

    The restore is a detached job on the node: a lost connection or a killed controller does not stop it, and
    `check` finds it again by its key. A restore that was cut off begins again; `--delta` keeps what is right.
    """

    kind: ClassVar[str] = "restore_data_directory"
    effect: ClassVar[Effect] = Effect.DESTROY

    instance: Instance
    source: RestoreSource
    database_size: int  # bytes

    def title(self) -> str:
        return f"restore {self.source.backup_set} of {self.source.stanza}"

    def commands(self) -> tuple[Command, ...]:
        return (self._make_directory(), self._restore())

    def _make_directory(self) -> Command:
        paths = (
            self.instance.data_directory,
            *(self.instance.member.work_directory / n for n in ("lock", "spool")),
        )
        return Command(argv=("install", "--directory", "--mode=0700", *(str(path) for path in paths)))

    def _restore(self) -> Command:
        return pgbackrest.restore_command(self.instance.member, self.source, self.instance.data_directory)

    async def check(self, context: StepContext) -> StepCheck:
        member = self.instance.member
        view = await look_at_job(context.world.shell(member), job_directory(context, member, "restore"))
        if view.state is JobState.RUNNING:
            return StepCheck(StepState.RUNNING)
        if view.state is JobState.FINISHED and view.status == 0:
            return StepCheck(StepState.DONE)
        return StepCheck(StepState.PENDING)

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        view = await carry_job(
            context,
            self.instance.member,
            "restore",
            self._restore(),
            show=lambda view: self._show(context, view),
            before=self._make_directory(),
        )
        if view.state is not JobState.FINISHED or view.status != 0:
            shell = context.world.shell(self.instance.member)
            raise CommandFailed(
                f"the restore failed{await if_full(shell, self.instance.data_directory)}"
                if view.state is JobState.FINISHED
                else f"the node went down {BEGINNINGS} times during the restore",
                where=self.instance.member.name,
                argv=self._restore().argv,
                status=view.status,
                stderr_end=last_lines("\n".join([*_errors(view.stdout_end), view.stderr_end])),
                untouched="the source and its repository; the other members as the journal says",
                next_command=f"pgdolly resume {context.run_id}",
            )
        return None

    def _show(self, context: StepContext, view: JobView) -> None:
        if view.state is JobState.FINISHED and view.status == 0:
            percent: float | None = 100.0
        else:
            percent = pgbackrest.restored_percent(view.stdout_end)
        if percent is not None:
            context.progress(percent / 100 * self.database_size, self.database_size, "bytes", "restored")


def _errors(output: str) -> list[str]:
    return [line for line in output.splitlines() if " ERROR: " in line or "HINT" in line or " WARN: " in line]
