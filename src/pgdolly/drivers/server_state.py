"""What a running PostgreSQL says of its role, its WAL and its archiving: one statement, one row.

Source: PostgreSQL, pg_settings, pg_file_settings, pg_stat_archiver, pg_ls_archive_statusdir(); what a server that
recovers says of its upstream is read in replay.py.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from pgdolly.domain.command import Command
from pgdolly.domain.errors import CommandFailed
from pgdolly.domain.lsn import LSN, WalSegment
from pgdolly.drivers.postgres import Instance, sql_command
from pgdolly.drivers.replay import REPLAY_SQL, Replay, parse_replay
from pgdolly.transport.shell import Shell, run_checked

# jsonb, not json: its text has no line breaks. Epochs, because text would be in the server's own time zone.
_LOOK = f"""SELECT jsonb_build_object(
 'recovering', pg_is_in_recovery(),
 'system', (SELECT system_identifier::text FROM pg_control_system()),
 'timeline', CASE WHEN pg_is_in_recovery() THEN (SELECT received_tli FROM pg_stat_wal_receiver)
  ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END,
 'lsn', CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
 'settings', (SELECT jsonb_object_agg(name, jsonb_build_array(setting, sourcefile, pending_restart))
  FROM pg_settings WHERE name IN ('archive_mode', 'archive_command', 'archive_library')),
 'written', (SELECT jsonb_agg(jsonb_build_array(name, setting, sourcefile) ORDER BY seqno)
  FROM pg_file_settings WHERE name IN ('archive_mode', 'archive_command')),
 'archiver', (SELECT jsonb_build_object('last', last_archived_wal, 'last_at', extract(epoch FROM last_archived_time),
  'failed', last_failed_wal, 'failed_at', extract(epoch FROM last_failed_time), 'failures', failed_count)
  FROM pg_stat_archiver),
 'waiting', (SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'),
 'replay', {REPLAY_SQL},
 'log', pg_current_logfile())"""

_ARCHIVE_COMMAND_HIDDEN = "(disabled)"  # what pg_settings and SHOW say while archive_mode is off

# What would be run once archive_mode is on: that it is somebody else's stanza has to be known before.
ARCHIVE_COMMAND_WRITTEN = (
    "SELECT coalesce((SELECT setting FROM pg_file_settings WHERE name = 'archive_command' "
    "ORDER BY seqno DESC LIMIT 1), current_setting('archive_command'))"
)

# Without what ALTER SYSTEM has put above it.
ARCHIVE_MODE_CONFIGURED = (
    "SELECT setting FROM pg_file_settings WHERE name = 'archive_mode' "
    "AND sourcefile NOT LIKE '%/postgresql.auto.conf' ORDER BY seqno DESC LIMIT 1"
)


def archive_mode_of(text: str) -> str:
    """`on`, `off` or `always`, whichever word a file has for it: Patroni makes `False` of `off`.

    Source: PostgreSQL, xlog.c, archive_mode_options.
    """
    word = text.strip().strip("'").lower()
    return {"true": "on", "yes": "on", "1": "on", "false": "off", "no": "off", "0": "off"}.get(word, word)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A setting as the configuration files have it, which counts after the next restart.

    :param file: where it stands; None if no file sets it and `value` is PostgreSQL's default.
    """

    value: str
    file: PurePosixPath | None = None

    @property
    def by_alter_system(self) -> bool:
        """Whether ALTER SYSTEM wrote it, which beats whatever Patroni writes."""
        return self.file is not None and self.file.name == "postgresql.auto.conf"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiverState:
    """How this server's archiver fares. `waiting` counts the files that are to be archived still."""

    last_archived: str | None = None
    last_archived_at: datetime | None = None
    last_failed: str | None = None
    last_failed_at: datetime | None = None
    failures: int = 0
    waiting: int = 0

    @property
    def failing(self) -> bool:
        """Whether the last attempt failed and is still to be repeated."""
        if self.last_failed_at is None or not self.waiting:
            return False
        return self.last_archived_at is None or self.last_failed_at > self.last_archived_at

    def last_segment(self, size: int) -> WalSegment | None:
        """The segment that was archived last; None if that was another kind of file, or nothing yet."""
        try:
            return WalSegment.parse(self.last_archived or "", size)
        except ValueError:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """One server at one moment. `lsn` is what it has written, or replayed if it recovers.

    :param archive_mode_written: what counts after the next restart.
    :param archive_mode_configured: what would, without what ALTER SYSTEM has put above it.
    :param archive_command: as the files have it: the server itself hides it while archive_mode is off.
    """

    in_recovery: bool
    system_identifier: int
    timeline: int | None
    lsn: LSN | None
    archive_mode: str
    archive_mode_written: Written
    archive_mode_configured: str
    archive_mode_pending: bool
    archive_command: Written
    archive_library: str
    archiver: ArchiverState
    log_file: PurePosixPath | None = None
    replay: Replay | None = None  # None unless it recovers


def server_state_command(instance: Instance, socket_directory: str, port: int) -> Command:
    """The command that asks a server through its socket."""
    return sql_command(instance, socket_directory, port, _LOOK)


async def read_server_state(
    shell: Shell, instance: Instance, *, socket_directory: str, port: int
) -> ServerState:
    """:raises CommandFailed: if the server does not answer, with psql's message."""
    command = server_state_command(instance, socket_directory, port)
    output = await run_checked(shell, command, doing=f"ask {instance.member.name} for its archiving")
    try:
        return parse_server_state(output, instance.data_directory)
    except (ValueError, KeyError, TypeError) as error:
        raise CommandFailed(
            f"psql's answer cannot be read: {error!r}", where=instance.member.name, stderr_end=output[-500:]
        ) from error


def parse_server_state(text: str, data_directory: PurePosixPath) -> ServerState:
    """Read the row. A relative log file is below the data directory.

    :raises ValueError, KeyError, TypeError: if it is another answer.
    """
    found: dict[str, Any] = json.loads(text)
    settings, archiver = found["settings"], found["archiver"]
    mode, mode_file, pending = settings["archive_mode"]
    command, command_file, _ = settings["archive_command"]
    if command == _ARCHIVE_COMMAND_HIDDEN:
        command, command_file = "", None
    # If no file sets it, it will be PostgreSQL's default, unless the command line sets it, as it does now.
    default = Written(value="off" if mode_file else mode)
    modes = [
        Written(value=archive_mode_of(line.value), file=line.file) for line in _written(found, "archive_mode")
    ]
    configured = [line for line in modes if not line.by_alter_system]
    return ServerState(
        in_recovery=found["recovering"],
        system_identifier=int(found["system"]),
        timeline=found["timeline"],
        lsn=LSN.parse(found["lsn"]) if found["lsn"] else None,
        archive_mode=mode,
        archive_mode_written=(modes or [default])[-1],
        archive_mode_configured=(configured or [default])[-1].value,
        archive_mode_pending=pending,
        archive_command=(
            _written(found, "archive_command")
            or [Written(value=command, file=PurePosixPath(command_file) if command_file else None)]
        )[-1],
        archive_library=settings.get("archive_library", ("", None, False))[0],  # since PostgreSQL 15
        archiver=ArchiverState(
            last_archived=archiver["last"],
            last_archived_at=_at(archiver["last_at"]),
            last_failed=archiver["failed"],
            last_failed_at=_at(archiver["failed_at"]),
            failures=archiver["failures"],
            waiting=found["waiting"],
        ),
        log_file=data_directory / found["log"] if found["log"] else None,
        replay=parse_replay(found.get("replay")),
    )


def _written(found: dict[str, Any], name: str) -> list[Written]:
    """The lines of the files that set it; the last one counts."""
    return [
        Written(value=value, file=PurePosixPath(file))
        for key, value, file in found["written"] or ()
        if key == name
    ]


def _at(epoch: float | None) -> datetime | None:
    return datetime.fromtimestamp(epoch, UTC) if epoch is not None else None
