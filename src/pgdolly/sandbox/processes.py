"""Which processes of this machine belong to a sandbox, and ending them one by one. Linux only."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pgdolly.domain.errors import DeadlinePassed
from pgdolly.sandbox.account import acting_as
from pgdolly.sandbox.layout import World
from pgdolly.sandbox.render import MARKER

# A signal, and how many seconds it is given before the next one.
Escalation = tuple[tuple[signal.Signals, float], ...]

# Patroni can hang on a SIGTERM that reaches it while it starts PostgreSQL (seen with 4.1.5).
TERMINATE: Escalation = ((signal.SIGTERM, 20), (signal.SIGKILL, 10))
# PostgreSQL's fast shutdown, then its immediate one, which the next start recovers from.
# https://www.postgresql.org/docs/current/server-shutdown.html
STOP_POSTGRESQL: Escalation = ((signal.SIGINT, 60), (signal.SIGQUIT, 15))


@dataclass(frozen=True, slots=True)
class Process:
    """One process of a sandbox's.

    :param name: the program's file name, not what the process calls itself.
    """

    pid: int
    parent: int
    name: str
    command: tuple[str, ...]

    def __str__(self) -> str:
        # Patroni and supervisord are scripts: their program's name would be the interpreter's.
        is_script = self.name.startswith("python") and len(self.command) > 1
        return f"{Path(self.command[1]).name if is_script else self.name} (pid {self.pid})"


def processes_of(world: World) -> tuple[Process, ...]:
    """Return what runs for this sandbox: what it started, and every PostgreSQL and pgBackRest at work in it.

    PostgreSQL overwrites its environment with its title, and one may have been started by hand: it is known
    by its working directory, which is its data directory.
    """
    with acting_as(world.user):
        found = [
            process
            for entry in Path("/proc").iterdir()
            if entry.name.isdigit() and (process := _look(entry, world))
        ]
    return tuple(sorted(found, key=lambda process: process.pid))


def postmasters(processes: Iterable[Process]) -> tuple[Process, ...]:
    """Return the PostgreSQL servers among `processes`, without the children that they fork."""
    servers = [process for process in processes if process.name == "postgres"]
    pids = {process.pid for process in servers}
    return tuple(process for process in servers if process.parent not in pids)


def end(world: World, processes: Iterable[Process], escalation: Escalation) -> None:
    """Send each process a signal and wait until it is gone; those that stay get the next signal.

    :raises DeadlinePassed: naming those that are still there after the last one.
    """
    *gentle, (last, last_seconds) = escalation
    left = tuple(processes)
    for number, seconds in gentle:
        try:
            _follow(world, left, number, seconds)
        except DeadlinePassed:
            continue
        return
    _follow(world, left, last, last_seconds)


def wait_gone(world: World, processes: Iterable[Process], *, deadline_seconds: float) -> None:
    """Wait until each process is gone.

    :raises DeadlinePassed: naming those that are still there.
    """
    _follow(world, processes, None, deadline_seconds)


def _follow(
    world: World, processes: Iterable[Process], number: signal.Signals | None, deadline_seconds: float
) -> None:
    handles: dict[int, Process] = {}
    try:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                handles[os.pidfd_open(process.pid)] = process
        # A pid may have gone to somebody else before its handle was opened; a handle always means the same.
        ours = {(process.pid, process.name) for process in processes_of(world)}
        left = {handle for handle, process in handles.items() if (process.pid, process.name) in ours}
        poll = select.poll()
        for handle in left:
            poll.register(handle, select.POLLIN)
            if number is not None:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, number)
        until = time.monotonic() + deadline_seconds
        while left:
            for handle, _ in poll.poll(max(0, until - time.monotonic()) * 1000):
                poll.unregister(handle)
                left.discard(handle)
            if left and time.monotonic() >= until:
                remaining = names(handles[handle] for handle in left)
                raise DeadlinePassed(
                    f"waited {deadline_seconds:.0f} s for {remaining} to end",
                    where=str(world.directory),
                )
    finally:
        for handle in handles:
            os.close(handle)


def names(processes: Iterable[Process]) -> str:
    return ", ".join(str(process) for process in processes)


def _look(entry: Path, world: World) -> Process | None:
    try:
        name = Path((entry / "exe").readlink()).name.removesuffix(" (deleted)")
        command = _words(entry / "cmdline")
        if not _belongs(entry, name, command, world):
            return None
        # The second field is the name in parentheses, which may hold blanks and parentheses itself.
        parent = int((entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except (OSError, ValueError):
        return None  # gone meanwhile, or somebody else's
    return Process(pid=int(entry.name), parent=parent, name=name, command=command)


def _belongs(entry: Path, name: str, command: tuple[str, ...], world: World) -> bool:
    inside = f"{world.directory}/"
    if name == "postgres":
        return str((entry / "cwd").readlink()).startswith(inside)
    environment = _words(entry / "environ")
    if f"{MARKER}={world.directory}" in environment:
        return True
    # A restore or backup that was started from outside, told by the configuration that it works with.
    return name == "pgbackrest" and any(f"={inside}" in word for word in (*command, *environment))


def _words(path: Path) -> tuple[str, ...]:
    return tuple(path.read_bytes().decode(errors="replace").rstrip("\0").split("\0"))
