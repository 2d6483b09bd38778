"""Plan a drop and carry it out. An interrupted one is taken up by its journal alone."""

from __future__ import annotations

from dataclasses import dataclass

from pgdolly.engine.events import Listener
from pgdolly.engine.plan import Plan
from pgdolly.engine.record import RunRecord
from pgdolly.inventory.fleet import Fleet
from pgdolly.operations.drop.observe import observe
from pgdolly.operations.drop.plan import plan_drop, present_facts
from pgdolly.operations.drop.refusals import refuse, refuse_unlockable
from pgdolly.operations.running import carry_out, refuse_stale
from pgdolly.steps.world import World


@dataclass(frozen=True, slots=True)
class PreparedDrop:
    """A drop that nothing stands in the way of; nothing has been touched."""

    plan: Plan
    fleet: Fleet
    world: World
    with_backups: bool

    @property
    def gone(self) -> bool:
        """Whether there is nothing left to remove."""
        return not self.plan.stages


async def prepare(fleet: Fleet, name: str, *, with_backups: bool = False) -> PreparedDrop:
    """Observe, refuse and plan."""
    facts, world = await observe(fleet, name, with_backups=with_backups)
    refuse(facts, fleet, with_backups=with_backups)
    prepared = PreparedDrop(plan_drop(facts, fleet, with_backups=with_backups), fleet, world, with_backups)
    if not prepared.gone:
        refuse_unlockable(facts)
    return prepared


async def execute_prepared(prepared: PreparedDrop, emit: Listener) -> RunRecord:
    """Look again, because somebody may have begun to replicate meanwhile, and carry the plan out.

    :raises StalePlan: if a fact has changed since the plan was shown.
    """
    name, with_backups = prepared.plan.target, prepared.with_backups
    facts, _ = await observe(prepared.fleet, name, with_backups=with_backups)
    refuse(facts, prepared.fleet, with_backups=with_backups)
    refuse_stale(prepared.plan, present_facts(facts))
    return await carry_out(
        prepared.plan,
        prepared.world,
        prepared.fleet.cluster(name).members,
        emit,
        request={"inventory": list(prepared.fleet.sources), "with_backups": with_backups},
    )
