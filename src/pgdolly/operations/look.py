"""A look at whole clusters: what each member's node says, and what its server says. For `status` and `check`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from pgdolly.domain.cluster import Cluster
from pgdolly.domain.errors import PgdollyError
from pgdolly.drivers.observation import MemberFacts
from pgdolly.drivers.server_state import ServerState, read_server_state
from pgdolly.operations.site import ClusterFacts, instance_of, observe_cluster
from pgdolly.steps.world import World
from pgdolly.transport.shell import Shell
from pgdolly.transport.together import together

_CLUSTERS_AT_ONCE = 8  # a fleet of hundreds must not become hundreds of connections at once


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberLook:
    """A member's node, and its server if it runs and answers; `problem` says why it does not."""

    facts: MemberFacts
    server: ServerState | None = None
    problem: PgdollyError | None = None

    @property
    def name(self) -> str:
        return self.facts.member.name

    @property
    def private(self) -> bool:
        """Whether what runs is a recovery of pgdolly's, which only its node can see."""
        return self.facts.private

    async def asked_again(self, shell: Shell) -> ServerState | None:
        """Its server now."""
        return (await _look_at_member(shell, self.facts)).server


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterLook:
    """A cluster as its members see it; those that could not be looked at are in `facts.silent`."""

    facts: ClusterFacts
    members: tuple[MemberLook, ...]

    @property
    def name(self) -> str:
        return self.facts.cluster.name

    @property
    def leader(self) -> MemberLook | None:
        leader = self.facts.leader
        return next((member for member in self.members if member.facts is leader), None)


async def look_at_clusters(world: World, clusters: Iterable[Cluster]) -> tuple[ClusterLook, ...]:
    """Look at all of them, several at a time. What cannot be seen is named, not raised."""
    turn = asyncio.Semaphore(_CLUSTERS_AT_ONCE)

    async def look(cluster: Cluster) -> ClusterLook:
        async with turn:
            facts = await observe_cluster(world, cluster)
            members = await together(
                *(_look_at_member(world.shell(member.member), member) for member in facts.members)
            )
            return ClusterLook(facts=facts, members=tuple(members))

    return tuple(await together(*(look(cluster) for cluster in clusters)))


async def _look_at_member(shell: Shell, facts: MemberFacts) -> MemberLook:
    if not facts.running or facts.running_port is None:
        return MemberLook(facts=facts)
    try:
        server = await read_server_state(
            shell,
            instance_of(facts),
            socket_directory=facts.socket_directory or facts.member.node.address,
            port=facts.running_port,
        )
    except PgdollyError as error:
        return MemberLook(facts=facts, problem=error)
    return MemberLook(facts=facts, server=server)
