"""PostgreSQL on a node: a recovery that only this node can see, and SQL through psql.

Source: PostgreSQL, "pg_ctl", "Archive Recovery", "Recovery Target".
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from pgdolly.domain.cluster import Member
from pgdolly.domain.command import Command
from pgdolly.domain.lsn import LSN, WalSegment
from pgdolly.domain.target import RecoveryTarget
from pgdolly.domain.timeline import Fork, TimelineHistory, history_file_name
from pgdolly.drivers.node_program import node_job, node_program, run_node_program
from pgdolly.transport.shell import Shell, run_checked


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A data directory of a member and the programs that run it privately, away from Patroni and clients.

    :param port: names the socket; nothing listens on a network address.
    :param superuser: the role to ask as; it has to exist in the source's data.
    """

    member: Member
    data_directory: PurePosixPath
    bin_directory: PurePosixPath
    port: int
    superuser: str = "postgres"

    @property
    def private_directory(self) -> PurePosixPath:
        """Configuration, log and socket of the private server; beside a data directory that is not the member's own."""
        if self.data_directory != self.member.data_directory:
            return self.data_directory.with_name(f"{self.data_directory.name}.private")
        return self.member.work_directory / "private"

    def program(self, name: str) -> str:
        return str(self.bin_directory / name)

    def arguments(self) -> dict[str, Any]:
        """What the programs on the node need to know of it."""
        return {
            "data_directory": self.data_directory,
            "bin_directory": self.bin_directory,
            "private_directory": self.private_directory,
            "port": self.port,
            "superuser": self.superuser,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryState:
    """How far a recovery is. `stopped` is PostgreSQL's own line about the target: "recovery stopping …"."""

    running: bool
    answers: bool = False
    in_recovery: bool | None = None
    paused: bool = False
    lsn: LSN | None = None
    segment: str | None = None
    timeline: int | None = None
    stopped: str | None = None
    fatal: tuple[str, ...] = ()
    insufficient: str | None = None
    ending: bool = False  # it has replayed all that it is going to
    log_end: str = ""
    control_state: str | None = None
    control_timeline: int | None = None
    minimum_recovery_lsn: LSN | None = None

    @property
    def promoted(self) -> bool:
        return self.answers and self.in_recovery is False


def prepare_recovery_command(
    instance: Instance, *, placeholders: tuple[int, ...], wait_for_more: bool
) -> Command:
    """Write the private server's configuration and steer the next timeline past those that are taken."""
    steering = f", next timeline after {max(placeholders)}" if placeholders else ""
    return node_program(
        instance.member,
        "prepare_recovery",
        {**instance.arguments(), "placeholders": placeholders, "wait_for_more": wait_for_more},
        f"write the private configuration into {instance.private_directory}, remove patroni.dynamic.json{steering}",
    )


def start_recovery_command(
    instance: Instance, target: RecoveryTarget, *, timeline: str, action: str
) -> Command:
    """Start the private server; its settings stand on the command line, where no restored file beats them.

    :param timeline: a number, or `current`.
    """
    private = instance.private_directory
    settings = [
        ("config_file", f"{private}/postgresql.conf"),
        ("hba_file", f"{private}/pg_hba.conf"),
        ("ident_file", f"{private}/pg_ident.conf"),
        ("listen_addresses", ""),
        ("unix_socket_directories", str(private)),
        ("port", str(instance.port)),
        ("archive_mode", "off"),
        ("primary_conninfo", ""),
        ("hot_standby", "on"),
        ("recovery_min_apply_delay", "0"),  # a source that was filled from a delayed standby has one
        ("recovery_end_command", ""),
        ("archive_cleanup_command", ""),
        ("max_logical_replication_workers", "0"),  # a subscription must not move the publisher's slot
        # A fork near a segment's end: the leader's shutdown would remove the rest of that segment, on the timeline that
        # the replicas are going to ask for.
        ("wal_keep_size", "1GB"),
        ("fsync", "on"),
        ("synchronous_standby_names", ""),  # whoever sets a role's password here would wait for them
        ("shared_preload_libraries", ""),
        ("session_preload_libraries", ""),
        ("local_preload_libraries", ""),
        ("ssl", "off"),
        ("logging_collector", "off"),
        ("log_destination", "stderr"),
        ("lc_messages", "C"),
        # How far the recovery is, is read from its log and from the title of its process.
        ("log_min_messages", "warning"),
        ("log_error_verbosity", "default"),
        ("update_process_title", "on"),
        ("external_pid_file", ""),
        # With it off, the end of a recovery removes all timestamps there are. A source that has it off loses nothing:
        # its next start, with its own setting, does the same.
        ("track_commit_timestamp", "on"),
        ("recovery_target_timeline", timeline),
        *target.settings(),
    ]
    if target.settings():
        settings.append(("recovery_target_action", action))
    # pg_ctl hands its options to a shell: what only the node can tell is read there, from prepare_recovery's file.
    of_the_node = f"$(cat {shlex.quote(f'{private}/options')})"
    options = " ".join([of_the_node, *(f"-c {shlex.quote(f'{name}={value}')}" for name, value in settings)])
    return Command(
        argv=(
            instance.program("pg_ctl"),
            f"--pgdata={instance.data_directory}",
            f"--log={private}/recovery.log",
            "--no-wait",
            f"--options={options}",
            "start",
        )
    )


def rotate_log_command(instance: Instance) -> Command:
    """Put the log of an earlier start aside, so that the log tells of this one alone."""
    log = f"{instance.private_directory}/recovery.log"
    return Command(argv=("sh", "-c", 'if [ -e "$1" ]; then mv "$1" "$1.previous"; fi', "rotate", log))


def clear_pid_command(instance: Instance) -> Command:
    """Take away the lock files of a server that was killed; fails while any of its processes is there."""
    return node_program(
        instance.member,
        "clear_pid",
        instance.arguments(),
        f"rm -f {instance.data_directory}/postmaster.pid  # if a killed server left it",
    )


def stop_command(instance: Instance, mode: str = "fast") -> Command:
    return Command(
        argv=(
            instance.program("pg_ctl"),
            f"--pgdata={instance.data_directory}",
            f"--mode={mode}",
            "--timeout=300",
            "stop",
        )
    )


async def recovery_state(shell: Shell, instance: Instance) -> RecoveryState:
    """Look at a recovery without touching it."""
    found = await run_node_program(
        shell,
        node_program(
            instance.member,
            "recovery_state",
            instance.arguments(),
            f"look at the recovery on {instance.member.name}",
        ),
    )
    return RecoveryState(
        running=found["running"],
        answers=found["answers"],
        in_recovery=found.get("in_recovery"),
        paused=found.get("pause") == "paused",
        lsn=LSN.parse(found["lsn"]) if found.get("lsn") else None,
        segment=found.get("segment"),
        timeline=found.get("timeline"),
        stopped=found.get("stopped"),
        fatal=tuple(found["fatal"]),
        insufficient=next(iter(found["insufficient"]), None),
        ending=found.get("ending", False),
        log_end=found["log_end"],
        control_state=found.get("control_state"),
        control_timeline=found.get("control_timeline"),
        minimum_recovery_lsn=LSN.parse(found["minimum_recovery_lsn"])
        if found.get("minimum_recovery_lsn")
        else None,
    )


def private_sql_command(instance: Instance, sql: str) -> Command:
    """SQL on the private server, through its socket."""
    return sql_command(instance, str(instance.private_directory), instance.port, sql)


def sql_command(instance: Instance, host: str, port: int, sql: str) -> Command:
    """SQL through psql: one statement, unaligned tab-separated output without headings."""
    return Command(
        argv=(
            instance.program("psql"),
            "-XAtq",
            "--field-separator=\t",
            f"--host={host}",
            f"--port={port}",
            f"--username={instance.superuser}",
            "--dbname=postgres",
            "--set=ON_ERROR_STOP=1",
            f"--command={sql}",
        ),
        environment=(("PGCONNECT_TIMEOUT", "10"),),
    )


async def query(
    shell: Shell, command: Command, *, doing: str, timeout_seconds: float = 60
) -> list[list[str]]:
    """Run SQL and return its rows.

    :raises CommandFailed: with psql's message.
    """
    output = await run_checked(shell, command, doing=doing, timeout_seconds=timeout_seconds)
    return [line.split("\t") for line in output.splitlines()]


async def read_histories(shell: Shell, instance: Instance) -> dict[str, str]:
    """The timeline history files in pg_wal, by name."""
    return await run_node_program(
        shell,
        node_program(
            instance.member,
            "histories",
            {"data_directory": instance.data_directory},
            f"read the timeline histories of {instance.member.name}",
        ),
    )


async def last_fork(shell: Shell, instance: Instance, timeline: int) -> Fork | None:
    """Where a promoted server left the timeline before its own; None if nothing there tells of one."""
    histories = await read_histories(shell, instance)
    forks = TimelineHistory.parse(timeline, histories.get(history_file_name(timeline), "")).forks
    return forks[-1] if forks else None


def hand_over_command(
    instance: Instance,
    *,
    archive: bool,
    placeholders: tuple[int, ...] = (),
    spool_directory: str | None = None,
    histories: dict[str, str] | None = None,
    cut_at: tuple[WalSegment, LSN] | None = None,
    standby: bool = False,
) -> Command:
    """Free a recovered data directory of the recovery and of the source, so that Patroni can take it."""
    details = ["take the source's and the recovery's settings out of postgresql.auto.conf"]
    details.append("keep archive_mode" if archive else "archive_mode = 'off'")
    if cut_at:
        details.append(f"remove the WAL past {cut_at[1]}, in {cut_at[0]} and after it")
    if histories:
        details.append(f"write {', '.join(sorted(histories))}")
    if spool_directory:
        details.append(f"empty {spool_directory}")
    return node_program(
        instance.member,
        "hand_over",
        {
            "data_directory": instance.data_directory,
            "archive": archive,
            "standby": standby,
            "placeholders": placeholders,
            "spool_directories": [
                *([spool_directory] if spool_directory else []),
                instance.member.work_directory / "spool",
            ],
            "histories": histories or {},
            "cut": {
                "position": cut_at[0].position_name,
                "offset": cut_at[1].position - cut_at[0].start.position,
            }
            if cut_at
            else None,
        },
        "; ".join(details),
    )


def base_backup_command(instance: Instance, host: str, port: str, *, session: str) -> Command:
    """Copy a running server into the data directory, for a detached job; the copy is a standby.

    :param host, port: one, or several with commas.
    :param session: which of them is copied, as libpq's target_session_attrs says it.
    """
    return node_job(
        instance.member,
        "base_backup",
        {
            "data_directory": instance.data_directory,
            "bin_directory": instance.bin_directory,
            "patroni_config": instance.member.patroni_config,
            "host": host,
            "port": port,
            "session": session,
        },
        f"pg_basebackup --host={host} --port={port} --pgdata={instance.data_directory} --wal-method=stream "
        "--checkpoint=fast",
    )


def set_roles_command(instance: Instance) -> Command:
    """Give the clone's Patroni roles the passwords that the target's Patroni uses; those are never printed."""
    return node_program(
        instance.member,
        "roles",
        {**instance.arguments(), "patroni_config": instance.member.patroni_config},
        f"ALTER ROLE … PASSWORD … for the roles in {instance.member.patroni_config} (through the private socket)",
    )


def set_public_roles_command(instance: Instance, passwords: dict[str, str] | None) -> Command:
    """The same on the server that Patroni runs, with passwords that are not in its configuration yet.

    :param passwords: by Patroni's names of the roles; None for the plan.
    """
    return node_program(
        instance.member,
        "roles",
        {**instance.arguments(), "private_directory": None, "patroni_config": instance.member.patroni_config},
        f"ALTER ROLE … PASSWORD … for the roles in {instance.member.patroni_config}",
        secrets=passwords,
    )


async def public_sql_command(shell: Shell, instance: Instance, sql: str) -> Command:
    """SQL on the member's server as Patroni runs it, through the socket that its postmaster.pid names.

    :raises CommandFailed: if no server runs there.
    """
    look = Command(
        argv=("sed", "-n", "4p;5p", f"{instance.data_directory}/postmaster.pid"),
        summary=f"find the socket of {instance.member.name}",
    )
    port, socket_directory = (await run_checked(shell, look, doing="find PostgreSQL's socket")).split()
    return sql_command(instance, socket_directory, int(port), sql)
