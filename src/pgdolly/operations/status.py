"""How clusters stand: members, roles, timelines, lag, archiving, and the run that holds them. Reads only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from pgdolly.domain.cluster import Member
from pgdolly.domain.errors import NoCluster, PgdollyError
from pgdolly.drivers.patroni import ClusterView, MemberView
from pgdolly.inventory.fleet import Fleet
from pgdolly.operations.following import Following, observe_following
from pgdolly.operations.look import ClusterLook, MemberLook, look_at_clusters
from pgdolly.operations.site import world_of


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberStatus:
    """One member. What nobody could tell is None.

    :param state: Patroni's word; without it `running` or `stopped`, `private recovery`, `empty` (a node that holds no
        cluster) or `unreachable`.
    :param lag_bytes: how far it is behind the leader, as Patroni reckons.
    :param archive_mode: what the running server says: `on`, `off` or `always`.
    :param last_archived: the file that its archiver acknowledged last.
    """

    name: str
    role: str | None = None
    state: str
    timeline: int | None = None
    lsn: str | None = None
    lag_bytes: int | None = None
    archive_mode: str | None = None
    last_archived: str | None = None
    last_archived_at: datetime | None = None
    archiver_failing: bool = False
    postgres_version: str | None = None
    system_identifier: int | None = None
    pending_restart: bool = False
    run: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterStatus:
    """One cluster, its members in the inventory's order; `remarks` say what a table has no column for.

    :param standby: how it follows its source; None for a cluster of its own.
    """

    cluster: str
    stanza: str | None
    paused: bool
    members: tuple[MemberStatus, ...]
    standby: Following | None = None
    remarks: tuple[str, ...] = ()


async def observe_status(fleet: Fleet, names: Sequence[str]) -> tuple[ClusterStatus, ...]:
    """Look at these clusters at once.

    :raises InvalidInput: if the inventory has no such cluster.
    """
    clusters = [fleet.cluster(name) for name in names]
    world = world_of(clusters)
    looks = await look_at_clusters(world, clusters)
    standby = await observe_following(fleet, world, looks)
    return tuple(status_of(look, standby.get(look.name)) for look in looks)


def status_of(look: ClusterLook, standby: Following | None = None) -> ClusterStatus:
    """Put together what the members, their servers and Patroni say. Pure."""
    view = next((member.facts.cluster for member in look.members if member.facts.cluster is not None), None)
    seen = {member.facts.member.name: member for member in look.members}
    silent = {member.name: error for member, error in look.facts.silent}
    return ClusterStatus(
        cluster=look.name,
        stanza=next((member.facts.stanza for member in look.members), None),
        paused=view.paused if view is not None else False,
        members=tuple(
            _seen(seen[member.name], view)
            if member.name in seen
            else _silent(member, silent[member.name], view)
            for member in look.facts.cluster.members
        ),
        standby=standby,
        remarks=tuple(_remarks(look, view)),
    )


def _seen(look: MemberLook, view: ClusterView | None) -> MemberStatus:
    facts, server = look.facts, look.server
    own = view.member(facts.patroni_name) if view is not None else None
    if look.private:
        state, role = "private recovery", None
    elif own is not None:
        state, role = own.state, own.role
    else:
        state, role = ("running" if facts.running else "stopped"), _role(look)
    return MemberStatus(
        name=look.name,
        role=role,
        state=state,
        timeline=server.timeline if server is not None and server.timeline is not None else facts.timeline,
        lsn=str(server.lsn) if server is not None and server.lsn is not None else None,
        lag_bytes=own.lag if own is not None and not look.private else None,
        archive_mode=server.archive_mode if server is not None else None,
        last_archived=server.archiver.last_archived if server is not None else None,
        last_archived_at=server.archiver.last_archived_at if server is not None else None,
        archiver_failing=server.archiver.failing if server is not None else False,
        postgres_version=facts.postgres_version,
        system_identifier=facts.system_identifier,
        pending_restart=own.pending_restart if own is not None else False,
        run=facts.lock.run_id if facts.lock is not None else None,
        problem=_without_name(look.problem, look.name) if look.problem is not None else None,
    )


def _role(look: MemberLook) -> str | None:
    """Without Patroni's word: what the server says that it is."""
    if look.server is None:
        return None
    return "replica" if look.server.in_recovery else "primary"


def _silent(member: Member, error: PgdollyError, view: ClusterView | None) -> MemberStatus:
    own: MemberView | None = view.member(member.name) if view is not None else None
    return MemberStatus(
        name=member.name,
        role=own.role if own is not None else None,
        state="empty" if isinstance(error, NoCluster) else "unreachable",
        timeline=own.timeline if own is not None else None,
        lag_bytes=own.lag if own is not None else None,
        problem=_without_name(error, member.name),
    )


def _remarks(look: ClusterLook, view: ClusterView | None) -> Iterator[str]:
    for run_id, lock in {m.facts.lock.run_id: m.facts.lock for m in look.members if m.facts.lock}.items():
        yield (
            f"run {run_id} ({lock.operation}, begun {lock.began_at} on {lock.controller}) holds it: "
            f"pgdolly show {run_id}"
        )
    upstream = look.facts.cluster.upstream
    if upstream is not None and look.facts.follows is None:
        own = ", and it is a cluster of its own" if view is not None else ""
        yield f"by the inventory (pg_upstream) a standby cluster of {upstream}{own}"
    if view is None and not look.members and all(isinstance(e, NoCluster) for _, e in look.facts.silent):
        return
    if view is None:
        yield "no member's Patroni answers"
        return
    if view.paused:
        yield "paused in Patroni"
    if view.leader is None:
        yield "no member leads"
    known = {member.facts.patroni_name for member in look.members}
    known.update(member.name for member, _ in look.facts.silent)
    for other in view.members:
        if other.name not in known:
            yield f"Patroni has a member {other.name} that is not in the inventory"


def _without_name(error: PgdollyError, member: str) -> str:
    """The error for a line that begins with the member's name."""
    return error.what if error.where == member else str(error)
