"""How a plan is shown before anything is done: what for, what to beware of, and every command."""

from __future__ import annotations

import json
import re
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
# In what is shown once for several members; no command has it otherwise.
_ANY_MEMBER = "MEMBER"


def print_plan(plan: Plan) -> None:
    """Print a plan to standard output, with colours if that is a terminal."""
    for line in plan_lines(outline(plan)):
        click.echo(line)


def plan_as_json(plan: Plan, registry: StepRegistry) -> str:
    """The plan for `--check --output=json`: as it would be journaled."""
    return json.dumps(registry.encode_plan(plan))


def plan_lines(plan: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a plan's outline.

    Lanes that differ by nothing but the member's name are printed once: three members need no reader to compare
    three pages. Where the name stands in what is printed, as in a path of its own, `MEMBER` stands for each of them.
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
        for names, steps in _alike(stage["lanes"]):
            stands = f" ({_ANY_MEMBER} stands for each)" if _ANY_MEMBER in json.dumps(steps) else ""
            yield f"   {', '.join(names)}{stands if len(names) > 1 else ''}"
            for step_number, step in enumerate(steps, 1):
                effects[Effect(step["effect"])] += len(names)
                yield f"     {number}.{step_number} {effect_mark(step['effect'])} {step['title']}"
                yield from command_lines(step, " " * 10)
    yield ""
    counts = [f"{effects[effect]} {word}" for effect, (word, _) in _MARKS.items() if effects[effect]]
    counted = "1 step" if effects.total() == 1 else f"{effects.total()} steps"
    yield f"{counted}: {', '.join(counts)}" if counts else "There is nothing to do."


def _alike(lanes: Sequence[Mapping[str, Any]]) -> list[tuple[list[str], Sequence[Mapping[str, Any]]]]:
    """The names of lanes whose steps are the same but for the lane's name, and those steps; in the order of the first.

    The steps of one lane alone are its own; those of several have `MEMBER` in the place of their names.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for lane in lanes:
        groups.setdefault(json.dumps(_of_any_member(lane)), []).append(lane)
    return [
        ([lane["name"] for lane in group], group[0]["steps"] if len(group) == 1 else _of_any_member(group[0]))
        for group in groups.values()
    ]


def _of_any_member(lane: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The lane's steps, without its name where that stands alone."""
    name = re.compile(rf"(?<![\w-]){re.escape(lane['name'])}(?![\w-])")

    def nameless(text: str) -> str:
        return name.sub(_ANY_MEMBER, text)

    return [
        {
            **step,
            "title": nameless(step["title"]),
            "commands": [{**each, "shown": nameless(each["shown"])} for each in step["commands"]],
        }
        for step in lane["steps"]
    ]


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
