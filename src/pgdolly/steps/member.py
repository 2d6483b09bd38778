"""Take a member out of service, and put its data aside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, ClassVar

from pgdolly.domain.command import Command
from pgdolly.domain.errors import Refused
from pgdolly.drivers import postgres, services
from pgdolly.drivers.postgres import Instance
from pgdolly.engine.step import Effect, StepCheck, StepState
from pgdolly.steps.world import StepContext
from pgdolly.transport.shell import run_checked


@dataclass(frozen=True, slots=True, kw_only=True)
class StopMember:
    """Stop a member: Patroni first, which stops PostgreSQL; then whatever still runs in its data directory.

    A paused Patroni leaves PostgreSQL running when it stops.
    """

    kind: ClassVar[str] = "stop_member"
    effect: ClassVar[Effect] = Effect.CHANGE

    instance: Instance

    def title(self) -> str:
        return "stop Patroni and PostgreSQL"

    def commands(self) -> tuple[Command, ...]:
        return (services.stop_command(self.instance.member), *stop_server_commands(self.instance))

    async def check(self, context: StepContext) -> StepCheck:
        return StepCheck(StepState.PENDING)  # stopping what is stopped does nothing

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        shell = context.world.shell(self.instance.member)
        await services.stop_service(shell, self.instance.member)
        for command in stop_server_commands(self.instance):
            await run_checked(shell, command, timeout_seconds=330, doing="stop PostgreSQL")
        return None


def stop_server_commands(instance: Instance) -> tuple[Command, Command]:
    """Stop the server that works in the data directory, if one does, and take away what a killed one has left."""
    script = (
        'if [ -e "$2/postmaster.pid" ]; then '
        'pid=$(head -n 1 "$2/postmaster.pid"); '
        'if [ "$(readlink "/proc/$pid/cwd")" = "$(realpath "$2")" ]; then '
        '"$1" --pgdata="$2" --mode=fast --timeout=300 stop; fi; fi'
    )
    stop = postgres.stop_command(instance)
    return (
        Command(
            argv=("sh", "-c", script, "stop", stop.argv[0], str(instance.data_directory)),
            summary=f"{stop.shown()}  # if it still runs",
        ),
        postgres.clear_pid_command(instance),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepDataDirectory:
    """Move a member's data directory aside, under a name that nothing has yet."""

    kind: ClassVar[str] = "keep_data_directory"
    effect: ClassVar[Effect] = Effect.CHANGE

    instance: Instance
    kept: PurePosixPath

    def title(self) -> str:
        return f"keep {self.instance.data_directory} as {self.kept.name}"

    def commands(self) -> tuple[Command, ...]:
        return (
            Command(
                argv=(
                    "mv",
                    "--no-target-directory",
                    "--no-clobber",
                    str(self.instance.data_directory),
                    str(self.kept),
                )
            ),
        )

    async def check(self, context: StepContext) -> StepCheck:
        there, kept = await self._look(context)
        if kept and not there:
            return StepCheck(StepState.DONE)
        if kept:
            return StepCheck(StepState.CONFLICT, f"both {self.kept} and {self.instance.data_directory} exist")
        return StepCheck(StepState.PENDING)

    async def _look(self, context: StepContext) -> tuple[bool, bool]:
        shell = context.world.shell(self.instance.member)
        script = 'for path; do if [ -e "$path" ]; then echo yes; else echo no; fi; done'
        command = Command(
            argv=("sh", "-c", script, "look", str(self.instance.data_directory), str(self.kept)),
            summary="look for the data directory",
        )
        there, kept = (await run_checked(shell, command)).split()
        return there == "yes", kept == "yes"

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        there, kept = await self._look(context)
        if kept:
            raise Refused(
                f"{self.kept} exists already and is never overwritten", where=self.instance.member.name
            )
        if there:
            shell = context.world.shell(self.instance.member)
            await run_checked(shell, self.commands()[0], doing="move the data directory aside")
            context.note(f"the old data of {self.instance.member.name} is kept in {self.kept}")
        return None
