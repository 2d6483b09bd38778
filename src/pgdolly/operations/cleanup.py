"""The post-PITR clean-up: a stanza that takes the clone's WAL, archiving on every member, a first full backup."""

from __future__ import annotations

from dataclasses import dataclass

from pgdolly.domain.backup import Catalogue
from pgdolly.domain.cluster import Member
from pgdolly.domain.errors import PgdollyError, Refused
from pgdolly.domain.lsn import LSN, WalSegment
from pgdolly.domain.timeline import TimelineHistory, history_file_name
from pgdolly.drivers import postgres
from pgdolly.drivers.catalogue import read_catalogue
from pgdolly.drivers.observation import MemberFacts
from pgdolly.engine.events import Listener
from pgdolly.engine.plan import Lane, Plan, Stage
from pgdolly.engine.record import RunRecord
from pgdolly.engine.step import Step
from pgdolly.inventory.fleet import Fleet
from pgdolly.operations.locking import held, promotion_given_up
from pgdolly.operations.request import NOTHING
from pgdolly.operations.running import carry_out, refuse_stale
from pgdolly.operations.site import ClusterFacts, instance_of, observe_cluster, refuse_silent, world_of
from pgdolly.operations.standby import Upstream, upstream_of
from pgdolly.steps.stanza import CheckStanza, EnableArchiving, MendStanza, TakeBackup
from pgdolly.steps.verify import VerifyCluster
from pgdolly.steps.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanupFacts:
    """The cluster, its stanza (None: there is none), and where its leader writes now."""

    cluster: ClusterFacts
    leader: MemberFacts
    catalogue: Catalogue | None
    timeline: int
    lsn: LSN
    history: TimelineHistory


@dataclass(frozen=True, slots=True)
class PreparedCleanup:
    """A clean-up that was shown to be possible; nothing has been touched."""

    plan: Plan
    facts: CleanupFacts
    world: World
    fleet: Fleet


async def observe(fleet: Fleet, name: str) -> tuple[CleanupFacts, World]:
    """Look at the cluster and its stanza.

    :raises Refused: if it has no leader: its WAL has nobody to archive it; or if its WAL is another cluster's.
    """
    cluster = fleet.cluster(name)
    world = world_of([cluster])
    facts = await observe_cluster(world, cluster)
    refuse_standby(name, upstream_of(fleet, facts))
    await refuse_silent(world, facts, alive="archiving would stay off there, and stop at a failover to it")
    leader = facts.leader
    if leader is None or not leader.running:
        raise Refused(
            f"{name} has no running leader: nothing can be backed up",
            where=name,
            untouched=NOTHING,
            next_command=f"pgdolly status {name}",
        )
    _refuse_recovery(name, leader)
    shell, instance = world.shell(leader.member), instance_of(leader)
    try:
        catalogue = await read_catalogue(shell.run, leader.stanza, config=leader.member.pgbackrest_config)
    except PgdollyError:
        catalogue = None  # no stanza yet; what else is wrong with the repository, stanza-create will say
    # After the catalogue: what a busy leader archives in between would look like another clone's WAL.
    sql = "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), pg_current_wal_lsn()"
    [[timeline, lsn]] = await postgres.query(
        shell,
        await postgres.public_sql_command(shell, instance, sql),
        doing="ask the leader for its timeline",
    )
    histories = await postgres.read_histories(shell, instance)
    number = int(timeline, 16)
    text = histories.get(history_file_name(number), "")
    return (
        CleanupFacts(
            cluster=facts,
            leader=leader,
            catalogue=catalogue,
            timeline=number,
            lsn=LSN.parse(lsn),
            history=TimelineHistory.parse(number, text),
        ),
        world,
    )


def _refuse_recovery(name: str, leader: MemberFacts) -> None:
    """:raises Refused: if what runs is a recovery of pgdolly's, which is not promoted."""
    if not leader.private:
        return
    if leader.lock is not None:
        raise held(name, leader.member.name, leader.lock)
    by = f" of run {leader.abandoned.run_id}, which was given up" if leader.abandoned is not None else ""
    raise Refused(
        f"what runs on {leader.member.name} is the recovery{by}: nobody leads, and nothing can be backed up",
        where=name,
        untouched=NOTHING,
        next_command=f"pgdolly reset {name}, with the source and target that it is to have",
    )


