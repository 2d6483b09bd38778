"""`pgdolly promote`."""

from __future__ import annotations

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
    from pgdolly.operations.promote.run import execute_prepared, prepare

    prepared = run_to_end(prepare(load_fleet(inventory), cluster, now=now, backup=not no_backup))
    if show(prepared.plan, check=check, output=output):
        return
    carry_out(cluster, partial(execute_prepared, prepared), yes=yes, output=output)
