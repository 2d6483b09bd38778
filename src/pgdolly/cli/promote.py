"""`pgdolly promote`."""

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
@click.option("--now", is_flag=True, help="Cut it off where it stands; the plan says how much it lacks.")
@click.option("--no-backup", is_flag=True, help="Leave its first full backup to the schedule.")
@check_option
@yes_option
@output_option
@inventory_option
def promote(
    cluster: str, now: bool, no_backup: bool, check: bool, yes: bool, output: str, inventory: tuple[str, ...]
) -> None:
    """Make the standby cluster CLUSTER one of its own.

    Waits until it has replayed what its upstream has, promotes it through Patroni, gives its roles passwords of
    their own, creates its stanza, checks that WAL arrives, and takes a full backup.
    """
    from pgdolly.cli.listeners import listener_for
    from pgdolly.cli.outcome import print_outcome
    from pgdolly.cli.plan_view import plan_as_json, print_plan
    from pgdolly.operations.promote.run import execute_prepared, prepare
    from pgdolly.steps.registry import STEPS

    prepared = run_to_end(prepare(load_fleet(inventory), cluster, now=now, backup=not no_backup))
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