def refuse_standby(name: str, upstream: Upstream | None) -> None:
    """:raises Refused: if it follows another cluster."""
    if upstream is not None:
        raise Refused(
            f"{name} is a standby cluster of {upstream.name}: it writes no WAL of its own, and its own backup history "
            "begins when it is promoted",
            where=name,
            untouched=NOTHING,
            next_command=f"pgdolly promote {name}",
        )


def refuse(facts: CleanupFacts) -> None:
    """:raises Refused: if the stanza cannot be made to take this cluster's WAL by an upgrade."""
    for member in facts.cluster.members:
        if member.lock is not None:
            raise held(facts.cluster.cluster.name, member.member.name, member.lock)
        if member.stop_files:
            raise Refused(
                f"pgBackRest is stopped there: {', '.join(member.stop_files)}",
                where=member.member.name,
                untouched=NOTHING,
                next_command=f"pgbackrest --stanza={member.stanza} start, on {member.member.name}",
            )
    given_up = promotion_given_up(facts.cluster)
    if given_up is not None:
        raise Refused(
            f"run {given_up.run_id} ({given_up.operation}) was given up before this was a cluster of its own: its "
            "passwords and its way to the source's archive may be the source's still",
            where=facts.cluster.cluster.name,
            untouched=NOTHING,
            next_command=f"pgdolly promote {facts.cluster.cluster.name}, which ends that and takes a backup",
        )
    collision = colliding_history(facts)
    if collision is not None:
        stanza = facts.leader.stanza
        raise Refused(
            f"stanza {stanza} holds WAL of another clone of the same source on timeline {facts.timeline}: "
            f"{collision}; WAL of this cluster would collide with it [045]",
            where=facts.cluster.cluster.name,
            untouched=NOTHING,
            next_command="reset it again with pgdolly, which begins a timeline that is free; or give those backups "
            "up: pb stop --force; pb stanza-delete --force; pb start; pb stanza-create",
        )


def colliding_history(facts: CleanupFacts) -> str | None:
    """Why the archive's WAL of this timeline is not this cluster's, if that can be told.

    A second clone of one source has the same system identifier, so pgBackRest takes its WAL for the first
    one's: pgBackRest issue 1908.
    """
    current = facts.catalogue.current if facts.catalogue else None
    if (
        facts.catalogue is None
        or current is None
        or current.system_identifier != facts.leader.system_identifier
    ):
        return None
    for archive in facts.catalogue.archives:
        if archive.archive_id != current.archive_id:
            continue
        own = [a.segment for a in archive.segments if a.segment.timeline == facts.timeline]
        here = WalSegment.holding(facts.timeline, facts.lsn, facts.leader.segment_size)
        if own and own[-1].number > here.number:
            return f"{own[-1].name} is there, and the leader is at {here.name}"
        theirs = next((h for h in archive.histories if h.timeline == facts.timeline), None)
        if theirs is not None and _forks(theirs) != _forks(facts.history):
            return f"its {history_file_name(facts.timeline)} tells of another fork"
    return None


def _forks(history: TimelineHistory) -> list[tuple[int, LSN]]:
    return [(fork.parent, fork.at) for fork in history.forks]


def stanza_need(facts: CleanupFacts) -> str:
    """`create`, `upgrade` or `nothing`."""
    current = facts.catalogue.current if facts.catalogue else None
    if current is None:
        return "create"
    return "nothing" if current.system_identifier == facts.leader.system_identifier else "upgrade"


def has_own_backup(facts: CleanupFacts) -> bool:
    """Whether the stanza holds a backup of the timeline that the cluster is on."""
    current = facts.catalogue.current if facts.catalogue else None
    return (
        facts.catalogue is not None
        and current is not None
        and current.system_identifier == facts.leader.system_identifier
        and any(
            backup.history_id == current.history_id and backup.timeline == facts.timeline and not backup.error
            for backup in facts.catalogue.backups
        )
    )


