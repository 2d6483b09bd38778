"""How the executor treats lanes, failures, begun steps and cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from pgdolly.domain.command import Command
from pgdolly.domain.errors import CommandFailed, Refused
from pgdolly.engine.conduct import conducted
from pgdolly.engine.events import (
    Event,
    RunEnded,
    RunStarted,
    StageFinished,
    StageStarted,
    StepFailed,
    StepFinished,
    StepNote,
    StepProgress,
    StepSkipped,
    StepStarted,
)
from pgdolly.engine.executor import execute
from pgdolly.engine.journal import Journal, find_run
from pgdolly.engine.plan import Lane, Plan, Stage, StepRegistry
from pgdolly.engine.record import RecordedState, RunState
from pgdolly.engine.step import Context, Effect, StepCheck, StepState

Action = Callable[[Context["Script"]], Awaitable[dict[str, Any] | None]]


@dataclass
class Script:
    """What the steps do when they are applied, and find when checked; `applied` is what came of it."""

    actions: dict[str, Action] = field(default_factory=dict)
    checks: dict[str, StepCheck] = field(default_factory=dict)
    applied: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    kind: ClassVar[str] = "act"
    effect: ClassVar[Effect] = Effect.CHANGE

    name: str

    def title(self) -> str:
        return f"act {self.name}"

    def commands(self) -> tuple[Command, ...]:
        return ()

    async def check(self, context: Context[Script]) -> StepCheck:
        return context.world.checks.get(self.name, StepCheck(StepState.PENDING))

    async def apply(self, context: Context[Script]) -> dict[str, Any] | None:
        action = context.world.actions.get(self.name)
        result = await action(context) if action else None
        context.world.applied.append(self.name)
        return result


REGISTRY = StepRegistry(Act)


def plan_of(*stages: dict[str, tuple[str, ...]]) -> Plan:
    """A plan of stages, each of lanes, each of names of steps."""
    return Plan(
        operation="act",
        target="t",
        stages=tuple(
            Stage(
                f"stage {number}",
                tuple(Lane(lane, tuple(Act(name=name) for name in names)) for lane, names in stage.items()),
            )
            for number, stage in enumerate(stages, 1)
        ),
    )


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def begin(runs: Path, plan: Plan) -> Journal:
    journal = Journal.create(runs, operation=plan.operation, target=plan.target, request={})
    journal.record_plan(1, REGISTRY.encode_plan(plan))
    return journal


async def run(
    journal: Journal, plan: Plan, script: Script, emit: Callable[[Event], None] | None = None
) -> None:
    async with asyncio.timeout(10):
        await execute(plan, journal, script, emit or (lambda event: None), part=1)


def failing(error: BaseException) -> Action:
    async def fail(context: Context[Script]) -> None:
        raise error

    return fail


def returning(result: dict[str, Any]) -> Action:
    async def give(context: Context[Script]) -> dict[str, Any]:
        return result

    return give


def test_lanes_run_side_by_side_and_stages_one_after_the_other(runs: Path) -> None:
    plan = plan_of({"a": ("a1",), "b": ("b1",), "c": ("c1",)}, {"a": ("after",)})
    barrier = asyncio.Barrier(3)  # opens only if all three lanes are in their step at once
    script = Script()

    async def meet(context: Context[Script]) -> None:
        await barrier.wait()
        assert "after" not in script.applied

    script.actions = {"a1": meet, "b1": meet, "c1": meet}
    with begin(runs, plan) as journal:
        asyncio.run(run(journal, plan, script))
    assert sorted(script.applied[:3]) == ["a1", "b1", "c1"]
    assert script.applied[3:] == ["after"]


def test_a_failing_lane_lets_the_others_go_on_to_the_end_of_their_stage(runs: Path) -> None:
    plan = plan_of({"a": ("a1", "a2"), "b": ("b1", "b2", "b3")}, {"a": ("never",)})
    failed = asyncio.Event()
    script = Script()

    async def fail(context: Context[Script]) -> None:
        failed.set()
        raise CommandFailed(
            "no space left", argv=("pgbackrest", "restore"), status=39, stderr_end="P00 ERROR"
        )

    async def wait_for_failure(context: Context[Script]) -> None:
        await failed.wait()

    script.actions = {"a1": fail, "b1": wait_for_failure}
    with begin(runs, plan) as journal, pytest.raises(CommandFailed, match="no space left") as raised:
        asyncio.run(run(journal, plan, script))
    assert script.applied == ["b1", "b2", "b3"]
    assert raised.value.__notes__ == ["in step 1/1/a/1-act"]
    step = find_run(runs, "2").steps["1/1/a/1-act"]
    assert (step.state, step.error) == (RecordedState.FAILED, "no space left")
    assert step.details["argv"] == ["pgbackrest", "restore"]
    assert step.details["status"] == 39
    assert "traceback" not in step.details


@pytest.mark.parametrize(
    ("untouched", "next_command", "said"),
    [
        (
            None,
            None,
            (
                "what the steps before it did stays, and is not done again",
                "pgdolly show {run}; once that is mended: pgdolly resume {run}",
            ),
        ),
        ("the source", "pb start", ("the source", "pb start")),
    ],
)
def test_every_error_of_a_step_says_what_is_untouched_and_what_to_type(
    runs: Path, untouched: str | None, next_command: str | None, said: tuple[str, str]
) -> None:
    error = CommandFailed("it cannot stream", untouched=untouched, next_command=next_command)
    plan, script = plan_of({"a": ("a1",)}), Script(actions={"a1": failing(error)})
    with begin(runs, plan) as journal, pytest.raises(CommandFailed) as raised:
        asyncio.run(run(journal, plan, script))
    told = said[0], said[1].format(run=journal.run_id)
    assert (raised.value.untouched, raised.value.next_command) == told
    details = find_run(runs, "2").steps["1/1/a/1-act"].details
    assert (details["untouched"], details["next_command"]) == told


def test_of_two_failures_the_first_is_raised_and_the_second_is_its_note(runs: Path) -> None:
    plan = plan_of({"a": ("a1",), "b": ("b1",)})
    failed = asyncio.Event()

    async def fail_second(context: Context[Script]) -> None:
        await failed.wait()
        raise Refused("second")

    async def fail_first(context: Context[Script]) -> None:
        failed.set()
        raise Refused("first")

    script = Script(actions={"a1": fail_second, "b1": fail_first})
    with begin(runs, plan) as journal, pytest.raises(Refused, match="first") as raised:
        asyncio.run(run(journal, plan, script))
    assert raised.value.__notes__ == ["in step 1/1/b/1-act", "also failed: second (in step 1/1/a/1-act)"]


def test_an_error_nobody_raised_on_purpose_is_journaled_with_its_traceback(runs: Path) -> None:
    plan = plan_of({"a": ("a1",)})
    with begin(runs, plan) as journal, pytest.raises(ZeroDivisionError):
        asyncio.run(run(journal, plan, Script(actions={"a1": failing(ZeroDivisionError("oops"))})))
    step = find_run(runs, "2").steps["1/1/a/1-act"]
    assert step.error == "ZeroDivisionError: oops"
    assert "in fail" in step.details["traceback"]


def test_a_result_that_is_no_json_fails_its_step(runs: Path) -> None:
    plan = plan_of({"a": ("a1", "a2")})
    script = Script(actions={"a1": returning({"path": Path("/")})})
    with begin(runs, plan) as journal, pytest.raises(TypeError, match="not JSON serializable"):
        asyncio.run(run(journal, plan, script))
    assert script.applied == ["a1"]
    assert find_run(runs, "2").steps["1/1/a/1-act"].state is RecordedState.FAILED


def test_a_later_step_sees_the_results_as_the_journal_gives_them_back(runs: Path) -> None:
    plan = plan_of({"a": ("a1",), "b": ("b1",)}, {"a": ("a2",)})
    seen: dict[str, Any] = {}

    async def look(context: Context[Script]) -> None:
        seen.update(
            a=context.result_of("act", "a"), b=context.result_of("act", "b"), all=dict(context.results)
        )
        with pytest.raises(KeyError, match="no finished step 'act' in lane 'c'"):
            context.result_of("act", "c")

    script = Script(actions={"a1": returning({"x": (1, 2)}), "b1": returning({"y": 1}), "a2": look})
    with begin(runs, plan) as journal:
        asyncio.run(run(journal, plan, script))
    assert seen["a"] == {"x": [1, 2]}
    assert seen["b"] == {"y": 1}
    assert seen["all"] == {"1/1/a/1-act": {"x": [1, 2]}, "1/1/b/1-act": {"y": 1}}


def interrupted_in(runs: Path, plan: Plan, name: str) -> Script:
    """A run that was cut off while the step `name` was being applied; the script goes on with the resume."""
    script = Script()
    reached = asyncio.Event()

    async def block(context: Context[Script]) -> None:
        reached.set()
        await asyncio.Event().wait()

    async def cancel_in_the_middle(journal: Journal) -> None:
        task = asyncio.create_task(run(journal, plan, script))
        await reached.wait()
        task.cancel()
        await task

    script.actions = {name: block}
    with begin(runs, plan) as journal, pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel_in_the_middle(journal))
    assert journal.run.state is RunState.INTERRUPTED
    assert [step.state for step in journal.run.steps.values()][-1] is RecordedState.BEGUN
    script.actions = {}
    return script


@pytest.mark.parametrize("state", [StepState.PENDING, StepState.RUNNING])
def test_a_begun_step_that_is_not_done_is_applied_again(runs: Path, state: StepState) -> None:
    plan = plan_of({"a": ("a1", "a2", "a3")})
    script = interrupted_in(runs, plan, "a2")
    script.checks = {"a2": StepCheck(state)}
    assert script.applied == ["a1"]
    with Journal.resume(runs, "2") as journal:
        asyncio.run(run(journal, plan, script))
        assert script.applied == ["a1", "a2", "a3"]
        assert [step.attempts for step in journal.run.steps.values()] == [1, 2, 1]


def test_a_begun_step_that_is_done_is_not_applied_again_and_gives_its_result(runs: Path) -> None:
    plan = plan_of({"a": ("a1", "a2")})
    script = interrupted_in(runs, plan, "a1")
    script.checks = {"a1": StepCheck(StepState.DONE, result={"kept": "old"})}
    seen: list[dict[str, Any]] = []

    async def look(context: Context[Script]) -> None:
        seen.append(context.result_of("act"))

    script.actions = {"a2": look}
    with Journal.resume(runs, "2") as journal:
        asyncio.run(run(journal, plan, script))
    assert script.applied == ["a2"]
    assert seen == [{"kept": "old"}]


def test_a_conflict_stops_the_run_and_says_what_to_type(runs: Path) -> None:
    plan = plan_of({"a": ("a1", "a2")})
    script = interrupted_in(runs, plan, "a1")
    script.checks = {"a1": StepCheck(StepState.CONFLICT, "someone else's directory lies there")}
    with Journal.resume(runs, "2") as journal:
        with pytest.raises(Refused, match="act a1: someone else's directory lies there") as raised:
            asyncio.run(run(journal, plan, script))
        assert raised.value.next_command == f"pgdolly resume {journal.run_id}"
    assert script.applied == []


def test_a_failed_step_is_asked_before_it_is_applied_again(runs: Path) -> None:
    plan = plan_of({"a": ("a1",)})
    script = Script(actions={"a1": failing(Refused("once"))})
    with begin(runs, plan) as journal, pytest.raises(Refused):
        asyncio.run(run(journal, plan, script))
    script.checks = {"a1": StepCheck(StepState.DONE)}
    with Journal.resume(runs, "2") as journal:
        asyncio.run(run(journal, plan, script))
        assert journal.run.steps["1/1/a/1-act"].state is RecordedState.FINISHED
        assert journal.run.steps["1/1/a/1-act"].error is None


def test_cancellation_is_journaled_and_the_run_can_be_resumed(runs: Path) -> None:
    plan = plan_of({"a": ("a1", "a2"), "b": ("b1",)})
    script = interrupted_in(runs, plan, "b1")
    assert find_run(runs, "2").state is RunState.INTERRUPTED
    with Journal.resume(runs, "2") as journal:
        asyncio.run(run(journal, plan, script))
    assert sorted(script.applied) == ["a1", "a2", "b1"]


def test_a_lane_that_is_cancelled_from_within_fails_and_is_not_taken_for_done(runs: Path) -> None:
    plan = plan_of({"a": ("a1",), "b": ("b1",)}, {"a": ("never",)})
    script = Script(actions={"a1": failing(asyncio.CancelledError())})
    with begin(runs, plan) as journal, pytest.raises(RuntimeError, match="lane a was cancelled from within"):
        asyncio.run(run(journal, plan, script))
    assert script.applied == ["b1"]


def test_a_plan_that_is_not_journaled_is_not_executed(runs: Path) -> None:
    plan, script = plan_of({"a": ("a1",)}), Script()
    journal = Journal.create(runs, operation="act", target="t", request={})
    with journal, pytest.raises(ValueError, match="part 1 of the plan is not in the journal"):
        asyncio.run(run(journal, plan, script))
    assert script.applied == []


def test_each_event_comes_in_its_place(runs: Path) -> None:
    plan = plan_of({"a": ("a1",)})
    events: list[Event] = []

    async def work(context: Context[Script]) -> None:
        context.progress(1, 2, "bytes", "half")
        context.note("rebuilt from the leader")

    journal = begin(runs, plan)
    with conducted(journal, events.append) as emit:
        asyncio.run(execute(plan, journal, Script(actions={"a1": work}), emit, part=1))
    assert [type(event) for event in events] == [
        RunStarted,
        StageStarted,
        StepStarted,
        StepProgress,
        StepNote,
        StepFinished,
        StageFinished,
        RunEnded,
    ]
    assert events[3] == StepProgress(
        step_id="1/1/a/1-act", lane="a", title="act a1", done=1, total=2, unit="bytes", note="half"
    )
    assert find_run(runs, "2").notes[0].text == "rebuilt from the leader"


def test_a_resume_says_what_it_skips_and_what_it_tries_again(runs: Path) -> None:
    plan = plan_of({"a": ("a1", "a2")})
    script = interrupted_in(runs, plan, "a2")
    events: list[Event] = []
    journal = Journal.resume(runs, "2")
    with conducted(journal, events.append, resumed=True) as emit:
        asyncio.run(execute(plan, journal, script, emit, part=1))
    assert isinstance(events[0], RunStarted) and events[0].resumed
    assert [event.step_id for event in events if isinstance(event, StepSkipped)] == ["1/1/a/1-act"]
    started = [event for event in events if isinstance(event, StepStarted)]
    assert [(event.step_id, event.attempt) for event in started] == [("1/1/a/2-act", 2)]
    assert isinstance(events[-1], RunEnded) and events[-1].outcome == "finished"


def test_a_failure_is_an_event_of_its_step_its_stage_and_its_run(runs: Path) -> None:
    plan = plan_of({"a": ("a1",)})
    events: list[Event] = []
    journal = begin(runs, plan)
    script = Script(actions={"a1": failing(Refused("no", where="pg-test-1"))})
    with pytest.raises(Refused), conducted(journal, events.append) as emit:
        asyncio.run(execute(plan, journal, script, emit, part=1))
    failed, stage, ended = events[-3:]
    assert isinstance(failed, StepFailed) and failed.error == "pg-test-1: no"
    assert isinstance(stage, StageFinished) and stage.failed
    assert isinstance(ended, RunEnded) and (ended.outcome, ended.error) == ("failed", "pg-test-1: no")
    assert find_run(runs, "2").state is RunState.FAILED


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (RuntimeError("x"), RunState.FAILED),
        (Refused("x"), RunState.FAILED),
        (KeyboardInterrupt(), RunState.INTERRUPTED),
        (asyncio.CancelledError(), RunState.INTERRUPTED),
        (None, RunState.FINISHED),
    ],
)
def test_the_way_a_run_is_left_is_its_outcome(
    runs: Path, error: BaseException | None, state: RunState
) -> None:
    def leave() -> None:
        with conducted(begin(runs, plan_of({"a": ("a1",)})), lambda event: None):
            if error is not None:
                raise error

    if error is None:
        leave()
    else:
        with pytest.raises(type(error)):
            leave()
    assert find_run(runs, "2").state is state


def test_a_run_that_is_paused_stays_so_and_can_be_resumed(runs: Path) -> None:
    journal = begin(runs, plan_of({"a": ("a1",)}))
    with conducted(journal, lambda event: None):
        journal.end("paused")
    assert find_run(runs, "2").state is RunState.PAUSED
    Journal.resume(runs, "2").close()


def test_a_display_that_breaks_does_not_stop_the_run(runs: Path) -> None:
    plan = plan_of({"a": ("a1", "a2")})
    script = Script()
    journal = begin(runs, plan)
    shown: list[Event] = []

    def break_at_third(event: Event) -> None:
        shown.append(event)
        if len(shown) == 3:
            raise BrokenPipeError("the terminal was closed")

    with conducted(journal, break_at_third) as emit:
        asyncio.run(execute(plan, journal, script, emit, part=1))
    assert script.applied == ["a1", "a2"]
    assert len(shown) == 3
    found = find_run(runs, "2")
    assert found.state is RunState.FINISHED
    assert [note.text for note in found.notes] == [
        "the display failed and was left out: BrokenPipeError('the terminal was closed')"
    ]
