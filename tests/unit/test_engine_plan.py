"""Plans as values: ids, facts, and the way to JSON and back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic.errors import PydanticSchemaGenerationError

from pgdolly.domain.cluster import Cluster, Member, Node, ServiceManager
from pgdolly.domain.command import Command
from pgdolly.domain.errors import InvalidInput
from pgdolly.domain.lsn import LSN, WalSegment
from pgdolly.domain.target import RecoveryTarget, TargetType
from pgdolly.domain.timeline import Fork, TimelineHistory
from pgdolly.engine.plan import Lane, Plan, Stage, StepRegistry, outline
from pgdolly.engine.step import Context, Effect, StepCheck, StepState


class Quiet:
    """What every step of this test does: nothing."""

    __slots__ = ()

    async def check(self, context: Context[Any]) -> StepCheck:
        return StepCheck(StepState.PENDING)

    async def apply(self, context: Context[Any]) -> None:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore(Quiet):
    kind: ClassVar[str] = "restore"
    effect: ClassVar[Effect] = Effect.DESTROY

    member: Member
    target: RecoveryTarget
    directory: PurePosixPath
    started_at: datetime
    options: tuple[tuple[str, str], ...] = ()

    def title(self) -> str:
        return f"restore {self.member.name}"

    def commands(self) -> tuple[Command, ...]:
        return (Command(argv=("pgbackrest", "restore", f"--pg1-path={self.directory}")),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trim(Quiet):
    kind: ClassVar[str] = "trim"
    effect: ClassVar[Effect] = Effect.CHANGE

    members: tuple[Member, ...]
    history: TimelineHistory
    segment: WalSegment | None
    manager: ServiceManager
    numbers: tuple[int, ...]

    def title(self) -> str:
        return "trim"

    def commands(self) -> tuple[Command, ...]:
        return ()


REGISTRY = StepRegistry(Restore, Trim)

lsns = st.builds(LSN, st.integers(0, 2**64 - 1))
paths = st.text(min_size=1).map(PurePosixPath)
times = st.datetimes(timezones=st.just(UTC))
nodes = st.builds(
    Node,
    name=st.text(),
    address=st.text(),
    login_port=st.none() | st.integers(1, 65535),
    ssh_arguments=st.lists(st.text(), max_size=2).map(tuple),
)
members = st.builds(
    Member,
    name=st.text(),
    cluster=st.text(),
    sequence=st.integers(0, 9),
    role=st.sampled_from(["primary", "replica"]),
    node=nodes,
    data_directory=paths,
    bin_directory=st.none() | paths,
    service_manager=st.sampled_from(ServiceManager),
)
targets = st.one_of(
    st.just(RecoveryTarget()),
    st.builds(RecoveryTarget, type=st.just(TargetType.TIME), time=times, exclusive=st.booleans()),
    st.builds(RecoveryTarget, type=st.just(TargetType.LSN), lsn=lsns),
    st.builds(RecoveryTarget, type=st.just(TargetType.NAME), name=st.text()),
)
pairs = st.lists(st.tuples(st.text(), st.text()), max_size=3).map(tuple)
restores = st.builds(
    Restore, member=members, target=targets, directory=paths, started_at=times, options=pairs
)
trims = st.builds(
    Trim,
    members=st.lists(members, max_size=2).map(tuple),
    history=st.builds(
        TimelineHistory,
        st.integers(1, 99),
        st.lists(st.builds(Fork, st.integers(1, 99), lsns, st.text()), max_size=3).map(tuple),
    ),
    segment=st.none() | st.builds(WalSegment, st.integers(1, 99), st.integers(0, 2**40)),
    manager=st.sampled_from(ServiceManager),
    numbers=st.lists(st.integers()).map(tuple),
)
lane_names = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1, max_size=9)
stages = st.builds(
    Stage,
    st.text(),
    st.dictionaries(lane_names, st.lists(restores | trims, max_size=3).map(tuple), max_size=3).map(
        lambda lanes: tuple(Lane(name, steps) for name, steps in lanes.items())
    ),
)
plans = st.builds(
    Plan,
    operation=st.text(),
    target=st.text(),
    summary=st.lists(st.text(), max_size=2).map(tuple),
    warnings=st.lists(st.text(), max_size=2).map(tuple),
    facts=st.dictionaries(st.text(), st.text(), max_size=3).map(lambda facts: tuple(facts.items())),
    stages=st.lists(stages, max_size=2).map(tuple),
)


@given(plans)
def test_a_plan_comes_back_equal_from_its_json(plan: Plan) -> None:
    again = REGISTRY.decode_plan(json.loads(json.dumps(REGISTRY.encode_plan(plan))))
    assert again == plan
    assert [identity for identity, *_ in again.steps(2)] == [identity for identity, *_ in plan.steps(2)]


def test_a_step_that_holds_a_cluster_with_its_secrets_comes_into_no_plan() -> None:
    """What the inventory says of a repository would be in the journal; a step names the cluster, or its members."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Careless(Quiet):
        kind: ClassVar[str] = "careless"
        effect: ClassVar[Effect] = Effect.CHANGE
        cluster: Cluster

        def title(self) -> str:
            return "careless"

        def commands(self) -> tuple[Command, ...]:
            return ()

    with pytest.raises(PydanticSchemaGenerationError, match="Secret"):
        StepRegistry(Careless).encode(Careless(cluster=Cluster(name="pg-test", members=())))


@given(plans, st.integers(1, 9))
def test_step_ids_are_unique_within_a_run(plan: Plan, part: int) -> None:
    ids = [identity for number in (part, part + 1) for identity, *_ in plan.steps(number)]
    assert len(set(ids)) == len(ids)


