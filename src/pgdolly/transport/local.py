"""The shell of the machine that pgdolly itself runs on (`ansible_connection: local`)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import signal

from pgdolly.domain.command import Command, Completed
from pgdolly.domain.errors import CommandFailed, Unreachable
from pgdolly.transport.processes import let_go
from pgdolly.transport.shell import DEFAULT_TIMEOUT_SECONDS

END_SECONDS = 5.0


class LocalShell:
    """Runs commands on this machine, as another user through `runuser` (for root) or `sudo`."""

    def __init__(self, node_name: str, dbsu: str) -> None:
        self.node_name = node_name
        self._dbsu = dbsu
        self._me = pwd.getpwuid(os.geteuid()).pw_name

    def argv(self, command: Command) -> tuple[str, ...]:
        """The command as this machine runs it: with the user changed and the environment set."""
        user = {"dbsu": self._dbsu, "root": "root", "login": self._me}[command.run_as]
        assignments = tuple(f"{name}={value}" for name, value in command.environment)
        argv = ("env", *assignments, *command.argv) if assignments else command.argv
        if user == self._me:
            return argv
        if self._me == "root":
            # Not `runuser -l`: the command line would pass through the user's login shell and be split again.
            return ("runuser", "-u", user, "--", *argv)
        return ("sudo", "-n", "-H", "-u", user, "--", *argv)

    def _check_account(self) -> None:
        try:
            pwd.getpwnam(self._dbsu)
        except KeyError:
            raise Unreachable(
                f"there is no account {self._dbsu} on this machine",
                where=self.node_name,
                untouched="nothing was changed there",
                next_command="set pg_dbsu in the inventory",
            ) from None

    async def reconnect(self, *, deadline_seconds: float) -> None:
        """There is no connection that could be lost."""

    async def run(self, command: Command, *, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> Completed:
        self._check_account()
        argv = self.argv(command)
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.PIPE if command.stdin is not None else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=_environment(),
                cwd="/",  # the caller's directory may be closed to the other user
                start_new_session=True,  # Ctrl-C is for pgdolly, which decides what to do with a running command
            )
        except FileNotFoundError as error:
            raise Unreachable(f"{argv[0]} is not installed on this machine", where=self.node_name) from error
        try:
            stdout, stderr = await asyncio.wait_for(
                process.communicate(command.stdin.encode() if command.stdin is not None else None),
                timeout_seconds,
            )
        except (TimeoutError, asyncio.CancelledError) as error:
            await _end(process)
            if isinstance(error, asyncio.CancelledError):
                raise
            raise CommandFailed(
                f"the command did not end within {timeout_seconds:.0f} s and was ended",
                where=self.node_name,
                argv=(command.shown(),),
                status=124,
            ) from error
        assert process.returncode is not None
        return Completed(
            command=command,
            status=process.returncode,
            stdout=stdout.decode(errors="replace"),
            stderr=stderr.decode(errors="replace"),
        )


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a command with all that it started: `runuser` alone would leave the command itself running.

    The wait has a deadline of its own: it lasts as long as anybody holds the command's output open.
    """
    with contextlib.suppress(ProcessLookupError):
        try:
            os.killpg(process.pid, signal.SIGKILL)  # it leads a session of its own
        except PermissionError:  # sudo, and what it runs, belong to others
            with contextlib.suppress(FileNotFoundError):
                kill = await asyncio.create_subprocess_exec(
                    "sudo", "-n", "kill", "-KILL", "--", f"-{process.pid}", stderr=asyncio.subprocess.DEVNULL
                )
                await kill.wait()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), END_SECONDS)
    await let_go(process)


def _environment() -> dict[str, str]:
    """The administrator's environment without what steers PostgreSQL's, pgBackRest's and Patroni's programs.

    PGHOST, PGOPTIONS, PGBACKREST_STANZA and the like are meant for the administrator's own shell; a server that is
    started here would even hand them on to its archive command.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith(("PG", "PATRONI"))}
