"""Plan a clone and carry it out; go on with one that was interrupted."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from pgdolly.engine.events import Listener
from pgdolly.engine.plan import Plan
from pgdolly.engine.record import RecordedState, RunRecord
from pgdolly.inventory.fleet import Fleet
from pgdolly.operations.clone.blueprint import CloneBlueprint
from pgdolly.operations.clone.decide import decide, present_facts
from pgdolly.operations.clone.observe import observe
from pgdolly.operations.clone.plan import plan_clone
from pgdolly.operations.clone.request import CloneRequest, checked
from pgdolly.operations.running import carry_out, refuse_stale, take_up
from pgdolly.operations.site import world_of
from pgdolly.steps.world import World


@dataclass(frozen=True, slots=True)
class PreparedClone:
    """A clone that was shown to be possible; nothing has been touched."""

    plan: Plan
    blueprint: CloneBlueprint
    request: CloneRequest
    fleet: Fleet
    world: World


async def prepare(fleet: Fleet, request: CloneRequest) -> PreparedClone:
    """Observe, decide and plan.

    :raises PgdollyError: if it cannot be done, with why, and what to type next.
    """
    request = checked(request, fleet.cluster(request.new))
    facts, world = await observe(fleet, request)
    decided = await decide(facts, world)
    return PreparedClone(plan_clone(decided.blueprint), decided.blueprint, request, fleet, decided.world)


async def execute_prepared(prepared: PreparedClone, emit: Listener) -> RunRecord:
    """Look again, and carry the plan out if what it stands on is still so.

    :raises StalePlan: if a fact has changed since the plan was shown.
    """
    facts, world = await observe(prepared.fleet, prepared.request)
    again = await decide(facts, world)  # the nodes are still as empty as they were
    refuse_stale(prepared.plan, present_facts(facts, again.store, prepared.blueprint.resolved))
    return await carry_out(
        prepared.plan,
        prepared.world,
        [member.instance.member for member in prepared.blueprint.members],
        emit,
        request={
            "clone": _requests().dump_python(prepared.request, mode="json"),
            "inventory": list(prepared.fleet.sources),
        },
        blueprint=_blueprints().dump_python(prepared.blueprint, mode="json"),
    )


async def resume(run: RunRecord, fleet: Fleet, emit: Listener) -> RunRecord:
    """Take up an interrupted clone.

    What its first steps write holds passwords, which no journal has: as long as they are not done, the source's
    configuration is read again.
    """
    request: CloneRequest = _requests().validate_python(run.request["clone"])
    source, new = fleet.cluster(request.source), fleet.cluster(request.new)
    world = dataclasses.replace(world_of([source, new]), passwords=new.passwords)
    if not _done(run, "configure_member") or (request.to_a_point and not _done(run, "place_repository")):
        facts, _ = await observe(fleet, request)
        world = (await decide(facts, world_of([source, new]), resumed=run.run_id)).world
    return await take_up(run.run_id, world, new.members, emit)


def _done(run: RunRecord, kind: str) -> bool:
    found = [step for step in run.steps.values() if step.id.endswith(f"-{kind}")]
    members = run.parts[-1].plan["blueprint"] if run.parts else None
    count = 1 + len(members["replicas"]) if members else 1
    return len(found) == count and all(step.state is RecordedState.FINISHED for step in found)


@cache
def _blueprints() -> TypeAdapter[Any]:
    return TypeAdapter(CloneBlueprint)


@cache
def _requests() -> TypeAdapter[Any]:
    return TypeAdapter(CloneRequest)
