"""What happens while a plan runs, as values. Listeners show them; the engine prints nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from pgdolly.engine.step import Effect


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """The controller has taken a run up: for the first time, or again if `resumed`."""

    run_id: str
    operation: str
    target: str
    resumed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStarted:
    """`number` counts from 1 within its part of the run; `stages` is how many the part has."""

    part: int
    number: int
    stages: int
    title: str
    lanes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStarted:
    """A step is about to be applied; `attempt` is 1 unless an earlier controller, or a lost node, cut it off."""

    step_id: str
    lane: str
    title: str
    effect: Effect
    attempt: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StepProgress:
    """How far a step is: `done` of `total` (None: unknown) in `unit`."""

    step_id: str
    lane: str
    title: str
    done: float
    total: float | None
    unit: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepNote:
    """A remark that belongs into the summary. `step_id` is None if it is on the run as a whole."""

    step_id: str | None
    lane: str | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSkipped:
    """A step was not applied: it had finished before."""

    step_id: str
    lane: str
    title: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinished:
    """A step is done, `seconds` after this controller began or rejoined it."""

    step_id: str
    lane: str
    title: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFailed:
    """A step failed; the other lanes of its stage go on, and no further stage begins."""

    step_id: str
    lane: str
    title: str
    error: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLost:
    """A step cannot reach a node that it could reach before; it waits so long at most until the node is back."""

    step_id: str
    lane: str
    node: str
    reason: str
    wait_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeBack:
    """A node that was lost answers again, after so long; the step goes on."""

    step_id: str
    lane: str
    node: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFinished:
    """All lanes of a stage have come to their end, well or not."""

    part: int
    number: int
    stages: int
    title: str
    seconds: float
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    """The controller lets go of the run. `outcome`: finished, failed, paused, abandoned or interrupted."""

    run_id: str
    outcome: str
    seconds: float
    error: str | None = None


Event: TypeAlias = (
    RunStarted
    | StageStarted
    | StepStarted
    | StepProgress
    | StepNote
    | StepSkipped
    | StepFinished
    | StepFailed
    | NodeLost
    | NodeBack
    | StageFinished
    | RunEnded
)
Listener: TypeAlias = Callable[[Event], None]


def fan_out(*listeners: Listener) -> Listener:
    """One listener that hands each event to all, in order."""

    def emit(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return emit


class Guarded:
    """A listener whose failure cannot fail the run: a closed terminal must not stop a restore half way.

    The first failure is reported once, and nothing is handed on after it.
    """

    def __init__(self, listener: Listener, report: Callable[[Exception], None]) -> None:
        self._listener = listener
        self._report = report
        self._broken = False

    def __call__(self, event: Event) -> None:
        if self._broken:
            return
        try:
            self._listener(event)
        except Exception as error:
            self._broken = True
            self._report(error)
