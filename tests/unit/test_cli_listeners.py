"""What a run looks like while it goes on: plain lines, JSON, and the bars of a terminal."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress

from pgdolly.cli.listeners import JsonListener, PlainListener, listener_for
from pgdolly.cli.terminal import TerminalListener, _columns
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
from pgdolly.engine.step import Effect

RESTORE: dict[str, Any] = {"step_id": "1/2/pg-test-1/1-restore", "lane": "pg-test-1", "title": "restore"}


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def progress(done: float, total: float | None = 170e6, unit: str = "bytes", note: str = "") -> StepProgress:
    return StepProgress(**RESTORE, done=done, total=total, unit=unit, note=note)


BEGINNING: tuple[Event, ...] = (
    RunStarted(run_id="20251227-175000-pg-test-7f3a", operation="reset", target="pg-test"),
    StageStarted(part=1, number=2, stages=6, title="Restore every member", lanes=("pg-test-1",)),
    StepSkipped(step_id="x", lane="pg-test-2", title="restore", reason="finished before"),
    StepStarted(**RESTORE, effect=Effect.DESTROY, attempt=2),
)
END: tuple[Event, ...] = (
    StepNote(step_id="x", lane="pg-test-2", text="replica was rebuilt [red]from the leader"),
    StepFinished(**RESTORE, seconds=12.34),
    StepFailed(
        step_id="y", lane="pg-test-2", title="restore", error="status 39: [039] no space", seconds=185
    ),
    StageFinished(part=1, number=2, stages=6, title="Restore every member", seconds=185, failed=True),
    RunEnded(run_id="20251227-175000-pg-test-7f3a", outcome="failed", seconds=200),
)


def feed(listener: Listener, clock: Clock) -> None:
    """A run of some 10 s: 160 events of progress, 1/16 s apart, at 10 MB/s from 50 MB on."""
    for event in BEGINNING:
        listener(event)
    for number in range(160):
        listener(progress(50e6 + number * 0.625e6, note="0/5000028"))
        clock.now += 0.0625
    for event in END:
        listener(event)


def test_plain_lines_are_few_and_whole() -> None:
    stream, clock = io.StringIO(), Clock()
    feed(PlainListener(stream, clock), clock)
    assert stream.getvalue().splitlines() == [
        "run 20251227-175000-pg-test-7f3a: reset pg-test",
        "2/6 Restore every member",
        "pg-test-2  restore  skipped: finished before",
        "pg-test-1  restore  begins (attempt 2)",
        "pg-test-1  restore  50.0 MB of 170.0 MB  29%  0/5000028",
        "pg-test-1  restore  70.0 MB of 170.0 MB  41%  10.0 MB/s  10 s left  0/5000028",
        "pg-test-1  restore  90.0 MB of 170.0 MB  52%  10.0 MB/s  8.0 s left  0/5000028",
        "pg-test-1  restore  110.0 MB of 170.0 MB  64%  10.0 MB/s  6.0 s left  0/5000028",
        "pg-test-1  restore  130.0 MB of 170.0 MB  76%  10.0 MB/s  4.0 s left  0/5000028",
        "pg-test-2  note: replica was rebuilt [red]from the leader",
        "pg-test-1  restore  done in 12 s",
        "pg-test-2  restore  FAILED after 3 min 05 s: status 39: [039] no space",
        "run 20251227-175000-pg-test-7f3a: failed after 3 min 20 s",
    ]


def test_plain_lines_keep_two_steps_apart() -> None:
    stream, clock = io.StringIO(), Clock()
    listener = PlainListener(stream, clock)
    other = {**RESTORE, "step_id": "1/2/pg-test-2/1-restore", "lane": "pg-test-2"}
    for second in range(3):
        listener(progress(second * 1e6))
        listener(StepProgress(**other, done=second, total=None, unit="segments"))
        clock.now += 2
    assert stream.getvalue().splitlines()[-2:] == [
        "pg-test-1  restore  2.0 MB of 170.0 MB  1%  500.0 kB/s  5 min 36 s left",
        "pg-test-2  restore  2 segments  0.5 segments/s",
    ]


def test_json_is_one_object_per_event_with_its_fields() -> None:
    stream, clock = io.StringIO(), Clock()
    feed(JsonListener(stream), clock)
    objects = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [one["event"] for one in objects[:5]] == [
        "run_started",
        "stage_started",
        "step_skipped",
        "step_started",
        "step_progress",
    ]
    assert len(objects) == len(BEGINNING) + 160 + len(END)
    assert all(one.pop("at").endswith("+00:00") for one in objects)
    assert objects[3] == {"event": "step_started", **RESTORE, "effect": "destroy", "attempt": 2}
    assert objects[4] == {
        "event": "step_progress",
        **RESTORE,
        "done": 50e6,
        "total": 170e6,
        "unit": "bytes",
        "note": "0/5000028",
    }


class Terminal:
    """A terminal of a given width, without a thread that redraws it."""

    def __init__(self, width: int) -> None:
        self.stream = io.StringIO()
        self.clock = Clock()
        self.console = Console(
            file=self.stream, width=width, force_terminal=True, color_system=None, highlight=False
        )
        self.progress = Progress(*_columns(width), console=self.console)
        self.listener = TerminalListener(self.console, self.progress, self.clock)

    def bars(self) -> list[str]:
        with self.console.capture() as capture:
            self.console.print(self.progress.get_renderable())
        return capture.get().splitlines()


@pytest.mark.parametrize(
    ("width", "words"),
    [
        (80, ["64%", "110.0 MB ", "10.0 MB/s", "6.0 s left"]),
        (100, ["64%", "110.0 MB of 170.0 MB", "10.0 MB/s", "6.0 s left"]),
        (140, ["64%", "110.0 MB of 170.0 MB", "10.0 MB/s", "6.0 s left", "0/5000028"]),
    ],
)
def test_a_bar_tells_its_member_how_much_how_fast_and_how_long(width: int, words: list[str]) -> None:
    terminal = Terminal(width)
    title = "restore the data directory from 20251227-174500F_20251227-174800D"
    for number in range(61):
        terminal.listener(
            StepProgress(
                step_id="s",
                lane="pg-test-1",
                title=title,
                done=50e6 + number * 1e6,
                total=170e6,
                unit="bytes",
                note="0/5000028",
            )
        )
        terminal.clock.now += 0.1
    [bar] = terminal.bars()
    assert len(bar) <= width
    assert bar.startswith("pg-test-1 restore the ")
    positions = [bar.find(word) for word in words]
    assert -1 not in positions, bar
    assert positions == sorted(positions)


def test_each_member_has_its_bar_until_its_step_ends() -> None:
    terminal = Terminal(100)
    for lane in ("pg-test-1", "pg-test-2", "pg-test-3"):
        terminal.listener(
            StepStarted(step_id=f"1/1/{lane}/1-x", lane=lane, title="stop [all]", effect=Effect.CHANGE)
        )
    assert [bar.split("  ")[0] for bar in terminal.bars()] == [
        f"pg-test-{number} stop [all] ━━━━━━━━━━━━━━━━━━━━" for number in (1, 2, 3)
    ]
    terminal.listener(
        StepFinished(step_id="1/1/pg-test-2/1-x", lane="pg-test-2", title="stop [all]", seconds=1)
    )
    terminal.listener(
        StepFailed(
            step_id="1/1/pg-test-3/1-x", lane="pg-test-3", title="stop [all]", error="[039]", seconds=2
        )
    )
    assert [bar.split()[0] for bar in terminal.bars()] == ["pg-test-1"]
    assert terminal.stream.getvalue().splitlines() == [
        "  ✔ pg-test-2  stop [all]  1.0 s",
        "  ✘ pg-test-3  stop [all]  2.0 s",
        "      [039]",
    ]


def test_the_lines_of_a_terminal_stay_and_are_not_broken() -> None:
    terminal = Terminal(40)
    feed(terminal.listener, terminal.clock)
    assert terminal.stream.getvalue().splitlines() == [
        "run 20251227-175000-pg-test-7f3a: reset pg-test",
        "",
        "2/6 Restore every member",
        "  ✔ pg-test-2  restore  finished before",
        "  ! pg-test-2  note: replica was rebuilt [red]from the leader",
        "  ✔ pg-test-1  restore  12 s",
        "  ✘ pg-test-2  restore  3 min 05 s",
        "      status 39: [039] no space",
        "",
        "run 20251227-175000-pg-test-7f3a: failed after 3 min 20 s",
    ]
    assert terminal.bars() == []


class TerminalStream(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("output", "stream", "expected"),
    [
        ("json", TerminalStream(), JsonListener),
        ("text", io.StringIO(), PlainListener),
        ("text", TerminalStream(), TerminalListener),
    ],
)
def test_the_listener_fits_format_and_stream(
    output: str, stream: io.StringIO, expected: type[object]
) -> None:
    with listener_for(output, stream) as listener:
        assert isinstance(listener, expected)


def test_a_terminal_is_left_with_its_cursor_when_a_run_fails() -> None:
    stream = TerminalStream()
    with pytest.raises(RuntimeError), listener_for("text", stream) as listener:
        listener(BEGINNING[-1])
        raise RuntimeError
    written = stream.getvalue()
    assert written.rfind("\x1b[?25h") >= written.rfind("\x1b[?25l")


@pytest.fixture(scope="module")
def imported() -> Iterator[set[str]]:
    """What `--help` and a listener for a pipe import."""
    program = (
        "import sys, io, pgdolly.cli.main as main, pgdolly.cli.listeners as listeners\n"
        "with listeners.listener_for('text', io.StringIO()): pass\n"
        "try: main.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    yield set(done.stderr.split())


@pytest.mark.parametrize("module", ["rich", "pydantic", "ansible"])
def test_help_and_pipes_do_not_wait_for_large_imports(imported: set[str], module: str) -> None:
    assert "pgdolly.cli.listeners" in imported
    assert module not in imported


LOST = NodeLost(
    step_id="x",
    lane="pg-test-2",
    node="pg-test-2",
    reason="the connection to 10.10.10.12 was lost during: [restore]",
    wait_seconds=120,
)
BACK = NodeBack(step_id="x", lane="pg-test-2", node="pg-test-2", seconds=31)


def test_a_lost_node_and_its_return_are_said_in_words() -> None:
    stream = io.StringIO()
    listener = PlainListener(stream)
    listener(LOST)
    listener(BACK)
    assert stream.getvalue().splitlines() == [
        "pg-test-2  the connection to 10.10.10.12 was lost during: [restore]; "
        "waiting for pg-test-2, 120 s at most",
        "pg-test-2  connection to pg-test-2 is back after 31 s",
    ]


def test_a_terminal_shows_a_lost_node_and_its_return() -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=80, highlight=False)
    listener = TerminalListener(console, Progress(console=console))
    listener(LOST)
    listener(BACK)
    lost, back = stream.getvalue().splitlines()
    assert "! pg-test-2  the connection to 10.10.10.12 was lost" in lost and "[restore]" in lost
    assert "connection to pg-test-2 is back after 31 s" in back