def example_restore(name: str = "pg-test-1") -> Restore:
    return Restore(
        member=Member(
            name=name,
            cluster="pg-test",
            sequence=1,
            role="primary",
            node=Node(name="n", address="10.0.0.1"),
            service_manager=ServiceManager.SYSTEMD,
        ),
        target=RecoveryTarget(),
        directory=PurePosixPath("/pg/data"),
        started_at=datetime(2025, 12, 27, 9, 50, tzinfo=UTC),
    )


def example_plan() -> Plan:
    one, two = example_restore(), example_restore("pg-test-2")
    return Plan(
        operation="reset",
        target="pg-test",
        facts=(("leader", "pg-test-1"), ("backup set", "20251227F")),
        stages=(
            Stage("Restore", (Lane("pg-test-1", (one, one)), Lane("pg-test-2", (two,)))),
            Stage("Again", (Lane("pg-test-1", (one,)),)),
        ),
    )


def test_a_step_id_names_part_stage_lane_number_and_kind() -> None:
    # They stand in the journals of interrupted runs: changing this makes those runs impossible to resume.
    assert [identity for identity, *_ in example_plan().steps(3)] == [
        "3/1/pg-test-1/1-restore",
        "3/1/pg-test-1/2-restore",
        "3/1/pg-test-2/1-restore",
        "3/2/pg-test-1/1-restore",
    ]


def test_the_json_of_a_step_is_stable() -> None:
    # Golden, for the same reason.
    encoded = REGISTRY.encode(example_restore())
    member = encoded.pop("member")
    assert (member["name"], member["data_directory"], member["service_manager"]) == (
        "pg-test-1",
        "/pg/data",
        "systemd",
    )
    assert encoded == {
        "kind": "restore",
        "target": {
            "type": "default",
            "time": None,
            "xid": None,
            "name": None,
            "lsn": None,
            "exclusive": False,
        },
        "directory": "/pg/data",
        "started_at": "2025-12-27T09:50:00Z",
        "options": [],
    }


def test_the_outline_can_be_read_without_knowing_the_steps() -> None:
    [restore, _] = outline(example_plan())["stages"][0]["lanes"][0]["steps"]
    assert restore == {
        "kind": "restore",
        "title": "restore pg-test-1",
        "effect": "destroy",
        "commands": [{"run_as": "dbsu", "shown": "pgbackrest restore --pg1-path=/pg/data"}],
    }


def test_changed_facts_says_what_is_no_longer_so() -> None:
    plan = example_plan()
    assert plan.changed_facts(plan) == []
    assert plan.changed_facts({"leader": "pg-test-1", "backup set": "20251227F"}) == []
    now = (("leader", "pg-test-2"), ("timeline", "4"))
    assert plan.changed_facts(now) == [
        ("backup set", "20251227F", None),
        ("leader", "pg-test-1", "pg-test-2"),
        ("timeline", None, "4"),
    ]


def test_facts_lanes_and_kinds_are_not_ambiguous() -> None:
    with pytest.raises(ValueError, match="two facts of one name: leader"):
        Plan(operation="o", target="t", facts=(("leader", "a"), ("leader", "b")))
    with pytest.raises(ValueError, match="two lanes of one name"):
        Stage("s", (Lane("a", ()), Lane("a", ())))
    for name in ("", "a/b"):
        with pytest.raises(ValueError, match="cannot name a lane"):
            Lane(name, ())
    with pytest.raises(ValueError, match="step kind 'restore' is taken by Restore"):
        REGISTRY.register(Restore)


def test_only_a_frozen_step_with_kind_and_effect_can_be_registered() -> None:
    registry = StepRegistry()

    @dataclass
    class Thawed:
        kind: ClassVar[str] = "thawed"
        effect: ClassVar[Effect] = Effect.READ

    @dataclass(frozen=True)
    class WithoutKind:
        effect: ClassVar[Effect] = Effect.READ

    @dataclass(frozen=True)
    class WithoutEffect:
        kind: ClassVar[str] = "without_effect"

    for step_class, message in (
        (Thawed, "not a frozen dataclass"),
        (WithoutKind, "not a lower_case word"),
        (WithoutEffect, "does not say its effect"),
    ):
        with pytest.raises(ValueError, match=message):
            registry.register(step_class)
    assert registry.kinds == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "unheard_of"}, "no step of kind 'unheard_of' is known"),
        ({"kind": None}, "no step of kind None is known"),
        ({"force": True}, "fields that this version does not know: force"),
        ({"directory": 5}, "step restore cannot be read"),
        ({"started_at": "soon"}, "step restore cannot be read"),
    ],
)
def test_a_step_of_another_version_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        REGISTRY.decode({**REGISTRY.encode(example_restore()), **change})


def test_a_step_without_one_of_its_fields_is_refused() -> None:
    encoded = REGISTRY.encode(example_restore())
    del encoded["directory"]
    with pytest.raises(InvalidInput, match="step restore cannot be read"):
        REGISTRY.decode(encoded)
    with pytest.raises(InvalidInput, match="the plan cannot be read"):
        REGISTRY.decode_plan({"operation": "o"})


def test_a_step_that_would_not_survive_its_journal_is_refused_at_once() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Loose(Quiet):
        kind: ClassVar[str] = "loose"
        effect: ClassVar[Effect] = Effect.READ

        anything: object

        def title(self) -> str:
            return "loose"

        def commands(self) -> tuple[Command, ...]:
            return ()

    registry = StepRegistry(Loose)
    assert registry.decode(registry.encode(Loose(anything="text"))) == Loose(anything="text")
    for anything in (PurePosixPath("/pg"), ("a tuple comes back as a list",)):
        with pytest.raises(TypeError, match="Loose does not survive its journal"):
            registry.encode(Loose(anything=anything))
    with pytest.raises(KeyError, match="Restore is not registered"):
        registry.encode(example_restore())
