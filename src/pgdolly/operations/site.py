"""What the operations stand on: the fleet, the shells of its nodes, and a look at a whole cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from pgdolly.domain.cluster import Cluster, Member
from pgdolly.domain.errors import InvalidInput, PgdollyError, Unreachable
from pgdolly.drivers.observation import MemberFacts, observe_member
from pgdolly.drivers.patroni import StandbyCluster
from pgdolly.drivers.postgres import Instance
from pgdolly.drivers.store import read_store
from pgdolly.inventory.fleet import Fleet
from pgdolly.steps.world import World
from pgdolly.transport.reach import shell_for
from pgdolly.transport.together import together


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFacts:
    """A cluster's members that answered, and those that did not, with why."""

    cluster: Cluster
    members: tuple[MemberFacts, ...]
    silent: tuple[tuple[Member, PgdollyError], ...] = ()

    @property
    def leader(self) -> MemberFacts | None:
        """The member that leads, by Patroni's word; if no Patroni answers, the one that runs as a primary."""
        for facts in self.members:
            if facts.cluster is not None and facts.cluster.leader is not None:
                name = facts.cluster.leader.name
                return next((other for other in self.members if other.patroni_name == name), None)
        running = [facts for facts in self.members if facts.running and not facts.standby]
        return running[0] if len(running) == 1 else None

    @property
    def follows(self) -> StandbyCluster | None:
        """What it follows, if it is a standby cluster by its own configuration; None for a cluster of its own."""
        configured = next((m.standby_cluster for m in self.members if m.standby_cluster is not None), None)
        if configured is not None:
            return configured
        views = [facts.cluster for facts in self.members if facts.cluster is not None]
        led = any(view.leader is not None and view.leader.role == "standby_leader" for view in views)
        return StandbyCluster() if led else None


def world_of(clusters: Iterable[Cluster]) -> World:
    """The shells of all members of these clusters."""
    return World({member.name: shell_for(member) for cluster in clusters for member in cluster.members})


def world_around(fleet: Fleet, cluster: Cluster) -> World:
    """The same, with the members of every other cluster that can be reached by what the inventory says."""
    shells = dict(world_of([cluster]).shells)
    for other in fleet.clusters.values():
        with contextlib.suppress(InvalidInput):  # of no concern here
            shells.update(world_of([other]).shells)
    return World(shells)


async def member_at(
    fleet: Fleet, world: World, addresses: Collection[tuple[str, int]], *, but: Cluster
) -> MemberFacts | None:
    """A member that answers of the cluster that has one of these addresses and ports: its leader, if there is one."""
    for cluster in fleet.clusters.values():
        there = any((member.node.address, member.port) in addresses for member in cluster.members)
        if there and cluster.name != but.name and all(m.name in world.shells for m in cluster.members):
            return await speaker_of(world, cluster)
    return None


async def speaker_of(world: World, cluster: Cluster) -> MemberFacts | None:
    """The member whose Patroni is told what all of the cluster is to do: its leader, or whoever answers."""
    facts = await observe_cluster(world, cluster)
    return facts.leader or next(iter(facts.members), None)


async def observe_cluster(world: World, cluster: Cluster, *, measure: bool = False) -> ClusterFacts:
    """Look at all members at once; one that cannot be looked at is named, not raised."""

    async def look(member: Member) -> MemberFacts | PgdollyError:
        try:
            return await observe_member(world.shell(member), member, measure=measure)
        except PgdollyError as error:
            return error

    found = await together(*(look(member) for member in cluster.members))
    return ClusterFacts(
        cluster=cluster,
        members=tuple(facts for facts in found if isinstance(facts, MemberFacts)),
        silent=tuple(
            (member, facts)
            for member, facts in zip(cluster.members, found, strict=True)
            if isinstance(facts, PgdollyError)
        ),
    )


async def refuse_silent(
    world: World, cluster: ClusterFacts, *, alive: str, ask_the_store: bool = True
) -> None:
    """A member whose node is down may be left out; one that cannot be looked at for another reason stops everything.

    So does one that is up and cannot be reached from here.

    :param alive: what would become of one that is up, for the error.
    :raises Unreachable: if no member answers, or a silent one is alive by the store's word.
    """
    for member, error in cluster.silent:
        if not cluster.members or not isinstance(error, Unreachable):
            error.where = error.where or member.name
            error.untouched = "nothing was changed"
            raise error
    if not cluster.silent or not ask_the_store:
        return
    witness = cluster.members[0].member
    store = await read_store(world.shell(witness), witness)
    for member, error in cluster.silent:
        if member.name in store.members or member.node.address in store.members.values():
            raise Unreachable(
                f"its node cannot be reached from here ({error.what}), but by the store's word its Patroni is alive, "
                f"or was half a minute ago: {alive}",
                where=member.name,
                untouched="nothing was changed",
                next_command="if its node is down, ask again in half a minute; else make this work: "
                f"{error.next_command}",
            )


def instance_of(facts: MemberFacts, *, port: int | None = None) -> Instance:
    """The member's own data directory, as Patroni runs it."""
    return Instance(
        member=facts.member,
        data_directory=facts.data_directory,
        bin_directory=facts.bin_directory,
        port=port or facts.member.port,
        superuser=facts.superuser,
    )
