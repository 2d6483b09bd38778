"""The listener for a terminal: a line for what is done, and below a bar for each step that is going on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console, JustifyMethod
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from pgdolly.cli.amounts import amount, duration
from pgdolly.cli.listeners import Paces, words
from pgdolly.engine.events import (
    Event,
    Listener,
    NodeBack,
    NodeLost,
    RunEnded,
    RunStarted,
    StageStarted,
    StepFailed,
    StepFinished,
    StepNote,
    StepProgress,
    StepSkipped,
    StepStarted,
)

# Columns of the terminal: below the one the totals give way, from the other on there is room for notes.
_NARROW = 100
_WIDE = 130


@contextmanager
def terminal_listener(stream: TextIO, *, console: Console | None = None) -> Iterator[Listener]:
    """Draw on `stream`, which is a terminal. The bars are gone when the block ends; the lines stay."""
    console = console or Console(file=stream, highlight=False)
    progress = Progress(*_columns(console.width), console=console, transient=True)
    with progress:
        yield TerminalListener(console, progress)


class TerminalListener:
    """Bars while steps go on, lines when they end."""

    def __init__(
        self, console: Console, progress: Progress, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console
        self._progress = progress
        self._paces = Paces(clock)
        self._bars: dict[str, TaskID] = {}
        utf8 = console.encoding.startswith("utf")
        self._tick, self._cross = ("✔", "✘") if utf8 else ("ok", "FAILED")

    def __call__(self, event: Event) -> None:
        match event:
            case StepStarted():
                self._bar(event.step_id, event.lane, event.title)
            case StepProgress():
                bar = self._bar(event.step_id, event.lane, event.title)
                shown = self._paces.shown(event)
                self._progress.update(
                    bar,
                    completed=event.done,
                    total=event.total,
                    amount=shown.amount,
                    done=amount(event.done, event.unit),
                    percentage=shown.percentage,
                    rate=shown.rate,
                    left=shown.left,
                    note=shown.note,
                )
            case StepFinished():
                self._remove_bar(event.step_id)
                self._print(
                    (f"  {self._tick} ", "green"),
                    (f"{event.lane}  {event.title}  ", ""),
                    (duration(event.seconds), "dim"),
                )
            case StepFailed():
                self._remove_bar(event.step_id)
                self._print(
                    (f"  {self._cross} ", "bold red"),
                    (f"{event.lane}  {event.title}  ", ""),
                    (duration(event.seconds), "dim"),
                    (f"\n      {event.error}", "red"),
                )
            case StepSkipped():
                self._print((f"  {self._tick} {event.lane}  {event.title}  {event.reason}", "dim"))
            case StepNote() | NodeLost():
                self._print(("  ! ", "yellow"), ("  ".join(words(event)), ""))
            case NodeBack():
                self._print((f"  {self._tick} ", "green"), ("  ".join(words(event)), ""))
            case StageStarted():
                self._print((f"\n{event.number}/{event.stages} {event.title}", "bold"))
            case RunStarted():
                self._print(*((word, "dim") for word in words(event)))
            case RunEnded():
                style = "green" if event.outcome == "finished" else "bold red"
                self._print(*((f"\n{word}", style) for word in words(event)))

    def _print(self, *parts: tuple[str, str]) -> None:
        # Text, not markup: an error from a node may hold [brackets]. soft_wrap: lines can be copied whole.
        self._console.print(Text.assemble(*parts), soft_wrap=True)

    def _bar(self, step_id: str, lane: str, title: str) -> TaskID:
        if step_id not in self._bars:
            self._bars[step_id] = self._progress.add_task(
                title, total=None, lane=lane, amount="", done="", percentage="", rate="", left="", note=""
            )
        return self._bars[step_id]

    def _remove_bar(self, step_id: str) -> None:
        bar = self._bars.pop(step_id, None)
        if bar is not None:
            self._progress.remove_task(bar)
        self._paces.forget(step_id)


class _Elapsed(ProgressColumn):
    """How long the step has been going on."""

    def render(self, task: Task) -> Text:
        seconds = int(task.elapsed or 0)
        hours, minutes = seconds // 3600, seconds % 3600 // 60
        text = f"{hours}:{minutes:02d}:{seconds % 60:02d}" if hours else f"{minutes}:{seconds % 60:02d}"
        return Text(text, style="dim", justify="right")


class _Title(ProgressColumn):
    """What the step does; on a narrow terminal this is what gives way."""

    def __init__(self) -> None:
        # A table takes room only from columns that may wrap; the text in it is cut, so it stays one line.
        super().__init__(table_column=Column(no_wrap=False))

    def render(self, task: Task) -> Text:
        return Text(task.description, no_wrap=True, overflow="ellipsis")


def _field(name: str, style: str = "none", justify: JustifyMethod = "right") -> TextColumn:
    column = Column(no_wrap=True, overflow="ellipsis")
    return TextColumn(
        f"{{task.fields[{name}]}}", style=style, justify=justify, markup=False, table_column=column
    )


def _columns(width: int) -> list[ProgressColumn]:
    narrow, wide = width < _NARROW, width >= _WIDE
    return [
        _field("lane", "bold", "left"),
        _Title(),
        BarColumn(bar_width=8 if narrow else 20),
        _field("percentage"),
        _field("done" if narrow else "amount"),
        _field("rate", "cyan"),
        _field("left", "cyan"),
        *([_field("note", "dim", "left")] if wide else []),
        _Elapsed(),
    ]
