"""Waiting with a deadline, for what servers do in their own time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import psycopg

T = TypeVar("T")

POLL_SECONDS = 0.2  # a server that is asked works for the answer
COMMAND_POLL_SECONDS = 2.0  # between two whole commands: asked one after the other they keep a core busy


def wait_until(
    look: Callable[[], T | None],
    deadline_seconds: float,
    what: str,
    seen: Callable[[], object] | None = None,
    poll_seconds: float = POLL_SECONDS,
) -> T:
    """Ask `look` until it returns something true, and return that.

    `look` may raise what a server raises that is not there yet.

    :param seen: what there is instead, for the failure; without it, what `look` returned or raised last.
    """
    until = time.monotonic() + deadline_seconds
    last: object = None
    while True:
        try:
            found = look()
            if found:
                return found
            last = found
        except (OSError, psycopg.Error) as error:
            last = error
        if time.monotonic() > until:
            instead = seen() if seen is not None else last
            raise AssertionError(f"waited {deadline_seconds:.0f} s for {what}; last seen: {instead!r}")
        time.sleep(poll_seconds)
