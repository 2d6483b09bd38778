"""A member that restarts just now is waited for: the controller may have been killed in the middle of its restart."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from fake_nodes import SOCKET, FakeNode, Refuses, instance
from pgdolly.domain.command import Command
from pgdolly.domain.errors import DeadlinePassed
from pgdolly.engine.step import Context, StepState
from pgdolly.steps import stanza
from pgdolly.steps.stanza import EnableArchiving
from pgdolly.steps.world import World

COMMAND = "pgbackrest --stanza=pg-test archive-push %p"


class Restarting(FakeNode):
    """Does not answer for so many questions; then it archives, or it does once it is restarted."""

    node_name = "pg-test-1"

    def __init__(self, refusals: int, *, archives: bool) -> None:
        self.refusals: Iterator[int] = iter(range(refusals))
        self.archives, self.restarts = archives, 0

    def answer(self, command: Command) -> str:
        if command.argv[0] == "sed":
            return SOCKET
        if "patronictl restart" in (command.summary or ""):
            self.restarts, self.archives = self.restarts + 1, True
            return json.dumps({"status": 200, "body": "restarted"})
        if next(self.refusals, None) is not None:
            raise Refuses("FATAL:  the database system is shutting down")
        if "pending_restart" in command.argv[-1]:
            return "on\tf\n" if self.archives else "off\tf\n"
        return "" if "ALTER" in command.argv[-1] else f"{COMMAND}\n"


STEP = EnableArchiving(
    instance=instance("pg-test-1"),
    stanza="pg-test",
    patroni_name="pg-test-1",
)


def taken_up(server: Restarting) -> dict[str, Any] | None:
    """As the executor does on resume: it is asked, and applied if it is not done."""

    async def check_and_apply() -> dict[str, Any] | None:
        context = Context(world=World({"pg-test-1": server}), run_id="run")
        check = await STEP.check(context)
        return await STEP.apply(context) if check.state is StepState.PENDING else check.result

    return asyncio.run(check_and_apply())


def test_one_that_archives_once_it_is_back_is_not_restarted_again() -> None:
    server = Restarting(3, archives=True)
    assert taken_up(server) == {"restarted": False}
    assert server.restarts == 0


def test_one_that_does_not_is_restarted() -> None:
    server = Restarting(2, archives=False)
    assert taken_up(server) == {"restarted": True}
    assert server.restarts == 1


def test_one_that_stays_down_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stanza, "RESTART_SECONDS", 0.6)
    with pytest.raises(DeadlinePassed, match="shutting down"):
        taken_up(Restarting(1000, archives=False))
