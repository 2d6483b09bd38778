"""Waiting with a deadline, and saying how long a thing took."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pgdolly.domain.errors import DeadlinePassed

Report = Callable[[str], None]

POLL_SECONDS = 0.1


class Cancelled(Exception):
    """Another part of the same work has failed, and waiting on makes no sense. Never reaches a person."""


@contextmanager
def step(report: Report, subject: str, what: str) -> Iterator[None]:
    """Report a finished step with the time that it took."""
    begun = time.monotonic()
    yield
    report(f"{subject}: {what}… {time.monotonic() - begun:.1f} s")


def wait_until(
    reached: Callable[[], str | None],
    *,
    what: str,
    where: str,
    deadline_seconds: float,
    log: Path | None = None,
    cancelled: threading.Event | None = None,
) -> None:
    """Wait until `reached` returns None; until then it returns what is still missing.

    :param log: the file to look into if it does not happen.
    :raises DeadlinePassed: with what was missing last.
    :raises Cancelled: if `cancelled` was set.
    """
    end = time.monotonic() + deadline_seconds
    while (missing := reached()) is not None:
        if cancelled is not None and cancelled.is_set():
            raise Cancelled
        if time.monotonic() > end:
            raise DeadlinePassed(
                f"waited {deadline_seconds:.0f} s for {what}; last seen: {missing}",
                where=where,
                untouched="what runs was left running; `pgdolly sandbox up` takes it up again",
                next_command=f"tail -n 50 {log}" if log else None,
            )
        time.sleep(POLL_SECONDS)
