"""The command line's root: knows the commands by name and loads a command's module when it is called.

`pgdolly --help` must answer at once, so nothing but click is imported here.
"""

from __future__ import annotations

import importlib
from typing import Any, NoReturn

import click

# name: (module below pgdolly.cli, attribute, one line for --help)
COMMANDS: dict[str, tuple[str, str, str]] = {
    "window": ("window", "window", "What can be restored: backups, WAL, timelines, gaps."),
    "reset": ("reset", "reset", "Point-in-time recovery, in place or to another cluster's state."),
    "clone": ("clone", "clone", "A new cluster on fresh nodes: a standby cluster, or from the backups."),
    "promote": ("promote", "promote", "Make a standby cluster one of its own."),
    "cleanup": ("cleanup", "cleanup", "Give a restored cluster a working backup history of its own."),
    "drop": ("drop", "drop", "Remove a cluster that is needed no more, or a clone that failed."),
    "check": ("check", "check", "Say whether a cluster's backups work, and name the cure if not."),
    "status": ("status", "status", "Members, roles, timelines, lag and archiving."),
    "runs": ("runs", "runs", "Past and interrupted runs."),
    "show": ("runs", "show", "One run: its plan and what came of each step."),
    "resume": ("resume", "resume", "Take up an interrupted or paused run again."),
    "sandbox": ("sandbox", "sandbox", "The four-node sandbox on this machine."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called, not when their names are listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(f"pgdolly.cli.{module}"), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, _, summary) in COMMANDS.items()])


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="pgdolly")
def cli() -> None:
    """Clone whole PostgreSQL clusters: Patroni keeps them, pgBackRest holds their history."""


def main(argv: list[str] | None = None) -> NoReturn:
    """Run the command line; a :class:`PgdollyError` becomes a message and its exit status."""
    from pgdolly.domain.errors import PgdollyError

    try:
        result: Any = cli.main(args=argv, standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("aborted: nothing was changed", err=True)
        raise SystemExit(130) from None
    except click.ClickException as error:
        error.show()
        raise SystemExit(error.exit_code) from None
    except PgdollyError as error:
        from pgdolly.cli.errors import print_error

        print_error(error)
        raise SystemExit(error.exit_status) from None
    raise SystemExit(result if isinstance(result, int) else 0)


if __name__ == "__main__":
    main()
