"""A plan on the screen and as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from pgdolly.cli.plan_view import plan_as_json, print_plan
from pgdolly.domain.command import Command, RunAs
from pgdolly.engine.plan import Lane, Plan, Stage, StepRegistry
from pgdolly.engine.step import Context, Effect, StepCheck, StepState


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    kind: ClassVar[str] = "look"
    effect: ClassVar[Effect] = Effect.READ

    what: str
    argv: tuple[str, ...]
    run_as: RunAs = "dbsu"

    def title(self) -> str:
        return self.what

    def commands(self) -> tuple[Command, ...]:
        return (Command(argv=self.argv, run_as=self.run_as),)

    async def check(self, context: Context[Any]) -> StepCheck:
        return StepCheck(StepState.PENDING)

    async def apply(self, context: Context[Any]) -> None:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop(Look):
    kind: ClassVar[str] = "stop"
    effect: ClassVar[Effect] = Effect.CHANGE


@dataclass(frozen=True, slots=True, kw_only=True)
class Wipe(Look):
    kind: ClassVar[str] = "wipe"
    effect: ClassVar[Effect] = Effect.DESTROY

    def commands(self) -> tuple[Command, ...]:
        return (
            Command(argv=("true",), environment=(("PGDATA", "/pg data"),)),
            Command(argv=("sh", "-c", "cd /pg\nrm -r data")),
            Command(argv=("python3", "-"), stdin="…", summary="the node program: wipe /pg/data"),
        )


def lane(number: int, what: str = "empty the data directory") -> Lane:
    stop = Stop(what="stop Patroni", argv=("systemctl", "stop", "patroni"), run_as="root")
    return Lane(f"pg-test-{number}", (stop, Wipe(what=what, argv=())))


PLAN = Plan(
    operation="reset",
    target="pg-test",
    summary=("from pg-meta, as it was at 2025-12-27 09:50:00+00:00",),
    warnings=("pg-test will lose everything since its last backup",),
    facts=(("leader", "pg-test-1"), ("backup set", "20251227-174500F")),
    stages=(
        Stage("Look", (Lane("pg-test", (Look(what="look", argv=("pgbackrest", "info")),)),)),
        Stage("Stop", (lane(1), lane(2), lane(3, "empty the other data directory"))),
    ),
)
PRINTED = """\
Plan: reset pg-test
  from pg-meta, as it was at 2025-12-27 09:50:00+00:00

  warning: pg-test will lose everything since its last backup

1. Look
   pg-test
     1.1 read    look
          dbsu:  pgbackrest info

2. Stop
   pg-test-1, pg-test-2
     2.1 change  stop Patroni
          root:  systemctl stop patroni
     2.2 DESTROY empty the data directory
          dbsu:  PGDATA='/pg data' true
          dbsu:  sh -c 'cd /pg
                 rm -r data'
          dbsu:  the node program: wipe /pg/data
   pg-test-3
     2.1 change  stop Patroni
          root:  systemctl stop patroni
     2.2 DESTROY empty the other data directory
          dbsu:  PGDATA='/pg data' true
          dbsu:  sh -c 'cd /pg
                 rm -r data'
          dbsu:  the node program: wipe /pg/data

7 steps: 1 read, 3 change, 3 DESTROY
"""


def test_a_plan_shows_every_command_and_lanes_that_are_alike_once(capsys: pytest.CaptureFixture[str]) -> None:
    print_plan(PLAN)
    assert capsys.readouterr().out == PRINTED


def looking(name: str, path: str) -> Lane:
    return Lane(name, (Look(what=f"look at {path}", argv=("ls", path)),))


def test_what_members_have_of_their_own_is_shown_of_each(capsys: pytest.CaptureFixture[str]) -> None:
    """What one member loses is not to be read off another one's path."""
    lanes = (
        looking("pg-dev-1", "/srv/pg-dev-1/data"),
        looking("pg-dev-2", "/srv/pg-dev-2/data"),
        looking("pg-dev-3", "/srv/pg-dev-1/data"),
        looking("pg-dev-10", "/srv/pg-dev-10/data"),
    )
    print_plan(Plan(operation="drop", target="pg-dev", stages=(Stage("Look", lanes),)))
    assert (
        capsys.readouterr().out
        == """\
Plan: drop pg-dev

1. Look
   pg-dev-1, pg-dev-2, pg-dev-10 (MEMBER stands for each)
     1.1 read    look at /srv/MEMBER/data
          dbsu:  ls /srv/MEMBER/data
   pg-dev-3
     1.1 read    look at /srv/pg-dev-1/data
          dbsu:  ls /srv/pg-dev-1/data

4 steps: 4 read
"""
    )


def test_one_step_is_counted_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    stage = Stage("Look", (looking("pg-dev-1", "/srv/pg-dev-1/data"),))
    print_plan(Plan(operation="drop", target="pg-dev", stages=(stage,)))
    assert capsys.readouterr().out.endswith("ls /srv/pg-dev-1/data\n\n1 step: 1 read\n")


def test_an_empty_plan_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    print_plan(Plan(operation="cleanup", target="pg-test"))
    assert capsys.readouterr().out == "Plan: cleanup pg-test\n\nThere is nothing to do.\n"


def test_a_plan_as_json_can_be_read_and_taken_back() -> None:
    registry = StepRegistry(Look, Stop, Wipe)
    encoded = json.loads(plan_as_json(PLAN, registry))
    assert encoded["stages"][1]["lanes"][1]["steps"][0] == {
        "kind": "stop",
        "title": "stop Patroni",
        "effect": "change",
        "commands": [{"run_as": "root", "shown": "systemctl stop patroni"}],
        "step": {
            "kind": "stop",
            "what": "stop Patroni",
            "argv": ["systemctl", "stop", "patroni"],
            "run_as": "root",
        },
    }
    assert registry.decode_plan(encoded) == PLAN
