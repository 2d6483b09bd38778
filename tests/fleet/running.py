"""Commands with a deadline, waits with a deadline, and the one error."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

POLL_SECONDS = 0.1
LAST_LINES = 12


class FleetError(Exception):
    """Something of the fleet is not as it has to be. The text says what, where, and what to type."""


def run(
    argv: Sequence[str],
    *,
    what: str,
    deadline_seconds: float = 60.0,
    stdin: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Return what a command printed.

    :raises FleetError: naming `what`, if it fails or is not done in time.
    """
    done = attempt(argv, what=what, deadline_seconds=deadline_seconds, stdin=stdin, environment=environment)
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-LAST_LINES:])
        raise FleetError(f"{what}: {' '.join(argv)} ended with {done.returncode}:\n{said}")
    return done.stdout


def attempt(
    argv: Sequence[str],
    *,
    what: str,
    deadline_seconds: float = 60.0,
    stdin: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command whose failure is an answer, too.

    :raises FleetError: if it is not done in time, or cannot be started.
    """
    try:
        return subprocess.run(
            list(argv),
            input="" if stdin is None else stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=deadline_seconds,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired as late:
        raise FleetError(
            f"{what}: {' '.join(argv)} was not done after {deadline_seconds:.0f} s and was killed"
        ) from late
    except OSError as error:
        raise FleetError(f"{what}: {argv[0]} cannot be started: {error}") from error


def wait_for(what: str, missing: Callable[[], str | None], *, deadline_seconds: float) -> None:
    """Wait until `missing` returns None; until then it says what is missing.

    :raises FleetError: after the deadline, with what was missing last.
    """
    until = time.monotonic() + deadline_seconds
    while (lack := missing()) is not None:
        if time.monotonic() > until:
            raise FleetError(f"{what}: waited {deadline_seconds:.0f} s; {lack}")
        time.sleep(POLL_SECONDS)


def side_by_side(*works: Callable[[], None]) -> None:
    """Do all of them at once; after the last one has ended raise the first error."""
    if not works:
        return
    with ThreadPoolExecutor(max_workers=len(works)) as pool:
        futures = [pool.submit(work) for work in works]
    for future in futures:
        future.result()
