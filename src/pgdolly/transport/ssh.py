"""The shell of a node that is reached by SSH (`ansible_connection: ssh`), by the system's own `ssh`."""

from __future__ import annotations

import asyncio
import secrets
import time
from pathlib import Path

from pgdolly.domain.command import Command, Completed
from pgdolly.domain.errors import CommandFailed, ConnectionLost, Unreachable
from pgdolly.transport.remote import (
    KILL_AFTER_SECONDS,
    Outcome,
    end_line,
    read_outcome,
    remote_line,
    user_of,
)
from pgdolly.transport.shell import DEFAULT_TIMEOUT_SECONDS, last_lines
from pgdolly.transport.ssh_connection import Connection
from pgdolly.transport.ssh_destination import ALIVE_COUNT, ALIVE_SECONDS, NO_CONNECTION
from pgdolly.transport.ssh_session import Session

# How long a command may stay away past its deadline: it is ended on the node, and a dead connection is noticed.
OVERDUE_SECONDS = KILL_AFTER_SECONDS + ALIVE_SECONDS * (ALIVE_COUNT + 1) + 10.0
HEAR_SECONDS = 5.0  # by then a node that is there has said which process it is
SESSION_SECONDS = 60.0
RETRY_SECONDS = 0.25
RECONNECT_POLL_SECONDS = 1.0
_TIMED_OUT = (124, 128 + 9)  # what timeout(1) says, after SIGTERM and after SIGKILL


