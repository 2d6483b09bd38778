"""Run a plan: stage after stage, lanes side by side, each step between two records of the journal."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, TypeAlias

from pgdolly.domain.errors import CommandFailed, ConnectionLost, PgdollyError, Refused, Unreachable
from pgdolly.engine.events import (
    Guarded,
    Listener,
    NodeBack,
    NodeLost,
    StageFinished,
    StageStarted,
    StepFailed,
    StepFinished,
    StepNote,
    StepProgress,
    StepSkipped,
    StepStarted,
)
from pgdolly.engine.journal import Journal
from pgdolly.engine.plan import Lane, Plan, step_id
from pgdolly.engine.record import RecordedState
from pgdolly.engine.step import Context, Step, StepState, World

RECONNECT_SECONDS = 120.0  # a switch that reboots, a virtual machine that moves, a node that starts again
# A step that loses its node so often in so short a time does not get on; perhaps it is what brings the node down.
LOSSES, LOSSES_WITHIN_SECONDS = 5, 900.0

# Wait until the node that the error names answers again, for so many seconds; raise Unreachable if it does not.
Reconnect: TypeAlias = Callable[[ConnectionLost, float], Awaitable[None]]


async def execute(
    plan: Plan,
    journal: Journal,
    world: World,
    emit: Listener,
    *,
    part: int,
    reconnect: Reconnect | None = None,
) -> None:
    """Bring a plan to its end, from wherever the journal says it stands.

    A finished step is skipped. A step that was begun before is asked how far it came. When a step fails, the
    other lanes of its stage go on to their end, so that an hour's restore is not thrown away; then the first
    error is raised, with the others as its notes.

    A step that loses the connection to a node waits until it is back, and goes on as it does after the controller
    was killed: it is asked how far it came, and applied again.

    :param part: the number of this plan within the run; `journal.record_plan` has written it before.
    :param reconnect: waits for a lost node; without it a lost node is an error like any other.
    :raises ValueError: if the journal does not hold this part: a killed run could not be taken up again.
    :raises Refused: if a begun step finds a conflict that a person has to judge.
    :raises asyncio.CancelledError: if it was cancelled; the journal says "interrupted" then, and jobs that
        are detached on nodes go on.
    """
    if not journal.has_part(part):
        raise ValueError(f"part {part} of the plan is not in the journal")
    execution = _Execution(journal, world, guarded(emit, journal), part, reconnect)
    try:
        for number, stage in enumerate(plan.stages, 1):
            names = tuple(lane.name for lane in stage.lanes)
            about = {"part": part, "number": number, "stages": len(plan.stages), "title": stage.title}
            execution.emit(StageStarted(**about, lanes=names))  # type: ignore[arg-type]
            began = time.monotonic()
            errors = await execution.run_lanes(number, stage.lanes)
            seconds = time.monotonic() - began
            execution.emit(StageFinished(**about, seconds=seconds, failed=bool(errors)))  # type: ignore[arg-type]
            if errors:
                first, *others = errors
                for other in others:
                    first.add_note(f"also failed: {other}" + "".join(f" ({note})" for note in _notes(other)))
                raise first
    except asyncio.CancelledError:
        journal.end("interrupted")
        raise


def guarded(emit: Listener, journal: Journal) -> Listener:
    """A listener that cannot fail the run: its failure is a note in the journal."""
    if isinstance(emit, Guarded):
        return emit
    return Guarded(emit, lambda error: journal.note(None, f"the display failed and was left out: {error!r}"))


class _Execution(Generic[World]):
    """One part of a run, being executed."""

    def __init__(
        self, journal: Journal, world: World, emit: Listener, part: int, reconnect: Reconnect | None
    ) -> None:
        self.journal = journal
        self.world = world
        self.emit = emit
        self.part = part
        self.reconnect = reconnect
        self.results: dict[str, dict[str, Any]] = journal.run.results

    async def run_lanes(self, stage: int, lanes: tuple[Lane, ...]) -> list[Exception]:
        """Run lanes side by side; their errors in the order in which they came."""
        errors: list[Exception] = []
        async with asyncio.TaskGroup() as group:
            for lane in lanes:
                group.create_task(self._run_lane(stage, lane, errors), name=f"lane {lane.name}")
        return errors

    async def _run_lane(self, stage: int, lane: Lane, errors: list[Exception]) -> None:
        try:
            for number, step in enumerate(lane.steps, 1):
                await self._run_step(step_id(self.part, stage, lane.name, number, step.kind), lane.name, step)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Nobody cancelled this lane. A group drops a cancelled task in silence: the next stage would
            # begin as if the lane had been done.
            stray = RuntimeError(f"lane {lane.name} was cancelled from within")
            stray.__cause__ = error
            errors.append(stray)
        except Exception as error:
            errors.append(error)

    async def _run_step(self, identity: str, lane: str, step: Step) -> None:
        recorded = self.journal.run.steps.get(identity)
        title = step.title()
        if recorded is not None and recorded.state is RecordedState.FINISHED:
            self.emit(StepSkipped(step_id=identity, lane=lane, title=title, reason="finished before"))
            return
        began = time.monotonic()
        losses: list[float] = []
        try:
            context = self._context(identity, lane, title)
            while True:
                try:
                    result = await self._attempt(identity, lane, step, context)
                except ConnectionLost as error:
                    losses = [at for at in losses if time.monotonic() - at < LOSSES_WITHIN_SECONDS]
                    losses.append(time.monotonic())
                    if self.reconnect is None or len(losses) == LOSSES:
                        raise
                    await self._wait_for_node(identity, lane, error, self.reconnect)
                else:
                    break
            self._finish(identity, lane, title, result, began)
        except Exception as error:
            self._fail(identity, lane, title, error, time.monotonic() - began)
            raise

    async def _attempt(
        self, identity: str, lane: str, step: Step, context: Context[World]
    ) -> Mapping[str, Any] | None:
        """Bring a step to its end from where it stands, and return its result."""
        title = step.title()
        if identity in self.journal.run.steps:
            check = await step.check(context)
            if check.state is StepState.CONFLICT:
                raise Refused(
                    f"{title}: {check.reason or 'a conflict that a person has to judge'}",
                    where=lane,
                    untouched="everything since the run was interrupted",
                    next_command=check.next_command or f"pgdolly resume {self.journal.run_id}",
                )
            if check.state is StepState.DONE:
                return check.result
        self.journal.append("step_begun", id=identity)
        attempt = self.journal.run.steps[identity].attempts
        self.emit(StepStarted(step_id=identity, lane=lane, title=title, effect=step.effect, attempt=attempt))
        return await step.apply(context)

    async def _wait_for_node(
        self, identity: str, lane: str, error: ConnectionLost, reconnect: Reconnect
    ) -> None:
        node = error.where or lane
        self.emit(
            NodeLost(
                step_id=identity, lane=lane, node=node, reason=error.what, wait_seconds=RECONNECT_SECONDS
            )
        )
        began = time.monotonic()
        try:
            await reconnect(error, RECONNECT_SECONDS)
        except Unreachable as still:
            still.untouched = still.untouched or "jobs that were begun on it go on there"
            by_hand = f"{still.next_command}; once it answers: " if still.next_command else ""
            still.next_command = f"{by_hand}pgdolly resume {self.journal.run_id}"
            still.add_note(f"it was lost, and not back after {time.monotonic() - began:.0f} s")
            raise
        seconds = time.monotonic() - began
        self.journal.note(
            identity, f"the connection to {node} was lost, and back after {seconds:.0f} s; the run went on"
        )
        self.emit(NodeBack(step_id=identity, lane=lane, node=node, seconds=seconds))

    def _context(self, identity: str, lane: str, title: str) -> Context[World]:
        def progress(done: float, total: float | None, unit: str, note: str) -> None:
            self.emit(
                StepProgress(
                    step_id=identity, lane=lane, title=title, done=done, total=total, unit=unit, note=note
                )
            )

        def note(text: str) -> None:
            self.journal.note(identity, text)
            self.emit(StepNote(step_id=identity, lane=lane, text=text))

        return Context(
            world=self.world,
            run_id=self.journal.run_id,
            results=self.results,
            step_id=identity,
            on_progress=progress,
            on_note=note,
        )

    def _finish(
        self, identity: str, lane: str, title: str, result: Mapping[str, Any] | None, began: float
    ) -> None:
        seconds = time.monotonic() - began
        self.journal.append("step_finished", id=identity, result=result, seconds=round(seconds, 3))
        journaled = self.journal.run.steps[identity].result
        if journaled is not None:  # as JSON gives it back: a resumed run must see no other
            self.results[identity] = journaled
        self.emit(StepFinished(step_id=identity, lane=lane, title=title, seconds=seconds))

    def _fail(self, identity: str, lane: str, title: str, error: Exception, seconds: float) -> None:
        error.add_note(f"in step {identity}")
        if isinstance(error, PgdollyError):
            # A step knows no more than what went wrong in it; that the run can be taken up is so for each of them.
            run_id = self.journal.run_id
            error.untouched = error.untouched or "what the steps before it did stays, and is not done again"
            error.next_command = error.next_command or (
                f"pgdolly show {run_id}; once that is mended: pgdolly resume {run_id}"
            )
        try:
            if identity in self.journal.run.steps:
                self.journal.append(
                    "step_failed", id=identity, error=described(error), seconds=round(seconds, 3)
                )
        except (
            OSError
        ) as unwritten:  # a full disk may be what failed the step; the first error is the one to see
            error.add_note(f"this is not in the journal: {unwritten}")
        self.emit(
            StepFailed(step_id=identity, lane=lane, title=title, error=_message(error), seconds=seconds)
        )


def described(error: BaseException) -> dict[str, Any]:
    """An error as JSON for the journal. What was not raised on purpose comes with its traceback."""
    details: dict[str, Any] = {"type": type(error).__name__, "message": _message(error)}
    if isinstance(error, PgdollyError):
        details |= {"where": error.where, "untouched": error.untouched, "next_command": error.next_command}
        if isinstance(error, CommandFailed):
            details |= {"argv": list(error.argv), "status": error.status, "stderr_end": error.stderr_end}
        return {name: value for name, value in details.items() if value not in (None, "", [])}
    details["traceback"] = "".join(traceback.format_exception(error))
    return details


def _message(error: BaseException) -> str:
    return str(error) if isinstance(error, PgdollyError) else f"{type(error).__name__}: {error}"


def _notes(error: BaseException) -> list[str]:
    return list(getattr(error, "__notes__", []))
