"""Ask a member's node what it is like, in one call."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from pgdolly.domain.cluster import Member, ServiceManager
from pgdolly.domain.command import Command
from pgdolly.domain.errors import InvalidInput, NoCluster
from pgdolly.domain.lsn import DEFAULT_SEGMENT_SIZE
from pgdolly.drivers.node_program import node_program, run_node_program
from pgdolly.drivers.patroni import ClusterView, StandbyCluster, parse_cluster_view, parse_standby_cluster
from pgdolly.transport.shell import Shell


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLock:
    """Who holds a member: the run, and the controller that began it."""

    run_id: str
    controller: str = "?"
    pid: int | None = None
    operation: str = "?"
    began_at: str = "?"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberFacts:
    """What one member's node says of itself. Sizes in bytes."""

    member: Member  # with the service manager that was found
    scope: str
    patroni_name: str
    patroni_version: str
    superuser: str
    rest_address: str | None
    bin_directory: PurePosixPath
    data_directory: PurePosixPath
    real_data_directory: PurePosixPath
    postgres_version: str
    pgbackrest_version: str
    running: bool
    socket_directory: str | None
    running_port: int | None
    has_data: bool
    standby: bool
    tablespaces: int
    control: dict[str, str] = field(default_factory=dict)
    control_problem: str | None = None
    archive_mode_kept: str | None = None
    stanza: str
    spool_path: PurePosixPath
    stop_files: tuple[str, ...] = ()
    free_bytes: int = 0
    data_bytes: int | None = None
    writable: bool = True
    timezone: str = "UTC"
    lock: RunLock | None = None
    abandoned: RunLock | None = None  # the last run was given up half way
    cluster: ClusterView | None = None
    primary_timeline: int | None = None
    standby_cluster: StandbyCluster | None = None  # what the cluster follows; None for one of its own

    @property
    def system_identifier(self) -> int | None:
        text = self.control.get("Database system identifier")
        return int(text) if text else None

    @property
    def timeline(self) -> int | None:
        """A running primary's own; else that of the last checkpoint, which may be an earlier one."""
        text = self.control.get("Latest checkpoint's TimeLineID")
        return self.primary_timeline or (int(text) if text else None)

    @property
    def private(self) -> bool:
        """Whether what runs is a recovery of pgdolly's, which only its node can see."""
        return self.socket_directory == str(self.member.work_directory / "private")

    @property
    def segment_size(self) -> int:
        return int(self.control.get("Bytes per WAL segment", DEFAULT_SEGMENT_SIZE))

    @property
    def major(self) -> int:
        return int(self.postgres_version.split(".")[0])


def observe_command(member: Member, *, measure: bool = False) -> Command:
    """The command that asks; `measure` adds the size of the data directory, which takes a walk over it."""
    return node_program(
        member,
        "observe",
        {
            "patroni_config": member.patroni_config,
            "data_directory": member.data_directory,
            "pgbackrest_config": str(member.pgbackrest_config) if member.pgbackrest_config else None,
            "bin_directory": str(member.bin_directory) if member.bin_directory else None,
            "work_directory": member.work_directory,
            "service": member.service,
            "measure": measure,
        },
        f"look at {member.name}",
    )


async def observe_member(shell: Shell, member: Member, *, measure: bool = False) -> MemberFacts:
    """:raises NoCluster: if the node holds none.
    :raises InvalidInput: if it lacks PostgreSQL, pgBackRest or a readable Patroni configuration.
    """
    return parse_facts(
        member, await run_node_program(shell, observe_command(member, measure=measure), timeout_seconds=600)
    )


def parse_facts(member: Member, found: dict[str, Any]) -> MemberFacts:
    """Make facts of what the node's program printed."""

    def problem(what: str, next_command: str) -> InvalidInput:
        return InvalidInput(
            what, where=member.name, untouched="nothing was changed", next_command=next_command
        )

    patroni, directory = found.get("patroni"), found["data_directory"]
    if (patroni is None or not patroni.get("scope")) and directory["empty"]:
        raise NoCluster(
            f"it holds no cluster: no Patroni configuration in {member.patroni_config}, no data in {directory['path']}",
            where=member.name,
            untouched="nothing was changed",
            next_command=f"make one: pgdolly clone SOURCE {member.cluster}; or set pg_data and pgdolly_patroni_config "
            "in the inventory",
        )
    if patroni is None:
        raise problem(
            f"Patroni's configuration cannot be read: {found.get('patroni_problem')}",
            "set pgdolly_patroni_config in the inventory",
        )
    if not patroni.get("scope"):
        raise problem(
            f"{member.patroni_config} names no scope", "set pgdolly_patroni_config in the inventory"
        )
    if not found.get("postgres_version"):
        raise problem(
            f"PostgreSQL is not to be found: {found.get('postgres_problem')}",
            "set pg_bin_dir in the inventory",
        )
    if not found.get("pgbackrest_version"):
        raise problem(
            f"pgBackRest is not to be found: {found.get('pgbackrest_problem')}", "install pgbackrest"
        )
    lock, abandoned = found.get("lock"), found.get("abandoned")
    if member.service_manager is not ServiceManager.SUPERVISOR and found["systemd"]["known"]:
        member = dataclasses.replace(
            member,
            service_manager=ServiceManager.SYSTEMD,
            # A run that was given up half way has left it disabled.
            service_enabled=found["systemd"]["enabled"] or abandoned is not None,
        )
    postmaster = found.get("postmaster") or {}
    cluster = found.get("cluster")
    return MemberFacts(
        member=member,
        scope=str(patroni["scope"]),
        patroni_name=str(patroni["name"]),
        patroni_version=str(patroni["version"]),
        superuser=str(patroni["superuser"]),
        rest_address=patroni.get("rest_address"),
        bin_directory=PurePosixPath(found["bin_directory"]),
        data_directory=PurePosixPath(patroni.get("data_directory") or directory["path"]),
        real_data_directory=PurePosixPath(directory["real_path"]),
        postgres_version=str(found["postgres_version"]),
        pgbackrest_version=str(found["pgbackrest_version"]),
        running=bool(postmaster),
        socket_directory=postmaster.get("socket_directory"),
        running_port=postmaster.get("port"),
        has_data=bool(directory["has_version"]),
        standby=bool(directory["standby"]),
        tablespaces=int(directory["tablespaces"]),
        control=found.get("control") or {},
        control_problem=found.get("control_problem"),
        archive_mode_kept=found.get("archive_mode_kept"),
        stanza=found["stanza"]["stanza"] or member.cluster,
        spool_path=PurePosixPath(found["stanza"]["spool_path"]),
        stop_files=tuple(found["stanza"]["stop_files"]),
        free_bytes=int(found["free_bytes"]),
        data_bytes=found.get("data_bytes"),
        writable=bool(found["writable"]),
        timezone=str(found["timezone"][0]),
        lock=RunLock(**lock) if lock else None,
        abandoned=RunLock(**abandoned) if abandoned else None,
        cluster=parse_cluster_view(cluster) if cluster and "members" in cluster else None,
        standby_cluster=parse_standby_cluster(found.get("standby_cluster")),
        primary_timeline=found.get("timeline"),
    )
