"""What a drop has to know: what there is of the cluster, and who else of the inventory lives on it. Reads only."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pgdolly.domain.cluster import Cluster, Member
from pgdolly.domain.errors import PgdollyError
from pgdolly.drivers.catalogue import info_command
from pgdolly.drivers.catalogue_format import STATUS_MISSING_STANZA_PATH, parse_info
from pgdolly.drivers.node_program import run_node_program
from pgdolly.drivers.observation import MemberFacts, observe_command
from pgdolly.drivers.patroni import StandbyCluster
from pgdolly.drivers.removal import Remains, look_for_remains
from pgdolly.drivers.store import StoreView, read_store
from pgdolly.inventory.fleet import Fleet
from pgdolly.operations.site import member_at, speaker_of, world_around, world_of
from pgdolly.steps.promotion import is_made, slot_for
from pgdolly.steps.world import World
from pgdolly.transport.shell import run_checked
from pgdolly.transport.together import together

_CLUSTERS_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """Another cluster of the inventory, as one of its members tells of it.

    :param store: what Patroni's store holds of it; None if its nodes hold no cluster yet.
    :param problem: why nothing could be told.
    """

    cluster: Cluster
    scope: str | None = None
    stanza: str | None = None
    store: StoreView | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptSlot:
    """A slot of pgdolly's in which another cluster keeps WAL for this one.

    :param keeper: a member of that cluster's, whose Patroni is told to end it.
    """

    name: str
    keeper: MemberFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class DropFacts:
    """The cluster, member by member, and those around it.

    :param silent: members that could not be looked at, with why.
    :param store: what Patroni's store holds of it; None if no member has a configuration that leads there.
    :param stanza: its own, by its nodes' pgBackRest configuration; None if there is none.
    :param repo_keys: the repositories that hold the stanza; asked for only if it is to be deleted.
    :param backups_stay: it is not to be deleted, and a repository holds it, or could not be asked.
    :param kept_slots: what other clusters keep for it; the clone may have failed before the store said whom it follows.
    """

    cluster: Cluster
    members: tuple[Remains, ...]
    silent: tuple[tuple[Member, PgdollyError], ...] = ()
    store: StoreView | None = None
    neighbours: tuple[Neighbour, ...] = ()
    repo_keys: tuple[int, ...] = ()
    backups_stay: bool = False
    kept_slots: tuple[KeptSlot, ...] = ()

    @property
    def leader(self) -> Remains | None:
        """The member that is stopped last."""
        for member in self.members:
            if member.cluster is not None and member.cluster.leader is not None:
                name = member.cluster.leader.name
                return next((other for other in self.members if other.patroni_name == name), None)
        return next((member for member in self.members if member.running and not member.standby), None)

    @property
    def in_order(self) -> tuple[Remains, ...]:
        """The members, the leader last."""
        return tuple(sorted(self.members, key=lambda member: member is self.leader))

    @property
    def configured(self) -> Remains | None:
        """A member whose Patroni configuration leads to the store."""
        return next((member for member in reversed(self.in_order) if member.configured), None)

    @property
    def archiving(self) -> Remains | None:
        """A member whose pgBackRest configuration names the cluster's stanza."""
        return next((member for member in reversed(self.in_order) if member.stanza is not None), None)


async def observe(fleet: Fleet, name: str, *, with_backups: bool) -> tuple[DropFacts, World]:
    """Look at the cluster, and at one member of every other one.

    :raises InvalidInput: if the inventory has no such cluster.
    :raises CommandFailed: if the store or the repository does not answer.
    """
    cluster = fleet.cluster(name)
    world = world_around(fleet, cluster)

    async def look(member: Member) -> Remains | PgdollyError:
        try:
            return await look_for_remains(world.shell(member), member)
        except PgdollyError as error:
            return error

    found, neighbours = await together(
        together(*(look(member) for member in cluster.members)), neighbours_of(fleet, cluster)
    )
    facts = DropFacts(
        cluster=cluster,
        members=tuple(each for each in found if isinstance(each, Remains)),
        silent=tuple(
            (member, each)
            for member, each in zip(cluster.members, found, strict=True)
            if isinstance(each, PgdollyError)
        ),
        neighbours=neighbours,
    )
    configured, archiving = facts.configured, facts.archiving
    store = await read_store(world.shell(configured.member), configured.member) if configured else None
    keys = await _repo_keys(world, archiving) if archiving is not None and with_backups else ()
    stay = not with_backups and archiving is not None and await _may_be_held(world, archiving)
    return (
        DropFacts(
            cluster=cluster,
            members=facts.members,
            silent=facts.silent,
            store=store,
            neighbours=neighbours,
            repo_keys=keys,
            backups_stay=stay,
            kept_slots=await kept_slots(fleet, world, cluster, store, neighbours),
        ),
        world,
    )


