"""Run a plan: stage after stage, lanes side by side, each step between two records of the journal."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Mapping
from typing import Any, Generic

from pgdolly.domain.errors import CommandFailed, PgdollyError, Refused
from pgdolly.engine.events import (
    Guarded,
    Listener,
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


async def execute(plan: Plan, journal: Journal, world: World, emit: Listener, *, part: int) -> None:
    """Bring a plan to its end, from wherever the journal says it stands.

    A finished step is skipped. A step that was begun before is asked how far it came. When a step fails, the
    other lanes of its stage go on to their end, so that an hour's restore is not thrown away; then the first
    error is raised, with the others as its notes.

    :param part: the number of this plan within the run; `journal.record_plan` has written it before.
    :raises ValueError: if the journal does not hold this part: a killed run could not be taken up again.
    :raises Refused: if a begun step finds a conflict that a person has to judge.
    :raises asyncio.CancelledError: if it was cancelled; the journal says "interrupted" then, and jobs that
        are detached on nodes go on.
    """
    if not journal.has_part(part):
        raise ValueError(f"part {part} of the plan is not in the journal")
    execution = _Execution(journal, world, guarded(emit, journal), part)
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

    def __init__(self, journal: Journal, world: World, emit: Listener, part: int) -> None:
        self.journal = journal
        self.world = world
        self.emit = emit
        self.part = part
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
        try:
            context = self._context(identity, lane, title)
            result: Mapping[str, Any] | None
            if recorded is not None:
                check = await step.check(context)
                if check.state is StepState.CONFLICT:
                    raise Refused(
                        f"{title}: {check.reason or 'a conflict that a person has to judge'}",
                        where=lane,
                        untouched="everything since the run was interrupted",
                        next_command=check.next_command or f"pgdolly resume {self.journal.run_id}",
                    )
                if check.state is StepState.DONE:
                    self._finish(identity, lane, title, check.result, began)
                    return
            self.journal.append("step_begun", id=identity)
            attempt = self.journal.run.steps[identity].attempts
            self.emit(
                StepStarted(step_id=identity, lane=lane, title=title, effect=step.effect, attempt=attempt)
            )
            result = await step.apply(context)
            self._finish(identity, lane, title, result, began)
        except Exception as error:
            self._fail(identity, lane, title, error, time.monotonic() - began)
            raise

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
