"""A promotion that was under way when the controller was killed is gone on with, and one that went wrong is seen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from fake_nodes import FakeNode, instance
from pgdolly.domain.command import Command
from pgdolly.domain.errors import CommandFailed, DeadlinePassed
from pgdolly.domain.lsn import LSN, WalSegment
from pgdolly.domain.target import RecoveryTarget, TargetType
from pgdolly.engine.step import Context, StepState
from pgdolly.steps import promote
from pgdolly.steps.promote import PromoteLeader
from pgdolly.steps.recover import Recover
from pgdolly.steps.world import World

STOPPED = 'recovery stopping after WAL location (LSN) "0/3000000"'
STATE: dict[str, Any] = {"running": True, "answers": True, "fatal": [], "insufficient": [], "log_end": ""}
REPLAYS = {**STATE, "in_recovery": True, "pause": "not paused", "lsn": "0/2000000"}
PAUSED = {**STATE, "in_recovery": True, "pause": "paused", "lsn": "0/3000028", "stopped": STOPPED}
ENDING = {
    **PAUSED,
    "pause": "not paused",
    "ending": True,
}  # its last checkpoint, after which it lets writers in
PROMOTED = {**STATE, "in_recovery": False, "timeline": 2, "lsn": "0/3000100", "stopped": STOPPED}
DOWN = {**STATE, "running": False, "answers": False, "log_end": "PANIC:  no space left"}
HISTORIES = {"00000002.history": "1\t0/3000028\tbefore\n"}
DONE = {"timeline": 2, "left": 1, "fork": "0/3000028", "lsn": "0/3000100"}


class Killed(BaseException):
    """The controller's end, at any of its looks at the node."""


class Server(FakeNode):
    """Stands where `life` says at each look, until a word to go on lets it end its recovery after so many looks."""

    node_name = "pg-test-1"

    def __init__(
        self, *states: dict[str, Any], checkpoint_looks: int = 0, histories: dict[str, str] | None = None
    ) -> None:
        self.states = list(states)
        self.histories = HISTORIES if histories is None else histories
        self.checkpoint_looks = checkpoint_looks
        self.resumed = 0
        self.on_look: Callable[[dict[str, Any]], None] = lambda state: None

    def answer(self, command: Command) -> str:
        if "look at the recovery" in (command.summary or ""):
            state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
            self.on_look(state)
            return json.dumps(state)
        if "timeline histories" in (command.summary or ""):
            return json.dumps(self.histories)
        assert "pg_wal_replay_resume" in command.argv[-1], command
        assert self.states[0]["in_recovery"], "recovery is not in progress"
        self.resumed += 1
        self.states = [*[ENDING] * self.checkpoint_looks, PROMOTED]
        return ""


STEP = PromoteLeader(
    recover=Recover(
        instance=instance("pg-test-1"),
        target=RecoveryTarget(type=TargetType.LSN, lsn=LSN.parse("0/3000000")),
        timeline="1",
        mode="pause",
        first_segment=WalSegment.parse("000000010000000000000003"),
        last_segment=WalSegment.parse("000000010000000000000003"),
    )
)


def context_of(server: Server) -> Context[World]:
    results: dict[str, dict[str, Any]] = {"1/1/pg-test-1/1-recover": {"stopped": STOPPED, "lsn": "0/3000028"}}
    return Context(world=World({"pg-test-1": server}), run_id="run", results=results)


def promoted(server: Server) -> dict[str, Any] | None:
    return asyncio.run(STEP.apply(context_of(server)))


def taken_up(server: Server) -> dict[str, Any] | None:
    """As the executor does on resume: it is asked, and applied if it is not done."""
    check = asyncio.run(STEP.check(context_of(server)))
    return promoted(server) if check.state is StepState.PENDING else check.result


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promote, "POLL_SECONDS", 0.01)


@pytest.mark.parametrize("looks", range(1, 8))
def test_killed_at_any_look_it_is_promoted_once(looks: int) -> None:
    server = Server(PAUSED, checkpoint_looks=4)
    left = iter(range(looks - 1))

    def kill(state: dict[str, Any]) -> None:
        if next(left, None) is None:
            raise Killed

    server.on_look = kill
    try:
        result = promoted(server)
    except Killed:
        server.on_look = lambda state: None
        result = taken_up(server)
    assert result == DONE
    assert server.resumed == 1


def test_one_that_is_still_on_its_way_to_the_target_is_waited_for() -> None:
    """Its node had failed; the run that started it again was killed, too."""
    server = Server(REPLAYS, REPLAYS, REPLAYS, PAUSED)
    assert promoted(server) == DONE


def test_one_that_goes_down_is_said_to_have() -> None:
    with pytest.raises(CommandFailed, match="went down while it was promoted") as raised:
        promoted(Server(PAUSED, ENDING, ENDING, DOWN))
    assert "no space left" in raised.value.stderr_end
    assert raised.value.next_command == "pgdolly resume run"


def test_one_that_never_ends_its_recovery_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promote, "PROMOTE_SECONDS", 0.1)
    with pytest.raises(DeadlinePassed, match=r"for PostgreSQL to promote pg-test-1; last seen: .*0/3000028"):
        promoted(Server(ENDING))


@pytest.mark.parametrize(
    ("timeline", "histories"),
    [(1, HISTORIES), (1, {}), (1, {"00000001.history": "1\t0/3000028\tbefore\n"}), (2, {})],
    ids=["the source's", "without any history", "the source's, with a history", "its history is not there"],
)
def test_one_that_left_recovery_on_the_sources_timeline_goes_no_further(
    timeline: int, histories: dict[str, str]
) -> None:
    server = Server({**PROMOTED, "timeline": timeline}, histories=histories)
    with pytest.raises(CommandFailed, match=f"is on timeline {timeline}") as raised:
        promoted(server)
    assert raised.value.next_command == "pgdolly resume run --abandon, and pgdolly reset again"
    check = asyncio.run(STEP.check(context_of(server)))
    assert check.state is StepState.CONFLICT and check.next_command == raised.value.next_command