async def kept_slots(
    fleet: Fleet, world: World, cluster: Cluster, store: StoreView | None, neighbours: tuple[Neighbour, ...]
) -> tuple[KeptSlot, ...]:
    """By what the cluster follows, and by the name that a clone gives: one that failed follows nobody yet."""
    found = []
    if store is not None and store.upstream_slot and store.standby_of and is_made(store.upstream_slot):
        host, port = store.standby_of
        addresses = StandbyCluster(host=host, port=port).addresses
        found.append((store.upstream_slot, await member_at(fleet, world, addresses, but=cluster)))
    for other in holders(slot_for(cluster.name), neighbours):
        found.append((slot_for(cluster.name), await speaker_of(world, other)))
    kept = {
        (name, keeper.member.cluster): KeptSlot(name=name, keeper=keeper) for name, keeper in found if keeper
    }
    return tuple(kept.values())


def holders(slot: str, neighbours: Iterable[Neighbour]) -> Iterator[Cluster]:
    """The clusters that keep a slot by their configuration, unless yet another cluster uses one of this name."""
    stores = [(other.cluster, other.store) for other in neighbours if other.store is not None]
    if all(store.upstream_slot != slot for _, store in stores):
        yield from (cluster for cluster, store in stores if slot in store.slots)


async def _repo_keys(world: World, remains: Remains) -> tuple[int, ...]:
    """The repositories that hold anything of the stanza."""
    assert remains.stanza is not None
    command = info_command(remains.stanza, remains.member.pgbackrest_config)
    output = await run_checked(
        world.shell(remains.member), command, doing=f"ask the repository for stanza {remains.stanza}"
    )
    repositories = parse_info(output, remains.stanza).repositories
    return tuple(each.repo_key for each in repositories if each.code != STATUS_MISSING_STANZA_PATH)


async def _may_be_held(world: World, remains: Remains) -> bool:
    """Whether backups stay to which a configuration has to lead; a repository that does not answer may hold some."""
    try:
        return bool(await _repo_keys(world, remains))
    except PgdollyError:
        return True


async def neighbours_of(fleet: Fleet, cluster: Cluster) -> tuple[Neighbour, ...]:
    """Every other cluster of the inventory, as one of its members tells of it."""
    turn = asyncio.Semaphore(_CLUSTERS_AT_ONCE)

    async def look(other: Cluster) -> Neighbour:
        async with turn:
            return await look_at_neighbour(other)

    others = (other for other in fleet.clusters.values() if other.name != cluster.name)
    return tuple(await together(*(look(other) for other in others)))


async def look_at_neighbour(other: Cluster) -> Neighbour:
    """Ask its members, one after the other, until one can tell of all of it."""
    try:
        world = world_of([other])
    except PgdollyError as error:  # its nodes are reached in a way that pgdolly does not know
        return Neighbour(cluster=other, problem=str(error))
    problem, blank = None, False
    for member in other.members:
        shell = world.shell(member)
        try:
            found = await run_node_program(shell, observe_command(member), timeout_seconds=600)
            scope = (found.get("patroni") or {}).get("scope")
            if scope is None:
                blank = True  # a node without Patroni's configuration holds no cluster yet; another one may
                continue
            store = await read_store(shell, member)
        except PgdollyError as error:
            problem = str(error)
            continue
        return Neighbour(
            cluster=other, scope=str(scope), stanza=found["stanza"]["stanza"] or other.name, store=store
        )
    return Neighbour(cluster=other, problem=problem if problem is not None or blank else "it has no members")
