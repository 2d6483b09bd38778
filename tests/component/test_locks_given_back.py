"""A run that cannot lock every member leaves none of them locked: nobody could take it up, or give it up."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from pgdolly.domain.cluster import Member, Node
from pgdolly.domain.command import Command, Completed
from pgdolly.domain.errors import CommandFailed
from pgdolly.engine.home import runs_directory
from pgdolly.engine.journal import list_runs
from pgdolly.engine.plan import Plan
from pgdolly.engine.record import RunState
from pgdolly.operations.running import carry_out
from pgdolly.steps.world import World


class LockShell:
    """A node that knows the lock's program alone; one that is full cannot take it."""

    def __init__(self, name: str, *, full: bool = False) -> None:
        self.node_name = name
        self.full = full
        self.holder: dict[str, Any] | None = None

    async def run(self, command: Command, *, timeout_seconds: float = 60) -> Completed:
        assert command.argv[3] == "lock"
        arguments = json.loads(command.argv[-1])
        if arguments["action"] == "take" and self.full:
            return Completed(command=command, status=1, stdout="", stderr="No space left on device")
        if arguments["action"] == "take":
            self.holder = self.holder or {"run_id": arguments["run_id"], **arguments["holder"]}
        answer = json.dumps({"holder": self.holder})
        if arguments["action"] == "release" and (self.holder or {}).get("run_id") == arguments["run_id"]:
            self.holder = None
        return Completed(command=command, status=0, stdout=answer, stderr="")

    async def reconnect(self, *, deadline_seconds: float) -> None:
        raise AssertionError("nothing is lost here")


def test_what_was_locked_is_given_back_if_one_member_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGDOLLY_HOME", str(tmp_path))
    members = [
        Member(
            name=f"pg-test-{number}",
            cluster="pg-test",
            sequence=number,
            role="replica",
            node=Node(name=f"pg-test-{number}", address=f"10.10.10.{number}"),
        )
        for number in (1, 2, 3)
    ]
    shells = {member.name: LockShell(member.name, full=member.sequence == 2) for member in members}
    other = {"run_id": "another", "controller": "bastion"}
    shells["pg-test-3"].holder = dict(other)
    plan = Plan(operation="drop", target="pg-test")
    with pytest.raises(CommandFailed) as caught:
        asyncio.run(carry_out(plan, World(dict(shells)), members, lambda event: None, request={}))
    assert caught.value.where == "pg-test-2"
    assert {name: shell.holder for name, shell in shells.items()} == {
        "pg-test-1": None,
        "pg-test-2": None,
        "pg-test-3": other,
    }
    [run] = list_runs(runs_directory())
    assert run.state is RunState.ABANDONED
