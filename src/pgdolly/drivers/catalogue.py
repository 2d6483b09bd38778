"""Read what a repository holds for a stanza: two rounds of calls, and a third if there are history files.

Nothing here asks the source cluster anything, and nothing writes: `info`, `repo-ls` and `repo-get` take no
lock.
Source: pgBackRest, "Command Reference" (info, repo-ls, repo-get).
"""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TypeVar

from pgdolly.domain.backup import Archive, Catalogue
from pgdolly.domain.command import Command, Completed
from pgdolly.domain.errors import CommandFailed, PgdollyError, Refused
from pgdolly.domain.timeline import TimelineHistory, history_file_name
from pgdolly.drivers.catalogue_format import (
    STATUS_MISSING_STANZA_DATA,
    STATUS_MISSING_STANZA_PATH,
    ArchiveListing,
    RepositoryStatus,
    StanzaInfo,
    one_line,
    parse_info,
    parse_repo_ls,
    parse_stanza_names,
)
from pgdolly.drivers.repository import FROM_STDIN
from pgdolly.transport.together import together

Run = Callable[[Command], Awaitable[Completed]]
T = TypeVar("T")

_AT_ONCE = 4  # sshd's MaxSessions is 10 for all that goes to a node, and a small node has few cores
_HISTORIES_A_ROUND = 8
_LEVEL = re.compile(r"^(?:ERROR|WARN): ")
UNTOUCHED = "nothing was changed"


def info_command(stanza: str, config: PurePosixPath | None = None, repo_key: int | None = None) -> Command:
    """`info` as JSON: the generations, backups and status of a stanza in one repository, or in all."""
    return _pgbackrest(stanza, config, repo_key, "--output=json", "info")


def repo_ls_command(
    stanza: str, repo_key: int, config: PurePosixPath | None = None, *, path: str, recurse: bool = True
) -> Command:
    """`repo-ls` as JSON: name, size and time of every file below a path of one repository.

    `--repo` is always said: without it, pgBackRest lists the repository with the lowest key.
    """
    options = ("--output=json", "--recurse") if recurse else ("--output=json",)
    return _pgbackrest(stanza, config, repo_key, *options, "repo-ls", path)


def repo_get_command(
    stanza: str, repo_key: int, config: PurePosixPath | None = None, *, path: str
) -> Command:
    """`repo-get`: one file's content, deciphered. It takes one path; history files are not compressed."""
    return _pgbackrest(stanza, config, repo_key, "repo-get", path)


def _pgbackrest(stanza: str, config: PurePosixPath | None, repo_key: int | None, *arguments: str) -> Command:
    options = [f"--config={config}"] if config is not None else []
    options.append(f"--stanza={stanza}")
    if repo_key is not None:
        options.append(f"--repo={repo_key}")
    # Warnings go to the console by default, that is into the middle of the JSON.
    options += ["--log-level-console=off", "--log-level-stderr=warn", "--log-level-file=off"]
    return Command(argv=("pgbackrest", *options, *arguments))


async def read_catalogue(
    run: Run, stanza: str, config: PurePosixPath | None = None, *, repo_key: int | None = None
) -> Catalogue:
    """Read a stanza's backups, WAL and timelines.

    A repository that cannot be read is passed over with a remark as long as another one can be, and it is not
    the one that was asked for.

    :param run: runs a command on a node whose pgBackRest can read the repository.
    :param repo_key: read this repository only.
    :raises Refused: if no repository holds the stanza, or none that holds it can be read.
    :raises CommandFailed: if pgBackRest fails, or answers what cannot be understood.
    """
    reader = _Reader(run, stanza, config)
    info = await reader.info(repo_key)
    readable = [repository.repo_key for repository in info.repositories if repository.readable]
    if not readable:
        raise await reader.why_unreadable(info)
    listings = await together(*(reader.listings(key, info) for key in readable))
    found = [(key, listing) for key, listed in zip(readable, listings, strict=True) for listing in listed]
    histories = await together(*(reader.histories(key, listing) for key, listing in found))
    return build_catalogue(
        info,
        {
            (key, listing.archive_id): (listing, read)
            for (key, listing), read in zip(found, histories, strict=True)
        },
    )


