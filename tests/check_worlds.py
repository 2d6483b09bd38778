"""Clusters as `check` and `status` see them: pg-test with three members and working backups, to be spoiled."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

from pgdolly.domain.backup import Archive, ArchivedSegment, BackupSet, Catalogue, DatabaseSystem
from pgdolly.domain.cluster import Member
from pgdolly.domain.errors import PgdollyError
from pgdolly.domain.lsn import LSN, WalSegment
from pgdolly.domain.timeline import Fork, TimelineHistory
from pgdolly.drivers.catalogue_format import RepositoryStatus
from pgdolly.drivers.patroni import ClusterView, MemberView
from pgdolly.drivers.server_state import ArchiverState, ServerState, Written
from pgdolly.operations.check.observe import CheckFacts, Neighbour, StanzaLook
from pgdolly.operations.look import ClusterLook, MemberLook
from pgdolly.operations.site import ClusterFacts
from reset_blueprints import cluster, member_facts

OWN, OTHER = 7588470953413201282, 7588470974940466058
NOW = datetime(2025, 12, 27, 12, 0, tzinfo=UTC)
# The cluster left timeline 1 within its seventh segment and is on timeline 2.
FORK = LSN.parse("0/7000100")
HISTORY = TimelineHistory(2, (Fork(1, FORK, "no recovery target specified"),))
CONF, AUTO_CONF = PurePosixPath("/pg/data/postgresql.conf"), PurePosixPath("/pg/data/postgresql.auto.conf")


def push(stanza: str, file: PurePosixPath = CONF) -> Written:
    return Written(value=f"pgbackrest --stanza={stanza} archive-push %p", file=file)


def server(name: str = "pg-test", *, leads: bool = True, **changed: Any) -> ServerState:
    """A server that archives, or would, into the stanza called `name`."""
    state = ServerState(
        in_recovery=not leads,
        system_identifier=OWN,
        timeline=2,
        lsn=LSN.parse("0/A000060"),
        archive_mode="on",
        archive_mode_written=Written(value="on", file=CONF),
        archive_mode_configured="on",
        archive_mode_pending=False,
        archive_command=push(name),
        archive_library="",
        archiver=ArchiverState(
            last_archived="000000020000000000000009", last_archived_at=NOW - timedelta(seconds=30)
        )
        if leads
        else ArchiverState(),
    )
    return dataclasses.replace(state, **changed)


def backup(label: str, segment: str, *, hours_ago: float = 3, **changed: Any) -> BackupSet:
    """A backup that begins and ends within one segment."""
    within, stopped = WalSegment.parse(segment), NOW - timedelta(hours=hours_ago)
    made = BackupSet(
        label=label,
        type="full",
        repo_key=1,
        history_id=1,
        start_at=stopped - timedelta(seconds=9),
        stop_at=stopped,
        start_lsn=LSN(within.start.position + 40),
        stop_lsn=LSN(within.start.position + 344),
        start_segment=within,
        stop_segment=within,
        database_size=1,
        repository_size=1,
    )
    return dataclasses.replace(made, **changed)


def archive(*extra: str, without: tuple[str, ...] = (), **changed: Any) -> Archive:
    """Segments 4 to 6 of timeline 1 and 7 to 9 of timeline 2, archived a minute apart, the last one 3 minutes ago."""
    names = [f"0000000100000000{number:08X}" for number in (4, 5, 6)]
    names += [f"0000000200000000{number:08X}" for number in (7, 8, 9)]
    kept = sorted({*names, *extra} - set(without))
    last = NOW - timedelta(minutes=3)
    made = Archive(
        archive_id="18-1",
        repo_key=1,
        segments=tuple(
            ArchivedSegment(
                segment=WalSegment.parse(name),
                archived_at=last - timedelta(minutes=len(kept) - 1 - place),
                size=99,
            )
            for place, name in enumerate(kept)
        ),
        histories=(HISTORY,),
        history_files=((2, last),),
    )
    return dataclasses.replace(made, **changed)


def catalogue(
    *backups: BackupSet,
    archive: Archive | None = None,
    system: int = OWN,
    version: str = "18",
    **changed: Any,
) -> Catalogue:
    made = Catalogue(
        stanza="pg-test",
        systems=(DatabaseSystem(history_id=1, version=version, system_identifier=system, repo_key=1),),
        backups=backups,
        archives=(archive,) if archive is not None else (),
    )
    return dataclasses.replace(made, **changed)


WORKING = catalogue(backup("20251227-090000F", "000000010000000000000005"), archive=archive())


def repository(code: int = 0, message: str = "ok", **changed: Any) -> RepositoryStatus:
    return dataclasses.replace(
        RepositoryStatus(repo_key=1, code=code, message=message, cipher="none"), **changed
    )


def view(name: str, count: int, **changed: Any) -> ClusterView:
    """Patroni's: the first member leads."""
    made = ClusterView(
        scope=name,
        members=tuple(
            MemberView(
                name=f"{name}-{number}",
                role="leader" if number == 1 else "replica",
                state="running" if number == 1 else "streaming",
                timeline=2,
                lag=None if number == 1 else 0,
            )
            for number in range(1, count + 1)
        ),
    )
    return dataclasses.replace(made, **changed)


def look(
    name: str = "pg-test",
    count: int = 3,
    *,
    members: dict[int, dict[str, Any]] | None = None,
    servers: dict[int, ServerState | None] | None = None,
    silent: dict[int, PgdollyError] | None = None,
    system: int = OWN,
    patroni: ClusterView | None = None,
) -> ClusterLook:
    """A cluster that works, with some members' facts or servers changed, by their number.

    :param patroni: what Patroni says, instead of that all is well.
    """
    members, servers, silent = members or {}, servers or {}, silent or {}
    of = cluster(name, count)
    seen = patroni or view(name, count)
    looks = []
    for each in of.members:
        number = each.sequence
        if number in silent:
            continue
        facts = dataclasses.replace(
            member_facts(each, system=system), **{"cluster": seen, **members.get(number, {})}
        )
        state = servers.get(number, server(name, leads=number == 1, system_identifier=system))
        looks.append(MemberLook(facts=facts, server=state if facts.running else None))
    silents: tuple[tuple[Member, PgdollyError], ...] = tuple(
        (of.members[number - 1], error) for number, error in silent.items()
    )
    return ClusterLook(
        facts=ClusterFacts(cluster=of, members=tuple(each.facts for each in looks), silent=silents),
        members=tuple(looks),
    )


def facts(
    seen: ClusterLook | None = None,
    *,
    stanza: Catalogue | None = WORKING,
    repositories: tuple[RepositoryStatus, ...] | None = None,
    problem: PgdollyError | None = None,
    neighbours: tuple[Neighbour, ...] = (),
    **changed: Any,
) -> CheckFacts:
    """pg-test, with all that works; `problem` is why its stanza could not be asked for."""
    made = CheckFacts(
        look=seen or look(),
        stanza=StanzaLook(name="pg-test", problem=problem)
        if problem is not None
        else StanzaLook(name="pg-test", repositories=repositories or (repository(),), catalogue=stanza),
        history=HISTORY,
        lsn_after=LSN.parse("0/A000100"),
        neighbours=neighbours,
        now=NOW,
    )
    return dataclasses.replace(made, **changed)
