"""How an error is shown: what happened, what was left untouched, what to type next."""

from __future__ import annotations

import shlex

import click

from pgdolly.domain.errors import CommandFailed, PgdollyError


def print_error(error: PgdollyError) -> None:
    """Print an error to standard error, in the order in which a person needs it."""
    click.secho(f"error: {error}", fg="red", err=True)
    if isinstance(error, CommandFailed):
        if error.argv:
            click.echo(f"  command:   {shlex.join(error.argv)}", err=True)
        if error.status is not None:
            click.echo(f"  status:    {error.status}", err=True)
        for line in error.stderr_end.splitlines():
            click.echo(f"    | {line}", err=True)
    for note in getattr(error, "__notes__", ()):
        click.echo(f"  {note}", err=True)
    if error.untouched:
        click.echo(f"  untouched: {error.untouched}", err=True)
    if error.next_command:
        click.echo(f"  next:      {error.next_command}", err=True)
