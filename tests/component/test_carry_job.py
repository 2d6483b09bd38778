"""A job is waited for as long as its processes do something, however little they say; one that hangs is named."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from fake_nodes import instance
from pgdolly.domain.command import Command
from pgdolly.domain.errors import DeadlinePassed
from pgdolly.engine.step import Context
from pgdolly.steps import carry
from pgdolly.steps.carry import carry_job
from pgdolly.steps.world import World
from pgdolly.transport.jobs import JobState, JobView
from pgdolly.transport.local import LocalShell

STALL_SECONDS = 1.0
MEMBER = instance("pg-test-1").member


@pytest.fixture
def carried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context[World]]:
    """A context whose jobs lie in the test's directory; what still runs of them is ended."""
    monkeypatch.setattr(carry, "STALL_SECONDS", STALL_SECONDS)
    monkeypatch.setattr(carry, "POLL_SECONDS", 0.1)
    shell = LocalShell(MEMBER.name, pwd.getpwuid(os.geteuid()).pw_name)
    yield Context(world=World({MEMBER.name: shell}), run_id="run")
    for file in tmp_path.rglob("pid"):
        pid = int(file.read_text().split()[0])
        if Path(f"/proc/{pid}/cwd").exists() and Path(f"/proc/{pid}/cwd").resolve() == file.parent:
            os.killpg(pid, signal.SIGKILL)


def carry_it(context: Context[World], directory: Path, script: str) -> JobView:
    member = replace(MEMBER, data_directory=PurePosixPath(directory) / "data")
    command = Command(argv=("sh", "-c", script))
    return asyncio.run(carry_job(context, member, "restore", command, show=lambda view: None))


def until(seconds: float, doing: str) -> str:
    return f'end=$(($(date +%s%3N) + {seconds * 1000:.0f})); while [ "$(date +%s%3N)" -lt $end ]; do {doing}; done'


def test_a_job_that_hangs_is_named_and_left_as_it_is(carried: Context[World], tmp_path: Path) -> None:
    with pytest.raises(DeadlinePassed, match="waited 1 s for the restore to read, write or say") as raised:
        carry_it(carried, tmp_path, "echo begun; sleep 60")
    [file] = tmp_path.rglob("pid")
    assert str(file) in raised.value.what
    os.kill(int(file.read_text().split()[0]), 0)


@pytest.mark.parametrize(
    "doing",
    [
        "head -c 2000000 /dev/zero >/dev/null; sleep 0.2",
        "echo a line; sleep 0.2",
        "head -c 2000000 /dev/zero | (cat >/dev/null; sleep 0.2)",
    ],
    ids=["it reads", "it says something", "its processes do"],
)
def test_a_job_that_does_something_is_waited_for(carried: Context[World], tmp_path: Path, doing: str) -> None:
    view = carry_it(carried, tmp_path, until(3 * STALL_SECONDS, doing))
    assert (view.state, view.status) == (JobState.FINISHED, 0)


def test_a_job_that_is_found_hanging_is_named_again(carried: Context[World], tmp_path: Path) -> None:
    """On resume: it is not begun again beside the one that is there."""
    for _ in range(2):
        with pytest.raises(DeadlinePassed):
            carry_it(carried, tmp_path, "echo begun >>../begun; sleep 60")
    [begun] = tmp_path.rglob("begun")
    assert begun.read_text() == "begun\n"
