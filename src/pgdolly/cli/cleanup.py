"""`pgdolly cleanup`."""

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
    from pgdolly.operations.cleanup import execute_prepared, prepare

    prepared = run_to_end(prepare(load_fleet(inventory), cluster, backup=not no_backup))
    if show(prepared.plan, check=check, output=output):
        return
    carry_out(cluster, partial(execute_prepared, prepared), yes=yes, output=output)
