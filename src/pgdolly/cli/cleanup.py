"""`pgdolly cleanup`."""

from __future__ import annotations

import sys

import click

from pgdolly.cli.common import (
    check_option,
    confirm,
    inventory_option,
    load_fleet,
    output_option,
    run_to_end,
    yes_option,
)


@click.command()
@click.argument("cluster")
@click.option("--no-backup", is_flag=True, help="Leave the full backup to the schedule.")
@check_option
@yes_option
@output_option
@inventory_option
def cleanup(
    cluster: str, no_backup: bool, check: bool, yes: bool, output: str, inventory: tuple[str, ...]
) -> None:
    """Give CLUSTER a working backup history after a recovery.

    Upgrades (or creates) its stanza, turns archiving on on every member with a rolling restart, checks that WAL
    arrives, and takes a full backup. Safe to repeat.
    """
    from pgdolly.cli.listeners import listener_for
    from pgdolly.cli.outcome import print_outcome
    from pgdolly.cli.plan_view import plan_as_json, print_plan
    from pgdolly.operations.cleanup import execute_prepared, prepare
    from pgdolly.steps.registry import STEPS

    prepared = run_to_end(prepare(load_fleet(inventory), cluster, backup=not no_backup))
    if output == "text":
        print_plan(prepared.plan)
        if check:
            click.echo("\n--check: nothing was changed")
    elif check:
        click.echo(plan_as_json(prepared.plan, STEPS))
    if check:
        return
    confirm(cluster, yes=yes)
    with listener_for(output, sys.stdout) as emit:
        run = run_to_end(execute_prepared(prepared, emit))
    print_outcome(run, output=output)
