"""One `ssh` process on the controller: what it is told, what it says, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Sequence

from pgdolly.transport.processes import let_go

END_SECONDS = 5.0


class Session:
    """A running `ssh` that carries one command. What has come of its output so far is in `stdout` and `stderr`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.stdout = bytearray()
        self.stderr = bytearray()

    @classmethod
    async def begin(cls, argv: Sequence[str], *, stdin: bool) -> Session:
        """Start it. Ctrl-C is not for it: pgdolly decides what becomes of a running command."""
        return cls(
            await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        )

    async def carry(self, stdin: bytes | None, *, within_seconds: float) -> int:
        """Send the input, gather the output, and return the exit status of `ssh`.

        :raises TimeoutError: if it goes on after `within_seconds`. It still runs then.
        """
        process = self._process
        assert process.stdout is not None and process.stderr is not None
        async with asyncio.timeout(within_seconds):
            _, _, _, status = await asyncio.gather(
                _feed(process.stdin, stdin),
                _gather(process.stdout, self.stdout),
                _gather(process.stderr, self.stderr),
                process.wait(),
            )
        return status

    async def hear(self, enough: Callable[[], bool], *, within_seconds: float) -> None:
        """Gather what is on its way of the output, after `carry` has ended early, until it is enough or too late."""
        assert self._process.stdout is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_seconds):
                while not enough() and (chunk := await self._process.stdout.read(1 << 16)):
                    self.stdout += chunk

    async def end(self) -> None:
        """End it, if it runs; the connection closes its side of the pipes then."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            # communicate, not wait: it also closes the pipes.
            await asyncio.wait_for(self._process.communicate(), END_SECONDS)
        await let_go(self._process)


async def _feed(pipe: asyncio.StreamWriter | None, text: bytes | None) -> None:
    if pipe is None or text is None:
        return
    # A command need not read its input to the end.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        pipe.write(text)
        await pipe.drain()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        pipe.close()
        await pipe.wait_closed()


async def _gather(pipe: asyncio.StreamReader, into: bytearray) -> None:
    while chunk := await pipe.read(1 << 16):
        into += chunk
