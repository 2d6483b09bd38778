"""What a promotion has to know before it can be planned. Reads only."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from pgdolly.domain.backup import Catalogue
from pgdolly.domain.errors import CommandFailed, PgdollyError, Refused
from pgdolly.domain.lsn import LSN
from pgdolly.drivers import postgres
from pgdolly.drivers.catalogue import read_catalogue
from pgdolly.drivers.configuration import PathFacts, look_at_paths
from pgdolly.drivers.observation import MemberFacts, RunLock
from pgdolly.drivers.patroni import StandbyCluster
from pgdolly.drivers.upstream import Position, UpstreamServers, ask_upstream, listed
from pgdolly.inventory.fleet import Fleet
from pgdolly.operations.drop.observe import kept_slots, neighbours_of
from pgdolly.operations.locking import held, promotion_given_up
from pgdolly.operations.request import NOTHING
from pgdolly.operations.site import ClusterFacts, instance_of, member_at, observe_cluster, world_around
from pgdolly.steps.standby import RECEIVED
from pgdolly.steps.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionFacts:
    """The standby cluster, its configuration, how far it is, and how far its upstream is (None: it does not answer).

    :param follows, upstream: None if the cut is made already, by a run that was given up before it had ended.
    :param given_up: that run.
    :param slot: in which the source keeps WAL for it.
    :param marked: each member's patroni.yml: whether a clone made it, and whether the dbsu can write it.
    :param source: the cluster of the inventory that has the upstream's addresses, with a member that answers.
    """

    cluster: ClusterFacts
    leader: MemberFacts
    follows: StandbyCluster | None
    upstream: UpstreamServers | None
    position: Position | None
    problem: PgdollyError | None
    replayed: LSN | None
    catalogue: Catalogue | None
    marked: dict[str, PathFacts]
    slot: str | None
    source: MemberFacts | None
    given_up: RunLock | None = None


async def observe(fleet: Fleet, name: str) -> tuple[PromotionFacts, World]:
    """Look at the cluster and ask its upstream.

    :raises Refused: if it is no standby cluster, or has no leader.
    """
    cluster = fleet.cluster(name)
    world = dataclasses.replace(world_around(fleet, cluster), passwords=cluster.passwords)
    facts = await observe_cluster(world, cluster)
    for member, error in facts.silent:
        error.where, error.untouched = error.where or member.name, NOTHING
        raise error
    for each in facts.members:
        if each.lock is not None:
            raise held(name, each.member.name, each.lock)
    leader = facts.leader
    if leader is None or not leader.running:
        raise Refused(
            f"{name} has no running leader",
            where=name,
            untouched=NOTHING,
            next_command=f"pgdolly status {name}",
        )
    shell = world.shell(leader.member)
    follows, given_up = facts.follows, promotion_given_up(facts)
    if follows is None and given_up is None:
        raise Refused(
            f"{name} is no standby cluster: it is promoted already",
            where=name,
            untouched=NOTHING,
            next_command=f"pgdolly status {name}; its backups: pgdolly cleanup {name}",
        )
    position: Position | None = None
    problem: PgdollyError | None = None
    if follows is not None:
        slot, source = follows.slot, await member_at(fleet, world, follows.addresses, but=cluster)
        standby = source is not None and source.standby_cluster is not None
        upstream = listed(follows.addresses, standby=standby)
        try:
            position = await ask_upstream(shell, leader.member, upstream, bin_directory=leader.bin_directory)
        except CommandFailed as error:
            problem = error
    else:
        kept = await kept_slots(fleet, world, cluster, None, await neighbours_of(fleet, cluster))
        slot, source = (kept[0].name, kept[0].keeper) if kept else (None, None)
        upstream = None
    command = await postgres.public_sql_command(shell, instance_of(leader), RECEIVED)
    [[replayed, *_]] = await postgres.query(shell, command, doing=f"ask {leader.member.name} how far it is")
    try:
        catalogue = await read_catalogue(shell.run, leader.stanza, config=leader.member.pgbackrest_config)
    except PgdollyError:
        catalogue = None  # no stanza yet
    marked = {}
    for each in facts.members:
        path = each.member.patroni_config
        seen = await look_at_paths(world.shell(each.member), each.member, [path])
        marked[each.member.name] = seen[path]
    return (
        PromotionFacts(
            cluster=facts,
            leader=leader,
            follows=follows,
            upstream=upstream,
            position=position,
            problem=problem,
            replayed=LSN.parse(replayed) if replayed else None,
            catalogue=catalogue,
            marked=marked,
            slot=slot,
            source=source if slot is not None else None,
            given_up=given_up if follows is None else None,
        ),
        world,
    )
