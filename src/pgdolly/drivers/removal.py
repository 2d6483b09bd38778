"""What is left of a cluster on a member's node, and the commands that remove it.

Unlike `observation.py` it needs nothing to be there: a clone that failed leaves a part of a cluster behind.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from pgdolly.domain.cluster import Member, ServiceManager
from pgdolly.domain.command import Command
from pgdolly.domain.draft import MARK
from pgdolly.domain.errors import InvalidInput
from pgdolly.drivers import services
from pgdolly.drivers.followers import Followers, Sender, parse_senders
from pgdolly.drivers.node_program import node_program, run_node_program
from pgdolly.drivers.observation import RunLock, observe_command
from pgdolly.drivers.patroni import ClusterView, parse_cluster_view
from pgdolly.drivers.postgres import Instance
from pgdolly.drivers.repository import pgbackrest_path, upstream_path
from pgdolly.transport.shell import Shell

UNITS = PurePosixPath("/etc/systemd/system")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationFile:
    """A file that makes a node a member.

    :param made: `pgdolly clone` wrote it, or began to: nothing is in it.
    :param by_root: the database's account cannot remove it.
    """

    path: PurePosixPath
    made: bool
    empty: bool = False
    by_root: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """What there is of one member. Whatever is not there is None, empty or false.

    :param serviced: its service is known; `up` says that it runs.
    :param configured: Patroni's configuration is there and names a scope.
    :param objection: why its data directory must not be emptied.
    :param stays: the directory itself is a mount point or a link.
    :param stanza: whose `pg1-path` in pgBackRest's configuration is the data directory.
    :param stopped: pgBackRest's stop file of the stanza is there: by somebody's hand, or a killed drop has left it.
    :param fillers: restores into the directory that still go on.
    :param pgpass: where its Patroni keeps its replication password, if a clone's configuration names the file.
    :param work: what lies in pgdolly's work directory, but for the lock.
    :param lockable: a lock can be put there.
    :param beside: paths that begin as the data directory does: old data that was kept.
    """

    member: Member
    serviced: bool = False
    up: bool = False
    configured: bool = False
    scope: str | None = None
    patroni_name: str
    superuser: str = "postgres"
    bin_directory: PurePosixPath = PurePosixPath()
    patroni_data_directory: PurePosixPath | None = None
    real_directory: PurePosixPath
    running: bool = False
    standby: bool = False
    empty: bool = True
    stays: bool = False
    objection: str | None = None
    system_identifier: str | None = None
    tablespaces: tuple[PurePosixPath, ...] = ()
    shared_tablespaces: tuple[str, ...] = ()
    wal_directory: PurePosixPath | None = None
    slots: tuple[str, ...] = ()
    senders: tuple[Sender, ...] = ()
    patronis: tuple[int, ...] = ()
    fillers: tuple[str, ...] = ()
    stanza: str | None = None
    stopped: bool = False
    spool_path: PurePosixPath | None = None
    files: tuple[ConfigurationFile, ...] = ()
    pgpass: PurePosixPath | None = None
    work: tuple[str, ...] = ()
    beside: tuple[PurePosixPath, ...] = ()
    lockable: bool = True
    lock: RunLock | None = None
    cluster: ClusterView | None = None

    @property
    def made(self) -> tuple[ConfigurationFile, ...]:
        return tuple(file for file in self.files if file.made)

    @property
    def followers(self) -> Followers:
        return Followers(member=self.member, senders=self.senders, slots=self.slots, fillers=self.fillers)

    @property
    def instance(self) -> Instance:
        return Instance(
            member=self.member,
            data_directory=self.member.data_directory,
            bin_directory=self.bin_directory,
            port=self.member.port,
            superuser=self.superuser,
        )


def files_of_clone(member: Member) -> tuple[PurePosixPath, ...]:
    """The files that `pgdolly clone` may have written for this member."""
    unit = member.service if "." in member.service else f"{member.service}.service"
    return (member.patroni_config, pgbackrest_path(member), upstream_path(member), UNITS / unit)


async def look_for_remains(shell: Shell, member: Member) -> Remains:
    """Look at what there is of a member; nothing of it need be there.

    :raises CommandFailed: if the node lacks Patroni's programs, by which it is looked at.
    """
    found = await run_node_program(shell, observe_command(member), timeout_seconds=600)
    postmaster, patroni = found.get("postmaster") or {}, found.get("patroni") or {}
    more = await run_node_program(
        shell,
        node_program(
            member,
            "remains",
            {
                "data_directory": member.data_directory,
                "bin_directory": found["bin_directory"],
                "socket_directory": postmaster.get("socket_directory"),
                "port": postmaster.get("port"),
                "superuser": patroni.get("superuser") or "postgres",
                "patroni_config": member.patroni_config,
                "work_directory": member.work_directory,
                "files": [str(path) for path in files_of_clone(member)],
                "mark": MARK,
            },
            f"look at what there is of {member.name}",
        ),
    )
    remains = parse_remains(member, found, more)
    serviced = await services.knows_service(shell, remains.member)
    up = serviced and await services.is_active(shell, remains.member)
    return dataclasses.replace(remains, serviced=serviced, up=up)


def parse_remains(member: Member, found: dict[str, Any], more: dict[str, Any]) -> Remains:
    """Put together what the two programs printed."""
    if member.service_manager is not ServiceManager.SUPERVISOR:
        manager = ServiceManager.SYSTEMD if found["systemd"]["known"] else None
        member = dataclasses.replace(
            member, service_manager=manager, service_enabled=found["systemd"]["enabled"]
        )
    patroni, stanza = found.get("patroni") or {}, found["stanza"]
    lock, cluster = found.get("lock"), found.get("cluster")
    named = patroni.get("data_directory")
    return Remains(
        member=member,
        configured=bool(patroni.get("scope")),
        scope=str(patroni["scope"]) if patroni.get("scope") else None,
        patroni_name=str(patroni.get("name") or member.name),
        superuser=str(patroni.get("superuser") or "postgres"),
        bin_directory=PurePosixPath(found["bin_directory"]),
        patroni_data_directory=PurePosixPath(named) if named else None,
        real_directory=PurePosixPath(found["data_directory"]["real_path"]),
        running=bool(found.get("postmaster")),
        standby=bool(found["data_directory"]["standby"]),
        empty=bool(more["empty"]),
        stays=bool(more["stays"]),
        objection=more["objection"],
        system_identifier=(found.get("control") or {}).get("Database system identifier"),
        tablespaces=tuple(map(PurePosixPath, more["tablespaces"])),
        shared_tablespaces=tuple(more["shared_tablespaces"]),
        wal_directory=PurePosixPath(more["wal_directory"]) if more["wal_directory"] else None,
        slots=tuple(more["slots"]),
        senders=parse_senders(more["senders"]),
        patronis=tuple(more["patronis"]),
        fillers=tuple(more["fillers"]),
        stanza=stanza["stanza"],
        stopped=bool(stanza["stanza"])
        and any(PurePosixPath(path).name == f"{stanza['stanza']}.stop" for path in stanza["stop_files"]),
        spool_path=PurePosixPath(stanza["spool_path"]) if stanza["stanza"] else None,
        files=tuple(
            ConfigurationFile(
                path=PurePosixPath(file["path"]),
                made=file["made"],
                empty=file["empty"],
                by_root=not file["removable"],
            )
            for file in more["files"]
        ),
        pgpass=PurePosixPath(more["pgpass"]) if more["pgpass"] else None,
        work=tuple(more["work"]),
        beside=tuple(map(PurePosixPath, more["beside"])),
        lockable=bool(more["lockable"]),
        lock=RunLock(**lock) if lock else None,
        cluster=parse_cluster_view(cluster) if cluster and "members" in cluster else None,
    )


def remove_data_command(
    member: Member,
    *,
    real_directory: PurePosixPath,
    tablespaces: tuple[PurePosixPath, ...] = (),
    wal_directory: PurePosixPath | None = None,
    spool: PurePosixPath | None = None,
    work: bool = True,
) -> Command:
    """Remove the data directory that the inventory names, and what is this member's beside it.

    :param work: pgdolly's work directory is this member's alone.
    """
    directories = [member.data_directory, *tablespaces]
    if spool is not None:
        directories.append(spool)
    shown = " ".join(f"{_plain(path)}" for path in directories)
    shown += f" {_plain(wal_directory)}/*" if wal_directory is not None else ""
    return node_program(
        member,
        "remove",
        {
            "data_directory": _plain(member.data_directory),
            "real_directory": _plain(real_directory),
            "tablespaces": [str(path) for path in tablespaces],
            "wal_directory": str(wal_directory) if wal_directory is not None else None,
            "spool": str(spool) if spool is not None else None,
            "work_directory": str(member.work_directory) if work else None,
            "patroni_config": member.patroni_config,
        },
        f"rm -r {shown}" + (f" {member.work_directory}/*" if work else ""),
    )


def remove_made_commands(
    member: Member,
    files: tuple[PurePosixPath, ...],
    by_root: tuple[PurePosixPath, ...],
    pgpass: PurePosixPath | None = None,
) -> tuple[Command, ...]:
    """Remove files that `pgdolly clone` wrote, after one more look at their first lines; units are forgotten then.

    :param pgpass: that of the member's Patroni, which goes with the configuration that names it.
    """
    unlink, leave = [_plain(path) for path in files], [_plain(path) for path in by_root]
    listed = " ".join([*([_plain(pgpass)] if pgpass is not None else []), *unlink])
    look = node_program(
        member,
        "remove_made",
        {
            "mark": MARK,
            "unlink": unlink,
            "leave": leave,
            "patroni_config": member.patroni_config,
            "pgpass": pgpass,
        },
        (f"rm {listed}" if listed else "look")
        + f'  # if the first line is "{MARK} …"'
        + (f", of {' '.join(leave)}, too" if leave and listed else ""),
    )
    removals = [Command(argv=("rm", "-f", "--", path), run_as="root") for path in leave]
    if any(path.parent == UNITS for path in (*files, *by_root)):
        removals.append(Command(argv=("systemctl", "daemon-reload"), run_as="root"))
    return (look, *removals)


def _plain(path: PurePosixPath) -> str:
    """:raises InvalidInput: if it is no absolute path below the root."""
    if not path.is_absolute() or ".." in path.parts or len(path.parts) < 2:
        raise InvalidInput(f"{str(path)!r} is nothing that could be removed", untouched="nothing was changed")
    return str(path)
