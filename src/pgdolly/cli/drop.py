"""`pgdolly drop`."""

from __future__ import annotations

import json
from functools import partial

import click

from pgdolly.cli.carry import carry_out, show
from pgdolly.cli.common import (
    check_option,
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
    from pgdolly.operations.drop.run import execute_prepared, prepare

    prepared = run_to_end(prepare(load_fleet(inventory), cluster, with_backups=with_backups))
    if show(prepared.plan, check=check, output=output):
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
    carry_out(cluster, partial(execute_prepared, prepared), yes=yes, output=output)
