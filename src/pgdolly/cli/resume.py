"""`pgdolly resume`: go on with an interrupted or paused run, or give it up."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click

from pgdolly.cli.common import check_option, inventory_option, load_fleet, output_option, run_to_end


def _inventories(request: Mapping[str, Any]) -> tuple[str, ...]:
    """What the run was begun with; journals of earlier versions have one as a text."""
    recorded = request.get("inventory") or ()
    return (recorded,) if isinstance(recorded, str) else tuple(recorded)


@click.command()
@click.argument("run")
@click.option("--time", metavar="TIME", help="A paused run: move on to this later time.")
@click.option("--xid", type=int, help="A paused run: move on to this later transaction.")
@click.option("--name", metavar="POINT", help="A paused run: move on to this later restore point.")
@click.option("--lsn", metavar="LSN", help="A paused run: move on to this later LSN.")
@click.option("--exclusive", is_flag=True, help="Stop just before the later target.")
@click.option(
    "--abandon", is_flag=True, help="Give the run up and free its target for another; touch nothing."
)
@check_option
@output_option
@inventory_option
def resume(
    run: str, abandon: bool, check: bool, output: str, inventory: tuple[str, ...], **keys: Any
) -> None:
    """Take up RUN where it stands.

    An interrupted or failed run goes on where its journal ends. A paused one is promoted and finished, or with
    --time, --xid, --name or --lsn moves on to that later target without a new restore. --check prints what is left to
    do.
    """
    from pgdolly.cli.carry import show
    from pgdolly.cli.listeners import listener_for
    from pgdolly.cli.outcome import print_outcome
    from pgdolly.domain.errors import InvalidInput
    from pgdolly.engine.home import runs_directory
    from pgdolly.engine.journal import find_run
    from pgdolly.operations.request import parse_request
    from pgdolly.operations.resume import give_up, plan_any, take_up_any

    record = find_run(runs_directory(), run)
    fleet = load_fleet(inventory or _inventories(record.request))
    given = {
        key: value for key, value in keys.items() if value is not None and value is not False and value != ()
    }
    if abandon and (check or given):
        raise InvalidInput(
            "--abandon gives the run up: it goes with no other option", untouched="nothing was changed"
        )
    if abandon:
        print_outcome(run_to_end(give_up(record, fleet)), output=output)
        return
    further = parse_request(given) if given else None
    if check:
        show(run_to_end(plan_any(record, fleet, further=further)), check=True, output=output)
        return
    with listener_for(output, sys.stdout) as emit:
        ended = run_to_end(take_up_any(record, fleet, emit, further=further))
    print_outcome(ended, output=output)
