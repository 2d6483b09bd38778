"""Why a reset is refused before anything is touched. Pure, over what was observed."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from pgdolly.domain.errors import InvalidInput, Refused
from pgdolly.drivers import services
from pgdolly.drivers.backup_set import BackupSetContents
from pgdolly.drivers.observation import MemberFacts
from pgdolly.operations.locking import held
from pgdolly.operations.request import NOTHING, PitrRequest
from pgdolly.operations.reset.archive import refuse_archive
from pgdolly.operations.reset.observe import ResetFacts
from pgdolly.operations.tablespaces import refuse_shared_tablespaces
from pgdolly.recovery.select import ResolvedRecovery

_PLAIN_PATH = re.compile(r"[\w./@+=:,-]+", re.ASCII)
WAL_RESERVE = 256 * 1024 * 1024  # bytes: a recovery keeps some segments beside the data


def refuse_before_choosing(facts: ResetFacts, request: PitrRequest) -> None:
    """What needs no look into the archive.

    :raises Refused: with what stands in the way, and the command that clears it.
    """
    target = facts.target.cluster.name
    for member in facts.target.members:
        if member.lock is not None:
            raise held(target, member.member.name, member.lock)
    if not facts.in_place:
        _refuse_shared(facts)
    for member in facts.target.members:
        if request.data is None:
            services.stop_command(member.member)  # refuses where Patroni could not be stopped
        if member.data_directory != member.member.data_directory:
            raise Refused(
                f"the inventory says pg_data {member.member.data_directory}, "
                f"Patroni's configuration {member.data_directory}",
                where=member.member.name,
                untouched=NOTHING,
                next_command=f"set pg_data of {member.member.name} to {member.data_directory}",
            )
        for path in (member.data_directory, member.member.pgbackrest_config):
            if path is not None:
                refuse_odd_path(path, member.member.name)
        if request.backup and member.tablespaces:
            raise Refused(
                f"backup keeps the data directory aside, but {member.tablespaces} tablespaces lie elsewhere "
                "and would be overwritten",
                where=member.member.name,
                untouched=NOTHING,
                next_command="take a backup first: pg-backup full",
            )


def refuse_contents(facts: ResetFacts, contents: BackupSetContents, request: PitrRequest) -> None:
    """What the chosen set holds, against what is asked for and where it would go.

    :raises Refused: if a database is not in it, or a tablespace would be one directory of several servers.
    """
    for name in (*request.db_include, *request.db_exclude):
        if name not in contents.databases:
            raise Refused(
                f"the backup set holds no database {name!r}: it has {', '.join(contents.databases) or 'none'}",
                where=facts.source.cluster.name,
                untouched=NOTHING,
                next_command="name one of these",
            )
    if contents.tablespaces:
        listed = ", ".join(f"{name} ({path})" for name, path in contents.tablespaces)
        beside, cluster = request.data is not None, facts.target.cluster
        refuse_shared_tablespaces(
            f"the backup set holds tablespaces, {listed}",
            cluster.name,
            [facts.leader.member] if beside else cluster.members,
            [
                *(cluster.members if beside else ()),
                *(() if facts.in_place else facts.source.cluster.members),
            ],
        )


def refuse_odd_path(path: PurePosixPath, where: str) -> None:
    """A path stands in restore_command, inside postgresql.auto.conf: two kinds of quoting that nobody escapes.

    :raises InvalidInput: if a shell or PostgreSQL could read it otherwise than as it is.
    """
    if not _PLAIN_PATH.fullmatch(str(path)):
        raise InvalidInput(
            f"path {str(path)!r} has characters that would have to be quoted in restore_command",
            where=where,
            untouched=NOTHING,
            next_command="use letters, digits and ._/@+=:,-",
        )


def _refuse_shared(facts: ResetFacts) -> None:
    places = {
        (facts_.member.node.address, str(facts_.real_data_directory)): facts_.member.name
        for facts_ in facts.source.members
    }
    for member in facts.target.members:
        owner = places.get((member.member.node.address, str(member.real_data_directory)))
        if owner is not None:
            raise Refused(
                f"{member.member.name} is the same instance as {owner} of the source",
                where=facts.target.cluster.name,
                untouched=NOTHING,
            )
    # After the instances: one that both own has one stanza, and that would not be what is wrong.
    if facts.source_stanza == facts.target_stanza:
        raise Refused(
            f"source and target both use stanza {facts.source_stanza!r}: the clone would archive into the source's",
            where=facts.target.cluster.name,
            untouched=NOTHING,
            next_command="give the target a stanza of its own in its pgbackrest.conf",
        )


def refuse_unfit(facts: ResetFacts, resolved: ResolvedRecovery, request: PitrRequest) -> None:
    """Versions, configuration and archiving, against what is going to be restored."""
    source_major = int(resolved.postgres_version.split(".")[0])
    for member in facts.target.members:
        if member.major != source_major:
            raise Refused(
                f"PostgreSQL {member.postgres_version} cannot run the data of PostgreSQL {source_major}",
                where=member.member.name,
                untouched=NOTHING,
                next_command=f"install PostgreSQL {source_major} there and set pg_version, pg_bin_dir",
            )
        if not member.writable:
            raise Refused(
                f"{member.data_directory.parent} cannot be written by {member.member.dbsu}: "
                "pgdolly keeps its job and lock files there",
                where=member.member.name,
                untouched=NOTHING,
            )
    refuse_archive(facts, resolved, request)


def lacks_space(member: MemberFacts, resolved: ResolvedRecovery, *, keep: bool) -> bool:
    """Whether the set may not fit; without `data_bytes` measured, only the free space counts."""
    reusable = 0 if keep else member.data_bytes or 0
    return member.free_bytes + reusable < resolved.backup.database_size + WAL_RESERVE


def refuse_full(member: MemberFacts, resolved: ResolvedRecovery, *, keep: bool) -> None:
    """:raises Refused: if the backup set does not fit beside (`keep`) or in place of what is there."""
    if lacks_space(member, resolved, keep=keep):
        need = resolved.backup.database_size + WAL_RESERVE
        have = member.free_bytes + (0 if keep else member.data_bytes or 0)
        raise Refused(
            f"not enough space for {member.data_directory}: {_megabytes(need)} needed "
            f"({_megabytes(resolved.backup.database_size)} of data), {_megabytes(have)} there"
            + (" beside the old data, which is kept" if keep else " with the old data gone"),
            where=member.member.name,
            untouched=NOTHING,
            next_command="leave --backup out, or make room" if keep else "make room on that file system",
        )


def _megabytes(size: int) -> str:
    return f"{size / 1024**2:,.1f} MB"
