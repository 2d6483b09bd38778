"""Which members can read the backup set: one that cannot is not restored, but copied from the new leader.

A repository need not be there for all: Pigsty's `local` is a directory of each node's own, and only the leader's is
filled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pgdolly.domain.errors import CommandFailed, Refused
from pgdolly.drivers.backup_set import BackupSetContents, parse_set, set_command
from pgdolly.drivers.observation import MemberFacts
from pgdolly.drivers.repository import FROM_STDIN, reading
from pgdolly.operations.request import NOTHING, PitrRequest
from pgdolly.operations.reset.elsewhere import lead_from
from pgdolly.operations.reset.observe import ResetFacts
from pgdolly.recovery.select import ResolvedRecovery
from pgdolly.steps.world import World
from pgdolly.transport.shell import command_failed
from pgdolly.transport.together import together


@dataclass(frozen=True, slots=True, kw_only=True)
class Readers:
    """What the leader found in the set; and by replica, why it cannot read it."""

    contents: BackupSetContents
    unreadable: Mapping[str, str]


async def ask_for_set(
    facts: ResetFacts, resolved: ResolvedRecovery, world: World, replicas: Iterable[MemberFacts]
) -> Readers:
    """Ask the leader and these replicas for the set, each through the way by which it would restore.

    :raises CommandFailed: if the leader cannot read it, nor can anybody else.
    :raises Refused: if another member can.
    """

    async def ask(member: MemberFacts) -> BackupSetContents | CommandFailed:
        try:
            return await _contents(member, facts, resolved, world)
        except CommandFailed as error:
            return error

    others = [member for member in replicas if member is not facts.leader]
    of_leader, *of_others = await together(ask(facts.leader), *(ask(member) for member in others))
    if isinstance(of_leader, CommandFailed):
        for member, answer in zip(others, of_others, strict=True):
            if not isinstance(answer, CommandFailed):
                what = (
                    f"{member.member.name} can read backup set {resolved.backup_set}, and {facts.leader.member.name}, "
                    f"which leads, cannot: {_reason(of_leader)}"
                )
                raise lead_from(facts.target, facts.leader, member, what)
        raise of_leader
    return Readers(
        contents=of_leader,
        unreadable={
            member.member.name: _reason(answer)
            for member, answer in zip(others, of_others, strict=True)
            if isinstance(answer, CommandFailed)
        },
    )


def refuse_copies(facts: ResetFacts, readers: Readers, request: PitrRequest) -> None:
    """:raises Refused: if a replica would have to be copied whose directories outside its own would be in the way."""
    if readers.unreadable and (readers.contents.tablespaces or request.link_map):
        outside = "--link-map" if request.link_map else "tablespaces"
        names = ", ".join(readers.unreadable)
        reasons = "; ".join(dict.fromkeys(readers.unreadable.values()))
        raise Refused(
            f"{names} cannot read the backup set ({reasons}), and with {outside} cannot be copied from the leader: a "
            "base backup does not go where there is something",
            where=facts.target.cluster.name,
            untouched=NOTHING,
            next_command=f"lead pgBackRest on {names} to the repository",
        )


async def _contents(
    member: MemberFacts, facts: ResetFacts, resolved: ResolvedRecovery, world: World
) -> BackupSetContents:
    """:raises CommandFailed: if the set cannot be read from there."""
    foreign, shell = facts.repository, world.shell(member.member)
    config = member.member.pgbackrest_config if foreign is None else FROM_STDIN
    run = shell.run if foreign is None else reading(shell.run, foreign)
    completed = await run(set_command(resolved.stanza, resolved.backup_set, resolved.repo_key, config=config))
    if not completed.ok:
        raise command_failed(member.member.name, completed, "ask for the backup set's contents")
    return parse_set(completed.stdout, resolved.backup_set)


def _reason(error: CommandFailed) -> str:
    """pgBackRest's own words, if it has any."""
    lines = (error.stderr_end or "").splitlines() if error.status else []
    return lines[0].strip() if lines else error.what
