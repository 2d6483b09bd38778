"""What a reset has to know before it can be planned. Reads only."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from pgdolly.domain.backup import Catalogue
from pgdolly.domain.cluster import Cluster
from pgdolly.domain.errors import PgdollyError
from pgdolly.domain.repository import RepositorySettings
from pgdolly.drivers.catalogue import read_catalogue
from pgdolly.drivers.configuration import look_at_paths
from pgdolly.drivers.followers import Followers, look_for_followers
from pgdolly.drivers.observation import MemberFacts
from pgdolly.drivers.repository import FROM_STDIN, reading
from pgdolly.drivers.server_state import ServerState, read_server_state
from pgdolly.inventory.fleet import Fleet
from pgdolly.operations.followers import standby_clusters
from pgdolly.operations.locking import promotion_given_up
from pgdolly.operations.request import PitrRequest
from pgdolly.operations.reset.elsewhere import own_catalogue
from pgdolly.operations.reset.repository import foreign_repository
from pgdolly.operations.site import ClusterFacts, instance_of, observe_cluster, refuse_silent, world_of
from pgdolly.operations.standby import Upstream, upstream_of
from pgdolly.steps.world import World
from pgdolly.transport.together import together


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetFacts:
    """The target, the source (as far as it answers: it may be down for good) and what their repository holds."""

    target: ClusterFacts
    source: ClusterFacts
    source_stanza: str
    target_stanza: str
    catalogue: Catalogue
    target_catalogue: Catalogue | None  # None: the target has no stanza yet
    leader: MemberFacts
    repository: RepositorySettings | None = (
        None  # the source's; None: the target's own configuration leads to it
    )
    upstream: Upstream | None = None  # what the target follows; None: it is a cluster of its own
    borrowed: bool = (
        False  # it is a clone's standby cluster: its passwords, and a way to fetch WAL, are its source's
    )

    server: ServerState | None = (
        None  # the leader's, of a target that is its own source; None: it does not answer
    )

    followers: tuple[Followers, ...] = ()  # of each of the target's members that could be asked
    unasked: tuple[str, ...] = ()  # members that could not be asked who replicates from them
    standby_clusters: tuple[str, ...] = ()  # those of the inventory that follow the target

    @property
    def target_names(self) -> frozenset[str]:
        """What Patroni may call the target's members."""
        return frozenset(
            {member.name for member in self.target.cluster.members}
            | {member.patroni_name for member in self.target.members}
        )

    @property
    def in_place(self) -> bool:
        return self.target.cluster.name == self.source.cluster.name


def clusters_of(fleet: Fleet, target: str, request: PitrRequest) -> tuple[Cluster, Cluster]:
    """The target and the source that a request names.

    :raises InvalidInput: if the inventory has no such cluster.
    """
    return fleet.cluster(target), fleet.cluster(request.cluster or target)


async def observe(fleet: Fleet, target_name: str, request: PitrRequest) -> tuple[ResetFacts, World]:
    """Look at target, source and repository at once.

    :raises Unreachable: if no member of the target answers, or one that does not is alive all the same.
    """
    target, source = clusters_of(fleet, target_name, request)
    world = world_of({cluster.name: cluster for cluster in (target, source)}.values())
    if source.name == target.name:
        target_facts = await observe_cluster(world, target)
        source_facts = target_facts
    else:
        target_facts, source_facts = await together(
            observe_cluster(world, target), observe_cluster(world, source)
        )
    await refuse_silent(
        world,
        target_facts,
        alive="it cannot be stopped, and would go on with the old data",
        ask_the_store=request.data is None,
    )
    leader = target_facts.leader or target_facts.members[0]
    source_stanza = source_facts.members[0].stanza if source_facts.members else source.name
    shell = world.shell(leader.member)
    config = leader.member.pgbackrest_config

    async def of_target() -> Catalogue | None:
        try:
            return await read_catalogue(shell.run, leader.stanza, config=config)
        except PgdollyError:
            return None  # no stanza yet, or none that can be read: the clean-up creates it

    async def of_source() -> tuple[Catalogue, RepositorySettings | None]:
        foreign = await foreign_repository(
            world,
            target=leader,
            source=source_facts,
            source_stanza=source_stanza,
            given=request.repository,
        )
        if foreign is None:
            return await read_catalogue(shell.run, source_stanza, config=config), None
        try:
            return await read_catalogue(
                reading(shell.run, foreign), source_stanza, config=FROM_STDIN
            ), foreign
        except PgdollyError as error:
            if request.repository is not None:
                raise
            # The source's way to its repository need not be the target's: a directory of the source's own node, say.
            try:
                return await read_catalogue(shell.run, source_stanza, config=config), None
            except PgdollyError:
                raise error from None

    foreign: RepositorySettings | None = None
    if source.name == target.name and request.repository is None:
        catalogue = await own_catalogue(world, target_facts, leader)
        target_catalogue: Catalogue | None = catalogue
    else:
        (catalogue, foreign), target_catalogue = await together(of_source(), of_target())
    server = await _server_of(world, leader) if source.name == target.name else None
    upstream = upstream_of(fleet, target_facts)
    follows = upstream is not None or promotion_given_up(target_facts) is not None
    borrowed = follows and await _made_by_a_clone(world, target_facts)
    facts = ResetFacts(
        target=target_facts,
        source=source_facts,
        source_stanza=source_stanza,
        target_stanza=leader.stanza,
        catalogue=catalogue,
        target_catalogue=target_catalogue,
        leader=leader,
        repository=foreign,
        upstream=upstream,
        borrowed=borrowed,
        server=server,
    )
    return (
        facts if request.data is not None else await _with_followers(fleet, world, facts),
        dataclasses.replace(world, repository=foreign, passwords=target.passwords if borrowed else {}),
    )


async def _server_of(world: World, leader: MemberFacts) -> ServerState | None:
    if not leader.running or leader.socket_directory is None or leader.running_port is None:
        return None
    try:
        return await read_server_state(
            world.shell(leader.member),
            instance_of(leader),
            socket_directory=leader.socket_directory,
            port=leader.running_port,
        )
    except PgdollyError:
        return None


async def _with_followers(fleet: Fleet, world: World, facts: ResetFacts) -> ResetFacts:
    """Who replicates from the target: a reset breaks that. A server that hangs must not keep it from being reset."""

    async def look(member: MemberFacts) -> Followers | None:
        try:
            return await look_for_followers(world.shell(member.member), member)
        except PgdollyError:
            return None

    members = facts.target.members
    found = await together(*(look(member) for member in members))
    followers = tuple(each for each in found if each is not None)
    return dataclasses.replace(
        facts,
        followers=followers,
        unasked=tuple(
            member.member.name for member, each in zip(members, found, strict=True) if each is None
        ),
        standby_clusters=standby_clusters(fleet, facts.target.cluster.name, followers, facts.target_names),
    )


async def _made_by_a_clone(world: World, target: ClusterFacts) -> bool:
    looks = (
        look_at_paths(world.shell(facts.member), facts.member, [facts.member.patroni_config])
        for facts in target.members
    )
    found = await together(*looks)
    return any(path.made for each in found for path in each.values())
