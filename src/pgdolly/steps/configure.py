"""Write a new member's configuration files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, ClassVar

from pgdolly.domain.command import Command
from pgdolly.domain.draft import DraftPath
from pgdolly.domain.errors import Refused
from pgdolly.drivers.configuration import daemon_reload_command, write_drafts_commands, write_files_command
from pgdolly.drivers.postgres import Instance
from pgdolly.engine.step import Effect, StepCheck, StepState
from pgdolly.steps.world import StepContext
from pgdolly.transport.shell import run_checked


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigureMember:
    """Write patroni.yml, pgbackrest.conf and whatever else a new member needs.

    Their texts hold passwords: they are in the world, drawn up anew when a run is taken up, and in no journal.
    """

    kind: ClassVar[str] = "configure_member"
    effect: ClassVar[Effect] = Effect.CHANGE

    instance: Instance
    files: tuple[DraftPath, ...]
    directories: tuple[PurePosixPath, ...] = ()
    unit: bool = False  # one of the files is systemd's

    def title(self) -> str:
        return "write its configuration"

    def commands(self) -> tuple[Command, ...]:
        written = write_files_command(self.instance.member, self.files, self.directories)
        return (*written, daemon_reload_command()) if self.unit else written

    async def check(self, context: StepContext) -> StepCheck:
        return StepCheck(StepState.PENDING)  # writes the same files again

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        member = self.instance.member
        drafts = context.world.drafts.get(member.name, ())
        if tuple(draft.to for draft in drafts) != self.files:
            raise Refused(
                "what its configuration is made of is not what the plan was made with, and its passwords are in no "
                "journal",
                where=member.name,
                untouched="no data was touched",
                next_command=f"pgdolly resume {context.run_id} --abandon, pgdolly drop {member.cluster}, and begin "
                "again",
            )
        shell = context.world.shell(member)
        for command in write_drafts_commands(member, drafts, self.directories):
            await run_checked(shell, command, doing="write the configuration")
        if self.unit:
            await run_checked(shell, daemon_reload_command(), doing="let systemd read the new unit")
        return None
