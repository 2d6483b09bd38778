"""What a recovery makes of the states that its node shows: it waits, it is there, or it says what went wrong.

A recovery that has been started and has not written its postmaster.pid yet is not one that has ended. One that says
every 5 seconds what it waits for does not come further, and one that writes out what it replayed does not stand still.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import pytest

from fake_nodes import FakeNode, instance
from pgdolly.domain.command import Command
from pgdolly.domain.errors import CommandFailed, DeadlinePassed
from pgdolly.domain.lsn import LSN, WalSegment
from pgdolly.domain.target import RecoveryTarget, TargetType
from pgdolly.engine.step import Context, StepState
from pgdolly.steps import recover as recover_module
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


class ScriptedNode(FakeNode):
    """Answers each look at the recovery with the next state; every other command succeeds."""

    node_name = "pg-test-2"

    def __init__(self, *states: dict[str, Any], histories: dict[str, str] | None = None) -> None:
        self.histories = histories or {}
        self._states: Iterator[dict[str, Any]] = iter(states)

    def answer(self, command: Command) -> str:
        if "look at the recovery" in (command.summary or ""):
            return json.dumps(next(self._states))
        return json.dumps(self.histories) if "timeline histories" in (command.summary or "") else ""


def step(mode: Mode = "shutdown") -> Recover:
    return Recover(
        instance=instance("pg-test-2"),
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


def test_a_segment_that_is_read_ahead_is_not_shown_as_replayed() -> None:
    notes: list[str] = []
    ahead = {**ABSENT, "running": True, "segment": "000000010000000000000007"}
    shown = dataclasses.replace(
        context(ScriptedNode(ABSENT, ahead, AT_TARGET)),
        on_progress=lambda done, total, unit, note: notes.append(f"{done} of {total} {note}"),
    )
    asyncio.run(step().apply(shown))
    assert notes == ["0 of 0 WAL replayed, at 0/3000000"]


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


STALL_SECONDS, POLL_SECONDS = 0.2, 0.01
LOOKS = int(3 * STALL_SECONDS / POLL_SECONDS)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recover_module, "STALL_SECONDS", STALL_SECONDS)
    monkeypatch.setattr(recover_module, "POLL_SECONDS", POLL_SECONDS)


def at(segment: str | None, look: int, **more: Any) -> dict[str, Any]:
    """A replay that has said something new since the last look at it."""
    says = f"LOG:  waiting for WAL to become available at 0/3002000, for the {look}. time"
    return {**ABSENT, "running": True, "segment": segment, "log_end": says, **more}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("timelines", [("00000001",), ("00000002", "00000001")], ids=["one", "by turns"])
def test_a_replay_that_only_says_what_it_waits_for_stands_still(timelines: tuple[str, ...]) -> None:
    waits = [
        at(f"{timelines[look % len(timelines)]}0000000000000003", look, minimum_recovery_lsn="0/3000028")
        for look in range(10 * LOOKS)
    ]
    with pytest.raises(DeadlinePassed, match=r"has not moved .* it is at 0000000.0000000000000003"):
        asyncio.run(step("wait").apply(context(ScriptedNode(ABSENT, *waits))))


@pytest.mark.usefixtures("impatient")
def test_before_the_first_segment_what_it_says_shows_that_it_goes_on() -> None:
    """A walk over all files, say, which ends when it ends."""
    walks = [at(None, look) for look in range(LOOKS)]
    assert recover(ABSENT, *walks, AT_TARGET) == {"stopped": AT_TARGET["stopped"], "lsn": "0/3000028"}


@pytest.mark.usefixtures("impatient")
def test_one_that_has_ended_writes_for_long_and_shows_nothing_of_it() -> None:
    ends = {**at("000000010000000000000003", 0), "ending": True}
    node = ScriptedNode(
        *[ABSENT, *[ends] * LOOKS, PROMOTED],
        histories={"00000002.history": "1\t0/3000060\tno recovery target\n"},
    )
    assert asyncio.run(step("end").apply(context(node))) == {"stopped": None, "lsn": "0/3000100"}
    stops = {**at("000000010000000000000003", 0), "stopped": AT_TARGET["stopped"]}
    assert recover(ABSENT, *[stops] * LOOKS, AT_TARGET) is not None
