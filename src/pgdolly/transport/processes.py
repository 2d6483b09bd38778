"""Processes that asyncio runs."""

from __future__ import annotations

import asyncio


async def let_go(process: asyncio.subprocess.Process) -> None:
    """Close this side of a process's pipes: one that somebody holds open would outlive the event loop.

    asyncio closes them by itself once the process has ended and they have; there is no public way to do it sooner.
    """
    transport: asyncio.SubprocessTransport = process._transport  # type: ignore[attr-defined]
    transport.close()
    await asyncio.sleep(0)
