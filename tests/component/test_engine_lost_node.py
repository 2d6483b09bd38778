"""What the executor does when a step loses its node: it waits, asks the step how far it came, and goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from pgdolly.domain.command import Command
from pgdolly.domain.errors import ConnectionLost, Refused, Unreachable
from pgdolly.engine import executor
from pgdolly.engine.conduct import conducted
from pgdolly.engine.events import Event, NodeBack, NodeLost, StepFinished, StepStarted
from pgdolly.engine.executor import execute
from pgdolly.engine.journal import Journal, find_run
from pgdolly.engine.plan import Lane, Plan, Stage, StepRegistry
from pgdolly.engine.record import RecordedState, RunRecord, RunState
from pgdolly.engine.step import Context, Effect, StepCheck, StepState

STEP = "1/1/a/1-fill"
LOST = "the connection to 10.10.10.11 was lost during: restore"


def lost() -> ConnectionLost:
    return ConnectionLost(LOST, where="pg-test-1", next_command="ssh 10.10.10.11 id")


@dataclass
class Node:
    """`losses`: how often a call of `apply` is cut off."""

    losses: int = 1
    check: StepCheck = field(default_factory=lambda: StepCheck(StepState.PENDING))
    lost_checks: int = 0
    calls: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    back: bool = True

    async def reconnect(self, error: ConnectionLost, seconds: float) -> None:
        self.calls.append(f"wait for {error.where}")
        self.waits.append(seconds)
        if not self.back:
            raise ConnectionLost(
                "10.10.10.11 cannot be reached by SSH: timed out",
                where="pg-test-1",
                next_command="ssh 10.10.10.11 id",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    kind: ClassVar[str] = "fill"
    effect: ClassVar[Effect] = Effect.DESTROY

    def title(self) -> str:
        return "fill the directory"

    def commands(self) -> tuple[Command, ...]:
        return ()

    async def check(self, context: Context[Node]) -> StepCheck:
        node = context.world
        node.calls.append("check")
        if node.lost_checks:
            node.lost_checks -= 1
            raise lost()
        return node.check

    async def apply(self, context: Context[Node]) -> dict[str, Any]:
        node = context.world
        if node.losses:
            node.losses -= 1
            node.calls.append("cut off")
            raise lost()
        node.calls.append("apply")
        return {"rows": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class After:
    kind: ClassVar[str] = "after"
    effect: ClassVar[Effect] = Effect.CHANGE

    def title(self) -> str:
        return "use it"

    def commands(self) -> tuple[Command, ...]:
        return ()

    async def check(self, context: Context[Node]) -> StepCheck:
        return StepCheck(StepState.PENDING)

    async def apply(self, context: Context[Node]) -> None:
        context.world.calls.append(f"after {context.result_of('fill')}")


PLAN = Plan(operation="fill", target="t", stages=(Stage("fill", (Lane("a", (Fill(), After())),)),))
REGISTRY = StepRegistry(Fill, After)


def run(runs: Path, node: Node, emit: Callable[[Event], None] = lambda event: None, **more: Any) -> RunRecord:
    """The run as its journal has it after it ended, well or not."""
    journal = Journal.create(runs, operation="fill", target="t", request={})
    journal.record_plan(1, REGISTRY.encode_plan(PLAN))
    options = {"reconnect": node.reconnect, **more}
    with conducted(journal, emit) as guarded:
        asyncio.run(execute(PLAN, journal, node, guarded, part=1, **options))
    return find_run(runs, journal.run_id)


def the_run(runs: Path) -> RunRecord:
    return find_run(runs, next(runs.iterdir()).name)


def test_a_step_that_was_cut_off_is_applied_again_when_its_node_is_back(tmp_path: Path) -> None:
    node, events = Node(), list[Event]()
    record = run(tmp_path, node, events.append)
    assert node.calls == ["cut off", "wait for pg-test-1", "check", "apply", "after {'rows': 3}"]
    assert record.state is RunState.FINISHED
    assert (record.steps[STEP].state, record.steps[STEP].attempts) == (RecordedState.FINISHED, 2)
    assert [note.text for note in record.notes] == [
        "the connection to pg-test-1 was lost, and back after 0 s; the run went on"
    ]
    shown = [event for event in events if isinstance(event, NodeLost | NodeBack | StepStarted | StepFinished)]
    assert [type(event).__name__ for event in shown[:5]] == [
        "StepStarted",
        "NodeLost",
        "NodeBack",
        "StepStarted",
        "StepFinished",
    ]
    assert isinstance(shown[1], NodeLost)
    assert (shown[1].node, shown[1].reason, shown[1].lane) == ("pg-test-1", LOST, "a")
    assert node.waits == [shown[1].wait_seconds]


def test_a_step_that_had_done_its_work_is_not_applied_again(tmp_path: Path) -> None:
    node = Node(check=StepCheck(StepState.DONE, result={"rows": 4}))
    record = run(tmp_path, node)
    assert node.calls == ["cut off", "wait for pg-test-1", "check", "after {'rows': 4}"]
    assert record.steps[STEP].attempts == 1


def test_a_node_that_is_lost_again_while_the_step_is_asked_is_waited_for_again(tmp_path: Path) -> None:
    node = Node(lost_checks=2)
    run(tmp_path, node)
    waited = ["wait for pg-test-1", "check"]
    assert node.calls == ["cut off", *waited, *waited, *waited, "apply", "after {'rows': 3}"]


def test_a_conflict_that_is_found_then_stops_the_run(tmp_path: Path) -> None:
    node = Node(check=StepCheck(StepState.CONFLICT, "somebody else has filled it"))
    with pytest.raises(Refused, match="somebody else has filled it"):
        run(tmp_path, node)
    assert the_run(tmp_path).state is RunState.FAILED


def test_a_node_that_does_not_come_back_is_named_with_what_to_type_next(tmp_path: Path) -> None:
    node = Node(back=False)
    with pytest.raises(Unreachable, match=r"pg-test-1: 10\.10\.10\.11 cannot be reached") as raised:
        run(tmp_path, node)
    record = the_run(tmp_path)
    assert raised.value.next_command == f"ssh 10.10.10.11 id; once it answers: pgdolly resume {record.run_id}"
    assert raised.value.untouched == "jobs that were begun on it go on there"
    assert record.state is RunState.FAILED
    assert record.state.can_be_resumed
    assert record.steps[STEP].state is RecordedState.FAILED
    assert node.calls == ["cut off", "wait for pg-test-1"]


def test_a_step_that_loses_its_node_again_and_again_is_given_up(tmp_path: Path) -> None:
    """It may be what brings the node down."""
    node = Node(losses=100)
    with pytest.raises(ConnectionLost, match="was lost during: restore"):
        run(tmp_path, node)
    assert node.calls.count("cut off") == executor.LOSSES


def test_losses_far_apart_are_not_counted_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "LOSSES_WITHIN_SECONDS", 0.0)
    node = Node(losses=3 * executor.LOSSES)
    assert run(tmp_path, node).state is RunState.FINISHED


def test_without_a_way_to_wait_a_lost_node_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConnectionLost):
        run(tmp_path, Node(), reconnect=None)


def test_other_lanes_go_on_while_one_waits(tmp_path: Path) -> None:
    node, other_is_done = Node(), asyncio.Event()

    async def reconnect(error: ConnectionLost, seconds: float) -> None:
        await asyncio.wait_for(other_is_done.wait(), 10)

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Other(After):
        kind: ClassVar[str] = "other"

        async def apply(self, context: Context[Node]) -> None:
            await asyncio.sleep(0)
            other_is_done.set()

    plan = Plan(
        operation="fill",
        target="t",
        stages=(Stage("fill", (Lane("a", (Fill(),)), Lane("b", (Other(),)))),),
    )
    journal = Journal.create(tmp_path, operation="fill", target="t", request={})
    journal.record_plan(1, {"stages": []})
    with conducted(journal, lambda event: None) as emit:
        asyncio.run(execute(plan, journal, node, emit, part=1, reconnect=reconnect))
    assert node.calls == ["cut off", "check", "apply"]
