"""What a recovery makes of the states that its node shows: it waits, it is there, or it says what went wrong.

A recovery that has been started and has not written its postmaster.pid yet is not one that has ended.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import pytest

from pgdolly.domain.cluster import Member, Node
from pgdolly.domain.command import Command, Completed
from pgdolly.domain.errors import CommandFailed
from pgdolly.domain.lsn import LSN, WalSegment
from pgdolly.domain.target import RecoveryTarget, TargetType
from pgdolly.drivers.postgres import Instance
from pgdolly.engine.step import Context, StepState
from pgdolly.steps.recover import Mode, Recover
from pgdolly.steps.world import World

SEGMENT = WalSegment.parse("000000010000000000000003", 16 * 1024**2)
ABSENT: dict[str, Any] = {"running": False, "answers": False, "fatal": [], "insufficient": [], "log_end": ""}
AT_TARGET = {
    **ABSENT,
    "stopped": 'recovery stopping after WAL location (LSN) "0/3000000"',
    "control_state": "shut down in recovery",
    "minimum_recovery_lsn": "0/3000028",
    "log_end": "LOG:  database system is shut down",
}
PROMOTED = {
    **ABSENT,
    "running": True,
    "answers": True,
    "in_recovery": False,
    "timeline": 2,
    "lsn": "0/3000100",
}
NO_START = {**ABSENT, "fatal": ["FATAL:  lock file exists"], "log_end": "FATAL:  lock file exists"}


class ScriptedNode:
    """Answers each look at the recovery with the next state; every other command succeeds."""

    node_name = "pg-test-2"

    def __init__(self, *states: dict[str, Any], histories: dict[str, str] | None = None) -> None:
        self.histories = histories or {}
        self._states: Iterator[dict[str, Any]] = iter(states)

    async def run(self, command: Command, *, timeout_seconds: float = 60.0) -> Completed:
        answer = ""
        if "look at the recovery" in (command.summary or ""):
            answer = json.dumps(next(self._states))
        elif "timeline histories" in (command.summary or ""):
            answer = json.dumps(self.histories)
        return Completed(command=command, status=0, stdout=answer, stderr="")

    async def reconnect(self, *, deadline_seconds: float) -> None:
        raise AssertionError("its connection is never lost")


def step(mode: Mode = "shutdown") -> Recover:
    member = Member(
        name="pg-test-2", cluster="pg-test", sequence=2, role="replica", node=Node(name="n", address="n")
    )
    return Recover(
        instance=Instance(
            member=member,
            data_directory=PurePosixPath("/pg/data"),
            bin_directory=PurePosixPath("/usr/bin"),
            port=5432,
        ),
        target=RecoveryTarget(type=TargetType.LSN, lsn=LSN.parse("0/3000000"))
        if mode in ("pause", "shutdown")
        else RecoveryTarget(),
        timeline="1",
        mode=mode,
        first_segment=SEGMENT,
        last_segment=SEGMENT,
    )


def context(node: ScriptedNode) -> Context[World]:
    return Context(world=World({"pg-test-2": node}), run_id="run")


def recover(*states: dict[str, Any]) -> dict[str, Any] | None:
    return asyncio.run(step().apply(context(ScriptedNode(*states))))


def test_given_a_server_that_is_slow_to_start_wait_for_it() -> None:
    result = recover(ABSENT, ABSENT, AT_TARGET)
    assert result == {"stopped": AT_TARGET["stopped"], "lsn": "0/3000028"}


def test_given_a_server_that_cannot_start_fail_at_once() -> None:
    with pytest.raises(CommandFailed) as raised:
        recover(ABSENT, NO_START)
    assert "lock file exists" in raised.value.stderr_end


@pytest.mark.parametrize("at", ["0/3000000", "0/3000060", "0/4000000"])
def test_a_leader_without_a_target_has_to_come_into_the_archives_last_segment(at: str) -> None:
    node = ScriptedNode(ABSENT, PROMOTED, histories={"00000002.history": f"1\t{at}\tno recovery target\n"})
    assert asyncio.run(step("end").apply(context(node))) == {"stopped": None, "lsn": "0/3000100"}


def test_a_leader_that_left_the_archive_early_goes_no_further() -> None:
    """Its position now lies in the last segment; where it left the old timeline does not."""
    histories = {"00000002.history": "1\t0/2FFFFE8\tno recovery target\n"}
    with pytest.raises(CommandFailed) as raised:
        asyncio.run(step("end").apply(context(ScriptedNode(ABSENT, PROMOTED, histories=histories))))
    assert "ended at 0/2FFFFE8, before it came to 000000010000000000000003" in raised.value.what
    assert raised.value.next_command == "pgdolly resume run --abandon, and pgdolly reset again"

    again = asyncio.run(step("end").check(context(ScriptedNode(PROMOTED, histories=histories))))
    assert again.state is StepState.CONFLICT
    assert again.next_command == raised.value.next_command