class SshShell:
    """Runs commands on a node, as another user through `sudo`; a lost connection is made anew for the next command.

    It does not repeat a command by itself once that may have begun: who gave it knows whether that is safe.
    """

    def __init__(self, node_name: str, dbsu: str, connection: Connection) -> None:
        self.node_name = node_name
        self._dbsu = dbsu
        self._connection = connection

    async def run(self, command: Command, *, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> Completed:
        async with self._connection.slots:
            return await self._run(command, timeout_seconds)

    async def reconnect(self, *, deadline_seconds: float) -> None:
        until = time.monotonic() + deadline_seconds
        while True:
            try:
                await self.run(Command(argv=("true",), run_as="login"), timeout_seconds=10)
            except Unreachable:
                if time.monotonic() >= until:
                    raise
                await asyncio.sleep(RECONNECT_POLL_SECONDS)
            else:
                return

    async def _run(self, command: Command, timeout_seconds: float) -> Completed:
        until = time.monotonic() + SESSION_SECONDS
        while True:
            socket = await self._connection.socket(self.node_name)
            await self._end_strays(socket)
            word = _new_word()
            line = remote_line(command, dbsu=self._dbsu, word=word, timeout_seconds=timeout_seconds)
            began = time.monotonic()
            status, outcome = await self._carry(socket, line, command, word, timeout_seconds)
            if outcome.process is not None or NO_CONNECTION not in outcome.stderr:
                break
            # It has not begun. Either the connection is gone (it ends after a minute without commands), or the
            # node's sshd grants it no further session at present.
            if not await self._connection.alive(socket):
                self._connection.forget(socket)
            if time.monotonic() > until:
                raise self._unreachable(
                    "the node's sshd refuses a further session on a connection; see MaxSessions in sshd_config"
                )
            await asyncio.sleep(RETRY_SECONDS)
        if outcome.status is None:
            raise await self._cut_off(socket, command, word, status, outcome)
        if outcome.status in _TIMED_OUT and time.monotonic() - began >= timeout_seconds:
            raise self._too_late(command, timeout_seconds, "and was ended")
        if user_of(command, self._dbsu) == "root" and outcome.status == 1:
            refusal = _words_of_sudo(outcome.stderr)
            if refusal is not None:
                raise self._may_not("root", refusal)
        return Completed(command=command, status=outcome.status, stdout=outcome.stdout, stderr=outcome.stderr)

    async def _carry(
        self, socket: Path, line: str, command: Command, word: str, timeout_seconds: float
    ) -> tuple[int, Outcome]:
        stdin = command.stdin.encode() if command.stdin is not None else None
        session = await Session.begin(
            self._connection.destination.run_argv(socket, line), stdin=stdin is not None
        )
        try:
            status = await session.carry(stdin, within_seconds=timeout_seconds + OVERDUE_SECONDS)
        except (TimeoutError, asyncio.CancelledError) as error:

            def heard() -> Outcome:
                return read_outcome(word, bytes(session.stdout), bytes(session.stderr))

            # The node says first which process it is, and that may not have been read yet.
            await session.hear(lambda: heard().process is not None, within_seconds=HEAR_SECONDS)
            outcome = heard()
            if outcome.process is not None and outcome.status is None:
                await self._end_on_node(socket, outcome.process, user_of(command, self._dbsu), word)
            await session.end()
            if isinstance(error, asyncio.CancelledError):
                raise
            raise self._too_late(command, timeout_seconds, "and may still run on the node") from error
        return status, read_outcome(word, bytes(session.stdout), bytes(session.stderr))

    async def _end_on_node(self, socket: Path, process: int, user: str, word: str) -> bool:
        """End a command on the node; False if the connection is not there. For root's command, which is sudo's, the
        script belongs to who logs in.
        """
        line = end_line(process, user="" if user == "root" else user, word=word, own_word=_new_word())
        session = await Session.begin(self._connection.destination.run_argv(socket, line), stdin=False)
        try:
            return await session.carry(None, within_seconds=OVERDUE_SECONDS) != 255
        except TimeoutError:
            return False  # the connection is as good as gone: the command's own deadline ends it
        finally:
            await session.end()

    async def _end_strays(self, socket: Path) -> None:
        """End what a lost connection has left running, so that it does not work against what comes now."""
        strays = self._connection.strays
        async with self._connection.mending:
            while strays and await self._end_on_node(socket, *strays[-1]):
                strays.pop()

    async def _cut_off(
        self, socket: Path, command: Command, word: str, status: int, outcome: Outcome
    ) -> Exception:
        """The error for a command whose end was not seen."""
        if not await self._connection.alive(socket):
            self._connection.forget(socket)
            if outcome.process is not None:
                stray = (outcome.process, user_of(command, self._dbsu), word)
                self._connection.strays.append(stray)
            return ConnectionLost(
                f"the connection to {self._connection.destination.address} was lost during: {_short(command)}",
                where=self.node_name,
                next_command=self._connection.destination.by_hand(),
            )
        if outcome.process is not None:
            return CommandFailed(
                "the command was killed on the node",
                where=self.node_name,
                argv=(command.shown(),),
                stderr_end=last_lines(outcome.stderr),
            )
        refusal = _words_of_sudo(outcome.stderr)
        if refusal is not None and command.run_as != "login":
            return self._may_not(user_of(command, self._dbsu), refusal)
        said = last_lines(outcome.stderr, 1) or last_lines(outcome.stdout, 1)
        return self._unreachable(f"its login shell ran no command (status {status}): {said}")

    def _unreachable(self, what: str) -> Unreachable:
        return Unreachable(what, where=self.node_name, next_command=self._connection.destination.by_hand())

    def _may_not(self, user: str, refusal: str) -> Unreachable:
        login = self._connection.destination.user or "LOGIN"
        return Unreachable(
            f"who logs in to {self._connection.destination.address} may not run commands as {user}: {refusal}",
            where=self.node_name,
            untouched="nothing was run there",
            next_command=f"a rule in the node's sudoers:  {login} ALL=({user}) NOPASSWD: …"
            "   (docs/how-to/fleet.md has all of it)",
        )

    def _too_late(self, command: Command, timeout_seconds: float, what: str) -> CommandFailed:
        return CommandFailed(
            f"the command did not end within {timeout_seconds:.0f} s {what}",
            where=self.node_name,
            argv=(command.shown(),),
            status=124,
        )


def _short(command: Command) -> str:
    shown = command.shown().replace("\n", " ")
    return shown if len(shown) <= 120 else f"{shown[:119]}…"


def _new_word() -> str:
    return f"pgdolly-{secrets.token_hex(8)}"


def _words_of_sudo(stderr: str) -> str | None:
    """What sudo (or a shell that did not find it) said last, if it said anything."""
    lines = [line.strip() for line in stderr.splitlines() if "sudo" in line]
    return lines[-1] if lines else None
