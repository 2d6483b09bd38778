"""Why a node is no place for a new member. Pure, over what was observed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from pgdolly.domain.cluster import Cluster, Member
from pgdolly.domain.errors import Refused
from pgdolly.drivers import services
from pgdolly.drivers.configuration import PathFacts
from pgdolly.drivers.observation import MemberFacts
from pgdolly.drivers.store import StoreView
from pgdolly.drivers.upstream import Position
from pgdolly.operations.clone.observe import CloneFacts
from pgdolly.operations.request import NOTHING
from pgdolly.operations.reset.refusals import WAL_RESERVE, refuse_full, refuse_odd_path
from pgdolly.operations.tablespaces import refuse_shared_tablespaces
from pgdolly.recovery.resolved import ResolvedRecovery
from pgdolly.steps.stanza import refuse_foreign_archive_command


def refuse_occupied(member: Member, found: Mapping[str, Any], resumed: str | None) -> None:
    """:raises Refused: if the node holds a cluster, or anything in its place."""
    directory = found["data_directory"]

    def refuse(what: str, next_command: str | None = None) -> Refused:
        return Refused(what, where=member.name, untouched=NOTHING, next_command=next_command)

    lock = found.get("lock")
    if lock is not None and lock["run_id"] != resumed:
        raise refuse(
            f"run {lock['run_id']} ({lock.get('operation', '?')}) is under way on {member.cluster}, or failed or was "
            "interrupted",
            f"pgdolly resume {lock['run_id']}, or to give it up: pgdolly resume {lock['run_id']} --abandon",
        )
    if found.get("postmaster"):
        raise refuse(
            f"a PostgreSQL runs in {directory['path']}: the new cluster needs nodes that hold none",
            f"pgdolly status {member.cluster}",
        )
    if not directory["empty"]:
        what = "a data directory" if directory["has_version"] else "files"
        raise refuse(
            f"{directory['path']} holds {what} already: it is never overwritten by a clone",
            f"pgdolly drop {member.cluster}, if it is not needed any more; or pgdolly reset {member.cluster} --from …",
        )
    if not found["writable"]:
        raise refuse(
            f"{member.dbsu} may not write into {member.data_directory.parent}",
            f"install -d -o {member.dbsu} -m 0700 {member.data_directory.parent}",
        )


def refuse_files(
    member: Member,
    seen: Mapping[PurePosixPath, PathFacts],
    texts: Iterable[PurePosixPath],
    needed: Iterable[PurePosixPath],
) -> None:
    """:raises Refused: if a file would be overwritten, or one that the configuration names is missing."""
    for path in texts:
        if seen[path].exists and not seen[path].made:
            raise Refused(
                f"{path} is there already, and no clone made it",
                where=member.name,
                untouched=NOTHING,
                next_command=f"move it away, or set pgdolly_patroni_config and pgdolly_pgbackrest_config of "
                f"{member.name} in the inventory",
            )
    missing = [str(path) for path in needed if not seen[path].exists]
    if missing:
        raise Refused(
            f"the configuration names files that are not there: {', '.join(missing)}",
            where=member.name,
            untouched=NOTHING,
            next_command="put the node's own certificates and keys there",
        )


def refuse_directories(
    member: Member, seen: Mapping[PurePosixPath, PathFacts], made: Iterable[PurePosixPath]
) -> None:
    """:raises Refused: if a directory is missing that the dbsu cannot make."""
    closed = [str(path) for path in made if not seen[path].exists and not seen[path].writable]
    if closed:
        raise Refused(
            f"{member.dbsu} cannot make directories that the configuration names: {', '.join(closed)}",
            where=member.name,
            untouched=NOTHING,
            next_command=f"as root: install -d -o {member.dbsu} -m 0700 {' '.join(closed)}",
        )


def refuse_stopped(member: Member, stops: Sequence[PurePosixPath]) -> None:
    """:raises Refused: if pgBackRest is told to do nothing for the stanza: it could not even be created [062]."""
    if stops:
        starts = (
            f"pgbackrest --lock-path={path.parent}{'' if path.stem == 'all' else f' --stanza={path.stem}'} start"
            for path in stops
        )
        raise Refused(
            f"pgBackRest is stopped there by {', '.join(map(str, stops))}: the clone could not have backups [062]",
            where=member.name,
            untouched=NOTHING,
            next_command=f"{'; '.join(starts)}, on {member.name} as {member.dbsu}",
        )


def refuse_unfit(
    member: MemberFacts, archive_command: str, facts: CloneFacts, resolved: ResolvedRecovery | None
) -> None:
    """What the node has, against what is going to be cloned."""
    services.start_command(member.member)  # refuses where Patroni could not be started
    for path in (member.data_directory, member.member.pgbackrest_config):
        if path is not None:
            refuse_odd_path(path, member.member.name)
    refuse_foreign_archive_command(archive_command, facts.new.name, member.member.name)
    source = facts.source.leader or next(iter(facts.source.members), None)
    if source is not None and source.tablespaces:
        refuse_shared_tablespaces(
            f"{source.member.name} has tablespaces ({source.tablespaces}), which lie at one path for all",
            facts.new.name,
            facts.new.members,
            facts.source.cluster.members,
        )
    if source is not None and source.major != member.major:
        raise Refused(
            f"PostgreSQL {member.postgres_version} cannot run the data of PostgreSQL {source.major}",
            where=member.member.name,
            untouched=NOTHING,
            next_command=f"install PostgreSQL {source.major} there and set pg_version, pg_bin_dir",
        )
    if resolved is not None:
        refuse_full(member, resolved, keep=False)


def refuse_living(new: Cluster, store: StoreView) -> None:
    """:raises Refused: if a cluster of this name has a leader or members; they may live on nodes that nobody named."""
    hosts = dict(store.members)
    if store.leader is not None:
        hosts.setdefault(store.leader, None)
    if not hosts:
        return
    listed = ", ".join(
        name + (f" at {host}" if host else "") + (", which leads it" if name == store.leader else "")
        for name, host in sorted(hosts.items())
    )
    raise Refused(
        f"a cluster {new.name} lives already, by the word of Patroni's store: {listed}",
        where=new.name,
        untouched=NOTHING,
        next_command="give the new cluster another name; or, if that one is not needed any more, with its nodes in the "
        f"inventory: pgdolly drop {new.name}. If its Patroni was stopped just now, wait half a minute",
    )


def refuse_former_stanza(facts: CloneFacts) -> None:
    """A promotion takes the next timeline, which a former clone of the same source has archived already, perhaps."""
    former = facts.new_catalogue
    if former is None or not (former.backups or any(archive.segments for archive in former.archives)):
        return
    raise Refused(
        f"stanza {facts.new.name} holds backups or WAL of a former cluster of that name: WAL of the new one would "
        "collide with it [045]",
        where=facts.new.name,
        untouched=NOTHING,
        next_command=f"pgdolly drop {facts.new.name} --with-backups, which deletes them if a drop of it kept them; or, "
        "to keep them, clone it to a point, and it begins a timeline that is free: pgdolly clone "
        f"{facts.source.cluster.name} {facts.new.name} --time …",
    )


def refuse_too_small(member: MemberFacts, size: int) -> None:
    """:param size: of the source's data directory, which is going to be copied, in bytes.

    :raises Refused: if it does not fit.
    """
    if member.free_bytes < size + WAL_RESERVE:
        raise Refused(
            f"not enough space for {member.data_directory}: {(size + WAL_RESERVE) / 1024**2:,.1f} MB needed "
            f"({size / 1024**2:,.1f} MB of data), {member.free_bytes / 1024**2:,.1f} MB there",
            where=member.member.name,
            untouched=NOTHING,
            next_command="make room on that file system",
        )


def refuse_other_history(facts: CloneFacts, resolved: ResolvedRecovery, upstream: Position) -> None:
    """A replay out of the archive must not pass where the upstream left: PostgreSQL would not notice, and pages differ.

    :raises Refused: if the archive leads along another timeline than the upstream writes.
    """
    if resolved.timeline != upstream.timeline and not _way_is_archived(facts, resolved, upstream):
        raise Refused(
            f"it is on timeline {upstream.timeline}, and its archive leads along timeline {resolved.timeline}: a "
            "member that is filled from its backups might replay what it has left",
            where=facts.source.cluster.name,
            untouched=NOTHING,
            next_command="leave --via out, for base backups; or first have it archive its timeline, after a reset by: "
            f"pgdolly cleanup {facts.source.cluster.name}",
        )


def _way_is_archived(facts: CloneFacts, resolved: ResolvedRecovery, upstream: Position) -> bool:
    """Whether a replay of the latest timeline turns off where the upstream did, as after a failover a moment ago.

    PostgreSQL asks for the history of one timeline after the other, and stops at the first that is not there.
    """
    known = {
        history.timeline: history
        for archive in (facts.catalogue.archives if facts.catalogue is not None else ())
        if (archive.repo_key, archive.archive_id) == (resolved.repo_key, resolved.archive_id)
        for history in archive.histories
    }
    needed = range(resolved.timeline + 1, upstream.timeline + 1)
    if not needed or not known.keys() >= set(needed):
        return False
    forks = [fork.at for fork in known[upstream.timeline].forks if fork.parent == resolved.timeline]
    return bool(forks) and forks[0] >= resolved.backup.stop_lsn
