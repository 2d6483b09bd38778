"""The errors that a person sees: one tree, with what happened, what was left alone and what to type next.

Only `pgdolly.cli` prints them. Each class has a stable exit status, documented in `docs/reference/exit-codes.md`.
"""

from __future__ import annotations

from typing import ClassVar


class PgdollyError(Exception):
    """Base of every error that pgdolly raises on purpose.

    :param what: what is wrong, in one sentence without a final full stop.
    :param where: the node, file or option that it concerns, if there is one.
    :param untouched: what was left as it was; nothing at all if the error came before the first change.
    :param next_command: what to type next, if one command can be named.
    """

    exit_status: ClassVar[int] = 1

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        untouched: str | None = None,
        next_command: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.untouched = untouched
        self.next_command = next_command

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what


class InvalidInput(PgdollyError):
    """What was typed, or what the inventory says, cannot be understood."""

    exit_status = 2


class NoCluster(InvalidInput):
    """A node that the inventory names for a cluster holds none of it."""


class Refused(PgdollyError):
    """It was understood, and cannot be done safely. Nothing was changed."""

    exit_status = 3


class StalePlan(PgdollyError):
    """A fact that the plan stands on has changed since."""

    exit_status = 4


class Unreachable(PgdollyError):
    """A node does not answer."""

    exit_status = 5


class ConnectionLost(Unreachable):
    """A node that answered before does not answer now; `where` names it.

    What it was told last may or may not have been done, and a detached job on it goes on.
    """


class CommandFailed(PgdollyError):
    """A command on a node failed.

    :param argv: the command as it was run.
    :param status: its exit status; 124 if its deadline passed.
    :param stderr_end: the last lines of what it wrote to standard error.
    """

    exit_status = 6

    def __init__(
        self,
        what: str,
        *,
        argv: tuple[str, ...] = (),
        status: int | None = None,
        stderr_end: str = "",
        where: str | None = None,
        untouched: str | None = None,
        next_command: str | None = None,
    ) -> None:
        super().__init__(what, where=where, untouched=untouched, next_command=next_command)
        self.argv = argv
        self.status = status
        self.stderr_end = stderr_end


class DeadlinePassed(PgdollyError):
    """Something that was waited for did not happen in time."""

    exit_status = 7
