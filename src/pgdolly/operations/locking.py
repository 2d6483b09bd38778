"""One run at a time on a target, also from two controllers: a lock file on every member's node."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pgdolly.domain.cluster import Member
from pgdolly.domain.command import Command
from pgdolly.domain.errors import ConnectionLost, Refused
from pgdolly.drivers.node_program import node_program, run_node_program
from pgdolly.drivers.observation import RunLock
from pgdolly.engine.executor import RECONNECT_SECONDS
from pgdolly.operations.site import ClusterFacts
from pgdolly.steps.world import World
from pgdolly.transport.together import together


def _lock_command(member: Member, action: str, run_id: str, holder: dict[str, object]) -> Command:
    return node_program(
        member,
        "lock",
        {"work_directory": member.work_directory, "action": action, "run_id": run_id, "holder": holder},
        f"{action} the run lock on {member.name}",
    )


async def _ask(world: World, member: Member, command: Command) -> dict[str, Any]:
    """Run a program of the lock; a node that is lost meanwhile is waited for, because again does no harm."""
    try:
        return await run_node_program(world.shell(member), command)
    except ConnectionLost as error:
        await world.reconnect(error, RECONNECT_SECONDS)
        return await run_node_program(world.shell(member), command)


def held(cluster: str, member: str, lock: RunLock) -> Refused:
    """The refusal for a member that another run holds."""
    return Refused(
        f"run {lock.run_id} ({lock.operation}, begun {lock.began_at} on {lock.controller}, process {lock.pid}) "
        f"is under way on {cluster}, or failed or was interrupted",
        where=member,
        untouched="nothing was changed",
        next_command=f"pgdolly resume {lock.run_id}, or to give it up: pgdolly resume {lock.run_id} --abandon",
    )


def promotion_given_up(cluster: ClusterFacts) -> RunLock | None:
    """The run that was given up while it made a clone a cluster of its own.

    Where it stood nobody knows any more: its passwords, its way to an archive, its slot may be the source's still.
    """
    marks = (member.abandoned for member in cluster.members)
    return next((mark for mark in marks if mark is not None and mark.operation in ("promote", "clone")), None)


async def take_locks(world: World, members: Sequence[Member], *, run_id: str, operation: str) -> None:
    """Lock every member for this run; a lock that the run holds already is kept.

    One member after the other in the order of their names, so that of two controllers one gets all.

    :raises Refused: if another run holds a member; locks that were taken here are given back.
    """
    holder: dict[str, object] = {
        "controller": socket.gethostname(),
        "pid": os.getpid(),
        "operation": operation,
        "began_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    taken: list[Member] = []
    for member in sorted(members, key=lambda each: each.name):
        answer = await _ask(world, member, _lock_command(member, "take", run_id, holder))
        found = answer["holder"]
        if found is not None and found["run_id"] != run_id:
            await release_locks(world, taken, run_id=run_id)
            raise held(member.cluster, member.name, RunLock(**found))
        taken.append(member)


async def release_locks(
    world: World, members: Sequence[Member], *, run_id: str, half_made: bool = False, leave: bool = False
) -> None:
    """Give back this run's locks; those of another run stay.

    :param half_made: the run is given up after it began to replace data: `check` is to know, because to start such a
        member by hand would replay past its target.
    :param leave: the cluster is gone; a work directory that is empty goes with its lock.
    """
    action = "abandon" if half_made else "leave" if leave else "release"
    await together(*(_ask(world, member, _lock_command(member, action, run_id, {})) for member in members))


async def release_what_was_taken(world: World, members: Sequence[Member], *, run_id: str) -> None:
    """Give back whichever locks this run holds; members that do not answer are passed over."""
    await asyncio.gather(
        *(_ask(world, member, _lock_command(member, "release", run_id, {})) for member in members),
        return_exceptions=True,
    )
