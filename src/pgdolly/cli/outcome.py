"""What came of a run, and what to type next."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click

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
            members = result["members"]
            return f"; {members} members on timeline {result['timeline']} at {result['lsn']}"
        if step_id.endswith("-recover") and result.get("stopped") and run.state is RunState.PAUSED:
            return f"; {result['stopped']}, at {result['lsn']}"
    return ""


def next_commands(run: RunRecord) -> list[str]:
    """What a person types next."""
    if run.state is RunState.PAUSED:
        plan = run.parts[-1].plan
        blueprint = plan.get("blueprint") or {}
        instance = blueprint.get("leader", {}).get("instance", {})
        member = instance.get("member", {})
        nexts = [
            f"pgdolly resume {run.run_id}                  # promote, and finish",
            f"pgdolly resume {run.run_id} --time LATER     # move on without a new restore",
            f"pgdolly resume {run.run_id} --abandon        # give it up",
        ]
        if blueprint.get("action") == "pause" and instance:
            socket_directory = f"{member['data_directory'].rsplit('/', 1)[0]}/pgdolly/private"
            nexts.insert(
                0,
                f"psql -h {socket_directory} -p {instance['port']} -U {instance['superuser']}"
                f"   # look, as {member['dbsu']} on {member['name']}",
            )
        return nexts
    if run.operation == "reset" and run.state is RunState.FINISHED:
        blueprint = (run.parts[-1].plan.get("blueprint") or {}) if run.parts else {}
        if blueprint.get("beside"):
            instance = blueprint["leader"]["instance"]
            data, member = instance["data_directory"], instance["member"]
            return [
                f"psql -h {data}.private -p {instance['port']} -U {instance['superuser']}"
                f"   # look, as {member['dbsu']} on {member['name']}",
                f"{instance['bin_directory']}/pg_ctl --pgdata={data} stop; rm -r {data} {data}.private"
                "   # done with it",
            ]
        if not (blueprint.get("archive") or blueprint.get("cleanup")):
            return [f"pgdolly cleanup {run.target}   # once its state is what you expect"]
    return []
