"""Carry out a plan: lock the target, journal, execute; and take up a run that did not end."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from pgdolly.domain.cluster import Member
from pgdolly.domain.errors import InvalidInput, PgdollyError, StalePlan
from pgdolly.engine.conduct import conducted
from pgdolly.engine.events import Listener
from pgdolly.engine.executor import execute
from pgdolly.engine.home import runs_directory
from pgdolly.engine.journal import Journal
from pgdolly.engine.plan import Lane, Plan, Stage
from pgdolly.engine.record import RecordedState, RunRecord
from pgdolly.operations.locking import release_locks, release_what_was_taken, take_locks
from pgdolly.steps.registry import STEPS
from pgdolly.steps.world import World


def refuse_stale(plan: Plan, now: Mapping[str, str]) -> None:
    """:raises StalePlan: naming every fact that is no longer what the plan stands on."""
    # What is new since is nothing that the plan stands on.
    changed = [(name, then, found) for name, then, found in plan.changed_facts(now) if then is not None]
    if changed:
        listed = "; ".join(f"{name} was {then}, is {found or 'gone'}" for name, then, found in changed)
        raise StalePlan(
            f"the plan is stale: {listed}",
            where=plan.target,
            untouched="nothing was changed",
            next_command="plan again",
        )


async def carry_out(
    plan: Plan,
    world: World,
    members: Sequence[Member],
    emit: Listener,
    *,
    request: Mapping[str, Any],
    blueprint: Mapping[str, Any] | None = None,
    pauses: bool = False,
) -> RunRecord:
    """Begin a run with this plan and bring it to its end.

    :param members: those that the run locks: all of the target's.
    :param pauses: the plan ends where a person is to go on; the run stays open and keeps its locks.
    """
    journal = Journal.create(runs_directory(), operation=plan.operation, target=plan.target, request=request)
    with conducted(journal, emit) as guarded:
        try:
            await take_locks(world, members, run_id=journal.run_id, operation=plan.operation)
        except PgdollyError:
            # A member that could not be locked must not leave the others locked by a run that nobody can take up.
            await release_what_was_taken(world, members, run_id=journal.run_id)
            journal.end("abandoned")
            raise
        await _run_part(journal, 1, plan, world, members, guarded, blueprint, pauses)
    return journal.run


async def take_up(
    run_id: str,
    world: World,
    members: Sequence[Member],
    emit: Listener,
    *,
    further: Plan | None = None,
    blueprint: Mapping[str, Any] | None = None,
    pauses: bool = False,
) -> RunRecord:
    """Go on with a run where its journal stands; `further` is the next part of one that is paused."""
    journal = Journal.resume(runs_directory(), run_id)
    with conducted(journal, emit, resumed=True) as guarded:
        await take_locks(world, members, run_id=journal.run_id, operation=journal.run.operation)
        if further is not None:
            await _run_part(
                journal, len(journal.run.parts) + 1, further, world, members, guarded, blueprint, pauses
            )
        else:
            if not journal.run.parts:
                journal.end("abandoned")
                await release_locks(world, members, run_id=journal.run_id)
                raise InvalidInput(
                    f"run {run_id} was ended before it had a plan", untouched="nothing was changed"
                )
            last = journal.run.parts[-1]
            await _execute_part(
                journal, last.part, STEPS.decode_plan(last.plan), world, members, guarded, pauses
            )
    return journal.run


def remaining_plan(run: RunRecord) -> Plan:
    """What a run has still to do of the plan that it has: each stage with the steps that are not finished.

    :raises InvalidInput: if it has none: it was ended before its plan was written.
    """
    if not run.parts:
        raise InvalidInput(
            f"run {run.run_id} was ended before it had a plan",
            untouched="nothing was changed",
            next_command=f"pgdolly resume {run.run_id} --abandon",
        )
    last = run.parts[-1]
    plan = STEPS.decode_plan(last.plan)
    finished = {step.id for step in run.steps.values() if step.state is RecordedState.FINISHED}
    left = {id(step) for name, _, _, step in plan.steps(last.part) if name not in finished}
    stages = []
    for stage in plan.stages:
        lanes = [Lane(lane.name, tuple(s for s in lane.steps if id(s) in left)) for lane in stage.lanes]
        if any(lane.steps for lane in lanes):
            stages.append(Stage(stage.title, tuple(lane for lane in lanes if lane.steps)))
    return dataclasses.replace(plan, stages=tuple(stages))


async def abandon(run_id: str, world: World, members: Sequence[Member]) -> RunRecord:
    """Give a run up: it can be resumed no more, and its target is free for another. Nothing else is touched."""
    journal = Journal.resume(runs_directory(), run_id)
    with journal:
        half_made = bool(journal.run.steps) and journal.run.operation != "cleanup"
        await release_locks(world, members, run_id=journal.run_id, half_made=half_made)
        journal.end("abandoned")
    return journal.run


async def _run_part(
    journal: Journal,
    part: int,
    plan: Plan,
    world: World,
    members: Sequence[Member],
    emit: Listener,
    blueprint: Mapping[str, Any] | None,
    pauses: bool,
) -> None:
    journal.record_plan(part, {**STEPS.encode_plan(plan), "blueprint": blueprint})
    await _execute_part(journal, part, plan, world, members, emit, pauses)


async def _execute_part(
    journal: Journal,
    part: int,
    plan: Plan,
    world: World,
    members: Sequence[Member],
    emit: Listener,
    pauses: bool,
) -> None:
    await execute(plan, journal, world, emit, part=part, reconnect=world.reconnect)
    if pauses:
        journal.end("paused")
    else:
        gone = journal.run.operation == "drop"
        await release_locks(world, members, run_id=journal.run_id, leave=gone)
