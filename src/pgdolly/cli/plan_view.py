"""How a plan is shown before anything is done: what for, what to beware of, and every command."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from pgdolly.engine.plan import Plan, StepRegistry, outline
from pgdolly.engine.step import Effect

_MARKS = {
    Effect.READ: ("read", {"fg": "green"}),
    Effect.CHANGE: ("change", {"fg": "yellow"}),
    Effect.DESTROY: ("DESTROY", {"fg": "red", "bold": True}),
}


def print_plan(plan: Plan) -> None:
    """Print a plan to standard output, with colours if that is a terminal."""
    for line in plan_lines(outline(plan)):
        click.echo(line)


def plan_as_json(plan: Plan, registry: StepRegistry) -> str:
    """The plan for `--check --output=json`: as it would be journaled."""
    return json.dumps(registry.encode_plan(plan))


def plan_lines(plan: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a plan's outline.

    Lanes that differ by nothing but the member's name are printed once, with the first one's commands: three
    members need no reader to compare three pages. `pgdolly show RUN --commands` has them all.
    """
    yield click.style(f"Plan: {plan['operation']} {plan['target']}", bold=True)
    for line in plan["summary"]:
        yield f"  {line}"
    if plan["warnings"]:
        yield ""
        for warning in plan["warnings"]:
            yield click.style(f"  warning: {warning}", fg="yellow")
    effects: Counter[Effect] = Counter()
    for number, stage in enumerate(plan["stages"], 1):
        yield ""
        yield click.style(f"{number}. {stage['title']}", bold=True)
        for lanes in _alike(stage["lanes"]):
            lane = lanes[0]
            yield f"   {', '.join(each['name'] for each in lanes)}"
            for step_number, step in enumerate(lane["steps"], 1):
                effects[Effect(step["effect"])] += len(lanes)
                yield f"     {number}.{step_number} {effect_mark(step['effect'])} {step['title']}"
                yield from command_lines(step, " " * 10)
    yield ""
    counts = [f"{effects[effect]} {word}" for effect, (word, _) in _MARKS.items() if effects[effect]]
    yield f"{effects.total()} steps: {', '.join(counts)}" if counts else "There is nothing to do."


def _alike(lanes: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Lanes in groups whose steps are the same but for the lane's name; in the order of their first ones."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for lane in lanes:
        groups.setdefault(json.dumps(lane["steps"]).replace(lane["name"], "\0"), []).append(lane)
    return list(groups.values())


def effect_mark(effect: str) -> str:
    """What a step does to what is there, as wide for each of them."""
    word, style = _MARKS[Effect(effect)]
    return click.style(f"{word:7}", **style)  # type: ignore[arg-type]


def command_lines(step: Mapping[str, Any], indent: str) -> Iterator[str]:
    """A step's commands, each after the user whom it runs as; further lines of one stand under its first."""
    for command in step["commands"]:
        first, *further = command["shown"].splitlines() or [""]
        yield click.style(f"{indent}{command['run_as'] + ':':6} {first}", dim=True)
        for line in further:
            yield click.style(f"{indent}       {line}", dim=True)
