"""A step: one thing that is done, as a value to be printed, journaled, run, and asked how far it came."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from pgdolly.domain.command import Command

World = TypeVar("World")


class Effect(StrEnum):
    """What a step does to what was there; the plan marks each step with it."""

    READ = "read"
    CHANGE = "change"
    DESTROY = "destroy"


class StepState(StrEnum):
    """What `check` finds of a step that was begun before."""

    PENDING = "pending"  # nothing of it is done, or so little that `apply` starts afresh
    RUNNING = "running"  # still going on where it was started: `apply` attaches to it
    DONE = "done"
    CONFLICT = "conflict"  # something stands in its way that a person has to judge


@dataclass(frozen=True, slots=True)
class StepCheck:
    """What `check` found.

    :param reason: why, in one sentence; a conflict is explained to a person with it.
    :param result: what `apply` would have returned, for a step that is done and whose result others need.
    :param next_command: what a person may type to get out of a conflict, if one command can be named.
    """

    state: StepState
    reason: str = ""
    result: dict[str, Any] | None = None
    next_command: str | None = None


def _no_progress(done: float, total: float | None, unit: str, note: str) -> None:
    """Progress of a step that runs outside an executor goes nowhere."""


def _no_note(text: str) -> None:
    """A remark of a step that runs outside an executor goes nowhere."""


@dataclass(kw_only=True, slots=True)
class Context(Generic[World]):
    """What one step is given when it is checked or applied.

    :param world: whatever the operations hand to their steps; the engine never looks into it.
    :param run_id: stable over resumes, so that it can be the key of things that outlive the controller.
    :param results: what the finished steps returned, by step id; earlier parts of the run included.
    :param step_id: the id of the step that is given this context.
    """

    world: World
    run_id: str
    results: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    step_id: str = ""
    on_progress: Callable[[float, float | None, str, str], None] = _no_progress
    on_note: Callable[[str], None] = _no_note

    def progress(self, done: float, total: float | None, unit: str, note: str = "") -> None:
        """Show how far the step is. It is not journaled.

        :param done: so much is done, in `unit`.
        :param total: all of it, or None if nobody knows.
        :param unit: `bytes` is shown in kB, MB, …; any other word is shown as it is.
        :param note: a few words beside the bar: a WAL position, a file.
        """
        self.on_progress(done, total, unit, note)

    def note(self, text: str) -> None:
        """Journal a remark that the summary shows: "replica was rebuilt from the leader"."""
        self.on_note(text)

    def result_of(self, kind: str, lane: str | None = None) -> dict[str, Any]:
        """The result of the finished step of this kind, in this lane if one is named; the latest if several.

        :raises KeyError: if no such step has finished.
        """
        for step_id in reversed(list(self.results)):
            _, _, its_lane, last = step_id.split("/")
            if last.partition("-")[2] == kind and lane in (None, its_lane):
                return self.results[step_id]
        raise KeyError(f"no finished step {kind!r}" + (f" in lane {lane!r}" if lane is not None else ""))


class Step(Protocol):
    """One thing that is done to a node or a cluster.

    An implementation is a frozen, slotted, keyword-only dataclass whose fields pydantic can turn to JSON and
    back.
    """

    kind: ClassVar[str]  # stands in plans and journals: never rename it
    effect: ClassVar[Effect]

    def title(self) -> str:
        """What it does, as one short line of the plan."""
        ...

    def commands(self) -> tuple[Command, ...]:
        """The commands that `apply` runs; pure, so that the plan prints what will be run."""
        ...

    async def check(self, context: Context[Any]) -> StepCheck:
        """Look how far it is, and touch nothing."""
        ...

    async def apply(self, context: Context[Any]) -> dict[str, Any] | None:
        """Do it, and return what later steps need, as JSON.

        It may be called again after the controller was killed at any moment of an earlier call.
        """
        ...
