"""Plan a reset and carry it out; go on with one that was interrupted or paused."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from pgdolly.domain.errors import InvalidInput, Refused
from pgdolly.domain.target import RecoveryTarget, TargetAction, TargetType
from pgdolly.drivers.catalogue import read_catalogue
from pgdolly.drivers.observation import observe_member
from pgdolly.engine.events import Listener
from pgdolly.engine.plan import Plan
from pgdolly.engine.record import RecordedState, RunRecord, RunState
from pgdolly.inventory.fleet import Fleet
from pgdolly.operations.request import NOTHING, PitrRequest
from pgdolly.operations.reset.blueprint import ResetBlueprint
from pgdolly.operations.reset.decide import decide, present_facts
from pgdolly.operations.reset.observe import observe
from pgdolly.operations.reset.plan import moved_on, plan_finish, plan_move_on, plan_reset
from pgdolly.operations.reset.repository import foreign_repository
from pgdolly.operations.running import carry_out, refuse_stale, take_up
from pgdolly.operations.site import observe_cluster, world_of
from pgdolly.recovery.select import ResolvedRecovery, resolve
from pgdolly.steps.world import World


@dataclass(frozen=True, slots=True)
class PreparedReset:
    """A reset that was shown to be possible; nothing has been touched."""

    plan: Plan
    blueprint: ResetBlueprint
    request: PitrRequest
    fleet: Fleet
    world: World


async def prepare(fleet: Fleet, target: str, request: PitrRequest) -> PreparedReset:
    """Observe, decide and plan.

    :raises PgdollyError: if it cannot be done, with why, what was left untouched and what to type next.
    """
    request.target()  # a contradiction is said before any node is asked
    facts, world = await observe(fleet, target, request)
    blueprint = await decide(facts, request, world)
    return PreparedReset(plan_reset(blueprint), blueprint, request, fleet, world)


async def execute_prepared(
    prepared: PreparedReset, emit: Listener, *, door: str = "command line"
) -> RunRecord:
    """Look again, and carry the plan out if what it stands on is still so.

    :param door: by which the request came, for the journal.
    :raises StalePlan: if a fact has changed since the plan was shown.
    """
    facts, _ = await observe(prepared.fleet, prepared.blueprint.target_cluster, prepared.request)
    refuse_stale(prepared.plan, present_facts(facts, prepared.blueprint.resolved))
    return await carry_out(
        prepared.plan,
        prepared.world,
        [member.member for member in prepared.blueprint.members],
        emit,
        request={
            "pg_pitr": prepared.request.model_dump(mode="json", exclude_defaults=True),
            "inventory": list(prepared.fleet.sources),
            "members": sorted(member.member.name for member in prepared.blueprint.members),
            "door": door,
        },
        blueprint=_adapter().dump_python(prepared.blueprint, mode="json"),
        pauses=prepared.blueprint.action is not TargetAction.PROMOTE,
    )


def blueprint_of(run: RunRecord) -> ResetBlueprint:
    """The blueprint of the run's latest part.

    :raises InvalidInput: if the run has none: it was killed before its plan was written.
    """
    encoded = run.parts[-1].plan.get("blueprint") if run.parts else None
    if encoded is None:
        raise InvalidInput(f"run {run.run_id} was ended before it had a plan", untouched=NOTHING)
    blueprint: ResetBlueprint = _adapter().validate_python(encoded)
    return blueprint


async def resume(
    run: RunRecord, fleet: Fleet, world: World, emit: Listener, *, further: PitrRequest | None = None
) -> RunRecord:
    """Take up an interrupted run; promote and finish a paused one, or move it on to a later target.

    :param further: the later target; only for a run that stands at its target.
    """
    blueprint = blueprint_of(run)
    world = await _with_repository(blueprint, run, fleet, world)
    if blueprint.own_passwords:
        world = dataclasses.replace(world, passwords=fleet.cluster(blueprint.target_cluster).passwords)
    members = [member.member for member in blueprint.members]
    part = await _further_part(run, blueprint, world, further)
    if part is None:
        return await take_up(
            run.run_id, world, members, emit, pauses=blueprint.action is not TargetAction.PROMOTE
        )
    return await take_up(
        run.run_id,
        world,
        members,
        emit,
        further=part.plan,
        blueprint=_adapter().dump_python(part.blueprint, mode="json"),
        pauses=part.pauses,
    )


async def plan_further(
    run: RunRecord, fleet: Fleet, world: World, *, further: PitrRequest | None = None
) -> Plan | None:
    """The plan by which `resume` would go on with a paused run; None if it would end the plan that the run has."""
    blueprint = blueprint_of(run)
    part = await _further_part(run, blueprint, await _with_repository(blueprint, run, fleet, world), further)
    return part.plan if part is not None else None


@dataclass(frozen=True, slots=True)
class _FurtherPart:
    plan: Plan
    blueprint: ResetBlueprint
    pauses: bool = False


async def _further_part(
    run: RunRecord, blueprint: ResetBlueprint, world: World, further: PitrRequest | None
) -> _FurtherPart | None:
    if further is None:
        if run.state is not RunState.PAUSED:
            return None
        finishing = dataclasses.replace(blueprint, action=TargetAction.PROMOTE)
        return _FurtherPart(plan_finish(blueprint), finishing)
    if not _may_move_on(run):
        raise Refused(
            f"run {run.run_id} has no target to move on from: its data is not restored, or it is promoted",
            untouched=NOTHING,
            next_command=f"pgdolly resume {run.run_id}",
        )
    target = further.target()
    if target.type in (TargetType.DEFAULT, TargetType.IMMEDIATE):
        raise InvalidInput("a later target needs a time, an xid, a name or an LSN", untouched=NOTHING)
    _refuse_earlier(blueprint, target, run.run_id)
    moved = moved_on(blueprint, await _resolve_further(blueprint, target, world))
    return _FurtherPart(plan_move_on(moved), moved, pauses=True)


async def _with_repository(blueprint: ResetBlueprint, run: RunRecord, fleet: Fleet, world: World) -> World:
    """The world with the source's repository, if a member was not led to it before the run was interrupted."""
    placed = [s for s in run.steps.values() if s.id.endswith("-place_repository")]
    done = len(placed) == len(blueprint.members) and all(s.state is RecordedState.FINISHED for s in placed)
    if not blueprint.repository or done:
        return world
    source = fleet.cluster(blueprint.source_cluster)
    around = world_of([source, fleet.cluster(blueprint.target_cluster)])
    found = await foreign_repository(
        around,
        target=await observe_member(around.shell(blueprint.leader.member), blueprint.leader.member),
        source=await observe_cluster(around, source),
        source_stanza=blueprint.resolved.stanza,
    )
    return dataclasses.replace(world, repository=found)


