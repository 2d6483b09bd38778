"""Lead a member to the source's repository, where its own configuration does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pgdolly.domain.command import Command
from pgdolly.domain.errors import Refused
from pgdolly.domain.repository import RepositorySettings
from pgdolly.drivers.postgres import Instance
from pgdolly.drivers.repository import place_repository_command
from pgdolly.engine.step import Effect, StepCheck, StepState
from pgdolly.steps.world import StepContext
from pgdolly.transport.shell import run_checked


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceRepository:
    """Write the source's repository into a configuration of its own, which goes when the run ends.

    The member's own configuration is left alone: with the source's repository in it, the clone could one day archive
    there.
    """

    kind: ClassVar[str] = "place_repository"
    effect: ClassVar[Effect] = Effect.CHANGE

    instance: Instance
    stanza: str  # the member's own: whatever else its configuration says for it is kept
    options: tuple[tuple[str, str], ...]  # masked, for the plan

    def title(self) -> str:
        return "lead it to the source's repository"

    def commands(self) -> tuple[Command, ...]:
        return (self._command(RepositorySettings(self.options)),)

    def _command(self, settings: RepositorySettings) -> Command:
        return place_repository_command(self.instance.member, self.stanza, settings)

    async def check(self, context: StepContext) -> StepCheck:
        return StepCheck(StepState.PENDING)  # writes the same file again

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        settings = context.world.repository
        if settings is None or settings.masked() != self.options:
            raise Refused(
                "the source's repository is not what the plan was made with, and its secrets are in no journal",
                where=self.instance.member.name,
                untouched="no data was touched",
                next_command=f"pgdolly resume {context.run_id} --abandon, and begin again",
            )
        await run_checked(
            context.world.shell(self.instance.member),
            self._command(settings),
            doing="write the repository's configuration",
        )
        return None
