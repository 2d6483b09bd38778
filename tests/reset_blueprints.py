"""Resets, decided: blueprints of three members, and what was observed of them, to build plans from."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from pgdolly.domain.backup import Archive, BackupSet, Catalogue, DatabaseSystem
from pgdolly.domain.cluster import Cluster, Member, Node, ServiceManager
from pgdolly.domain.lsn import LSN, WalSegment
from pgdolly.domain.target import RecoveryTarget, TargetAction, TargetType
from pgdolly.domain.timeline import Fork, TimelineHistory
from pgdolly.drivers.observation import MemberFacts
from pgdolly.drivers.patroni import ClusterView, MemberView
from pgdolly.drivers.pgbackrest import RestoreSource
from pgdolly.drivers.server_state import ArchiverState, ServerState, Written
from pgdolly.operations.reset.blueprint import MemberBlueprint, ResetBlueprint
from pgdolly.operations.reset.describe import describe, warnings_of
from pgdolly.operations.reset.observe import ResetFacts
from pgdolly.operations.site import ClusterFacts, instance_of
from pgdolly.recovery.resolved import ResolvedRecovery

SOURCE_SYSTEM, TARGET_SYSTEM = 7588470953413201282, 7588470953413209999
TIME = RecoveryTarget(type=TargetType.TIME, time=datetime(2025, 12, 27, 9, 50, tzinfo=UTC))
LATEST = RecoveryTarget()
MEGABYTE = 1024 * 1024


def member(cluster: str, sequence: int) -> Member:
    name = f"{cluster}-{sequence}"
    host = sequence if cluster == "pg-meta" else sequence + 10
    return Member(
        name=name,
        cluster=cluster,
        sequence=sequence,
        role="primary" if sequence == 1 else "replica",
        node=Node(name=name, address=f"10.10.10.{host}", connection="local"),
        patroni="/opt/bin/patroni",
        service_manager=ServiceManager.SUPERVISOR,
        service=name,
        supervisor_config=PurePosixPath("/etc/supervisord.conf"),
    )


def cluster(name: str, count: int) -> Cluster:
    return Cluster(
        name=name, members=tuple(member(name, number) for number in range(1, count + 1)), version=18
    )


def member_facts(of: Member, *, system: int, **changed: Any) -> MemberFacts:
    """A healthy member that runs, the first one as the leader."""
    view = ClusterView(
        scope=of.cluster,
        members=(MemberView(name=f"{of.cluster}-1", role="leader", state="running", timeline=1),),
    )
    facts = MemberFacts(
        member=of,
        scope=of.cluster,
        patroni_name=of.name,
        patroni_version="4.0.7",
        superuser="postgres",
        rest_address=None,
        bin_directory=PurePosixPath("/usr/lib/postgresql/18/bin"),
        data_directory=of.data_directory,
        real_data_directory=of.data_directory,
        postgres_version="18.1",
        pgbackrest_version="2.57.0",
        running=True,
        socket_directory="/run/postgresql",
        running_port=5432,
        has_data=True,
        standby=of.sequence != 1,
        tablespaces=0,
        control={"Database system identifier": str(system), "Latest checkpoint's TimeLineID": "1"},
        stanza=of.cluster,
        spool_path=PurePosixPath("/pg/spool"),
        free_bytes=1024 * MEGABYTE,
        data_bytes=100 * MEGABYTE,
        cluster=view,
    )
    return dataclasses.replace(facts, **changed)


def backup_set() -> BackupSet:
    segment = WalSegment.parse("000000010000000000000004")
    return BackupSet(
        label="20251227-090000F",
        type="full",
        repo_key=1,
        history_id=1,
        start_at=datetime(2025, 12, 27, 9, 0, tzinfo=UTC),
        stop_at=datetime(2025, 12, 27, 9, 1, tzinfo=UTC),
        start_lsn=LSN.parse("0/4000028"),
        stop_lsn=LSN.parse("0/4000158"),
        start_segment=segment,
        stop_segment=segment,
        database_size=150 * MEGABYTE,
        repository_size=30 * MEGABYTE,
    )


def catalogue(stanza: str, *, system: int, archives: tuple[Archive, ...] = ()) -> Catalogue:
    return Catalogue(
        stanza=stanza,
        systems=(DatabaseSystem(history_id=1, version="18", system_identifier=system, repo_key=1),),
        backups=(backup_set(),),
        archives=archives,
    )


def reset_facts(
    *, in_place: bool = False, members: int = 3, stanza: Catalogue | None = None, no_stanza: bool = False
) -> ResetFacts:
    """pg-test is reset to the state of pg-meta; with `in_place`, pg-test to its own."""
    target_cluster = cluster("pg-test", members)
    system = SOURCE_SYSTEM if in_place else TARGET_SYSTEM
    target = ClusterFacts(
        cluster=target_cluster,
        members=tuple(member_facts(each, system=system) for each in target_cluster.members),
    )
    source_cluster = cluster("pg-meta", 1)
    source = ClusterFacts(
        cluster=source_cluster,
        members=tuple(member_facts(each, system=SOURCE_SYSTEM) for each in source_cluster.members),
    )
    own = None if no_stanza else stanza or catalogue("pg-test", system=system)
    return ResetFacts(
        target=target,
        source=target if in_place else source,
        source_stanza="pg-test" if in_place else "pg-meta",
        target_stanza="pg-test",
        catalogue=catalogue("pg-test" if in_place else "pg-meta", system=SOURCE_SYSTEM),
        target_catalogue=own,
        leader=target.members[0],
        server=archiving_server() if in_place else None,
    )


def archiving_server() -> ServerState:
    """What a leader says that archives as it should."""
    on = Written(value="on")
    return ServerState(
        in_recovery=False,
        system_identifier=SOURCE_SYSTEM,
        timeline=2,
        lsn=LSN.parse("0/9000060"),
        archive_mode="on",
        archive_mode_written=on,
        archive_mode_configured="on",
        archive_mode_pending=False,
        archive_command=Written(value="pgbackrest --stanza=pg-test archive-push %p"),
        archive_library="",
        archiver=ArchiverState(),
    )


def resolved(
    target: RecoveryTarget = TIME, *, timeline: int = 1, pinned: bool = False, stanza: str = "pg-meta"
) -> ResolvedRecovery:
    last = WalSegment(timeline, 8)
    forks = (Fork(1, LSN.parse("0/5000000"), "no recovery target specified"),) if timeline > 1 else ()
    return ResolvedRecovery(
        stanza=stanza,
        repo_key=1,
        history_id=1,
        archive_id="18-1",
        system_identifier=SOURCE_SYSTEM,
        postgres_version="18",
        backup=backup_set(),
        timeline=timeline,
        history=TimelineHistory(timeline, forks),
        history_archived=timeline > 1,
        target=target,
        first_segment=backup_set().start_segment,
        last_segment=last,
        reachable_segment=last,
        pinned_segment=last if pinned else None,
        wal_segments=5,
        wal_size=5 * MEGABYTE,
        highest_timeline=timeline,
        crosses_timelines=timeline > 1,
        notes=(),
    )


def blueprint(
    target: RecoveryTarget = TIME,
    *,
    members: int = 3,
    in_place: bool = False,
    timeline: int = 1,
    kept: str | None = None,
    beside: str | None = None,
    pinned: bool = False,
    placeholders: tuple[int, ...] = (),
    unreadable: tuple[str, ...] = (),
    **changed: Any,
) -> ResetBlueprint:
    """What `decide` would write for it.

    :param kept: where the old data goes.
    :param beside: another data directory.
    :param unreadable: the replicas that cannot read the backup set.
    """
    facts = reset_facts(in_place=in_place, members=members)
    chosen = resolved(target, timeline=timeline, pinned=pinned, stanza=facts.source_stanza)
    archives = bool(changed.get("archive") or changed.get("cleanup"))

    def of(each: MemberFacts) -> MemberBlueprint:
        return MemberBlueprint(
            instance=instance_of(each),
            patroni_name=each.patroni_name,
            spool_directory=str(each.spool_path / "archive" / each.stanza),
            kept=kept,
            unreadable="missing stanza path" if each.member.name in unreadable else None,
            source=RestoreSource(
                stanza=chosen.stanza,
                repo_key=chosen.repo_key,
                backup_set=chosen.backup_set,
                keep_archiving=archives,
                pinned_segment=chosen.pinned_segment,
                archive_async=True,
            ),
        )

    leader, *replicas = (of(each) for each in facts.target.members)
    if beside is not None:
        directory = PurePosixPath(beside)
        leader = dataclasses.replace(
            leader, instance=dataclasses.replace(leader.instance, data_directory=directory)
        )
        replicas = []
    fields: dict[str, Any] = {
        "action": TargetAction.PROMOTE,
        "archive": False,
        "cleanup": False,
        "stanza_need": "nothing" if in_place else "upgrade",
        **changed,
    }
    made = ResetBlueprint(
        target_cluster="pg-test",
        source_cluster=facts.source.cluster.name,
        stanza="pg-test",
        resolved=chosen,
        leader=leader,
        replicas=tuple(replicas),
        placeholders=placeholders,
        segment_size=chosen.first_segment.size,
        beside=beside is not None,
        facts=(("leader of pg-test", "pg-test-1"),),
        **fields,
    )
    return dataclasses.replace(made, summary=describe(made, facts), warnings=warnings_of(made, facts))
