"""Remove a cluster: its data, its entries in Patroni's store, its stanza, and the files that made its nodes members."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, ClassVar

from pgdolly.domain.cluster import Member
from pgdolly.domain.command import Command
from pgdolly.drivers import pgbackrest, removal, store
from pgdolly.drivers.node_program import run_node_program
from pgdolly.drivers.postgres import Instance
from pgdolly.engine.step import Effect, StepCheck, StepState
from pgdolly.steps.member import stop_server_commands
from pgdolly.steps.world import StepContext
from pgdolly.transport.shell import run_checked

REMOVE_SECONDS = 4 * 3600.0  # a file system may take a while over terabytes
STANZA_SECONDS = 4 * 3600.0  # an object store deletes file by file


@dataclass(frozen=True, slots=True, kw_only=True)
class StopServer:
    """Stop what runs in the data directory of a member whose Patroni was never started as a service."""

    kind: ClassVar[str] = "stop_server"
    effect: ClassVar[Effect] = Effect.CHANGE

    instance: Instance

    def title(self) -> str:
        return "stop PostgreSQL"

    def commands(self) -> tuple[Command, ...]:
        return stop_server_commands(self.instance)

    async def check(self, context: StepContext) -> StepCheck:
        return StepCheck(StepState.PENDING)  # stopping what is stopped does nothing

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        shell = context.world.shell(self.instance.member)
        for command in self.commands():
            await run_checked(shell, command, timeout_seconds=330, doing="stop PostgreSQL")
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveData:
    """Remove a member's data directory with all that is in it, and pgdolly's own leavings beside it.

    The program on the node refuses while a server or Patroni is at work there, and whatever is no data directory.

    :param real_directory: what the data directory was when the plan was made, links followed.
    :param wal_directory: where a link in place of pg_wal leads.
    :param spool: pgBackRest's, of the cluster's stanza: what it acknowledged is not true of a later cluster.
    :param work: pgdolly's work directory is this member's alone.
    """

    kind: ClassVar[str] = "remove_data"
    effect: ClassVar[Effect] = Effect.DESTROY

    member: Member
    real_directory: PurePosixPath
    tablespaces: tuple[PurePosixPath, ...] = ()
    wal_directory: PurePosixPath | None = None
    spool: PurePosixPath | None = None
    work: bool = True

    def title(self) -> str:
        return f"remove {self.member.data_directory}"

    def commands(self) -> tuple[Command, ...]:
        return (
            removal.remove_data_command(
                self.member,
                real_directory=self.real_directory,
                tablespaces=self.tablespaces,
                wal_directory=self.wal_directory,
                spool=self.spool,
                work=self.work,
            ),
        )

    async def check(self, context: StepContext) -> StepCheck:
        return StepCheck(StepState.PENDING)  # what is gone is passed over

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        answer = await run_node_program(
            context.world.shell(self.member), self.commands()[0], timeout_seconds=REMOVE_SECONDS
        )
        for ended in answer["ended"]:
            context.note(
                f"{ended} still filled {self.member.data_directory} of {self.member.name}, and was ended"
            )
        for kept in answer["kept"]:
            context.note(f"emptied, and left on {self.member.name}: {kept}")
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveStore:
    """Remove all that Patroni's store holds of the cluster: no Patroni of it runs any more."""

    kind: ClassVar[str] = "remove_store"
    effect: ClassVar[Effect] = Effect.DESTROY

    member: Member
    scope: str
    registered: tuple[str, ...]  # by the names that Patroni has for them; nobody else may be there

    def title(self) -> str:
        return f"remove {self.scope} from Patroni's store"

    def commands(self) -> tuple[Command, ...]:
        return (store.remove_command(self.member, self.scope, self.registered),)

    async def check(self, context: StepContext) -> StepCheck:
        return StepCheck(StepState.PENDING)

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        await run_checked(
            context.world.shell(self.member),
            self.commands()[0],
            doing="remove the cluster from Patroni's store",
        )
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteStanza:
    """Delete the cluster's stanza, backups and WAL, from every repository that has it.

    pgBackRest deletes a stanza only if it is stopped; started again, it accepts a later one of the same name.
    """

    kind: ClassVar[str] = "delete_stanza"
    effect: ClassVar[Effect] = Effect.DESTROY

    member: Member
    stanza: str
    repo_keys: tuple[int, ...]

    def title(self) -> str:
        return f"delete stanza {self.stanza} with all of its backups"

    def commands(self) -> tuple[Command, ...]:
        def command(name: str, *options: str) -> Command:
            return pgbackrest.stanza_command(self.member, self.stanza, name, *options)

        # --force: the stop ends what still writes into it; PostgreSQL's data directory need not be there.
        deletions = (command("stanza-delete", f"--repo={key}", "--force") for key in self.repo_keys)
        return (command("stop", "--force"), *deletions, command("start"))

    async def check(self, context: StepContext) -> StepCheck:
        return StepCheck(StepState.PENDING)  # what is deleted is deleted again

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        for command in self.commands():
            await run_checked(
                context.world.shell(self.member),
                command,
                timeout_seconds=STANZA_SECONDS,
                doing=f"delete stanza {self.stanza}",
            )
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartStanza:
    """Take away the stop file of a stanza that no repository holds: it would stop a later cluster of that name."""

    kind: ClassVar[str] = "start_stanza"
    effect: ClassVar[Effect] = Effect.CHANGE

    member: Member
    stanza: str

    def title(self) -> str:
        return f"let pgBackRest work for a later stanza {self.stanza}"

    def commands(self) -> tuple[Command, ...]:
        return (pgbackrest.stanza_command(self.member, self.stanza, "start"),)

    async def check(self, context: StepContext) -> StepCheck:
        return StepCheck(StepState.PENDING)  # what is not stopped is started again

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        await run_checked(
            context.world.shell(self.member),
            self.commands()[0],
            doing=f"take the stop file of {self.stanza} away",
        )
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveMade:
    """Remove the files that `pgdolly clone` wrote: last, because they lead to all the rest."""

    kind: ClassVar[str] = "remove_made"
    effect: ClassVar[Effect] = Effect.DESTROY

    member: Member
    files: tuple[PurePosixPath, ...]
    by_root: tuple[PurePosixPath, ...] = ()
    pgpass: PurePosixPath | None = None

    def title(self) -> str:
        return "remove what pgdolly clone wrote"

    def commands(self) -> tuple[Command, ...]:
        return removal.remove_made_commands(self.member, self.files, self.by_root, self.pgpass)

    async def check(self, context: StepContext) -> StepCheck:
        return StepCheck(StepState.PENDING)

    async def apply(self, context: StepContext) -> dict[str, Any] | None:
        for command in self.commands():
            await run_checked(
                context.world.shell(self.member), command, doing="remove the files that pgdolly clone wrote"
            )
        return None