def build_catalogue(
    info: StanzaInfo,
    archives: Mapping[tuple[int, str], tuple[ArchiveListing, tuple[TimelineHistory, ...]]],
) -> Catalogue:
    """Put together what `info`, `repo-ls` and the history files say.

    :param archives: by repository key and archive id.
    """
    remarks = [
        f"repository {repository.repo_key} was passed over: {_explain(repository, info.stanza)}"
        for repository in info.repositories
        if not repository.readable
    ]
    return Catalogue(
        stanza=info.stanza,
        systems=info.systems,
        backups=tuple(
            sorted(info.backups, key=lambda backup: (backup.stop_at, backup.repo_key, backup.label))
        ),
        archives=tuple(
            Archive(
                archive_id=archive_id,
                repo_key=repo_key,
                segments=listing.segments,
                histories=histories,
                duplicates=listing.duplicates,
                history_files=listing.history_files,
            )
            for (repo_key, archive_id), (listing, histories) in sorted(archives.items())
        ),
        cipher=info.cipher,
        status=info.status,
        remarks=(*remarks, *info.remarks),
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    """The calls for one stanza, never more than a few of them at once."""

    run: Run
    stanza: str
    config: PurePosixPath | None
    turn: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))

    async def info(self, repo_key: int | None) -> StanzaInfo:
        command = info_command(self.stanza, self.config, repo_key)
        return await self._understood(command, lambda output: parse_info(output, self.stanza))

    async def listings(self, repo_key: int, info: StanzaInfo) -> tuple[ArchiveListing, ...]:
        """What lies in each archive id.

        Not every object store names all folders that lie beside files (s3rver does not), and so not what is in them;
        `info` knows which archive ids have WAL.
        """
        top = f"archive/{self.stanza}"
        command = repo_ls_command(self.stanza, repo_key, self.config, path=top)
        found = await self._understood(command, lambda output: parse_repo_ls(output, info.segment_sizes))
        with_wal = {archive_id for key, archive_id in info.archive_ids if key == repo_key}
        unnamed = sorted(with_wal - {listing.archive_id for listing in found})

        async def one(archive_id: str) -> tuple[ArchiveListing, ...]:
            command = repo_ls_command(self.stanza, repo_key, self.config, path=f"{top}/{archive_id}")
            return await self._understood(
                command, lambda output: parse_repo_ls(output, info.segment_sizes, below=archive_id)
            )

        further = await together(*(one(archive_id) for archive_id in unnamed))
        return (*found, *(listing for listings in further for listing in listings))

    async def histories(self, repo_key: int, listing: ArchiveListing) -> tuple[TimelineHistory, ...]:
        """The histories of all timelines that have a file, with fewer calls than files where there are many.

        A history file begins with its parent's (timeline.c, `writeTimeLineHistory`), so a newer one tells its
        ancestors' too: a cluster that failed over fifty times needs one round of calls, not fifty calls.
        """
        filed = sorted((timeline for timeline, _ in listing.history_files), reverse=True)
        known: dict[int, TimelineHistory] = {}
        left = filed
        while left:
            read = await together(
                *(
                    self._history(repo_key, listing.archive_id, timeline)
                    for timeline in left[:_HISTORIES_A_ROUND]
                )
            )
            known.update({history.timeline: history for history in read})
            for history in read:
                for position, fork in enumerate(history.forks):
                    known.setdefault(fork.parent, TimelineHistory(fork.parent, history.forks[:position]))
            left = [timeline for timeline in left if timeline not in known]
        return tuple(known[timeline] for timeline in reversed(filed))

    async def why_unreadable(self, info: StanzaInfo) -> PgdollyError:
        """The error for a stanza that no repository shows; which stanzas are there is asked only now."""
        where = f"stanza {self.stanza}"
        reasons = [_explain(repository, self.stanza) for repository in info.repositories]
        missing = [
            repository for repository in info.repositories if repository.code == STATUS_MISSING_STANZA_PATH
        ]
        if not info.repositories or len(missing) < len(info.repositories):
            what = "; ".join(reasons) or "pgBackRest names no repository"
            return Refused(what, where=where, untouched=UNTOUCHED, next_command=self._by_hand())
        others = await together(*(self._stanzas(repository.repo_key) for repository in missing))
        names = sorted({name for listed in others for name in listed})
        there = f"it holds {', '.join(names)}" if names else "it is empty, or its path does not exist"
        return Refused(
            f"the repository holds no such stanza: {there}",
            where=where,
            untouched=UNTOUCHED,
            next_command=self._by_hand(),
        )

    async def _stanzas(self, repo_key: int) -> tuple[str, ...]:
        command = repo_ls_command(self.stanza, repo_key, self.config, path="backup", recurse=False)
        try:
            return await self._understood(command, parse_stanza_names)
        except CommandFailed:
            return ()  # it only embellishes an error

    async def _history(self, repo_key: int, archive_id: str, timeline: int) -> TimelineHistory:
        path = f"archive/{self.stanza}/{archive_id}/{history_file_name(timeline)}"
        command = repo_get_command(self.stanza, repo_key, self.config, path=path)
        return await self._understood(command, lambda output: TimelineHistory.parse(timeline, output))

    async def _understood(self, command: Command, parse: Callable[[str], T]) -> T:
        async with self.turn:
            completed = await self.run(command)
        if not completed.ok:
            stderr_end = "\n".join(completed.stderr.strip().splitlines()[-12:])
            first = one_line(_LEVEL.sub("", stderr_end)) or f"exit status {completed.status}"
            raise CommandFailed(
                f"pgBackRest cannot read the repository: {first}",
                argv=command.argv,
                status=completed.status,
                stderr_end=stderr_end,
                where=f"stanza {self.stanza}",
                untouched=UNTOUCHED,
            )
        try:
            return parse(completed.stdout)
        except ValueError as error:
            raise CommandFailed(
                str(error),
                argv=command.argv,
                status=completed.status,
                stderr_end=completed.stderr.strip()[-2000:],
                where=f"stanza {self.stanza}",
                untouched=UNTOUCHED,
            ) from None

    def _by_hand(self) -> str:
        if self.config == FROM_STDIN:  # nobody can type it: what stands there has the repository's secrets
            return f"pgbackrest --stanza={self.stanza} info, on a node that is configured with the repository"
        config = (f"--config={self.config}",) if self.config is not None else ()
        return shlex.join(("pgbackrest", *config, "info"))


def _explain(repository: RepositoryStatus, stanza: str) -> str:
    """Why a repository's part of the stanza cannot be read, and what cures it."""
    name = f"repo{repository.repo_key}"
    if repository.wrongly_deciphered:
        return (
            f"{name} cannot be deciphered: {name}-cipher-pass or {name}-cipher-type (here "
            f"{repository.cipher}) is not what the stanza was created with ({repository.message})"
        )
    if repository.code == STATUS_MISSING_STANZA_PATH:
        return f"{name} holds no stanza {stanza!r}"
    if repository.code == STATUS_MISSING_STANZA_DATA:
        return (
            f"{name} has a folder for stanza {stanza!r} without backup.info: its stanza-create did not finish"
        )
    return f"{name} cannot be read: {repository.message}"
