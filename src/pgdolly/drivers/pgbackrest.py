"""pgBackRest: the commands that restore, and those that keep a stanza working.

Source: pgBackRest's "Command Reference": restore, archive-get, stanza-create, stanza-upgrade, check, backup.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import PurePosixPath

from pgdolly.domain.cluster import Member
from pgdolly.domain.command import Command
from pgdolly.domain.lsn import WalSegment

# Over 125, and none that a shell gives of its own accord: 126 and 127 for what it cannot run, 128 and more for signals.
ARCHIVE_FAILED = 254

_FILE_DONE = re.compile(r"DETAIL: restore (?:zeroed )?file \S+ .*?\(.*?([0-9.]+)%\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreSource:
    """Where a member's data comes from: nothing is left for pgBackRest to choose.

    :param config: the configuration that leads to the source's repository; None if the member's own does.
    """

    stanza: str
    repo_key: int
    backup_set: str
    delta: bool = True
    keep_archiving: bool = False
    process_max: int | None = None
    db_include: tuple[str, ...] = ()
    db_exclude: tuple[str, ...] = ()
    link_map: tuple[tuple[str, str], ...] = ()
    pinned_segment: WalSegment | None = None
    archive_async: bool = False
    config: PurePosixPath | None = None


def _pgbackrest(member: Member, source: RestoreSource | None = None) -> tuple[str, ...]:
    config = (source.config if source is not None else None) or member.pgbackrest_config
    return ("pgbackrest",) if config is None else ("pgbackrest", f"--config={config}")


def own_paths(member: Member) -> tuple[str, ...]:
    """Spool and lock of pgdolly's own: two restores of one stanza on one host must not share them."""
    return (f"--lock-path={member.work_directory}/lock", f"--spool-path={member.work_directory}/spool")


def archive_get(member: Member, source: RestoreSource, data_directory: PurePosixPath) -> str:
    """The restore_command of the recovery; refuses what lies past the pinned end, so that all stop there.

    A status from 1 to 125 means "no such file" to PostgreSQL, which ends recovery there, or waits; over 125 it
    gives up (xlogarchive.c, `RestoreArchivedFile`). pgBackRest's status is 1 for "no such file", and 25 to 125 for
    errors: a repository that does not answer must not pass for the end of the archive.
    """
    words = (
        *_pgbackrest(member, source),
        f"--stanza={source.stanza}",
        f"--repo={source.repo_key}",
        f"--pg1-path={data_directory}",
        # A spool-path beside --no-archive-async is an error [031], and the recovery would take it for "no such file".
        *(own_paths(member) if source.archive_async else own_paths(member)[:1]),
        "--archive-async" if source.archive_async else "--no-archive-async",
        "--log-level-console=warn",
        "archive-get",
    )
    fetch = f'{shlex.join(words)} %f "%p" || {{ [ $? -eq 1 ] && exit 1; exit {ARCHIVE_FAILED}; }}'
    if source.pinned_segment is None:
        return fetch
    # The timeline is the first 8 digits; the 16 that follow sort as the log runs.
    past = f'[ "$(echo %f | cut -c 9-24)" ">" {source.pinned_segment.position_name} ]'
    return f"case %f in *.history) ;; *) if {past}; then exit 1; fi ;; esac; {fetch}"


def restore_command(member: Member, source: RestoreSource, data_directory: PurePosixPath) -> Command:
    """Fill `data_directory` from a backup set and leave it ready to recover along the archive."""
    words = [
        *_pgbackrest(member, source),
        f"--stanza={source.stanza}",
        f"--repo={source.repo_key}",
        f"--set={source.backup_set}",
        f"--pg1-path={data_directory}",
        *own_paths(member),
        "--log-level-console=detail",  # names each file with the part of the whole that is done
        "--log-level-file=off",
    ]
    if source.delta:
        # Never with --force: it would trust size and time, which look equal across clusters.
        words.append("--delta")
    if source.process_max is not None:
        words.append(f"--process-max={source.process_max}")
    words += [f"--db-include={name}" for name in source.db_include]
    words += [f"--db-exclude={name}" for name in source.db_exclude]
    words += [f"--link-map={name}={path}" for name, path in source.link_map]
    words.append("--type=default")
    if not source.keep_archiving:
        words.append("--archive-mode=off")
    words.append(f"--recovery-option=restore_command={archive_get(member, source, data_directory)}")
    words.append("restore")
    return Command(argv=tuple(words))


def restored_percent(output_end: str) -> float | None:
    """How much of the set is in place, from the last file that a running restore named; 0 to 100."""
    found = _FILE_DONE.findall(output_end)
    return float(found[-1]) if found else None


def stanza_command(member: Member, stanza: str, name: str, *options: str) -> Command:
    """A command of a stanza on its own member: `stanza-create`, `stanza-upgrade`, `check`, …"""
    return Command(
        argv=(*_pgbackrest(member), f"--stanza={stanza}", "--log-level-console=info", *options, name)
    )


def backup_command(member: Member, stanza: str, backup_type: str) -> Command:
    return Command(
        argv=(
            *_pgbackrest(member),
            f"--stanza={stanza}",
            "--log-level-console=detail",
            f"--type={backup_type}",
            "backup",
        )
    )
