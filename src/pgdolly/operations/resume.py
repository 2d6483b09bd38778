"""Take up a run of any operation, or give it up."""

from __future__ import annotations

from pgdolly.domain.cluster import Cluster, Member
from pgdolly.domain.errors import Refused
from pgdolly.engine.events import Listener
from pgdolly.engine.plan import Plan
from pgdolly.engine.record import RunRecord
from pgdolly.inventory.fleet import Fleet
from pgdolly.operations import running
from pgdolly.operations.clone.run import resume as resume_clone
from pgdolly.operations.promote.run import resume as resume_promotion
from pgdolly.operations.request import NOTHING, PitrRequest
from pgdolly.operations.reset.run import plan_further
from pgdolly.operations.reset.run import resume as resume_reset
from pgdolly.operations.site import world_around, world_of


async def take_up_any(
    run: RunRecord, fleet: Fleet, emit: Listener, *, further: PitrRequest | None = None
) -> RunRecord:
    """Go on with a run.

    :raises Refused: if it has ended, or is conducted by a live controller.
    """
    _refuse_ended(run, "take up", next_command=f"pgdolly show {run.run_id}")
    _refuse_moving(run, further)
    cluster = fleet.cluster(run.target)
    if run.operation == "reset":
        return await resume_reset(run, fleet, world_of([cluster]), emit, further=further)
    if run.operation == "clone":
        return await resume_clone(run, fleet, emit)
    if run.operation == "promote":
        return await resume_promotion(run, fleet, emit)
    return await running.take_up(run.run_id, world_around(fleet, cluster), _members(run, cluster), emit)


async def plan_any(run: RunRecord, fleet: Fleet, *, further: PitrRequest | None = None) -> Plan:
    """What `take_up_any` would do. Nothing is touched.

    :raises Refused: as `take_up_any` does.
    """
    _refuse_ended(run, "take up", next_command=f"pgdolly show {run.run_id}")
    _refuse_moving(run, further)
    if run.operation == "reset":
        world = world_of([fleet.cluster(run.target)])
        plan = await plan_further(run, fleet, world, further=further)
        if plan is not None:
            return plan
    return running.remaining_plan(run)


def _refuse_ended(run: RunRecord, what: str, *, next_command: str | None = None) -> None:
    if not run.state.can_be_resumed:
        raise Refused(
            f"run {run.run_id} is {run.state.value}: there is nothing to {what}",
            untouched=NOTHING,
            next_command=next_command,
        )


def _refuse_moving(run: RunRecord, further: PitrRequest | None) -> None:
    if further is not None and run.operation != "reset":
        raise Refused(
            f"run {run.run_id} is a {run.operation}: its target cannot be moved",
            untouched=NOTHING,
            next_command=f"pgdolly resume {run.run_id} --abandon; a clone that has its configuration already is then "
            f"recovered to another point by pgdolly reset {run.target} --from … --cleanup",
        )


async def give_up(run: RunRecord, fleet: Fleet) -> RunRecord:
    """Abandon a run; the cluster stays as it is.

    :raises Refused: if it has ended, or is conducted by a live controller.
    """
    _refuse_ended(run, "give up")
    cluster = fleet.cluster(run.target)
    return await running.abandon(run.run_id, world_of([cluster]), _members(run, cluster))


def _members(run: RunRecord, cluster: Cluster) -> tuple[Member, ...]:
    """Those that the run has locked: a reset or clean-up leaves out the members that are down, and says whom it has."""
    names = run.request.get("members")
    return tuple(member for member in cluster.members if names is None or member.name in names)
