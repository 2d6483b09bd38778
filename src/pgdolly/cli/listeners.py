"""What shows a run while it goes on: a terminal with bars, plain lines where there is none, or JSON."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TextIO

from pgdolly.cli.amounts import Pace, amount, amount_of, duration, percentage
from pgdolly.engine.events import (
    Event,
    Listener,
    NodeBack,
    NodeLost,
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

PLAIN_PROGRESS_SECONDS = 2.0


@contextmanager
def listener_for(output: str, stream: TextIO) -> Iterator[Listener]:
    """The listener for an output format and a stream; the terminal is left clean when the block ends.

    :param output: `json`, or any other word for what a person reads: bars on a terminal, else lines.
    """
    if output == "json":
        yield JsonListener(stream)
    elif stream.isatty():
        # rich takes as long to import as all the rest: pipes, logs and --help do not pay for it.
        from pgdolly.cli.terminal import terminal_listener

        with terminal_listener(stream) as listener:
            yield listener
    else:
        yield PlainListener(stream)


@dataclasses.dataclass(frozen=True, slots=True)
class Shown:
    """One look at a step's progress, in words; what is not known is empty."""

    amount: str
    percentage: str
    rate: str
    left: str
    note: str


class Paces:
    """The paces of the steps that are going on."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._paces: dict[str, Pace] = {}

    def shown(self, event: StepProgress) -> Shown:
        """Take note of this progress, and say it in words."""
        pace = self._paces.setdefault(event.step_id, Pace())
        pace.update(event.done, self._clock())
        left = pace.seconds_left(event.done, event.total)
        return Shown(
            amount=amount_of(event.done, event.total, event.unit),
            percentage=percentage(event.done, event.total),
            rate=f"{amount(round(pace.rate, 1), event.unit)}/s" if pace.rate else "",
            left=f"{duration(left)} left" if left is not None else "",
            note=event.note,
        )

    def forget(self, step_id: str) -> None:
        self._paces.pop(step_id, None)


class PlainListener:
    """One line per thing that happens, and per step one of progress every two seconds: for logs and pipes."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._paces = Paces(clock)
        self._said_at: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, StepProgress):
            self._progress(event)
            return
        if isinstance(event, StepFinished | StepFailed):
            self._paces.forget(event.step_id)
            self._said_at.pop(event.step_id, None)
        self._line(*words(event))

    def _progress(self, event: StepProgress) -> None:
        shown = self._paces.shown(event)
        now = self._clock()
        said_at = self._said_at.get(event.step_id)
        if said_at is None or now - said_at >= PLAIN_PROGRESS_SECONDS:
            self._said_at[event.step_id] = now
            self._line(
                event.lane, event.title, shown.amount, shown.percentage, shown.rate, shown.left, shown.note
            )

    def _line(self, *parts: str) -> None:
        line = "  ".join(part for part in parts if part)
        if line:
            self._stream.write(line + "\n")
            self._stream.flush()


def words(event: Event) -> tuple[str, ...]:
    """The columns of an event's line; none for an event that needs no line."""
    match event:
        case RunStarted():
            again = " (taken up again)" if event.resumed else ""
            return (f"run {event.run_id}: {event.operation} {event.target}{again}",)
        case StageStarted():
            return (f"{event.number}/{event.stages} {event.title}",)
        case StepStarted():
            attempt = f"begins (attempt {event.attempt})" if event.attempt > 1 else "begins"
            return (event.lane, event.title, attempt)
        case StepSkipped():
            return (event.lane, event.title, f"skipped: {event.reason}")
        case StepNote():
            return (event.lane or "", f"note: {event.text}")
        case StepFinished():
            return (event.lane, event.title, f"done in {duration(event.seconds)}")
        case StepFailed():
            return (event.lane, event.title, f"FAILED after {duration(event.seconds)}: {event.error}")
        case NodeLost():
            waiting = f"waiting for {event.node}, {event.wait_seconds:.0f} s at most"
            return (event.lane, f"{event.reason}; {waiting}")
        case NodeBack():
            return (event.lane, f"connection to {event.node} is back after {duration(event.seconds)}")
        case RunEnded():
            return (f"run {event.run_id}: {event.outcome} after {duration(event.seconds)}",)
        case StageFinished() | StepProgress():
            return ()


class JsonListener:
    """One JSON object per line and event: `event` is its name, `at` the time, the rest are its fields."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, event: Event) -> None:
        self._stream.write(json.dumps(event_as_json(event)) + "\n")
        self._stream.flush()


def event_as_json(event: Event) -> dict[str, Any]:
    """An event's name in snake case, the time as aware UTC, and its fields."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
    return {"event": name, "at": datetime.now(UTC).isoformat(), **dataclasses.asdict(event)}
