"""What can be restored of a cluster."""

from __future__ import annotations

from dataclasses import dataclass

from pgdolly.domain.backup import Catalogue
from pgdolly.domain.errors import Unreachable
from pgdolly.drivers.catalogue import read_catalogue
from pgdolly.inventory.fleet import Fleet
from pgdolly.operations.request import NOTHING
from pgdolly.operations.site import observe_cluster, world_of
from pgdolly.recovery.window import RecoveryWindow, recovery_window


@dataclass(frozen=True, slots=True)
class ClusterWindow:
    """A cluster's recovery window, and what its repositories hold."""

    cluster: str
    catalogue: Catalogue
    window: RecoveryWindow


async def read_window(fleet: Fleet, name: str) -> ClusterWindow:
    """Read the window through a member that answers; the cluster itself may be down.

    :raises Unreachable: if no member's node answers.
    """
    cluster = fleet.cluster(name)
    world = world_of([cluster])
    facts = await observe_cluster(world, cluster)
    if not facts.members:
        member, error = facts.silent[0]
        raise Unreachable(f"no node of {name} can be asked: {error}", where=member.name, untouched=NOTHING)
    asked = facts.leader or facts.members[0]
    catalogue = await read_catalogue(
        world.shell(asked.member).run, asked.stanza, config=asked.member.pgbackrest_config
    )
    return ClusterWindow(name, catalogue, recovery_window(catalogue))
