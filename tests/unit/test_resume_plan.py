"""What a run that did not end has still to do, as `resume --check` shows it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from pgdolly.domain.errors import InvalidInput
from pgdolly.engine.plan import Plan
from pgdolly.engine.record import PlanPart, RecordedState, RunRecord, RunState, StepRecord
from pgdolly.operations.reset.plan import plan_reset
from pgdolly.operations.running import remaining_plan
from pgdolly.steps.registry import STEPS
from reset_blueprints import blueprint

PLAN = plan_reset(blueprint())
AT = datetime(2025, 12, 27, 10, tzinfo=UTC)


def interrupted(plan: Plan, states: dict[str, RecordedState], *, part: int = 1, **changed: Any) -> RunRecord:
    return RunRecord(
        run_id="run",
        state=RunState.INTERRUPTED,
        operation="reset",
        target="pg-test",
        parts=tuple(PlanPart(part=number, plan=STEPS.encode_plan(plan)) for number in range(1, part + 1)),
        steps={
            each: StepRecord(id=each, state=state, attempts=1, begun_at=AT) for each, state in states.items()
        },
        **changed,
    )


def kinds(plan: Plan) -> list[tuple[str, str, str]]:
    return [(stage.title, lane.name, step.kind) for _, stage, lane, step in plan.steps()]


def test_before_its_first_step_a_run_has_all_to_do() -> None:
    assert remaining_plan(interrupted(PLAN, {})) == PLAN


def test_what_is_finished_is_left_out_and_what_was_begun_or_failed_is_not() -> None:
    names = [name for name, *_ in PLAN.steps()]
    states = dict.fromkeys(names[:7], RecordedState.FINISHED)
    states[names[7]] = RecordedState.BEGUN
    states[names[8]] = RecordedState.FAILED
    left = remaining_plan(interrupted(PLAN, states))
    assert kinds(left) == kinds(PLAN)[7:]
    assert left.summary == PLAN.summary
    assert all(lane.steps for stage in left.stages for lane in stage.lanes)


def test_of_a_run_that_went_on_its_last_plan_counts() -> None:
    names = [name for name, *_ in PLAN.steps(1)]
    run = interrupted(PLAN, dict.fromkeys(names, RecordedState.FINISHED), part=2)
    assert remaining_plan(run) == PLAN


def test_a_run_without_a_plan_can_only_be_given_up() -> None:
    with pytest.raises(InvalidInput) as raised:
        remaining_plan(interrupted(PLAN, {}, part=0))
    assert raised.value.next_command == "pgdolly resume run --abandon"
