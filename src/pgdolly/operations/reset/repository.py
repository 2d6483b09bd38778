"""Which repository the source's backups lie in, and whether the target's own configuration leads to it."""

from __future__ import annotations

from pgdolly.domain.cluster import Cluster
from pgdolly.domain.repository import RepositorySettings
from pgdolly.drivers.observation import MemberFacts
from pgdolly.drivers.repository import read_repository, same_place
from pgdolly.operations.site import ClusterFacts
from pgdolly.steps.world import World
from pgdolly.transport.together import together


async def foreign_repository(
    world: World,
    *,
    target: MemberFacts,
    source: ClusterFacts,
    source_stanza: str,
    given: RepositorySettings | None = None,
) -> RepositorySettings | None:
    """The source's repository, or None if the target's own configuration leads to it.

    What the request describes counts (`given`). Else the source's nodes know it best. If none of them answers, the
    inventory may name it; if it does not, the target's own configuration has to do.

    :raises InvalidInput: if only the inventory could tell, and what it says cannot be used.
    """
    if given is not None:
        return given.filled({"pg_cluster": source.cluster.name})
    if source.cluster.name == target.member.cluster:
        return None
    own, found = await together(
        read_repository(world.shell(target.member), target.member, target.stanza),
        _of_source(world, source, source_stanza),
    )
    return None if found is None or same_place(found, own) else found


async def _of_source(world: World, source: ClusterFacts, stanza: str) -> RepositorySettings | None:
    if source.members:
        member = source.members[0].member
        return await read_repository(world.shell(member), member, stanza)
    cluster: Cluster = source.cluster
    return cluster.repository
