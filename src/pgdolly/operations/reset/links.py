"""What stands in the way of a data directory whose parts lie elsewhere (`link_map`).

A restore that keeps what is right removes all else from where a link leads: a directory that holds anything but the
cluster's own would be emptied. So it has to be empty, or be where the same link leads already.
"""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import PurePosixPath

from pgdolly.domain.cluster import Member
from pgdolly.domain.command import Command
from pgdolly.domain.errors import InvalidInput, Refused
from pgdolly.drivers.catalogue import repo_get_command
from pgdolly.drivers.repository import FROM_STDIN, reading
from pgdolly.operations.request import NOTHING, PitrRequest
from pgdolly.operations.reset.observe import ResetFacts
from pgdolly.operations.reset.refusals import refuse_odd_path
from pgdolly.recovery.resolved import ResolvedRecovery
from pgdolly.steps.world import World
from pgdolly.transport.shell import run_checked
from pgdolly.transport.together import together

# Prints the first thing that is there and is not what the link of the same name leads to now.
_OTHERS = """\
[ -e "$1" ] || exit 0
if [ -L "$2" ] && [ "$(readlink -f "$1")" = "$(readlink -f "$2")" ]; then exit 0; fi
if [ -d "$1" ]; then exec find "$1" -mindepth 1 -print -quit; fi
echo "$1"
"""


async def refuse_links(
    facts: ResetFacts, resolved: ResolvedRecovery, request: PitrRequest, world: World
) -> None:
    """:raises InvalidInput, Refused: if the backup set has no such part, or where it is to go is not free."""
    if not request.link_map:
        return
    beside = request.data is not None
    filled = [facts.leader] if beside else list(facts.target.members)
    refuse_shared_links(request.link_map, [member.member for member in filled])
    await _refuse_unknown(facts, resolved, request, world)
    data = {
        each.member: PurePosixPath(request.data) if request.data else each.data_directory for each in filled
    }
    await together(
        *(
            _refuse_filled(member, directory, name, PurePosixPath(path), world)
            for member, directory in data.items()
            for name, path in request.link_map.items()
        )
    )


def refuse_shared_links(link_map: dict[str, str], filled: list[Member]) -> None:
    """:raises InvalidInput, Refused: if two links, or two servers of one machine, would have one place."""
    for name, path in link_map.items():
        where = PurePosixPath(path)
        if not where.is_absolute() or ".." in where.parts or len(where.parts) < 2:
            raise InvalidInput(
                f"link_map leads {name} to {path!r}, which is no absolute path", untouched=NOTHING
            )
        refuse_odd_path(where, "link_map")
    for (name, path), (other, there) in combinations(link_map.items(), 2):
        one, two = PurePosixPath(path), PurePosixPath(there)
        if one.is_relative_to(two) or two.is_relative_to(one):
            raise InvalidInput(
                f"link_map leads {name} and {other} to one place: {path}, {there}", untouched=NOTHING
            )
    for member, neighbour in combinations(filled, 2):
        if member.node.shares_machine(neighbour.node):
            raise Refused(
                f"{member.name} is on one machine with {neighbour.name}: both would have "
                f"{', '.join(link_map.values())}",
                where=member.cluster,
                untouched=NOTHING,
                next_command="leave --link-map out",
            )


async def _refuse_unknown(
    facts: ResetFacts, resolved: ResolvedRecovery, request: PitrRequest, world: World
) -> None:
    """Ask the set's manifest, which names every path and file of the data directory."""
    foreign, shell = facts.repository, world.shell(facts.leader.member)
    run = shell.run if foreign is None else reading(shell.run, foreign)
    manifest = f"backup/{resolved.stanza}/{resolved.backup_set}/backup.manifest"
    command = repo_get_command(
        resolved.stanza,
        resolved.repo_key,
        facts.leader.member.pgbackrest_config if foreign is None else FROM_STDIN,
        path=manifest,
    )
    completed = await run(command)
    if not completed.ok:
        return  # the restore will say what is wrong with it, before it writes anything
    for name in request.link_map:
        if not re.search(rf"^pg_data/{re.escape(name)}=", completed.stdout, re.MULTILINE):
            raise Refused(
                f"backup set {resolved.backup_set} has no {name!r} in its data directory that could be a link",
                where=facts.source.cluster.name,
                untouched=NOTHING,
                next_command="name it as it is there: pg_wal, for example",
            )


async def _refuse_filled(
    member: Member, data: PurePosixPath, name: str, path: PurePosixPath, world: World
) -> None:
    if path.is_relative_to(data) or data.is_relative_to(path):
        raise Refused(
            f"link_map leads {name} to {path}, which lies in the data directory {data}, or holds it",
            where=member.name,
            untouched=NOTHING,
            next_command="lead it to a directory outside",
        )
    argv = ("sh", "-c", _OTHERS, "others", str(path), str(data / name))
    command = Command(argv=argv, summary=f"find {path} -mindepth 1 -print -quit")
    found = await run_checked(world.shell(member), command, doing=f"look at what lies in {path}")
    if found.strip():
        raise Refused(
            f"{path} is not empty ({found.strip()}): what is there would be removed",
            where=member.name,
            untouched=NOTHING,
            next_command="lead the link to a directory that is empty, or that does not exist",
        )
