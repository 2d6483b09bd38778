"""What a journal says of its run, folded out of its records. Pure: reading files is the journal's part."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any


class RunState(StrEnum):
    """Where a run stands."""

    RUNNING = "running"
    INTERRUPTED = "interrupted"  # its controller is gone: killed, or stopped by a signal
    FAILED = "failed"
    PAUSED = "paused"
    FINISHED = "finished"
    ABANDONED = "abandoned"
    DAMAGED = "damaged"  # its journal cannot be read

    @property
    def can_be_resumed(self) -> bool:
        return self in (RunState.INTERRUPTED, RunState.FAILED, RunState.PAUSED)


class RecordedState(StrEnum):
    """How far the journal knows a step to have come. A step that it does not know was never begun."""

    BEGUN = "begun"
    FINISHED = "finished"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One step, as journaled.

    :param attempts: how often a controller has begun it.
    :param seconds: from its last beginning to its end, by the controller's clock; None if it has not ended.
    :param error: what went wrong at the last attempt; `details` has more: type, where, argv, traceback, …
    """

    id: str
    state: RecordedState
    attempts: int
    begun_at: datetime
    ended_at: datetime | None = None
    seconds: float | None = None
    result: dict[str, Any] | None = None
    error: str | None = None
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A remark on a step, or on the run as a whole."""

    at: datetime
    step_id: str | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPart:
    """One plan of the run, as JSON: `StepRegistry.decode_plan` makes it whole again."""

    part: int
    plan: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run, as its journal tells it. Times are aware UTC; `steps` stand as they were begun."""

    run_id: str
    state: RunState
    operation: str = ""
    target: str = ""
    request: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    version: str = ""
    controller: str = ""
    pid: int | None = None
    parts: tuple[PlanPart, ...] = ()
    steps: Mapping[str, StepRecord] = dataclasses.field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    started_at: datetime | None = None
    ended_at: datetime | None = None
    error: str | None = None

    @property
    def results(self) -> dict[str, dict[str, Any]]:
        """What the finished steps returned, by step id, in the order in which they finished."""
        finished = [
            step
            for step in self.steps.values()
            if step.state is RecordedState.FINISHED and step.result is not None
        ]
        finished.sort(key=lambda step: step.ended_at or datetime.min.replace(tzinfo=UTC))
        return {step.id: step.result for step in finished if step.result is not None}


def fold(run: RunRecord | None, entry: Mapping[str, Any]) -> RunRecord | None:
    """The run after one more record; None before `run_started`. Unknown records are passed over.

    A run without an end counts as running here; only who holds the journal tells whether that is so.

    :raises KeyError, TypeError, ValueError: if the record lacks what its type must have.
    """
    at = datetime.fromisoformat(entry["at"])
    kind = entry["record"]
    if kind == "run_started":
        return RunRecord(
            run_id=entry["run_id"],
            state=RunState.RUNNING,
            operation=entry["operation"],
            target=entry["target"],
            request=entry["request"],
            version=entry["version"],
            controller=entry["controller"],
            pid=entry["pid"],
            started_at=at,
        )
    if run is None:
        raise ValueError(f"{kind} before run_started")
    match kind:
        case "plan":
            part = PlanPart(part=entry["part"], plan=entry["plan"])
            return dataclasses.replace(run, parts=(*run.parts, part))
        case "step_begun" | "step_finished" | "step_failed":
            step = _fold_step(run.steps.get(entry["id"]), kind, at, entry)
            return dataclasses.replace(run, steps={**run.steps, step.id: step})
        case "note":
            note = Note(at=at, step_id=entry["id"], text=entry["text"])
            return dataclasses.replace(run, notes=(*run.notes, note))
        case "run_resumed":
            return dataclasses.replace(
                run,
                state=RunState.RUNNING,
                controller=entry["controller"],
                pid=entry["pid"],
                ended_at=None,
                error=None,
            )
        case "run_ended":
            return dataclasses.replace(
                run, state=RunState(entry["outcome"]), ended_at=at, error=entry.get("error")
            )
    return run


def _fold_step(step: StepRecord | None, kind: str, at: datetime, entry: Mapping[str, Any]) -> StepRecord:
    if kind == "step_begun":
        return StepRecord(
            id=entry["id"],
            state=RecordedState.BEGUN,
            attempts=step.attempts + 1 if step else 1,
            begun_at=step.begun_at if step else at,
        )
    if step is None:
        raise ValueError(f"{kind} of {entry['id']}, which was never begun")
    if kind == "step_finished":
        return dataclasses.replace(
            step,
            state=RecordedState.FINISHED,
            ended_at=at,
            seconds=entry["seconds"],
            result=entry["result"],
            error=None,
            details={},
        )
    error = entry["error"]
    return dataclasses.replace(
        step,
        state=RecordedState.FAILED,
        ended_at=at,
        seconds=entry.get("seconds"),
        error=error["message"],
        details=error,
    )


def fold_all(entries: Iterable[Mapping[str, Any]]) -> RunRecord | None:
    """The run that these records tell of; None if there are none."""
    run: RunRecord | None = None
    for entry in entries:
        run = fold(run, entry)
    return run
