"""Backups that only another member than the leader can read, and how it is made to lead.

Pigsty's `local` repository is a directory of each node's own: after a failover the new leader's holds nothing.
"""

from __future__ import annotations

from pgdolly.domain.backup import Catalogue
from pgdolly.domain.errors import PgdollyError, Refused
from pgdolly.drivers.catalogue import read_catalogue
from pgdolly.drivers.observation import MemberFacts
from pgdolly.operations.request import NOTHING
from pgdolly.operations.site import ClusterFacts
from pgdolly.steps.world import World
from pgdolly.transport.together import together


async def own_catalogue(world: World, target: ClusterFacts, leader: MemberFacts) -> Catalogue:
    """What the leader finds of its own cluster's backups.

    :raises PgdollyError: if it cannot read them, nor can anybody else.
    :raises Refused: if it finds none, and another member does.
    """

    async def read(member: MemberFacts) -> Catalogue | PgdollyError:
        config = member.member.pgbackrest_config
        try:
            return await read_catalogue(world.shell(member.member).run, member.stanza, config=config)
        except PgdollyError as error:
            return error

    found = await read(leader)
    if isinstance(found, Catalogue) and found.backups:
        return found
    others = [member for member in target.members if member is not leader]
    for member, answer in zip(others, await together(*map(read, others)), strict=True):
        if isinstance(answer, Catalogue) and answer.backups:
            why = f" ({found.what})" if isinstance(found, PgdollyError) else ""
            raise lead_from(
                target,
                leader,
                member,
                f"{leader.member.name} leads and finds no backup{why}; {member.member.name} finds "
                f"{answer.backups[-1].label}",
            )
    if isinstance(found, PgdollyError):
        raise found
    return found


def lead_from(target: ClusterFacts, leader: MemberFacts, reader: MemberFacts, what: str) -> Refused:
    """The leader cannot read the backups, and another member can."""
    name, own = target.cluster.name, leader.member.name
    lead = f"lead pgBackRest on {own} to the repository that {reader.member.name} reads"
    switch = f"patronictl switchover {name} --candidate {reader.patroni_name} --force, and again; or {lead}"
    return Refused(
        what, where=name, untouched=NOTHING, next_command=switch if target.leader is not None else lead
    )