def plan_cleanup(facts: CleanupFacts, *, backup: bool) -> Plan:
    """The plan; steps that find nothing to do say so when they run."""
    name, stanza = facts.cluster.cluster.name, facts.leader.stanza
    leader = instance_of(facts.leader)
    replicas = [member for member in facts.cluster.members if member is not facts.leader]
    need, backs_up = stanza_need(facts), backup and not has_own_backup(facts)
    stages = []
    if need in ("create", "upgrade"):
        mend = MendStanza(
            instance=leader, stanza=stanza, need="create" if need == "create" else "upgrade", online=True
        )
        stages.append(Stage("mend the stanza", (Lane(facts.leader.member.name, (mend,)),)))
    enable: list[Step] = [
        EnableArchiving(instance=instance_of(r), stanza=stanza, patroni_name=r.patroni_name, leader=leader)
        for r in replicas
    ]
    enable.append(EnableArchiving(instance=leader, stanza=stanza, patroni_name=facts.leader.patroni_name))
    # One member after the other, the leader last: the cluster stays readable, and has its leader but for its restart.
    stages.append(Stage("see that every member archives", (Lane(name, tuple(enable)),)))
    left_out = tuple(_left_out(member) for member, _ in facts.cluster.silent)
    verify = VerifyCluster(
        leader=leader,
        replicas=tuple(instance_of(r) for r in replicas),
        archive=True,
        left_out=left_out,
    )
    last: list[Step] = [verify, CheckStanza(instance=leader, stanza=stanza)]
    if backs_up:
        last.append(TakeBackup(instance=leader, stanza=stanza, backup_type="full"))
    stages.append(Stage("verify and back up", (Lane(facts.leader.member.name, tuple(last)),)))
    return Plan(
        operation="cleanup",
        target=name,
        summary=_summary(facts, need, backup=backup, backs_up=backs_up),
        warnings=tuple(
            f"{text} ({error.what})" for text, (_, error) in zip(left_out, facts.cluster.silent, strict=True)
        ),
        facts=tuple(sorted(present_facts(facts).items())),
        stages=tuple(stages),
    )


def _left_out(member: Member) -> str:
    """That a member was left out, and what to type once its node is up."""
    return (
        f"{member.name} is down and is LEFT OUT: if archive_mode is off in its postgresql.auto.conf it stays so, and "
        f"archiving would stop at a failover to it. Once its node is up and it streams, type:  "
        f"pgdolly cleanup {member.cluster}"
    )


def _summary(facts: CleanupFacts, need: str, *, backup: bool, backs_up: bool) -> tuple[str, ...]:
    off = [m.member.name for m in facts.cluster.members if m.archive_mode_kept == "off"]
    stanza = facts.leader.stanza
    if backs_up:
        last = "a full backup follows"
    elif backup:
        last = f"no backup is taken: stanza {stanza} has one of timeline {facts.timeline}"
    else:
        last = (
            "no backup is taken (--no-backup): there is nothing to restore from until the schedule takes one"
        )
    return (
        f"{facts.cluster.cluster.name} gets a working backup history of its own, in stanza {stanza}",
        {
            "create": f"stanza {stanza} does not exist and is created",
            "upgrade": f"stanza {stanza} is of another system [051] and is upgraded; its old backups stay restorable",
            "nothing": f"stanza {stanza} is of this system",
        }[need],
        f"archiving is turned on on {', '.join(off)}, each restarted through Patroni"
        if off
        else "archiving is not turned off on any member",
        last,
    )


def present_facts(facts: CleanupFacts) -> dict[str, str]:
    """What the plan stands on."""
    answering = sorted(member.member.name for member in facts.cluster.members)
    return {
        f"members of {facts.cluster.cluster.name} that answer": ", ".join(answering),
        f"leader of {facts.cluster.cluster.name}": facts.leader.member.name,
        f"system identifier of {facts.leader.member.name}": str(facts.leader.system_identifier),
        f"timeline of {facts.leader.member.name}": str(facts.timeline),
    }


async def prepare(fleet: Fleet, name: str, *, backup: bool = True) -> PreparedCleanup:
    """Observe, refuse and plan."""
    facts, world = await observe(fleet, name)
    refuse(facts)
    return PreparedCleanup(plan_cleanup(facts, backup=backup), facts, world, fleet)


async def execute_prepared(prepared: PreparedCleanup, emit: Listener) -> RunRecord:
    """Look again, and carry the plan out; every step looks once more before it does something.

    :raises StalePlan: if a fact has changed since the plan was shown.
    """
    cluster = prepared.facts.cluster.cluster
    facts, _ = await observe(prepared.fleet, cluster.name)
    refuse_stale(prepared.plan, present_facts(facts))
    return await carry_out(
        prepared.plan,
        prepared.world,
        [member.member for member in facts.cluster.members],
        emit,
        request={
            "inventory": list(prepared.fleet.sources),
            "members": [member.member.name for member in facts.cluster.members],
        },
    )
