"""`pgdolly runs` and `pgdolly show`: what the journals say of past, present and interrupted runs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import click

from pgdolly.cli.amounts import duration
from pgdolly.cli.plan_view import command_lines, effect_mark
from pgdolly.engine.home import runs_directory
from pgdolly.engine.journal import find_run, list_runs
from pgdolly.engine.plan import step_id
from pgdolly.engine.record import RecordedState, RunRecord, RunState, StepRecord

_STATE_COLOURS = {
    RunState.RUNNING: "cyan",
    RunState.FINISHED: "green",
    RunState.INTERRUPTED: "yellow",
    RunState.PAUSED: "yellow",
    RunState.FAILED: "red",
    RunState.DAMAGED: "red",
}
_output_option = click.option(
    "--output", type=click.Choice(["text", "json"]), default="text", help="How to print it."
)


@click.command()
@_output_option
def runs(output: str) -> None:
    """Past and interrupted runs, the last one first."""
    found = list_runs(runs_directory())
    if output == "json":
        click.echo(json.dumps([_summary_as_json(run) for run in found], indent=2))
    elif not found:
        click.echo(f"no runs in {runs_directory()}")
    else:
        for line in _table(found):
            click.echo(line)


@click.command()
@click.argument("run")
@click.option("--commands", is_flag=True, help="With the commands of each step.")
@_output_option
def show(run: str, commands: bool, output: str) -> None:
    """One run: its plan and what came of each step. RUN is its id, or a unique beginning of it."""
    found = find_run(runs_directory(), run)
    if output == "json":
        click.echo(json.dumps(run_as_json(found), indent=2))
        return
    for line in run_lines(found, commands=commands):
        click.echo(line)


def run_as_json(run: RunRecord) -> dict[str, Any]:
    """Everything the journal says of a run."""
    encoded: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(run), default=_encode_time))
    return encoded


def _summary_as_json(run: RunRecord) -> dict[str, Any]:
    encoded = run_as_json(run)
    return {name: value for name, value in encoded.items() if name not in ("parts", "steps", "notes")}


def _encode_time(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{value!r} is no JSON")


def _table(found: list[RunRecord]) -> Iterator[str]:
    header = ("RUN", "STATE", "OPERATION", "TARGET", "STARTED", "TOOK")
    rows = [
        (
            run.run_id,
            run.state.value,
            run.operation or "-",
            run.target or "-",
            _time(run.started_at),
            _took(run),
        )
        for run in found
    ]
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    yield click.style("  ".join(_padded(header, widths)).rstrip(), bold=True)
    for run, row in zip(found, rows, strict=True):
        cells = _padded(row, widths)
        cells[1] = click.style(cells[1], fg=_STATE_COLOURS.get(run.state))  # escapes have no width: last
        yield "  ".join(cells).rstrip()


def _padded(cells: tuple[str, ...], widths: list[int]) -> list[str]:
    return [f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True)]


def run_lines(run: RunRecord, *, commands: bool) -> Iterator[str]:
    """A run as text: what was asked, then each step of each plan with what came of it, then what to type."""
    yield click.style(f"{run.run_id}: {run.operation} {run.target}", bold=True)
    state = click.style(run.state.value, fg=_STATE_COLOURS.get(run.state))
    live = run.state is RunState.RUNNING
    yield f"  state:    {state}" + (f" (process {run.pid} on {run.controller})" if live else "")
    yield f"  started:  {_time(run.started_at)}"
    if run.ended_at is not None:
        yield f"  ended:    {_time(run.ended_at)}, after {_took(run)}"
    if run.request:
        yield f"  request:  {json.dumps(dict(run.request), ensure_ascii=False)}"
    for part in run.parts:
        yield from _part_lines(run, part.part, part.plan, commands=commands)
    if run.notes:
        yield ""
        yield click.style("Notes", bold=True)
        for note in run.notes:
            lane = f"{note.step_id.split('/')[2]}  " if note.step_id else ""
            yield f"  {lane}{note.text}"
    if run.error:
        yield ""
        yield click.style(f"error: {run.error}", fg="red")
    if run.state.can_be_resumed:
        yield ""
        yield f"next: pgdolly resume {run.run_id}"


def _part_lines(run: RunRecord, part: int, plan: Mapping[str, Any], *, commands: bool) -> Iterator[str]:
    for number, stage in enumerate(plan["stages"], 1):
        yield ""
        yield click.style(f"{number}. {stage['title']}", bold=True)
        for lane in stage["lanes"]:
            yield f"   {lane['name']}"
            for step_number, step in enumerate(lane["steps"], 1):
                recorded = run.steps.get(step_id(part, number, lane["name"], step_number, step["kind"]))
                mark = effect_mark(step["effect"])
                yield f"     {number}.{step_number} {mark} {step['title']}  {_what_came(recorded, run.state)}"
                if commands:
                    yield from command_lines(step, " " * 10)
                if recorded is not None and recorded.state is RecordedState.FAILED:
                    yield from _error_lines(recorded)


def _what_came(recorded: StepRecord | None, run_state: RunState) -> str:
    if recorded is None:
        return click.style("not begun", dim=True)
    attempts = f" (attempt {recorded.attempts})" if recorded.attempts > 1 else ""
    match recorded.state:
        case RecordedState.FINISHED:
            return click.style(f"done in {duration(recorded.seconds or 0)}{attempts}", fg="green")
        case RecordedState.FAILED:
            return click.style(f"FAILED after {duration(recorded.seconds or 0)}{attempts}", fg="red")
        case RecordedState.BEGUN:
            # What was started on a node goes on without its controller, so nobody here knows how far it came.
            word = "going on" if run_state is RunState.RUNNING else "begun"
            return click.style(f"{word}{attempts}", fg="yellow")


def _error_lines(recorded: StepRecord) -> Iterator[str]:
    yield click.style(f"          {recorded.error}", fg="red")
    for line in str(recorded.details.get("stderr_end", "")).splitlines():
        yield f"            | {line}"
    if recorded.details.get("next_command"):
        yield f"          next: {recorded.details['next_command']}"


def _time(at: datetime | None) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}" if at is not None else "-"


def _took(run: RunRecord) -> str:
    if run.started_at is None or run.ended_at is None:
        return "-"
    return duration((run.ended_at - run.started_at).total_seconds())
