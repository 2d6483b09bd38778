"""One connection to a node, which all commands on it share: made when the first needs it, made again when it is gone.

Logging in costs a tenth of a second and more; a session on a connection that is there costs a few milliseconds. The
connection is a master process of `ssh` (ControlMaster in ssh_config(5)) with a socket of pgdolly's own. It is this
process's alone, and ends with it, or a minute after its last command if this process was killed.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import secrets
import signal
import stat
import subprocess
import tempfile
from pathlib import Path

from pgdolly.domain.errors import ConnectionLost, Refused, Unreachable
from pgdolly.transport.shell import last_lines
from pgdolly.transport.ssh_destination import Destination

LOGIN_SECONDS = 20.0  # ConnectTimeout does not cover a jump host
AT_ONCE = 6  # commands: sshd's MaxSessions is 10 unless the node's administrator says otherwise
SOCKET_PATH_BYTES = 107  # sun_path in unix(7), without its NUL
_TEMPORARY_SUFFIX_BYTES = 17  # ssh binds the socket under a longer name first, and renames it


class Connection:
    """The connection to one destination."""

    def __init__(self, destination: Destination) -> None:
        self.destination = destination
        self._socket: Path | None = None
        self._connected_before = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connecting = asyncio.Lock()
        self._mending = asyncio.Lock()
        self._slots = asyncio.Semaphore(AT_ONCE)
        # Commands that were cut off from us and perhaps go on: process on the node, user, word.
        self.strays: list[tuple[int, str, str]] = []

    def _take_loop(self) -> None:
        # What plans and what carries out are two event loops in one process; a lock belongs to one.
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            self._connecting = asyncio.Lock()
            self._mending = asyncio.Lock()
            self._slots = asyncio.Semaphore(AT_ONCE)

    @property
    def slots(self) -> asyncio.Semaphore:
        """To be held while a command runs."""
        self._take_loop()
        return self._slots

    @property
    def mending(self) -> asyncio.Lock:
        """To be held while strays are ended: whoever comes next waits until they are."""
        self._take_loop()
        return self._mending

    async def socket(self, node_name: str) -> Path:
        """The socket of the connection, which is made if there is none.

        :param node_name: whom the errors name.
        :raises ConnectionLost: if it was there before, and the node cannot be reached now.
        :raises Unreachable: if it was never there, with the last line that ssh said.
        """
        self._take_loop()
        async with self._connecting:
            if self._socket is None:
                self._socket = await self._connect(node_name)
                self._connected_before = True
            return self._socket

    async def alive(self, socket: Path) -> bool:
        """Whether the connection behind a socket is still there."""
        process = await asyncio.create_subprocess_exec(
            *self.destination.control_argv(socket, "check"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            return await asyncio.wait_for(process.wait(), LOGIN_SECONDS) == 0
        except TimeoutError:
            return False
        finally:
            await _kill(process)

    def forget(self, socket: Path) -> None:
        """Take note that the connection behind a socket is gone."""
        socket.unlink(missing_ok=True)
        if self._socket == socket:
            self._socket = None

    async def _connect(self, node_name: str) -> Path:
        socket = control_directory() / secrets.token_hex(8)
        # A file, not a pipe: the master goes on in the background, and holds what it was given.
        with tempfile.TemporaryFile() as said:
            process = await asyncio.create_subprocess_exec(
                *self.destination.connect_argv(socket),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,
            )
            try:
                status = await asyncio.wait_for(process.wait(), LOGIN_SECONDS)
            except TimeoutError:
                status = None
            finally:
                await _kill(process)
            said.seek(0)
            last = last_lines(said.read().decode(errors="replace"), 1)
        if status == 0:
            _to_be_ended[socket] = self.destination
            return socket
        if status is None:
            last = last or f"no connection within {LOGIN_SECONDS:.0f} s"
        kind = ConnectionLost if self._connected_before else Unreachable
        raise kind(
            f"{self.destination.address} cannot be reached by SSH: {last or f'ssh ended with status {status}'}",
            where=node_name,
            untouched="nothing was changed there" if kind is Unreachable else None,
            next_command=self.destination.by_hand(),
        )


async def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()  # it has no pipes: nobody can hold this up


def control_directory() -> Path:
    """Where the sockets lie: closed to others, and short, because a socket's path must be.

    :raises Refused: if somebody else has it, or may enter it.
    """
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or "/nonexistent")
    longest = len(os.fsencode(runtime / "pgdolly" / "0123456789abcdef")) + _TEMPORARY_SUFFIX_BYTES
    usable = longest <= SOCKET_PATH_BYTES and runtime.is_dir() and runtime.stat().st_uid == os.geteuid()
    directory = runtime / "pgdolly" if usable else Path(f"/tmp/pgdolly-{os.geteuid()}")
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise Refused(
            "it is to hold the sockets of SSH connections, and is not a directory of this user's alone",
            where=str(directory),
            untouched="nothing was changed",
            next_command=f"ls -ld {directory}, and remove it if it is not yours",
        )
    return directory


_connections: dict[Destination, Connection] = {}
_to_be_ended: dict[Path, Destination] = {}


def connection_to(destination: Destination) -> Connection:
    """The connection of this process to a destination: the same for all who ask."""
    return _connections.setdefault(destination, Connection(destination))


@atexit.register
def end_connections() -> None:
    """End the connections of this process."""
    while _to_be_ended:
        socket, destination = _to_be_ended.popitem()
        if socket.exists():
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run(
                    destination.control_argv(socket, "exit"), capture_output=True, timeout=5, check=False
                )
