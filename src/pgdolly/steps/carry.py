"""Carry a detached job to its end, also over the failure of its node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import PurePosixPath

from pgdolly.domain.cluster import Member
from pgdolly.domain.command import Command
from pgdolly.steps.world import POLL_SECONDS, StepContext
from pgdolly.transport.jobs import JobState, JobView, look_at_job, start_job
from pgdolly.transport.shell import run_checked

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
        while True:
            view = await look_at_job(shell, job)
            show(view)
            if view.state is not JobState.RUNNING:
                break
            await asyncio.sleep(POLL_SECONDS)
        if view.state is JobState.FINISHED or begun == BEGINNINGS:
            return view


def job_directory(context: StepContext, member: Member, name: str) -> PurePosixPath:
    return member.work_directory / context.run_id / name
