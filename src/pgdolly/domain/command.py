"""A command as data: built purely, printed by the plan, run by a node's shell."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Literal

RunAs = Literal["dbsu", "root", "login"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command on one node.

    :param argv: the program and its arguments; no shell reads them.
    :param run_as: the node's database superuser, root, or the user who logged in.
    :param environment: set for this command, beside the user's own environment.
    :param stdin: sent to its standard input; never printed where `secret` is true.
    :param summary: what to print in place of a long argument list or script.
    """

    argv: tuple[str, ...]
    run_as: RunAs = "dbsu"
    environment: tuple[tuple[str, str], ...] = ()
    stdin: str | None = None
    secret: bool = False
    summary: str | None = None

    def shown(self) -> str:
        """The line that a plan prints for it; it can be typed as it is unless there is a summary."""
        if self.summary is not None:
            return self.summary
        assignments = [f"{name}={shlex.quote(value)}" for name, value in self.environment]
        return " ".join([*assignments, shlex.join(self.argv)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """What came of a command that was run."""

    command: Command
    status: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        return self.status == 0
