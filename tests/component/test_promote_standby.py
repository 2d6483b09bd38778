"""A standby cluster's promotion is over when its server says so, and not when Patroni's word is out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from fake_nodes import SOCKET, FakeNode, Refuses, instance
from pgdolly.domain.command import Command
from pgdolly.domain.errors import DeadlinePassed
from pgdolly.engine.step import Context
from pgdolly.steps import promotion
from pgdolly.steps.promotion import PromoteStandby
from pgdolly.steps.world import World

LEADER = {"scope": "pg-test", "members": [{"name": "pg-test-1", "role": "leader", "state": "running"}]}


class PromotedNode(FakeNode):
    """Patroni says leader at once; the server answers what is scripted, its last word for ever."""

    node_name = "pg-test-1"

    def __init__(self, *recovering: str) -> None:
        self._recovering: Iterator[str] = iter(recovering)
        self._last = ""
        self.asked: list[str] = []

    def answer(self, command: Command) -> str:
        if command.argv[0] == "sh":
            return json.dumps({"status": 200, "body": LEADER})
        if command.argv[0] == "sed":
            return SOCKET
        self.asked.append(command.argv[-1].removeprefix("--command="))
        self._last = next(self._recovering, self._last)
        if self._last == "no answer":
            raise Refuses
        return f"{self._last}\n"


def promote(node: PromotedNode) -> dict[str, Any] | None:
    step = PromoteStandby(instance=instance("pg-test-1"), patroni_name="pg-test-1")
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
