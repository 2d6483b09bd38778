"""Carry a detached job to its end, also over the failure of its node."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import PurePosixPath

from pgdolly.domain.cluster import Member
from pgdolly.domain.command import Command
from pgdolly.domain.errors import DeadlinePassed
from pgdolly.steps.world import POLL_SECONDS, StepContext
from pgdolly.transport.jobs import JobState, JobView, look_at_job, start_job
from pgdolly.transport.shell import run_checked

# Longer than pgBackRest and PostgreSQL by themselves wait in silence: for a checkpoint, or a host that does not answer.
STALL_SECONDS = 3600.0
# Processes that wait for each other say so in a few bytes every now and then: pgBackRest, "protocol-timeout".
STALL_BYTES = 1024**2
BEGINNINGS = 3  # a node that goes down so often under one job is not going to finish it


async def carry_job(
    context: StepContext,
    member: Member,
    name: str,
    command: Command,
    *,
    show: Callable[[JobView], None],
    before: Command | None = None,
) -> JobView:
    """Start a job, or find the one that is at work, and watch it to its end.

    One that was lost with its node begins again: its command has to be one that may.

    :param name: the job's, within the run.
    :param before: run before each beginning.
    :return: how it stands at the end: finished with whatever status, or lost once too often.
    :raises DeadlinePassed: if it has read, written and said nothing for very long. It is left as it is.
    """
    shell, job = context.world.shell(member), job_directory(context, member, name)
    view = await look_at_job(shell, job)
    begun = 0
    while True:
        if view.state is not JobState.RUNNING:
            if begun:
                context.note(f"{member.name} went down during the {name}, which begins again")
            if before is not None:
                await run_checked(shell, before, doing=f"prepare the {name}")
            await start_job(shell, member, job, command)
        begun += 1
        seen, since = view, time.monotonic()
        while True:
            view = await look_at_job(shell, job)
            show(view)
            if view.state is not JobState.RUNNING:
                break
            if _comes_further(view, seen):
                seen, since = view, time.monotonic()
            elif time.monotonic() - since > STALL_SECONDS:
                raise DeadlinePassed(
                    f"waited {STALL_SECONDS:.0f} s for the {name} to read, write or say anything more; "
                    f"its processes are still there, and their session's number is in {job}/pid",
                    where=member.name,
                    untouched="the processes, which may be slow or hang",
                    next_command=f"pgdolly resume {context.run_id}, to go on waiting, or to begin the {name} again "
                    "if it was ended",
                )
            await asyncio.sleep(POLL_SECONDS)
        if view.state is JobState.FINISHED or begun == BEGINNINGS:
            return view


def _comes_further(view: JobView, seen: JobView) -> bool:
    if (view.stdout_end, view.stderr_end) != (seen.stdout_end, seen.stderr_end):
        return True
    if view.moved is None or seen.moved is None:
        return True  # nobody knows
    return abs(view.moved - seen.moved) >= STALL_BYTES  # less: a process that had moved much has ended


def job_directory(context: StepContext, member: Member, name: str) -> PurePosixPath:
    return member.work_directory / context.run_id / name
