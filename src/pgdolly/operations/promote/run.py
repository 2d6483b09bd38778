"""Plan the promotion of a standby cluster and carry it out."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from pgdolly.domain.backup import Catalogue
from pgdolly.domain.cluster import Cluster
from pgdolly.domain.draft import MARK
from pgdolly.domain.errors import CommandFailed, PgdollyError, Refused
from pgdolly.domain.lsn import LSN
from pgdolly.drivers import patroni, postgres
from pgdolly.drivers.catalogue import read_catalogue
from pgdolly.drivers.configuration import PathFacts, look_at_paths
from pgdolly.drivers.observation import MemberFacts
from pgdolly.drivers.upstream import Position, Upstream, ask_upstream
from pgdolly.engine.events import Listener
from pgdolly.engine.plan import Plan
from pgdolly.engine.record import RunRecord
from pgdolly.inventory.fleet import Fleet
from pgdolly.operations.locking import held
from pgdolly.operations.promote.stages import Promotion, promotion_stages
from pgdolly.operations.request import NOTHING
from pgdolly.operations.running import carry_out, refuse_stale, take_up
from pgdolly.operations.site import ClusterFacts, instance_of, observe_cluster, world_of
from pgdolly.steps.standby import RECEIVED
from pgdolly.steps.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionFacts:
    """The standby cluster, its configuration, how far it is, and how far its upstream is (None: it does not answer).

    :param marked: each member's patroni.yml: whether a clone made it, and whether the dbsu can write it.
    :param source: the cluster of the inventory that has the upstream's addresses, with a member that answers.
    """

    cluster: ClusterFacts
    leader: MemberFacts
    configuration: dict[str, Any]
    upstream: Upstream
    position: Position | None
    problem: PgdollyError | None
    replayed: LSN | None
    catalogue: Catalogue | None
    marked: dict[str, PathFacts]
    source: MemberFacts | None


@dataclass(frozen=True, slots=True)
class PreparedPromotion:
    """A promotion that was shown to be possible; nothing has been touched."""

    plan: Plan
    facts: PromotionFacts
    fleet: Fleet
    world: World


async def observe(fleet: Fleet, name: str) -> tuple[PromotionFacts, World]:
    """Look at the cluster and ask its upstream.

    :raises Refused: if it is no standby cluster, or has no leader.
    """
    cluster = fleet.cluster(name)
    world = dataclasses.replace(world_of(fleet.clusters.values()), passwords=cluster.passwords)
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
    configuration = await patroni.read_configuration(shell, leader.member)
    standby = configuration.get("standby_cluster")
    if not standby:
        raise Refused(
            f"{name} is no standby cluster: it is promoted already",
            where=name,
            untouched=NOTHING,
            next_command=f"pgdolly status {name}; its backups: pgdolly cleanup {name}",
        )
    upstream = Upstream.of_configuration(standby)
    position: Position | None = None
    problem: PgdollyError | None = None
    try:
        position = await ask_upstream(shell, leader.member, upstream, bin_directory=leader.bin_directory)
    except CommandFailed as error:
        problem = error
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
            configuration=configuration,
            upstream=upstream,
            position=position,
            problem=problem,
            replayed=LSN.parse(replayed) if replayed else None,
            catalogue=catalogue,
            marked=marked,
            source=await _source_of(fleet, upstream, world) if standby.get("primary_slot_name") else None,
        ),
        world,
    )


async def _source_of(fleet: Fleet, upstream: Upstream, world: World) -> MemberFacts | None:
    for cluster in fleet.clusters.values():
        if any(member.node.address in upstream.hosts for member in cluster.members):
            facts = await observe_cluster(world, cluster)
            return facts.leader or next(iter(facts.members), None)
    return None


def decide(facts: PromotionFacts, *, now: bool, backup: bool) -> Promotion:
    """:raises Refused: if it cannot be told what would be missing, and that was not accepted."""
    name = facts.cluster.cluster.name
    if facts.position is None and not now:
        assert facts.problem is not None
        raise Refused(
            f"its upstream {facts.upstream} does not answer, so nobody can tell what {name} lacks; it has replayed "
            f"to {facts.replayed}",
            where=name,
            untouched=NOTHING,
            next_command=f"pgdolly promote {name} --now, which takes what is there",
        )
    standby = facts.configuration["standby_cluster"]
    current = facts.catalogue.current if facts.catalogue is not None else None
    own = all((found.first_line or "").startswith(MARK) for found in facts.marked.values())
    replicas = [member for member in facts.cluster.members if member is not facts.leader]
    return Promotion(
        leader=instance_of(facts.leader),
        replicas=tuple(instance_of(member) for member in replicas),
        stanza=facts.leader.stanza,
        upstream=None if now else facts.upstream,
        delayed=bool(standby.get("recovery_min_apply_delay")),
        stanza_need="create"
        if current is None
        else ("nothing" if current.system_identifier == facts.leader.system_identifier else "upgrade"),
        own_passwords=own,
        slot=standby.get("primary_slot_name") if facts.source is not None else None,
        source=instance_of(facts.source) if facts.source is not None else None,
        backup=backup,
    )


def plan_promotion(facts: PromotionFacts, promotion: Promotion) -> Plan:
    """Pure."""
    name, lag = facts.cluster.cluster.name, _lag(facts)
    lines = [f"{name} no longer follows {facts.upstream} and is a cluster of its own"]
    if promotion.upstream is not None:
        lines.append(f"before that it replays what {facts.upstream} has then: {lag} behind now")
    else:
        lines.append(f"it is cut off where it stands (--now): {lag}")
    lines.append(
        {
            "create": f"stanza {promotion.stanza} is created",
            "upgrade": f"stanza {promotion.stanza} is of another system and is upgraded",
            "nothing": f"stanza {promotion.stanza} is of this system",
        }[promotion.stanza_need]
    )
    lines.append("a full backup follows" if promotion.backup else "no backup is taken (--no-backup)")
    warnings = []
    if not promotion.own_passwords:
        warnings.append(
            f"patroni.yml of {name} was not made by pgdolly: its roles keep the passwords that are in it, and a "
            "standby_cluster in its bootstrap section has to be taken out there by hand"
        )
    standby = facts.configuration["standby_cluster"]
    if standby.get("primary_slot_name") and promotion.slot is None:
        warnings.append(
            f"slot {standby['primary_slot_name']} at {facts.upstream} is not dropped: no node of the inventory has it"
        )
    return Plan(
        operation="promote",
        target=name,
        summary=tuple(lines),
        warnings=tuple(warnings),
        facts=tuple(sorted(present_facts(facts).items())),
        stages=tuple(promotion_stages(promotion)),
    )


def _lag(facts: PromotionFacts) -> str:
    if facts.position is None or facts.replayed is None:
        return f"nobody can tell how much it lacks; it has replayed to {facts.replayed}"
    behind = max(0, facts.position.lsn.position - facts.replayed.position)
    return f"{behind:,} bytes of WAL ({facts.replayed} of {facts.position.lsn})"


def present_facts(facts: PromotionFacts) -> dict[str, str]:
    """What the plan stands on."""
    return {
        f"leader of {facts.cluster.cluster.name}": facts.leader.member.name,
        f"system identifier of {facts.leader.member.name}": str(facts.leader.system_identifier),
        "upstream": str(facts.upstream),
    }


async def prepare(fleet: Fleet, name: str, *, now: bool = False, backup: bool = True) -> PreparedPromotion:
    """Observe, refuse and plan."""
    facts, world = await observe(fleet, name)
    return PreparedPromotion(
        plan_promotion(facts, decide(facts, now=now, backup=backup)), facts, fleet, world
    )


async def execute_prepared(prepared: PreparedPromotion, emit: Listener) -> RunRecord:
    """Look again, and carry the plan out.

    :raises StalePlan: if a fact has changed since the plan was shown.
    """
    cluster: Cluster = prepared.facts.cluster.cluster
    facts, world = await observe(prepared.fleet, cluster.name)
    refuse_stale(prepared.plan, present_facts(facts))
    return await carry_out(
        prepared.plan, world, cluster.members, emit, request={"inventory": list(prepared.fleet.sources)}
    )


async def resume(run: RunRecord, fleet: Fleet, emit: Listener) -> RunRecord:
    """Take up an interrupted promotion."""
    cluster = fleet.cluster(run.target)
    world = dataclasses.replace(world_of(fleet.clusters.values()), passwords=cluster.passwords)
    return await take_up(run.run_id, world, cluster.members, emit)
