"""What a step that failed says of the file system that it wrote to."""

from __future__ import annotations

from pathlib import PurePosixPath

from pgdolly.domain.command import Command
from pgdolly.domain.errors import PgdollyError
from pgdolly.transport.shell import Shell, run_checked

FULL_BYTES = 32 * 1024 * 1024  # two segments of WAL: with less, nothing that fills a data directory goes on


async def if_full(shell: Shell, directory: PurePosixPath) -> str:
    """`: only 0.0 MB are free …` to append to what went wrong, or nothing. Never an error of its own.

    pgBackRest does not say so itself: a write that was cut short sets no error number.
    """
    command = Command(argv=("df", "--block-size=1", "--output=avail", "--", str(directory)))
    try:
        free = int((await run_checked(shell, command, doing="ask for the free space")).split()[-1])
    except (PgdollyError, ValueError, IndexError):
        return ""
    if free >= FULL_BYTES:
        return ""
    return f": the file system of {directory} is full, only {free / 1024**2:.1f} MB are free"
