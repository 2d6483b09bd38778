"""`pgdolly drop`."""

from __future__ import annotations

import json
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
@click.option("--with-backups", is_flag=True, help="Delete its stanza, too: all of its backups and WAL.")
@check_option
@yes_option
@output_option
@inventory_option
def drop(
    cluster: str, with_backups: bool, check: bool, yes: bool, output: str, inventory: tuple[str, ...]
) -> None:
    """Remove CLUSTER, a clone that is needed no more or one that failed.

    Stops it on every member, removes its data, its entries in Patroni's store and the files that pgdolly clone
    wrote. Its backups stay unless you say --with-backups. Refused if anything replicates from it. Safe to repeat.
    """
    from pgdolly.cli.listeners import listener_for
    from pgdolly.cli.outcome import print_outcome
    from pgdolly.cli.plan_view import plan_as_json, print_plan
    from pgdolly.operations.drop.run import execute_prepared, prepare
    from pgdolly.steps.registry import STEPS

    prepared = run_to_end(prepare(load_fleet(inventory), cluster, with_backups=with_backups))
    if output == "text":
        print_plan(prepared.plan)
        if check:
            click.echo("\n--check: nothing was changed")
    elif check:
        click.echo(plan_as_json(prepared.plan, STEPS))
    if check:
        return
    if prepared.gone:
        if output == "json":
            notes = list(prepared.plan.summary)
            click.echo(
                json.dumps(
                    {
                        "run": None,
                        "state": "finished",
                        "target": cluster,
                        "notes": notes,
                        "results": {},
                        "next": [],
                    }
                )
            )
        return
    confirm(cluster, yes=yes)
    with listener_for(output, sys.stdout) as emit:
        run = run_to_end(execute_prepared(prepared, emit))
    print_outcome(run, output=output)
