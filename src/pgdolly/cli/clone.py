"""`pgdolly clone`."""

from __future__ import annotations

from functools import partial
from typing import Any

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
@click.argument("source")
@click.argument("new")
@click.option("--standby", is_flag=True, help="It follows SOURCE, as a standby cluster.")
@click.option(
    "--via",
    type=click.Choice(["backup", "stream"]),
    help="Fill it from SOURCE's backups, or by base backups.  [default: backup, where they can be reached]",
)
@click.option("--slot", is_flag=True, help="Have SOURCE keep WAL for it, in a replication slot.")
@click.option("--delay", metavar="TIME", help="A standby cluster replays so much later: 1h, 30min.")
@click.option("--time", metavar="TIME", help="As SOURCE was at this time: '2025-12-27 17:50:00+08'.")
@click.option("--xid", type=int, help="As it was after this transaction.")
@click.option("--name", metavar="POINT", help="As it was at this restore point.")
@click.option("--lsn", metavar="LSN", help="As it was after the record at this LSN.")
@click.option("--immediate", is_flag=True, help="As it was as soon as a backup was consistent.")
@click.option("--exclusive", is_flag=True, help="Stop just before the time, transaction or LSN.")
@click.option("--set", metavar="LABEL", help="Restore this backup set.")
@click.option("--timeline", metavar="N", help="Recover along this timeline. Default: the newest.")
@click.option("--repo", type=int, metavar="N", help="Restore from this repository.")
@click.option("--process", type=int, metavar="N", help="Restore processes per member.")
@click.option("--like", metavar="CLUSTER", help="Follow this cluster's configuration.  [default: SOURCE's]")
@click.option("--no-backup", is_flag=True, help="Leave its first full backup to the schedule.")
@check_option
@yes_option
@output_option
@inventory_option
def clone(
    source: str,
    new: str,
    standby: bool,
    via: Any,
    slot: bool,
    delay: str | None,
    like: str | None,
    no_backup: bool,
    immediate: bool,
    check: bool,
    yes: bool,
    output: str,
    inventory: tuple[str, ...],
    **keys: Any,
) -> None:
    """Make the cluster NEW out of SOURCE, on nodes that hold none yet.

    NEW's nodes are in the inventory and have the packages. With --standby (or pg_upstream in the inventory) it
    follows SOURCE. Without it, it is cut off as SOURCE is now and takes its own backups. With --time, --xid, --name,
    --lsn, --immediate or --set it is what SOURCE was then, out of SOURCE's backups alone.
    """
    from pgdolly.operations.clone.request import CloneRequest
    from pgdolly.operations.clone.run import execute_prepared, prepare
    from pgdolly.operations.request import parse_request

    given = {key: value for key, value in keys.items() if value is not None and value is not False}
    if immediate:
        given["type"] = "immediate"
    request = CloneRequest(
        source=source,
        new=new,
        standby=standby,
        pitr=parse_request(given),
        via=via,
        slot=slot,
        delay=delay,
        like=like,
        backup=not no_backup,
    )
    prepared = run_to_end(prepare(load_fleet(inventory), request))
    if show(prepared.plan, check=check, output=output):
        return
    carry_out(new, partial(execute_prepared, prepared), yes=yes, output=output)
