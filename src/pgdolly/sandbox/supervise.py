"""The one supervisord that keeps a sandbox's servers, spoken to over its unix socket.

Its interface: http://supervisord.org/api.html
"""

from __future__ import annotations

import http.client
import socket
import xmlrpc.client
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgdolly.domain.errors import CommandFailed, Unreachable
from pgdolly.sandbox.account import run_as
from pgdolly.sandbox.layout import World
from pgdolly.sandbox.render import MARKER
from pgdolly.sandbox.waiting import wait_until

CALL_SECONDS = 10
RUNNING = "RUNNING"
AT_REST = frozenset({"STOPPED", "EXITED", "FATAL", "UNKNOWN"})

# supervisor.xmlrpc.Faults
NOT_RUNNING = 70
ALREADY_STARTED = 60


@dataclass(frozen=True, slots=True)
class ProgramState:
    """What supervisord says of a program: `state` is its word (RUNNING, STOPPED, FATAL …)."""

    name: str
    state: str
    pid: int | None
    uptime_seconds: int


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=CALL_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        # The base class keeps it here, and closes it from here.
        self._connection = host, _UnixConnection(self._path)
        return self._connection[1]


def _call(world: World, method: str, *arguments: object) -> Any:
    """Call one method of supervisord's.

    :raises Unreachable: if it does not answer.
    """
    transport = _UnixTransport(world.supervisor_socket)
    try:
        with xmlrpc.client.ServerProxy("http://localhost", transport=transport) as proxy:
            return getattr(proxy, method)(*arguments)
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(
            f"supervisord does not answer: {error}", where=str(world.supervisor_socket)
        ) from None


def program_states(world: World) -> dict[str, ProgramState] | None:
    """Return each program's state by its name, or None if no supervisord runs."""
    try:
        rows = _call(world, "supervisor.getAllProcessInfo")
    except Unreachable:
        return None
    return {
        row["name"]: ProgramState(
            name=row["name"],
            state=row["statename"],
            pid=row["pid"] or None,
            uptime_seconds=row["now"] - row["start"] if row["statename"] == RUNNING else 0,
        )
        for row in rows
    }


def start_supervisor(world: World) -> None:
    """Start supervisord as the servers' account; it goes to the background and starts nothing by itself."""
    run_as(
        world.user,
        (str(world.environment_bin / "supervisord"), "-c", str(world.supervisor_config)),
        where="supervisord",
        what="starting supervisord",
        environment={"HOME": world.user_home, MARKER: str(world.directory)},
        directory=world.directory,
        deadline_seconds=30,
    )
    wait_until(
        lambda: None if program_states(world) is not None else "no answer on its socket",
        what="supervisord to answer",
        where="supervisord",
        deadline_seconds=15,
        log=world.log_directory / "supervisord.log",
    )


def add_new_programs(world: World) -> None:
    """Have supervisord read its configuration again and take what is new there; what it has is left alone."""
    try:
        [[added, _, _]] = _call(world, "supervisor.reloadConfig")
        for program in added:
            _call(world, "supervisor.addProcessGroup", program)
    except xmlrpc.client.Fault as fault:
        raise CommandFailed(
            f"supervisord did not take the new programs: {fault.faultString}", where="supervisord"
        ) from None


def start_program(world: World, program: str) -> None:
    """Start a program without waiting for it; one that runs already is left alone."""
    try:
        _call(world, "supervisor.startProcess", program, False)
    except xmlrpc.client.Fault as fault:
        if fault.faultCode != ALREADY_STARTED:
            raise CommandFailed(f"supervisord did not start it: {fault.faultString}", where=program) from None


def stop_program(world: World, program: str) -> None:
    """Ask a program to stop (SIGTERM) without waiting for it."""
    try:
        _call(world, "supervisor.stopProcess", program, False)
    except xmlrpc.client.Fault as fault:
        if fault.faultCode != NOT_RUNNING:
            raise CommandFailed(f"supervisord did not stop it: {fault.faultString}", where=program) from None


def supervisor_pid(world: World) -> int:
    return int(_call(world, "supervisor.getPID"))


def shut_down_supervisor(world: World) -> None:
    """Ask supervisord to end, without waiting for it."""
    _call(world, "supervisor.shutdown")
