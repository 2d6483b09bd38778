"""What a clone has to know before it can be planned. Reads only."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import PurePosixPath

from pgdolly.domain.backup import Catalogue
from pgdolly.domain.cluster import Cluster, Member
from pgdolly.domain.errors import CommandFailed, InvalidInput, NoCluster, PgdollyError, Refused
from pgdolly.domain.repository import RepositorySettings
from pgdolly.domain.secret import Secret
from pgdolly.drivers.catalogue import read_catalogue
from pgdolly.drivers.configuration import MemberConfiguration
from pgdolly.drivers.repository import FROM_STDIN, reading
from pgdolly.drivers.upstream import Position, UpstreamServers, ask_upstream, listed
from pgdolly.inventory.fleet import Fleet
from pgdolly.operations.clone.inventory import refuse_crowded, refuse_other_upstream
from pgdolly.operations.clone.request import CloneRequest
from pgdolly.operations.clone.template import find_template, renamed, source_repository, with_programs
from pgdolly.operations.request import NOTHING
from pgdolly.operations.site import ClusterFacts, observe_cluster, world_of
from pgdolly.steps.world import World
from pgdolly.transport.together import together


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneFacts:
    """The source, whose configuration is followed, and what the source's repository holds.

    :param new: the new cluster, its members with PostgreSQL's programs found.
    :param catalogue: of the source's stanza, as the new cluster's first node sees it; None if it cannot.
    :param no_catalogue: why it cannot.
    :param new_catalogue: of the new cluster's own stanza; None if there is none yet.
    :param upstream: whom it follows, and where that is now; None if it begins at a point of the past.
    """

    request: CloneRequest
    source: ClusterFacts
    source_stanza: str
    new: Cluster
    template: MemberConfiguration
    template_cluster: ClusterFacts
    repository: RepositorySettings | None
    catalogue: Catalogue | None
    no_catalogue: PgdollyError | None
    new_catalogue: Catalogue | None
    upstream: UpstreamServers | None
    position: Position | None

    @property
    def first(self) -> Member:
        """The member that is going to lead."""
        return leading(self.new)


def leading(cluster: Cluster) -> Member:
    """Who leads a cluster that begins: its primary by the inventory's word, or its first member."""
    return next((member for member in cluster.members if member.role == "primary"), cluster.members[0])


async def observe(fleet: Fleet, request: CloneRequest) -> tuple[CloneFacts, World]:
    """Look at the source, at its repository, and whether the new nodes can stream from it.

    :raises Refused: if nothing could be cloned so.
    """
    source_cluster, new = fleet.cluster(request.source), fleet.cluster(request.new)
    refuse_crowded(fleet, new)
    refuse_other_upstream(fleet, source_cluster, new)
    world = world_of([source_cluster, new])
    source = await observe_cluster(world_of([source_cluster]), source_cluster)
    if not request.to_a_point:
        _refuse_silent(source, new)
    template, template_cluster = await find_template(fleet, request, source)
    new = dataclasses.replace(new, members=tuple(with_programs(member, template) for member in new.members))
    stanza = source.members[0].stanza if source.members else source_cluster.name
    first = leading(new)

    async def of_source() -> tuple[RepositorySettings | None, Catalogue | None, PgdollyError | None]:
        repository = None
        try:
            repository = await source_repository(source, template_cluster, request.pitr.repository)
            run = reading(world.shell(first).run, repository)
            return repository, await read_catalogue(run, stanza, config=FROM_STDIN), None
        except PgdollyError as error:
            if request.to_a_point or request.names_backups:
                error.untouched = NOTHING
                raise
            return repository, None, error

    async def of_upstream() -> tuple[UpstreamServers, Position] | tuple[None, None]:
        if request.to_a_point:
            return None, None
        upstream = upstream_of(source_cluster, source, new)
        return upstream, await position_of(world, new, upstream, source, template)

    (repository, catalogue, problem), own, (upstream, position) = await together(
        of_source(), _own_catalogue(world, template_cluster, new), of_upstream()
    )
    return (
        CloneFacts(
            request=request,
            source=source,
            source_stanza=stanza,
            new=new,
            template=template,
            template_cluster=template_cluster,
            repository=repository,
            catalogue=catalogue,
            no_catalogue=problem,
            new_catalogue=own,
            upstream=upstream,
            position=position,
        ),
        world,
    )


