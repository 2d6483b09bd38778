"""What a check stands on: members, servers, stanza, and the other clusters of the inventory. Reads only.

`pgbackrest check` is not run: it switches a WAL segment on the leader. That WAL arrives is told by comparing what
the leader's archiver has acknowledged with what the archive holds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pgdolly.domain.backup import Catalogue
from pgdolly.domain.command import Command
from pgdolly.domain.errors import CommandFailed, PgdollyError
from pgdolly.domain.lsn import LSN
from pgdolly.domain.timeline import TimelineHistory, history_file_name
from pgdolly.drivers.catalogue import info_command, read_catalogue
from pgdolly.drivers.catalogue_format import RepositoryStatus, StanzaInfo, parse_info
from pgdolly.drivers.observation import MemberFacts
from pgdolly.drivers.postgres import read_histories
from pgdolly.drivers.server_state import ServerState
from pgdolly.inventory.fleet import Fleet
from pgdolly.operations.look import ClusterLook, MemberLook, look_at_clusters
from pgdolly.operations.site import instance_of, world_of
from pgdolly.operations.standby import Upstream, upstream_of
from pgdolly.steps.world import World
from pgdolly.transport.shell import Shell, run_checked
from pgdolly.transport.together import together

# An asynchronous archive-push leaves its error in the spool, where the log has only "exit code 103"; a synchronous
# one writes to PostgreSQL's log. Either goes on, over several lines, to its first hint.
#
# Where PostgreSQL logs as CSV or JSON, what its children write goes to the plain file beside that one; if log_filename
# ends in .log, the other ending stands in its place, else behind it (PostgreSQL's manual, log_filename).
ARCHIVER_MESSAGE = r"""
for file in "$1/$2.error" "$1/global.error"; do
    if [ -s "$file" ]; then
        echo "ERROR: [$(head -n 1 "$file")]: $(sed -n '2,${/HINT:/q;p}' "$file" | tr -s '\n ' ' ')"
        exit 0
    fi
done
log=$3
case $log in
    *.csv | *.json)
        log=${3%.*}
        [ -e "$log" ] || log=$log.log
        ;;
esac
[ -n "$log" ] && tail -c 65536 "$log" | awk '
    /ERROR: *\[[0-9]*\]/ { sub(/.*ERROR:/, "ERROR:"); message = $0; more = 1; next }
    /HINT:/ || /^[^ ]/ { more = 0 }
    more { sub(/^ +/, " "); message = message $0 }
    END { if (message) print message }'
exit 0
"""
# Of a repository of several, pgBackRest names the kind of error where it else gives its number.
_NUMBERS = {"ArchiveMismatchError": "044", "FileMissingError": "055"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StanzaLook:
    """A cluster's stanza as its own pgBackRest sees it; `catalogue` is None where no repository can be read."""

    name: str
    repositories: tuple[RepositoryStatus, ...] = ()
    catalogue: Catalogue | None = None
    problem: PgdollyError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """Another cluster of the inventory; `same_stanza` if its repository shows our very stanza."""

    look: ClusterLook
    same_stanza: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckFacts:
    """All that was seen for one cluster.

    :param history: the leader's own, of the timeline that it writes.
    :param lsn_after: where the leader was after the stanza was read: no archived WAL of its own is later.
    :param archiver_message: the end of what archive-push said, if the leader's archiver fails.
    :param upstream: what it follows; None for a cluster of its own.
    """

    look: ClusterLook
    stanza: StanzaLook
    history: TimelineHistory | None = None
    lsn_after: LSN | None = None
    archiver_message: str = ""
    neighbours: tuple[Neighbour, ...] = ()
    upstream: Upstream | None = None
    now: datetime

    @property
    def name(self) -> str:
        return self.look.name

    @property
    def leader(self) -> MemberLook | None:
        return self.look.leader

    @property
    def writer(self) -> ServerState | None:
        """The leader's server; None if there is none, or it belongs to a standby cluster and writes nothing."""
        server = self.leader.server if self.leader is not None else None
        return server if server is not None and not server.in_recovery else None


async def observe(fleet: Fleet, names: Sequence[str]) -> tuple[CheckFacts, ...]:
    """Look at these clusters, and at all others as their neighbours.

    :raises InvalidInput: if the inventory has no such cluster.
    """
    for name in names:
        fleet.cluster(name)
    world = world_of(fleet.clusters.values())
    looks = {look.name: look for look in await look_at_clusters(world, fleet.clusters.values())}
    found = await together(*(_observe_one(world, looks, name) for name in names))
    return tuple(replace(facts, upstream=upstream_of(fleet, facts.look.facts)) for facts in found)


