"""What a sandbox looks like right now. Looks, never touches."""

from __future__ import annotations

from dataclasses import dataclass, field

from pgdolly.domain.errors import Refused
from pgdolly.sandbox import members, supervise
from pgdolly.sandbox.added import occupied
from pgdolly.sandbox.layout import World
from pgdolly.sandbox.members import ClusterView
from pgdolly.sandbox.prerequisites import find_world
from pgdolly.sandbox.record import controller_home, home_record, read_record
from pgdolly.sandbox.supervise import AT_REST, RUNNING, ProgramState


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxStatus:
    """The sandbox's programs, and each cluster's members as Patroni sees them.

    :param missing: for each cluster that is not whole, what it lacks.
    :param empty: for each cluster that has some, its nodes that hold no member yet.
    """

    programs: tuple[ProgramState, ...]
    clusters: dict[str, ClusterView]
    missing: dict[str, str]
    empty: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def is_up(self) -> bool:
        empty = {name for names in self.empty.values() for name in names}
        return not self.missing and all(
            program.state == RUNNING or program.name in empty for program in self.programs
        )


def existing_world() -> World:
    """Return this home's sandbox.

    :raises Refused: if there is none.
    """
    home = controller_home()
    remembered = read_record(home_record(home))
    if remembered is None:
        raise Refused("there is no sandbox", where=str(home), next_command="pgdolly sandbox up")
    return find_world(home, remembered, network=None, directory=None, pg_version=None)


def look_at(world: World) -> SandboxStatus:
    """Ask supervisord and Patroni."""
    states = supervise.program_states(world) or {}
    stopped = {name: ProgramState(name, "STOPPED", None, 0) for name in world.programs}
    programs = {name: states.get(name, stopped[name]) for name in world.programs}
    clusters = {cluster: members.view_cluster(world.members(cluster)) for cluster in world.clusters}
    held = {cluster: occupied(world, cluster) for cluster in world.clusters}
    missing = {
        cluster: lack
        for cluster, view in clusters.items()
        if held[cluster]
        and (lack := members.missing_members(view, [node.name for node in held[cluster]])) is not None
    }
    empty = {
        cluster: tuple(
            node.name
            for node in world.members(cluster)
            if node not in nodes and programs[node.name].state in AT_REST
        )
        for cluster, nodes in held.items()
    }
    return SandboxStatus(
        programs=tuple(programs.values()),
        clusters=clusters,
        missing=missing,
        empty={cluster: names for cluster, names in empty.items() if names},
    )
