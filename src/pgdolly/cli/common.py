"""What the commands share: their common options, the inventory, asking for a name, running to an end."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import click

from pgdolly.domain.errors import InvalidInput

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

inventory_option = click.option(
    "-i",
    "--inventory",
    metavar="PATH",
    multiple=True,
    help="Ansible inventory (repeatable). Default: $PGDOLLY_INVENTORY, ./pigsty.yml, the sandbox's.",
)
output_option = click.option(
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="For people or programs.",
)
check_option = click.option("--check", is_flag=True, help="Print the plan and stop: nothing is changed.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask for the target's name.")


def load_fleet(inventory: tuple[str, ...]) -> Any:
    """The fleet of the inventories that were given, or of the one that is found."""
    from pgdolly.engine.home import controller_home
    from pgdolly.inventory.ansible import find_inventories, read_fleet

    return read_fleet(find_inventories(inventory, controller_home()))


def confirm(target: str, *, yes: bool) -> None:
    """Ask for the target's name, so that a plan for the wrong cluster is noticed.

    :raises InvalidInput: if there is nobody to ask, or another name was typed.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise InvalidInput(
            "nobody can be asked: standard input is no terminal",
            untouched="nothing was changed",
            next_command="add --yes, or --check to see the plan alone",
        )
    typed = click.prompt(f"Type {target} to go on", default="", show_default=False, err=True)
    if typed.strip() != target:
        raise InvalidInput(f"{typed!r} is not {target!r}", untouched="nothing was changed")


def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Run asynchronous work; SIGTERM ends it as Ctrl-C does, with the journal saying so."""

    async def guarded() -> T:
        task = asyncio.ensure_future(work)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await task

    try:
        return asyncio.run(guarded())
    except (KeyboardInterrupt, asyncio.CancelledError):
        click.echo(
            "interrupted: jobs that were begun on nodes go on; pgdolly runs shows how to take the run up",
            err=True,
        )
        raise SystemExit(130) from None