async def _observe_one(world: World, looks: dict[str, ClusterLook], name: str) -> CheckFacts:
    look = looks[name]
    now = datetime.now(UTC)
    # Any member reads the repository; one that answers is as good as the leader.
    reader = look.leader or next(iter(look.members), None)
    if reader is None:
        return CheckFacts(look=look, stanza=StanzaLook(name=name), now=now)
    shell = world.shell(reader.facts.member)
    others = [other for other in looks.values() if other.name != name]
    stanza, history, message, same = await together(
        _look_at_stanza(shell, reader.facts),
        _history(shell, look.leader),
        _archiver_message(shell, look.leader),
        _same_stanza(world, reader.facts, others),
    )
    facts = CheckFacts(
        look=look,
        stanza=stanza,
        history=history,
        archiver_message=message,
        neighbours=tuple(Neighbour(look=o, same_stanza=o.name in same) for o in others),
        now=now,
    )
    return await _with_position(world, facts)


async def _with_position(world: World, facts: CheckFacts) -> CheckFacts:
    if facts.leader is None or facts.writer is None:
        return facts
    again = await facts.leader.asked_again(world.shell(facts.leader.facts.member))
    return replace(facts, lsn_after=again.lsn if again is not None else None)


async def _look_at_stanza(shell: Shell, facts: MemberFacts) -> StanzaLook:
    config = facts.member.pgbackrest_config
    try:
        info = await _info(shell, facts)
    except PgdollyError as error:
        return StanzaLook(name=facts.stanza, problem=error)
    if not any(repository.readable for repository in info.repositories):
        return StanzaLook(name=facts.stanza, repositories=info.repositories)
    try:
        catalogue = await read_catalogue(shell.run, facts.stanza, config)
    except PgdollyError as error:
        return StanzaLook(name=facts.stanza, repositories=info.repositories, problem=error)
    return StanzaLook(name=facts.stanza, repositories=info.repositories, catalogue=catalogue)


async def _info(shell: Shell, facts: MemberFacts) -> StanzaInfo:
    command = info_command(facts.stanza, facts.member.pgbackrest_config)
    output = await run_checked(shell, command, doing="ask pgBackRest for the stanza")
    try:
        return parse_info(output, facts.stanza)
    except ValueError as error:
        raise CommandFailed(str(error), where=facts.member.name, argv=command.argv) from error


async def _history(shell: Shell, leader: MemberLook | None) -> TimelineHistory | None:
    server = leader.server if leader is not None else None
    if leader is None or server is None or server.in_recovery or server.timeline is None:
        return None
    histories = await read_histories(shell, instance_of(leader.facts))
    return TimelineHistory.parse(server.timeline, histories.get(history_file_name(server.timeline), ""))


async def _archiver_message(shell: Shell, leader: MemberLook | None) -> str:
    if leader is None or leader.server is None or not leader.server.archiver.failing:
        return ""
    spool = leader.facts.spool_path / "archive" / leader.facts.stanza / "out"
    segment, log = leader.server.archiver.last_failed or "", str(leader.server.log_file or "")
    command = Command(
        argv=("sh", "-c", ARCHIVER_MESSAGE, "message", str(spool), segment, log),
        summary="read what archive-push said last",
    )
    completed = await shell.run(command)
    message = re.sub(
        r"\[(\w+Error)\]", lambda found: f"[{_NUMBERS.get(found[1], found[1])}]", completed.stdout.strip()
    )
    return message[:500]


async def _same_stanza(world: World, own: MemberFacts, others: list[ClusterLook]) -> frozenset[str]:
    """The clusters whose pgBackRest, asked for a stanza of our name, shows the same one.

    A name alone proves nothing: two clusters may keep their backups on their own nodes under one name.
    """
    namesakes = [
        (other.name, member.facts)
        for other in others
        for member in other.members[:1]
        if member.facts.stanza == own.stanza
    ]
    if not namesakes:
        return frozenset()
    looks = await together(
        *(
            _fingerprint(world.shell(facts.member), facts)
            for facts in (own, *(facts for _, facts in namesakes))
        )
    )
    mine, theirs = looks[0], looks[1:]
    return frozenset(
        name for (name, _), seen in zip(namesakes, theirs, strict=True) if mine is not None and seen == mine
    )


async def _fingerprint(shell: Shell, facts: MemberFacts) -> object | None:
    """The systems and backups of a stanza, in any order of repositories; None if it cannot be read or is empty."""
    try:
        info = await _info(shell, facts)
    except PgdollyError:
        return None
    systems = frozenset((system.history_id, system.system_identifier) for system in info.systems)
    backups = frozenset((backup.label, backup.stop_at) for backup in info.backups)
    return (systems, backups) if systems else None
