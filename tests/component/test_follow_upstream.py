"""A standby that replays late is let stand at its delay; one that is stuck is told apart from one that moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

import pytest

from pgdolly.domain.cluster import Member, Node
from pgdolly.domain.command import Command, Completed
from pgdolly.domain.errors import DeadlinePassed
from pgdolly.domain.lsn import LSN
from pgdolly.drivers.postgres import Instance
from pgdolly.drivers.upstream import Position, UpstreamServers
from pgdolly.engine.step import Context
from pgdolly.steps import standby
from pgdolly.steps.standby import FollowUpstream, JoinStandby
from pgdolly.steps.world import World

STALL_SECONDS, POLL_SECONDS = 0.2, 0.01
GOAL = LSN.parse("0/5000000")
LOG = (
    "2026-01-01 10:00:00 UTC [7] LOG:  started streaming WAL from primary at 0/4000000 on timeline 1\n"
    "2026-01-01 10:00:00 UTC [7] FATAL:  could not receive data from WAL stream: ERROR:  requested WAL segment "
    "000000010000000000000004 has already been removed\n"
    '2026-01-01 10:00:00 UTC [9] FATAL:  password authentication failed for user "visitor"\n'
    "2026-01-01 10:00:00 UTC [5] LOG:  waiting for WAL to become available at 0/4000018\n"
)


class Standby:
    """A member that is at each look where `life` says: replayed, received, its walreceiver, whether it holds back."""

    node_name = "pg-test-1"

    def __init__(self, life: Callable[[int], tuple[str, str, str, str]], log: str | None = LOG) -> None:
        self.life, self.log, self.looks = life, log, 0

    async def run(self, command: Command, *, timeout_seconds: float = 60.0) -> Completed:
        words = " ".join(command.argv)
        status, output = 0, ""
        if command.argv[0] == "sed":
            output = "5432\n/run\n"
        elif "pg_stat_replication" in words:
            output = ""
        elif "pg_read_binary_file" in words:
            status, output = (1, "") if self.log is None else (0, self.log)
        else:
            self.looks += 1
            output = "\t".join(self.life(self.looks)) + "\n"
        return Completed(command=command, status=status, stdout=output, stderr="")

    async def reconnect(self, *, deadline_seconds: float) -> None:
        raise AssertionError("its connection is never lost")


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(*_: object, **__: object) -> Position:
        return Position(system_identifier=1, timeline=1, lsn=GOAL)

    monkeypatch.setattr(standby, "ask_upstream", ask)
    monkeypatch.setattr(standby, "STALL_SECONDS", STALL_SECONDS)
    monkeypatch.setattr(standby, "JOIN_SECONDS", STALL_SECONDS)
    monkeypatch.setattr(standby, "POLL_SECONDS", POLL_SECONDS)


def instance(name: str) -> Instance:
    return Instance(
        member=Member(
            name=name, cluster="pg-test", sequence=1, role="primary", node=Node(name=name, address=name)
        ),
        data_directory=PurePosixPath("/pg/data"),
        bin_directory=PurePosixPath("/usr/bin"),
        port=5432,
    )


def follow(node: Standby, *, delayed: bool = False) -> dict[str, Any] | None:
    upstream = UpstreamServers(hosts=("10.10.10.1",), ports=(5432,))
    step = FollowUpstream(instance=instance("pg-test-1"), upstream=upstream, delayed=delayed)
    return asyncio.run(step.apply(Context(world=World({"pg-test-1": node}), run_id="run")))


def join(node: Standby, *, delayed: bool) -> None:
    step = JoinStandby(
        instance=instance("pg-test-2"),
        leader=instance("pg-test-1"),
        patroni_name="pg-test-2",
        delayed=delayed,
    )
    asyncio.run(step.apply(Context(world=World({"pg-test-1": node, "pg-test-2": node}), run_id="run")))


def test_one_that_stands_at_its_delay_follows() -> None:
    """It has read a young commit in the archive, and no walreceiver starts before it has replayed that."""
    node = Standby(lambda _: ("0/4000000", "", "", "t"))
    assert follow(node, delayed=True) == {"lsn": "0/4000000"}
    join(node, delayed=True)


def test_one_without_a_delay_is_to_replay_everything() -> None:
    node = Standby(lambda _: ("0/4000000", "", "", "t"))
    with pytest.raises(DeadlinePassed):
        follow(node)
    with pytest.raises(DeadlinePassed):
        join(node, delayed=False)


def test_one_that_streams_is_to_have_received_everything() -> None:
    def life(look: int) -> tuple[str, str, str, str]:
        return ("0/4000000", "0/5000000" if look > 3 else "0/4800000", "streaming", "t")

    node = Standby(life)
    assert follow(node, delayed=True) == {"lsn": str(GOAL)}
    assert node.looks == 4


def test_a_walreceiver_that_comes_and_goes_is_no_movement() -> None:
    node = Standby(lambda look: ("0/4000000", "0/4000000", ("", "starting")[look % 2], "f"))
    with pytest.raises(DeadlinePassed) as raised:
        follow(node)
    assert "requested WAL segment 000000010000000000000004 has already been removed" in raised.value.what
    assert "replayed to 0/4000000" in raised.value.what


def test_one_that_moves_is_waited_for() -> None:
    """For longer than it may stand still."""
    looks = 3 * int(STALL_SECONDS / POLL_SECONDS)

    def life(look: int) -> tuple[str, str, str, str]:
        at = str(LSN(min(GOAL.position, 0x4000000 + look * (0x1000000 // looks + 1))))
        return (at, at, "streaming", "f")

    assert follow(Standby(life)) == {"lsn": str(GOAL)}


@pytest.mark.parametrize(("log", "said"), [("", "collects no log"), (None, "could not be read")])
def test_a_log_that_is_not_to_be_had(log: str | None, said: str) -> None:
    node = Standby(lambda _: ("0/4000000", "", "", "f"), log)
    with pytest.raises(DeadlinePassed) as raised:
        follow(node)
    assert said in raised.value.what and "not streaming" in raised.value.what
