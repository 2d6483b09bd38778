"""`pgdolly reset`: every key of `pg_pitr` as an option."""

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
@click.argument("target")
@click.option(
    "--from", "cluster", metavar="SOURCE", help="The cluster whose backups are restored. Default: TARGET."
)
@click.option("--time", metavar="TIME", help="Stop at this time, with its zone: '2025-12-27 17:50:00+08'.")
@click.option("--xid", type=int, help="Stop after this transaction.")
@click.option("--name", metavar="POINT", help="Stop at this restore point (pg_create_restore_point).")
@click.option("--lsn", metavar="LSN", help="Stop after the record at this LSN.")
@click.option("--immediate", is_flag=True, help="Stop as soon as the backup is consistent.")
@click.option("--exclusive", is_flag=True, help="Stop just before the time, transaction or LSN.")
@click.option("--set", metavar="LABEL", help="Restore this backup set.")
@click.option("--timeline", metavar="N", help="Recover along this timeline. Default: the newest.")
@click.option("--repo", type=int, metavar="N", help="Restore from this repository.")
@click.option(
    "--action",
    type=click.Choice(["promote", "pause", "shutdown"]),
    default="promote",
    show_default=True,
    help="What the leader does at the target.",
)
@click.option("--archive", is_flag=True, help="Let the clone archive at once, into its own stanza.")
@click.option("--cleanup", is_flag=True, help="Begin the clone's own backup history in the same go.")
@click.option("--backup", is_flag=True, help="Keep the old data directory aside.")
@click.option(
    "--db-include", multiple=True, metavar="DATABASE", help="Restore this database only (repeatable)."
)
@click.option("--db-exclude", multiple=True, metavar="DATABASE", help="Leave this database out (repeatable).")
@click.option(
    "--link-map", multiple=True, metavar="LINK=PATH", help="Where a link of the source goes (repeatable)."
)
@click.option("--process", type=int, metavar="N", help="Restore processes per member.")
@click.option(
    "--data", metavar="PATH", help="Restore into this directory of the leader's node, beside the cluster."
)
@click.option("--port", type=int, help="Port of the private server during the recovery.")
@check_option
@yes_option
@output_option
@inventory_option
def reset(
    target: str, check: bool, yes: bool, output: str, inventory: tuple[str, ...], immediate: bool, **keys: Any
) -> None:
    """Reset the cluster TARGET to a point in time: its own, or another cluster's.

    Without a target option, to the end of the archive. All members stop at the very same point; PostgreSQL
    promotes the leader before Patroni gets it; the replicas join by streaming.
    """
    from pgdolly.operations.request import parse_request

    given = {
        key: value for key, value in keys.items() if value is not None and value is not False and value != ()
    }
    if immediate:
        given["type"] = "immediate"
    if "link_map" in given:
        given["link_map"] = _pairs(given["link_map"])
    carry_out_reset(target, parse_request(given), check=check, yes=yes, output=output, inventory=inventory)


def _pairs(entries: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for entry in entries:
        link, sign, path = entry.partition("=")
        if not sign or not link or not path:
            raise click.UsageError(f"--link-map {entry!r} is not of the form LINK=PATH")
        pairs[link] = path
    return pairs


def carry_out_reset(
    target: str, request: Any, *, check: bool, yes: bool, output: str, inventory: tuple[str, ...]
) -> None:
    """Plan, show, ask, run, and say what came of it."""
    from pgdolly.operations.reset.run import execute_prepared, prepare

    prepared = run_to_end(prepare(load_fleet(inventory), target, request))
    if show(prepared.plan, check=check, output=output):
        return
    carry_out(target, partial(execute_prepared, prepared), yes=yes, output=output)
