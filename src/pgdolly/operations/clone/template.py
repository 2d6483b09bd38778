"""Whose configuration the new cluster's follows, and which repository holds the source's backups. Reads only."""

from __future__ import annotations

import dataclasses
from pathlib import PurePosixPath

from pgdolly.domain.cluster import Cluster, Member
from pgdolly.domain.errors import PgdollyError, Refused
from pgdolly.domain.repository import RepositorySettings
from pgdolly.domain.secret import Secret
from pgdolly.drivers.configuration import MemberConfiguration, read_member_configuration
from pgdolly.drivers.repository import read_repository
from pgdolly.inventory.fleet import Fleet
from pgdolly.operations.clone.naming import Naming
from pgdolly.operations.clone.request import CloneRequest
from pgdolly.operations.request import NOTHING
from pgdolly.operations.site import ClusterFacts, observe_cluster, world_of
from pgdolly.steps.world import World


async def find_template(
    fleet: Fleet, request: CloneRequest, source: ClusterFacts
) -> tuple[MemberConfiguration, ClusterFacts]:
    """A member's configuration to follow: the source's; if none of its nodes answers, another cluster's.

    :raises Refused: if no node answers whose configuration could be followed.
    """
    if request.like is None and source.members:
        return await _read(world_of([source.cluster]), source), source
    names = [request.like] if request.like is not None else sorted(fleet.clusters)
    problems = [f"{member.name}: {error.what}" for member, error in source.silent]
    for name in names:
        cluster = fleet.cluster(name)
        if name in (request.new, source.cluster.name) and request.like is None:
            continue
        world = world_of([cluster])
        facts = await observe_cluster(world, cluster)
        if facts.members:
            return await _read(world, facts), facts
        problems += [f"{member.name}: {error.what}" for member, error in facts.silent]
    raise Refused(
        "no node answers whose configuration the new cluster could follow",
        where=request.new,
        untouched=NOTHING + "; " + "; ".join(problems[:3]),
        next_command="name a cluster that is up: --like CLUSTER",
    )


async def _read(world: World, facts: ClusterFacts) -> MemberConfiguration:
    last: PgdollyError | None = None
    for member in facts.members:
        try:
            return await read_member_configuration(world.shell(member.member), member.member)
        except PgdollyError as error:
            last = error
    assert last is not None
    last.untouched = NOTHING
    raise last


async def source_repository(
    source: ClusterFacts, template: ClusterFacts, given: RepositorySettings | None
) -> RepositorySettings:
    """The repository with the source's backups: its own nodes know it best, then the inventory, then the template.

    :raises InvalidInput: if only the inventory could tell, and what it says cannot be used.
    """
    if given is not None:
        return given.filled({"pg_cluster": source.cluster.name})
    if source.members:
        return await _of(source)
    named = source.cluster.repository
    if named is not None:
        return named
    return renamed(await _of(template), template, source.cluster)


async def _of(facts: ClusterFacts) -> RepositorySettings:
    member = facts.members[0]
    world = world_of([facts.cluster])
    return await read_repository(world.shell(member.member), member.member, member.stanza)


def renamed(settings: RepositorySettings, old: ClusterFacts, new: Cluster) -> RepositorySettings:
    """The same repository as another cluster has it: with its own name in prefix and passphrase."""
    facts = old.members[0]
    naming = Naming.between(facts.member, new.members[0], scope=facts.scope, stanza=facts.stanza)
    return RepositorySettings(
        tuple(
            (name, Secret(naming.text(value.reveal())) if isinstance(value, Secret) else naming.text(value))
            for name, value in settings.options
        )
    )


def with_programs(member: Member, template: MemberConfiguration) -> Member:
    """The member with the template's PostgreSQL, if the inventory does not say where its own is."""
    found = (template.patroni.get("postgresql") or {}).get("bin_dir")
    if member.bin_directory is not None or not found:
        return member
    return dataclasses.replace(member, bin_directory=PurePosixPath(str(found)))
