"""A recovery that has been started and has not written its postmaster.pid yet is not one that has ended."""

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
from pgdolly.engine.step import Context
from pgdolly.steps.recover import Recover
from pgdolly.steps.world import World

ABSENT: dict[str, Any] = {"running": False, "answers": False, "fatal": [], "insufficient": [], "log_end": ""}
AT_TARGET = {
    **ABSENT,
    "stopped": 'recovery stopping after WAL location (LSN) "0/3000000"',
    "control_state": "shut down in recovery",
    "minimum_recovery_lsn": "0/3000028",
    "log_end": "LOG:  database system is shut down",
}
NO_START = {**ABSENT, "fatal": ["FATAL:  lock file exists"], "log_end": "FATAL:  lock file exists"}


class ScriptedNode:
    """Answers each look at the recovery with the next state; every other command succeeds."""

    node_name = "pg-test-2"

    def __init__(self, *states: dict[str, Any]) -> None:
        self._states: Iterator[dict[str, Any]] = iter(states)

    async def run(self, command: Command, *, timeout_seconds: float = 60.0) -> Completed:
        looks = "look at the recovery" in (command.summary or "")
        answer = json.dumps(next(self._states)) if looks else ""
        return Completed(command=command, status=0, stdout=answer, stderr="")

    async def reconnect(self, *, deadline_seconds: float) -> None:
        raise AssertionError("its connection is never lost")


def recover(*states: dict[str, Any]) -> dict[str, Any] | None:
    member = Member(
        name="pg-test-2", cluster="pg-test", sequence=2, role="replica", node=Node(name="n", address="n")
    )
    segment = WalSegment.parse("000000010000000000000003", 16 * 1024**2)
    step = Recover(
        instance=Instance(
            member=member,
            data_directory=PurePosixPath("/pg/data"),
            bin_directory=PurePosixPath("/usr/bin"),
            port=5432,
        ),
        target=RecoveryTarget(type=TargetType.LSN, lsn=LSN.parse("0/3000000")),
        timeline="1",
        mode="shutdown",
        first_segment=segment,
        last_segment=segment,
    )
    return asyncio.run(step.apply(Context(world=World({"pg-test-2": ScriptedNode(*states)}), run_id="run")))


def test_given_a_server_that_is_slow_to_start_wait_for_it() -> None:
    result = recover(ABSENT, ABSENT, AT_TARGET)
    assert result == {"stopped": AT_TARGET["stopped"], "lsn": "0/3000028"}


def test_given_a_server_that_cannot_start_fail_at_once() -> None:
    with pytest.raises(CommandFailed) as raised:
        recover(ABSENT, NO_START)
    assert "lock file exists" in raised.value.stderr_end
