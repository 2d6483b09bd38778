"""What came of a run, and what to type next."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click

from pgdolly.domain.target import TargetAction
from pgdolly.engine.record import RunRecord, RunState


def print_outcome(run: RunRecord, *, output: str = "text") -> None:
    """The end of a run in a few lines, or as one JSON object."""
    if output == "json":
        click.echo(
            json.dumps(
                {
                    "run": run.run_id,
                    "state": run.state.value,
                    "target": run.target,
                    "notes": [note.text for note in run.notes],
                    "results": run.results,
                    "next": next_commands(run),
                }
            )
        )
        return
    for line in outcome_lines(run):
        click.echo(line)


def outcome_lines(run: RunRecord) -> Iterator[str]:
    """What came of it, for people."""
    for note in run.notes:
        yield f"note: {note.text}"
    yield f"run {run.run_id} of {run.target}: {run.state.value}{_standing(run)}"
    for command in next_commands(run):
        yield f"  next: {command}"


def _standing(run: RunRecord) -> str:
    for step_id, result in reversed(run.results.items()):
        if step_id.endswith("-verify_cluster"):
            count = f"{result['members']} member{'s' if result['members'] != 1 else ''}"
            return f"; {count} on timeline {result['timeline']} at {result['lsn']}"
        if step_id.endswith("-recover") and result.get("stopped") and run.state is RunState.PAUSED:
            return f"; {result['stopped']}, at {result['lsn']}"
    return ""


def _opened(run: RunRecord) -> bool:
    """Whether a clone may have begun a history of its own, which somebody may want to keep."""
    return any(step_id.endswith(("-promote_standby", "-promote_leader")) for step_id in run.steps)


def next_commands(run: RunRecord) -> list[str]:
    """What a person types next."""
    if run.state is RunState.ABANDONED and run.operation == "drop":
        return [f"pgdolly drop {run.target}   # removes what is left of it"]
    if run.state is RunState.ABANDONED and run.steps and run.operation in ("promote", "clone"):
        if run.operation == "promote" or _opened(run):
            return [f"pgdolly promote {run.target}   # ends what this run has begun"]
        return [f"pgdolly drop {run.target}   # removes what there is of it; then clone again"]
    if run.state is RunState.ABANDONED and run.steps:
        return [f"pgdolly status {run.target}   # its members stand as the run left them"]
    if run.operation != "reset" or not run.parts:
        return []
    from pgdolly.operations.reset.run import blueprint_of

    blueprint = blueprint_of(run)
    instance = blueprint.leader.instance
    look = (
        f"psql -h {instance.private_directory} -p {instance.port} -U {instance.superuser}"
        f"   # look, as {instance.member.dbsu} on {instance.member.name}"
    )
    if run.state is RunState.PAUSED:
        nexts = [
            f"pgdolly resume {run.run_id}                  # promote, and finish",
            f"pgdolly resume {run.run_id} --time LATER     # move on without a new restore",
            f"pgdolly resume {run.run_id} --abandon        # give it up",
        ]
        return [look, *nexts] if blueprint.action is TargetAction.PAUSE else nexts
    if run.state is not RunState.FINISHED:
        return []
    if blueprint.beside:
        data = instance.data_directory
        done = f"{instance.program('pg_ctl')} --pgdata={data} stop; rm -r {data} {instance.private_directory}"
        return [look, f"{done}   # done with it"]
    return (
        [] if blueprint.archives else [f"pgdolly cleanup {run.target}   # once its state is what you expect"]
    )
