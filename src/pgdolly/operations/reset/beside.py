"""What stands in the way of a restore into another directory, beside the running cluster."""

from __future__ import annotations

import dataclasses
from pathlib import PurePosixPath

from pgdolly.domain.errors import InvalidInput, Refused
from pgdolly.drivers.observation import observe_member
from pgdolly.operations.request import NOTHING
from pgdolly.operations.reset.observe import ResetFacts
from pgdolly.operations.reset.refusals import refuse_full, refuse_odd_path
from pgdolly.recovery.select import ResolvedRecovery
from pgdolly.steps.world import World


async def refuse_beside(
    facts: ResetFacts, resolved: ResolvedRecovery, data: PurePosixPath, world: World
) -> None:
    """:raises InvalidInput, Refused: if the directory is a member's own, is in use, or is too small."""
    if not data.is_absolute():
        raise InvalidInput(f"data {str(data)!r} is not an absolute path", untouched=NOTHING)
    refuse_odd_path(data, "data")
    node = facts.leader.member.node.address
    for member in (*facts.target.members, *facts.source.members):
        if member.member.node.address != node:
            continue
        own = (member.data_directory, member.real_data_directory)
        if any(data == path or data.is_relative_to(path) or path.is_relative_to(data) for path in own):
            raise Refused(
                f"{data} is, holds or lies in the data directory of {member.member.name}: "
                "data restores beside the cluster",
                where=member.member.name,
                untouched=NOTHING,
                next_command="leave --data out to reset the cluster itself, or name another directory",
            )
    # The same look at the node, at the other directory: its size, its file system, whether a server runs in it.
    there = await observe_member(
        world.shell(facts.leader.member),
        dataclasses.replace(facts.leader.member, data_directory=data),
        measure=True,
    )
    if there.running:
        raise Refused(
            f"a server runs in {data}",
            where=facts.leader.member.name,
            untouched=NOTHING,
            next_command=f"pg_ctl --pgdata={data} stop, as {facts.leader.member.dbsu}",
        )
    if not there.writable:
        raise Refused(
            f"{data.parent} cannot be written by {facts.leader.member.dbsu}",
            where=facts.leader.member.name,
            untouched=NOTHING,
            next_command="name a directory below one that it owns",
        )
    refuse_full(dataclasses.replace(there, data_directory=data), resolved, keep=False)
