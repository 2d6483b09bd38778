"""A node's shell: runs commands as the node's own users. Everything that a node does goes through one."""

from __future__ import annotations

from typing import Protocol

from pgdolly.domain.command import Command, Completed
from pgdolly.domain.errors import CommandFailed

DEFAULT_TIMEOUT_SECONDS = 60.0


class Shell(Protocol):
    """One node's shell."""

    node_name: str

    async def run(self, command: Command, *, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> Completed:
        """Run a command to its end and return what came of it, whatever its exit status.

        :raises Unreachable: if the node's shell cannot be reached.
        :raises ConnectionLost: if it could be reached before. The command may have begun, and even have ended.
        :raises CommandFailed: with status 124 if the command outlived its deadline; it was ended.
        """
        ...

    async def reconnect(self, *, deadline_seconds: float) -> None:
        """Wait until a node whose connection was lost answers again.

        :raises Unreachable: if it does not within `deadline_seconds`.
        """
        ...


async def run_checked(
    shell: Shell, command: Command, *, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS, doing: str = ""
) -> str:
    """Run a command that has to succeed and return its standard output.

    :param doing: what the command is for, in the words of the error: "stop Patroni".
    :raises CommandFailed: if its exit status is not 0.
    """
    completed = await shell.run(command, timeout_seconds=timeout_seconds)
    if not completed.ok:
        raise command_failed(shell.node_name, completed, doing)
    return completed.stdout


def command_failed(node_name: str, completed: Completed, doing: str = "") -> CommandFailed:
    """The error for a command that ended with another status than 0."""
    ending = last_lines(completed.stderr) or last_lines(completed.stdout)
    return CommandFailed(
        f"could not {doing}" if doing else "a command failed",
        where=node_name,
        argv=completed.command.argv if completed.command.stdin is None else (completed.command.shown(),),
        status=completed.status,
        stderr_end=ending,
    )


def last_lines(text: str, count: int = 15) -> str:
    """The last lines of a text that are not empty."""
    return "\n".join([line for line in text.splitlines() if line.strip()][-count:])
