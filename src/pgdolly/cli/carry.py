"""What every command that changes something does: show its plan, ask, carry it out, say what came of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import click

from pgdolly.cli.common import confirm, run_to_end

if TYPE_CHECKING:
    from pgdolly.engine.events import Listener
    from pgdolly.engine.plan import Plan
    from pgdolly.engine.record import RunRecord


def show(plan: Plan, *, check: bool, output: str) -> bool:
    """Print the plan as it was asked for, and say whether the command ends with it."""
    from pgdolly.cli.plan_view import plan_as_json, print_plan
    from pgdolly.steps.registry import STEPS

    if output == "text":
        print_plan(plan)
        if check:
            click.echo("\n--check: nothing was changed")
    elif check:
        click.echo(plan_as_json(plan, STEPS))
    return check


def carry_out(
    target: str, execute: Callable[[Listener], Coroutine[Any, Any, RunRecord]], *, yes: bool, output: str
) -> None:
    """Ask for the target's name, and run to the end."""
    from pgdolly.cli.listeners import listener_for
    from pgdolly.cli.outcome import print_outcome

    confirm(target, yes=yes)
    with listener_for(output, sys.stdout) as emit:
        run = run_to_end(execute(emit))
    print_outcome(run, output=output)
