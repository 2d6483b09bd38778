"""A standby cluster's promotion is over when its server says so, and not when Patroni's word is out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import pytest

from pgdolly.domain.cluster import Member, Node
from pgdolly.domain.command import Command, Completed
from pgdolly.domain.errors import DeadlinePassed
from pgdolly.drivers.postgres import Instance
from pgdolly.engine.step import Context
from pgdolly.steps import promotion
from pgdolly.steps.promotion import PromoteStandby
from pgdolly.steps.world import World

LEADER = {"scope": "pg-test", "members": [{"name": "pg-test-1", "role": "leader", "state": "running"}]}


class PromotedNode:
    """Patroni says leader at once; the server answers what is scripted, its last word for ever."""

    node_name = "pg-test-1"

    def __init__(self, *recovering: str) -> None:
        self._recovering: Iterator[str] = iter(recovering)
        self._last = ""
        self.asked: list[str] = []

    async def run(self, command: Command, *, timeout_seconds: float = 60.0) -> Completed:
        if command.argv[0] == "sh":
            output = json.dumps({"status": 200, "body": LEADER})
        elif command.argv[0] == "sed":
            output = "5432\n/run\n"
        else:
            self.asked.append(command.argv[-1].removeprefix("--command="))
            self._last = next(self._recovering, self._last)
            output = self._last
        failed = output == "no answer"
        return Completed(
            command=command, status=2 if failed else 0, stdout="" if failed else f"{output}\n", stderr=""
        )

    async def reconnect(self, *, deadline_seconds: float) -> None:
        raise AssertionError("its connection is never lost")


def promote(node: PromotedNode) -> dict[str, Any] | None:
    member = Member(
        name="pg-test-1", cluster="pg-test", sequence=1, role="primary", node=Node(name="n", address="n")
    )
    step = PromoteStandby(
        instance=Instance(
            member=member,
            data_directory=PurePosixPath("/pg/data"),
            bin_directory=PurePosixPath("/usr/bin"),
            port=5432,
        ),
        patroni_name="pg-test-1",
    )
    return asyncio.run(step.apply(Context(world=World({"pg-test-1": node}), run_id="run")))


def test_no_checkpoint_before_the_server_is_promoted() -> None:
    """A checkpoint of a server in recovery is a restart point, which leaves the former timeline."""
    node = PromotedNode("t", "no answer", "t", "f")
    promote(node)
    assert node.asked == ["SELECT pg_is_in_recovery()"] * 4 + ["CHECKPOINT"]


def test_the_deadline_says_what_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promotion, "PROMOTE_SECONDS", 0.05)
    node = PromotedNode("t")
    with pytest.raises(DeadlinePassed) as raised:
        promote(node)
    assert "still in recovery" in raised.value.what
    assert "CHECKPOINT" not in node.asked
