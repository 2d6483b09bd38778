"""A cluster that is written to all the time is verified, too; and one whose replica stays behind is not."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from fake_nodes import SOCKET, FakeNode, instance
from pgdolly.domain.command import Command
from pgdolly.domain.errors import CommandFailed, DeadlinePassed
from pgdolly.domain.lsn import LSN
from pgdolly.engine.step import Context
from pgdolly.steps import verify
from pgdolly.steps.verify import VerifyCluster
from pgdolly.steps.world import World


class Writes:
    """A leader's WAL: it is longer whenever somebody looks at it."""

    def __init__(self, each: int) -> None:
        self.lsn, self.each = 0x3000000, each

    def look(self) -> int:
        self.lsn += self.each
        return self.lsn


@dataclasses.dataclass
class Server(FakeNode):
    """A member's node. `behind`: so many bytes are not replayed yet; None stands for a walreceiver that is down."""

    node_name: str
    writes: Writes
    in_recovery: bool = True
    behind: int = 0
    timeline: int | None = 2
    archive_mode: str = "on"
    stands_at: int | None = None

    def answer(self, command: Command) -> str:
        if command.argv[0] == "sed":
            return SOCKET
        replayed = self.stands_at or self.writes.lsn - self.behind
        lsn = replayed if self.in_recovery else self.writes.look()
        row = ["t" if self.in_recovery else "f", str(LSN(lsn)), str(self.timeline or ""), self.archive_mode]
        return "\t".join(row) + "\n"


def verified(leader: Server, *replicas: Server) -> dict[str, Any] | None:
    step = VerifyCluster(
        leader=instance(leader.node_name),
        replicas=tuple(instance(replica.node_name) for replica in replicas),
        archive=True,
    )
    shells = {server.node_name: server for server in (leader, *replicas)}
    return asyncio.run(step.apply(Context(world=World(shells), run_id="run")))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "LEVEL_SECONDS", 1.5)


def test_replicas_of_a_leader_that_never_stops_writing_are_level_with_where_it_was() -> None:
    writes = Writes(1000)
    result = verified(
        Server("pg-test-1", writes, in_recovery=False),
        Server("pg-test-2", writes),
        Server("pg-test-3", writes, behind=1900),  # never quite there, as it replays
    )
    assert result is not None
    assert (result["timeline"], result["members"]) == (2, 3)


def test_a_replica_that_is_past_the_leader_when_it_is_asked_is_level_with_it() -> None:
    """The leader is asked first, and has gone on since."""
    writes = Writes(0)
    ahead = Server("pg-test-2", writes, stands_at=writes.lsn + 5000)
    assert verified(Server("pg-test-1", writes, in_recovery=False), ahead) is not None


@pytest.mark.parametrize(
    "wrong",
    [
        {"stands_at": 0x2FFFFFF},
        {"timeline": 1},
        {"timeline": None},
        {"in_recovery": False},
    ],
    ids=["behind", "another timeline", "not streaming", "a second leader"],
)
def test_a_replica_that_does_not_follow_is_named(wrong: dict[str, Any]) -> None:
    writes = Writes(0)
    with pytest.raises(DeadlinePassed) as raised:
        verified(
            Server("pg-test-1", writes, in_recovery=False),
            dataclasses.replace(Server("pg-test-2", writes), **wrong),
        )
    assert "pg-test-2: " in raised.value.what


def test_archiving_that_is_off_on_one_member_fails() -> None:
    writes = Writes(1000)
    with pytest.raises(CommandFailed, match="archive_mode is off on pg-test-2"):
        verified(
            Server("pg-test-1", writes, in_recovery=False),
            Server("pg-test-2", writes, archive_mode="off"),
        )
