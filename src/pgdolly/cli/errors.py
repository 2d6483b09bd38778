"""How an error is shown: what happened, what was left untouched, what to type next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import click

from pgdolly.domain.errors import CommandFailed, PgdollyError


def print_error(error: PgdollyError) -> None:
    """Print an error to standard error, in the order in which a person needs it."""
    first, *further = error_lines(error)
    click.secho(f"error: {first}", fg="red", err=True)
    for line in further:
        click.echo(line, err=True)


def error_lines(error: PgdollyError) -> Iterator[str]:
    """The lines of an error: first what is wrong and where."""
    yield str(error)
    if isinstance(error, CommandFailed):
        if error.argv:
            yield f"  command:   {shlex.join(error.argv)}"
        if error.status is not None:
            yield f"  status:    {error.status}"
        for line in error.stderr_end.splitlines():
            yield f"    | {line}"
    for note in getattr(error, "__notes__", ()):
        yield f"  {note}"
    if error.untouched:
        yield f"  untouched: {error.untouched}"
    if error.next_command:
        yield f"  next:      {error.next_command}"
