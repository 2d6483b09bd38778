"""Plan the promotion of a standby cluster and carry it out; go on with one that was interrupted."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from pgdolly.domain.cluster import Cluster
from pgdolly.engine.events import Listener
from pgdolly.engine.plan import Plan
from pgdolly.engine.record import RunRecord
from pgdolly.inventory.fleet import Fleet
from pgdolly.operations.promote.observe import PromotionFacts, observe
from pgdolly.operations.promote.plan import decide, plan_promotion, present_facts
from pgdolly.operations.running import carry_out, refuse_stale, take_up
from pgdolly.operations.site import world_around
from pgdolly.steps.world import World


@dataclass(frozen=True, slots=True)
class PreparedPromotion:
    """A promotion that was shown to be possible; nothing has been touched."""

    plan: Plan
    facts: PromotionFacts
    fleet: Fleet
    world: World


async def prepare(fleet: Fleet, name: str, *, now: bool = False, backup: bool = True) -> PreparedPromotion:
    """Observe, refuse and plan."""
    facts, world = await observe(fleet, name)
    return PreparedPromotion(
        plan_promotion(facts, decide(facts, now=now, backup=backup)), facts, fleet, world
    )


async def execute_prepared(prepared: PreparedPromotion, emit: Listener) -> RunRecord:
    """Look again, and carry the plan out.

    :raises StalePlan: if a fact has changed since the plan was shown.
    """
    cluster: Cluster = prepared.facts.cluster.cluster
    facts, world = await observe(prepared.fleet, cluster.name)
    refuse_stale(prepared.plan, present_facts(facts))
    return await carry_out(
        prepared.plan, world, cluster.members, emit, request={"inventory": list(prepared.fleet.sources)}
    )


async def resume(run: RunRecord, fleet: Fleet, emit: Listener) -> RunRecord:
    """Take up an interrupted promotion."""
    cluster = fleet.cluster(run.target)
    world = dataclasses.replace(world_around(fleet, cluster), passwords=cluster.passwords)
    return await take_up(run.run_id, world, cluster.members, emit)
