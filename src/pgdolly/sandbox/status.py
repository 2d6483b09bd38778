"""What a sandbox looks like right now. Looks, never touches."""

from __future__ import annotations

from dataclasses import dataclass

from pgdolly.domain.errors import Refused
from pgdolly.sandbox import members, supervise
from pgdolly.sandbox.layout import CLUSTERS, World
from pgdolly.sandbox.members import ClusterView
from pgdolly.sandbox.prerequisites import find_world
from pgdolly.sandbox.record import controller_home, home_record, read_record
from pgdolly.sandbox.supervise import RUNNING, ProgramState


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxStatus:
    """The sandbox's programs, and each cluster's members as Patroni sees them.

    :param missing: for each cluster that is not whole, what it lacks.
    """

    programs: tuple[ProgramState, ...]
    clusters: dict[str, ClusterView]
    missing: dict[str, str]

    @property
    def is_up(self) -> bool:
        return not self.missing and all(program.state == RUNNING for program in self.programs)


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
    clusters = {cluster: members.view_cluster(world.members(cluster)) for cluster in CLUSTERS}
    missing = {
        cluster: lack
        for cluster, view in clusters.items()
        if (lack := members.missing_members(view, [node.name for node in world.members(cluster)])) is not None
    }
    return SandboxStatus(
        programs=tuple(states.get(name, stopped[name]) for name in world.programs),
        clusters=clusters,
        missing=missing,
    )
