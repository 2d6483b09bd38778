"""`pgdolly window`."""

from __future__ import annotations

import click

from pgdolly.cli.common import inventory_option, load_fleet, output_option, run_to_end


@click.command()
@click.argument("cluster")
@output_option
@inventory_option
def window(cluster: str, output: str, inventory: tuple[str, ...]) -> None:
    """Show what can be restored of CLUSTER: backups, WAL per timeline, gaps, first and last recoverable moment."""
    from pgdolly.cli.window_view import print_window, window_as_json
    from pgdolly.operations.window import read_window

    found = run_to_end(read_window(load_fleet(inventory), cluster))
    if output == "json":
        click.echo(window_as_json(found.cluster, found.window))
    else:
        print_window(found.cluster, found.window)