def _may_move_on(run: RunRecord) -> bool:
    """Whether every member is restored and none promoted: also after a replay that could not reach its target."""
    restored = [s for s in run.steps.values() if s.id.endswith("-restore_data_directory")]
    return (
        bool(restored)
        and all(step.state is RecordedState.FINISHED for step in restored)
        and not any(step_id.endswith("-promote_leader") for step_id in run.steps)
    )


async def _resolve_further(
    blueprint: ResetBlueprint, target: RecoveryTarget, world: World
) -> ResolvedRecovery:
    """Prove that the archive leads to the later target, along the timeline that is being recovered.

    :raises Refused: naming the window.
    """
    resolved, leader = blueprint.resolved, blueprint.leader.member
    catalogue = await read_catalogue(
        world.shell(leader).run,
        resolved.stanza,
        config=blueprint.leader.source.config or leader.pgbackrest_config,
        repo_key=resolved.repo_key,
    )
    return resolve(
        catalogue,
        target=target,
        backup_set=resolved.backup_set,
        timeline=resolved.timeline,
        repo_key=resolved.repo_key,
        system_identifier=resolved.system_identifier,
        now=datetime.now(UTC),
        cluster=blueprint.source_cluster,
    )


def _refuse_earlier(blueprint: ResetBlueprint, new: RecoveryTarget, run_id: str) -> None:
    """Replay goes forward only; an earlier point needs a new restore."""
    old = blueprint.target
    earlier = (old.time is not None and new.time is not None and new.time < old.time) or (
        old.lsn is not None and new.lsn is not None and new.lsn < old.lsn
    )
    if earlier:
        raise Refused(
            f"{new} lies before {old}, where the recovery stands: replay does not go back",
            where=blueprint.target_cluster,
            untouched=NOTHING,
            next_command=f"pgdolly resume {run_id} --abandon, then pgdolly reset {blueprint.target_cluster} … "
            "(a quick delta restore)",
        )


@cache
def _adapter() -> TypeAdapter[Any]:
    return TypeAdapter(ResetBlueprint)