def _refuse_silent(source: ClusterFacts, new: Cluster) -> None:
    """:raises Refused: if nobody of the source could be streamed from."""
    name = source.cluster.name
    if source.members:
        return
    empty = all(isinstance(error, NoCluster) for _, error in source.silent)
    raise Refused(
        f"{name} is not there: its nodes hold no cluster"
        if empty
        else "no node of the source answers, and a clone of now streams from it",
        where=name,
        untouched=NOTHING,
        next_command=f"give a point that its backups hold: pgdolly window {name}; or pgdolly clone {name} {new.name} "
        "--time …",
    )


async def _own_catalogue(world: World, template: ClusterFacts, new: Cluster) -> Catalogue | None:
    """What is in the repository of the new cluster's own, left by a former life."""
    first = leading(new)
    try:
        settings = new.repository or renamed(await source_repository(template, template, None), template, new)
        return await read_catalogue(reading(world.shell(first).run, settings), new.name, config=FROM_STDIN)
    except InvalidInput:
        raise
    except PgdollyError:
        return None  # none yet; whatever else is wrong with it, stanza-create will say


def upstream_of(source_cluster: Cluster, source: ClusterFacts, new: Cluster) -> UpstreamServers:
    """Every member of the source's, so that its failover is followed; or what pg_upstream names that is none of them.

    :raises InvalidInput: if pg_upstream names a member of another cluster's.
    """
    addresses = {member.node.address: member.port for member in source_cluster.members}
    if new.upstream is not None and new.upstream not in (
        *addresses,
        *(m.name for m in source_cluster.members),
    ):
        return listed([(new.upstream, source_cluster.members[0].port)])
    running = {facts.member.name: facts.running_port for facts in source.members if facts.running}
    ports = {member.name: running.get(member.name) or member.port for member in source_cluster.members}
    leader = source.leader.member.name if source.leader is not None else source_cluster.members[0].name
    # Patroni takes several hosts with one port only: it writes "host:5432,5433" into its pgpass, which matches nothing.
    return listed(
        [
            (member.node.address, ports[member.name])
            for member in source_cluster.members
            if ports[member.name] == ports[leader]
        ],
        standby=source.follows is not None,
    )


async def position_of(
    world: World,
    new: Cluster,
    upstream: UpstreamServers,
    source: ClusterFacts,
    template: MemberConfiguration,
) -> Position:
    """Where the upstream is; asked from every new node: any of them may come to lead, or takes a base backup itself."""
    asked = (_position_from(world, member, upstream, source, template) for member in new.members)
    return (await together(*asked))[0]


async def _position_from(
    world: World,
    member: Member,
    upstream: UpstreamServers,
    source: ClusterFacts,
    template: MemberConfiguration,
) -> Position:
    """Where the upstream is, asked from a new node with the role that its replicas are going to use.

    :raises Refused: if the source is down, or lets the node not in.
    """
    role = template.authentication.get("replication") or {}
    bin_directory = member.bin_directory or PurePosixPath("")
    try:
        return await ask_upstream(
            world.shell(member),
            member,
            upstream,
            bin_directory=bin_directory,
            role=(str(role.get("username", "")), Secret(str(role.get("password") or ""))),
        )
    except CommandFailed as error:
        error.untouched = NOTHING
        if "pg_hba" not in error.stderr_end and "authentication" not in error.stderr_end:
            error.next_command = (
                f"see that {source.cluster.name} runs (pgdolly status {source.cluster.name}) and can be reached from "
                f"{member.name}; or give a point that its backups hold: --time …"
            )
            raise
        error.next_command = (
            f"let {member.node.address} in by the source's pg_hba.conf (host replication {role.get('username')} "
            f"{member.node.address}/32 scram-sha-256), with the password of its patroni.yml"
        )
        raise
