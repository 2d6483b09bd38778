"""A member that restarts just now is waited for: the controller may have been killed in the middle of its restart."""

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
from pgdolly.engine.step import Context, StepState
from pgdolly.steps import stanza
from pgdolly.steps.stanza import EnableArchiving
from pgdolly.steps.world import World

COMMAND = "pgbackrest --stanza=pg-test archive-push %p"


class Restarting:
    """Does not answer for so many questions; then it archives, or it does once it is restarted."""

    node_name = "pg-test-1"

    def __init__(self, refusals: int, *, archives: bool) -> None:
        self.refusals: Iterator[int] = iter(range(refusals))
        self.archives, self.restarts = archives, 0

    async def run(self, command: Command, *, timeout_seconds: float = 60.0) -> Completed:
        def says(stdout: str, status: int = 0, stderr: str = "") -> Completed:
            return Completed(command=command, status=status, stdout=stdout, stderr=stderr)

        if command.argv[0] == "sed":
            return says("5432\n/run\n")
        if "patronictl restart" in (command.summary or ""):
            self.restarts, self.archives = self.restarts + 1, True
            return says(json.dumps({"status": 200, "body": "restarted"}))
        if next(self.refusals, None) is not None:
            return says("", 2, "FATAL:  the database system is shutting down")
        if "pending_restart" in command.argv[-1]:
            return says("on\tf\n" if self.archives else "off\tf\n")
        return says("" if "ALTER" in command.argv[-1] else f"{COMMAND}\n")

    async def reconnect(self, *, deadline_seconds: float) -> None:
        raise AssertionError("its connection is never lost")


STEP = EnableArchiving(
    instance=Instance(
        member=Member(
            name="pg-test-1",
            cluster="pg-test",
            sequence=1,
            role="primary",
            node=Node(name="n", address="n"),
        ),
        data_directory=PurePosixPath("/pg/data"),
        bin_directory=PurePosixPath("/usr/bin"),
        port=5432,
    ),
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
