"""The plans of a clone and of a promotion: golden ones, word for word; and what a request must not ask for.

After a change that is meant: `PGDOLLY_WRITE_GOLDEN=1 pytest tests/unit/test_plan_clone.py`, then read the difference.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
from pathlib import Path, PurePosixPath
from typing import Any, cast

import click
import pytest
from pydantic import TypeAdapter

from pgdolly.cli.plan_view import plan_lines
from pgdolly.domain.backup import Archive, BackupSet
from pgdolly.domain.cluster import Cluster, Member
from pgdolly.domain.draft import DraftPath
from pgdolly.domain.errors import CommandFailed, InvalidInput, Refused, StalePlan
from pgdolly.domain.lsn import LSN
from pgdolly.domain.timeline import Fork, TimelineHistory
from pgdolly.drivers.configuration import MemberConfiguration
from pgdolly.drivers.observation import RunLock
from pgdolly.drivers.patroni import StandbyCluster
from pgdolly.drivers.pgbackrest import RestoreSource
from pgdolly.drivers.store import StoreView
from pgdolly.drivers.upstream import Position, UpstreamServers
from pgdolly.engine.plan import Plan, outline
from pgdolly.operations.clone.blueprint import CloneBlueprint, NewMember, StandbyPlan
from pgdolly.operations.clone.decide import filled_from, present_facts
from pgdolly.operations.clone.describe import describe
from pgdolly.operations.clone.observe import CloneFacts, position_of, upstream_of
from pgdolly.operations.clone.plan import plan_clone
from pgdolly.operations.clone.refusals import (
    refuse_living,
    refuse_other_history,
    refuse_too_small,
    refuse_unfit,
)
from pgdolly.operations.clone.request import CloneRequest, checked
from pgdolly.operations.promote.observe import PromotionFacts
from pgdolly.operations.promote.plan import decide, plan_promotion
from pgdolly.operations.request import parse_request
from pgdolly.operations.running import refuse_stale
from pgdolly.operations.site import ClusterFacts
from pgdolly.steps.basebackup import TakeBaseBackup
from pgdolly.steps.passwords import MakePasswords, ReloadPatroni, SetOwnRoles, UseOwnPasswords
from pgdolly.steps.promotion import EndDelay, KeepSlot, LeaveArchive, PromoteStandby
from pgdolly.steps.registry import STEPS
from pgdolly.steps.standby import FollowUpstream
from pgdolly.steps.stanza import EnableArchiving, MendStanza
from pgdolly.steps.world import World
from pgdolly.transport.shell import Shell
from reset_blueprints import MEGABYTE, SOURCE_SYSTEM, blueprint, catalogue, cluster, member_facts, resolved

GOLDEN = Path(__file__).parents[1] / "data" / "clone_plans"
RESET = blueprint(cleanup=True, stanza_need="create", members=2)
UPSTREAM = UpstreamServers(hosts=("10.10.10.1",), ports=(5432,))
SOURCE = RestoreSource(
    stanza="pg-meta",
    repo_key=1,
    backup_set="20251227-090000F",
    config=PurePosixPath("/etc/pgbackrest/pgbackrest-upstream.conf"),
)


def new_member(number: int, *, source: RestoreSource | None = SOURCE) -> NewMember:
    return NewMember(
        instance=RESET.members[number].instance,
        files=(
            DraftPath(
                path=PurePosixPath("/etc/patroni/patroni.yml"),
                about="Patroni's: scope pg-test",
                owner="postgres",
                as_root=True,
            ),
            DraftPath(
                path=PurePosixPath("/etc/systemd/system/patroni.service"),
                about="the service, as the source's",
                mode=0o644,
                as_root=True,
            ),
        ),
        directories=(PurePosixPath("/pg/log"),),
        source=source,
    )


def made(**changed: Any) -> CloneBlueprint:
    standby = StandbyPlan(
        upstream=UPSTREAM,
        configuration={"host": "10.10.10.1", "port": 5432, "create_replica_methods": ["basebackup"]},
        system_identifier=SOURCE_SYSTEM,
        resolved=resolved(),
    )
    first = CloneBlueprint(
        source_cluster="pg-meta",
        new_cluster="pg-test",
        leader=new_member(0),
        replicas=(new_member(1),),
        standby=standby,
        summary=("what is going to be done",),
    )
    return dataclasses.replace(first, **changed)


def streamed() -> CloneBlueprint:
    whole = made(leader=new_member(0, source=None), replicas=())
    assert whole.standby is not None
    standby = dataclasses.replace(
        whole.standby, resolved=None, slot="pgdolly_pg_test", source=RESET.leader.instance
    )
    return dataclasses.replace(whole, standby=standby, promote=True)


BLUEPRINTS = {
    "standby": made(),
    "cut-off": made(promote=True),
    "streamed-with-a-slot": streamed(),
    "to-a-point": made(standby=None, reset=RESET),
}
PLANS = {name: plan_clone(each) for name, each in BLUEPRINTS.items()}


def golden(name: str, text: str) -> str:
    """What the file says; it is written first if the environment asks for it."""
    path = GOLDEN / name
    if os.environ.get("PGDOLLY_WRITE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return path.read_text()


@pytest.mark.parametrize("name", PLANS)
def test_the_plan_that_a_person_reads(name: str) -> None:
    text = "\n".join(click.unstyle(line) for line in plan_lines(outline(PLANS[name]))) + "\n"
    assert golden(f"{name}.txt", text) == text


@pytest.mark.parametrize("name", PLANS)
def test_plans_and_blueprints_come_back_out_of_a_journal(name: str) -> None:
    plan = json.loads(json.dumps(STEPS.encode_plan(PLANS[name])))
    assert STEPS.decode_plan(plan) == PLANS[name]
    adapter = TypeAdapter(CloneBlueprint)
    kept = json.loads(json.dumps(adapter.dump_python(BLUEPRINTS[name], mode="json")))
    assert adapter.validate_python(kept) == BLUEPRINTS[name]


def test_no_golden_file_is_left_over() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {f"{name}.txt" for name in PLANS}


def order(plan: Plan) -> list[Any]:
    return [step for stage in plan.stages for lane in stage.lanes for step in lane.steps]


def test_the_stanza_is_there_before_the_promotion() -> None:
    """The promoted leader archives its first segment at once."""
    kinds = [type(step) for step in order(PLANS["cut-off"])]
    assert kinds.index(MendStanza) < kinds.index(PromoteStandby)


def test_a_slot_is_there_before_the_copy_and_gone_after_the_promotion() -> None:
    steps = order(PLANS["streamed-with-a-slot"])
    keeping = [step for step in steps if isinstance(step, KeepSlot)]
    assert [step.kept for step in keeping] == [True, False]
    kinds = [type(step) for step in steps]
    assert steps.index(keeping[0]) < kinds.index(TakeBaseBackup)
    assert kinds.index(PromoteStandby) < steps.index(keeping[1])


def test_no_replica_reads_in_the_sources_archive_when_its_leader_is_promoted() -> None:
    steps = order(PLANS["cut-off"])
    kinds = [type(step) for step in steps]
    assert kinds.index(FollowUpstream) < kinds.index(LeaveArchive) < kinds.index(PromoteStandby)
    left = {step.instance.member.name for step in steps if isinstance(step, LeaveArchive)}
    assert left == {"pg-test-2"}


@pytest.mark.parametrize("now", [True, False])
def test_every_members_delay_ends_before_the_promotion(now: bool) -> None:
    """An hour after it, a replica would not have the passwords that the leader's roles get."""
    facts = promotion_facts("pgdolly_pg_test")
    facts = dataclasses.replace(facts, follows=StandbyCluster(host="10.10.10.1", port="5432", delay="1h"))
    steps = order(plan_promotion(facts, decide(facts, now=now, backup=True)))
    ends = [(step.instance.member.name, step.leads) for step in steps if isinstance(step, EndDelay)]
    assert ends == [("pg-test-1", True), ("pg-test-2", False)]
    kinds = [type(step) for step in steps]
    assert kinds.index(EndDelay) < kinds.index(PromoteStandby)


def promotion_facts(slot: str, *, known: bool = True) -> PromotionFacts:
    """pg-test follows pg-meta, and its members have other names in Patroni than in the inventory."""
    members = tuple(
        member_facts(each, system=SOURCE_SYSTEM, patroni_name=f"node{each.sequence}")
        for each in cluster("pg-test", 2).members
    )
    [source] = cluster("pg-meta", 1).members
    at = LSN.parse("0/5000000")
    return PromotionFacts(
        cluster=ClusterFacts(cluster=cluster("pg-test", 2), members=members),
        leader=members[0],
        follows=StandbyCluster(host="10.10.10.1", port="5432", slot=slot),
        upstream=UPSTREAM,
        position=Position(system_identifier=SOURCE_SYSTEM, timeline=1, lsn=at),
        problem=None,
        replayed=at,
        catalogue=None,
        marked={},
        slot=slot,
        source=member_facts(source, system=SOURCE_SYSTEM) if known else None,
    )


def test_a_promotion_waits_for_the_members_by_patronis_names() -> None:
    facts = promotion_facts("pgdolly_pg_test")
    steps = order(plan_promotion(facts, decide(facts, now=False, backup=True)))
    named = [step.patroni_name for step in steps if isinstance(step, PromoteStandby | EnableArchiving)]
    assert named == ["node1", "node2", "node1"]


@pytest.mark.parametrize(
    ("slot", "known", "dropped", "said"),
    [
        ("pgdolly_pg_test", True, True, []),
        ("pgdolly_pg_test", False, False, ["no node of the inventory has it"]),
        ("for_the_standby", True, False, ["pgdolly did not make it"]),
    ],
)
def test_only_a_slot_of_pgdollys_is_dropped(slot: str, known: bool, dropped: bool, said: list[str]) -> None:
    facts = promotion_facts(slot, known=known)
    plan = plan_promotion(facts, decide(facts, now=False, backup=True))
    assert any(isinstance(step, KeepSlot) for step in order(plan)) is dropped
    assert [warning.rpartition(": ")[2] for warning in plan.warnings if slot in warning] == said


GIVEN_UP = RunLock(
    run_id="20251227-175000-pg-test-7f3a",
    operation="promote",
    controller="bastion",
    pid=7,
    began_at="2025-12-27T17:50:00+00:00",
)


def test_a_promotion_that_was_given_up_after_the_cut_is_ended_by_another_one() -> None:
    """Its roles, its patroni.yml and the source's slot are as that one left them: nobody knows how."""
    facts = dataclasses.replace(
        promotion_facts("pgdolly_pg_test"), follows=None, upstream=None, position=None, given_up=GIVEN_UP
    )
    plan = plan_promotion(facts, decide(facts, now=False, backup=True))
    kinds = [type(step) for step in order(plan)]
    assert not {FollowUpstream, LeaveArchive, EndDelay, PromoteStandby} & set(kinds)
    expected = (
        MendStanza,
        MakePasswords,
        UseOwnPasswords,
        SetOwnRoles,
        ReloadPatroni,
        KeepSlot,
        EnableArchiving,
    )
    places = [kinds.index(kind) for kind in expected]
    assert places == sorted(places)
    assert GIVEN_UP.run_id in plan.summary[0] and plan.warnings == ()


@pytest.mark.parametrize(
    ("replayed", "said"),
    [
        ("0/5000000", "it is not behind now (it has replayed to 0/5000000)"),
        ("0/5000078", "it is not behind now (it has replayed to 0/5000078)"),
        ("0/4FFFF00", "it is 256 bytes of WAL behind now (0/4FFFF00 of 0/5000000)"),
    ],
)
def test_how_far_behind_a_promotion_says_it_is(replayed: str, said: str) -> None:
    """The upstream is asked first, and the standby may have replayed more by the time that it is."""
    facts = dataclasses.replace(promotion_facts("pgdolly_pg_test"), replayed=LSN.parse(replayed))
    plan = plan_promotion(facts, decide(facts, now=False, backup=True))
    assert any(line.endswith(f"has then: {said}") for line in plan.summary)


NEW = cluster("pg-test", 2)


def request(**given: Any) -> CloneRequest:
    pitr = parse_request(given.pop("pitr", {}))
    return CloneRequest(source="pg-meta", new="pg-test", pitr=pitr, **given)


@pytest.mark.parametrize(
    ("asked", "new", "said"),
    [
        (request(standby=True, pitr={"xid": 1000}), NEW, "cannot stand at a point"),
        (request(via="stream", pitr={"lsn": "0/1"}), NEW, "--via stream"),
        (
            request(via="stream", standby=True, pitr={"repo": 1}),
            NEW,
            "--repo and --set choose among its backups",
        ),
        (request(via="stream", pitr={"set": "20251227-090000F"}), NEW, "--repo and --set"),
        (request(slot=True, pitr={"type": "immediate"}), NEW, "--slot"),
        (request(delay="1h"), NEW, "for a standby cluster"),
        (request(delay="a while", standby=True), NEW, "'a while'"),
        (request(delay="25d", standby=True), NEW, "24d at most"),
        (request(delay="60", standby=True), NEW, "30min"),
        (request(pitr={"timeline": 2}), NEW, "timeline"),
        (request(pitr={"xid": 1000}), dataclasses.replace(NEW, upstream="10.10.10.1"), "pg_upstream"),
        (CloneRequest(source="pg-test", new="pg-test"), NEW, "no clone of itself"),
    ],
)
def test_what_contradicts_itself(asked: CloneRequest, new: Cluster, said: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        checked(asked, new)
    assert said in raised.value.what and raised.value.untouched == "nothing was changed"


def test_the_inventory_makes_a_standby_cluster() -> None:
    found = checked(request(), dataclasses.replace(NEW, upstream="10.10.10.1", delay="1h"))
    assert found.standby and found.delay == "1h"
    assert checked(request(), NEW).standby is False


def test_a_copy_that_does_not_fit() -> None:
    """WAL has to fit beside the data."""
    node = member_facts(NEW.members[0], system=SOURCE_SYSTEM, free_bytes=300 * MEGABYTE)
    refuse_too_small(node, 44 * MEGABYTE)
    with pytest.raises(Refused) as raised:
        refuse_too_small(node, 45 * MEGABYTE)
    assert "301.0 MB needed" in raised.value.what and raised.value.where == "pg-test-1"


@pytest.mark.parametrize(
    ("count", "follows", "session"),
    [(1, None, "any"), (2, None, "read-write"), (2, StandbyCluster(host="10.9.9.9"), "any")],
)
def test_of_a_standby_cluster_no_member_takes_writes(
    count: int, follows: StandbyCluster | None, session: str
) -> None:
    """To ask for one that does would refuse every cascade off a source of several members."""
    source = cluster("pg-meta", count)
    members = tuple(
        member_facts(each, system=SOURCE_SYSTEM, standby_cluster=follows) for each in source.members
    )
    upstream = upstream_of(source, ClusterFacts(cluster=source, members=members), NEW)
    assert upstream.session == session
    [command] = TakeBaseBackup(instance=RESET.leader.instance, upstream=upstream).commands()
    assert f'"session": "{session}"' in " ".join(command.argv)


TEMPLATE = MemberConfiguration(member=cluster("pg-meta", 1).members[0], patroni={}, dynamic={}, pgbackrest="")
NOTHING_STORED = StoreView(leader=None, members={}, empty=True)
STALE = StoreView(leader=None, members={}, initialize="4711")


def clone_facts(*, now: bool, backups: tuple[BackupSet, ...] | None = None) -> CloneFacts:
    """What a clone of pg-meta sees: of now, or out of its backups alone."""
    source = cluster("pg-meta", 1)
    members = tuple(member_facts(each, system=SOURCE_SYSTEM) for each in source.members)
    found = catalogue("pg-meta", system=SOURCE_SYSTEM)
    at = Position(system_identifier=SOURCE_SYSTEM, timeline=1, lsn=LSN.parse("0/5000000"))
    return CloneFacts(
        request=request(),
        source=ClusterFacts(cluster=source, members=members),
        source_stanza="pg-meta",
        new=NEW,
        template=TEMPLATE,
        template_cluster=ClusterFacts(cluster=source, members=members),
        repository=None,
        catalogue=found if backups is None else dataclasses.replace(found, backups=backups),
        no_catalogue=None,
        new_catalogue=None,
        upstream=UPSTREAM if now else None,
        position=at if now else None,
    )


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (request(standby=True, pitr={"repo": 9}), "there is no repository 9 to read from"),
        (request(standby=True, via="backup"), "there is no backup of the present system"),
        (request(standby=True, pitr={"repo": 1}), "there is no backup of the present system"),
    ],
)
def test_backups_that_were_asked_for_are_not_replaced_by_base_backups(asked: CloneRequest, said: str) -> None:
    facts = dataclasses.replace(clone_facts(now=True, backups=()), request=asked)
    with pytest.raises(Refused, match=said) as raised:
        filled_from(facts)
    assert raised.value.untouched == "nothing was changed" and raised.value.next_command


def test_a_clone_of_now_is_not_told_to_take_a_timeline(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be refused: a timeline belongs to a point of the past."""

    def unclear(*_: object, **__: object) -> None:
        raise Refused(
            "where the archive ends is not clear", next_command="the same command with --timeline 3"
        )

    monkeypatch.setattr("pgdolly.operations.clone.decide.resolve", unclear)
    facts = dataclasses.replace(clone_facts(now=True), request=request(standby=True, via="backup"))
    with pytest.raises(Refused, match="is not clear") as raised:
        filled_from(facts)
    assert raised.value.next_command is not None
    assert "--timeline" not in raised.value.next_command
    assert "leave --via, --repo and --set out" in raised.value.next_command


@pytest.mark.parametrize(
    ("catalogue_too", "via", "said"),
    [
        (True, None, "(stanza pg-meta: there is no backup of the present system"),
        (False, None, "(pg-test-1: no route to the repository)"),
        (True, "stream", None),
        (False, "stream", None),
    ],
)
def test_base_backups_instead_of_backups_are_warned_of_with_the_reason(
    catalogue_too: bool, via: Any, said: str | None
) -> None:
    problem = CommandFailed("no route to the repository", where="pg-test-1")
    facts = clone_facts(now=True, backups=())
    facts = dataclasses.replace(facts, request=request(standby=True, via=via))
    if not catalogue_too:
        facts = dataclasses.replace(facts, catalogue=None, no_catalogue=problem)
    found, unused = filled_from(facts)
    assert found is None
    _, warnings = describe(BLUEPRINTS["streamed-with-a-slot"], facts, NOTHING_STORED, unused=unused)
    if said is None:
        assert warnings == ()
    else:
        [warning] = warnings
        assert "the backups of pg-meta cannot be used" in warning and said in warning


def test_a_source_that_has_left_what_its_archive_leads_to_does_not_fill_a_clone_from_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a reset and before its clean-up: a replay would pass the fork, and the pages differ from the source's."""
    facts = clone_facts(now=True)
    assert facts.position is not None
    refuse_other_history(facts, resolved(), facts.position)
    with pytest.raises(Refused) as raised:
        refuse_other_history(facts, resolved(), dataclasses.replace(facts.position, timeline=3))
    assert "on timeline 3, and its archive leads along timeline 1" in raised.value.what
    assert "pgdolly cleanup pg-meta" in str(raised.value.next_command)
    monkeypatch.setattr("pgdolly.operations.clone.decide.resolve", lambda *_, **__: resolved())
    assert filled_from(facts) == (resolved(), None)
    left = dataclasses.replace(facts, position=dataclasses.replace(facts.position, timeline=3))
    found, unused = filled_from(left)
    assert found is None and "on timeline 3" in str(unused)


@pytest.mark.parametrize(
    ("archived", "fork", "fits"),
    [((2, 3), "0/5000000", True), ((3,), "0/5000000", False), ((2, 3), "0/4000000", False)],
)
def test_after_a_failover_the_archive_leads_on_as_soon_as_it_has_the_histories(
    archived: tuple[int, ...], fork: str, fits: bool
) -> None:
    facts = clone_facts(now=True)
    assert facts.position is not None and facts.catalogue is not None
    forks = (Fork(1, LSN.parse(fork)), Fork(2, LSN.parse("0/6000000")))
    archive = Archive(
        archive_id=resolved().archive_id,
        repo_key=resolved().repo_key,
        segments=(),
        histories=tuple(TimelineHistory(number, forks[: number - 1]) for number in archived),
    )
    position = dataclasses.replace(facts.position, timeline=3)
    facts = dataclasses.replace(facts, catalogue=dataclasses.replace(facts.catalogue, archives=(archive,)))
    with contextlib.nullcontext() if fits else pytest.raises(Refused):
        refuse_other_history(facts, resolved(), position)


def test_every_new_node_is_asked_whether_it_may_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = NEW.members[:2]

    async def ask(_: object, member: Member, *__: object, **___: object) -> Position:
        if member == first:
            return Position(system_identifier=SOURCE_SYSTEM, timeline=1, lsn=LSN(0))
        raise CommandFailed("it cannot stream", where=member.name, stderr_end="no pg_hba.conf entry for host")

    monkeypatch.setattr("pgdolly.operations.clone.observe.ask_upstream", ask)
    world = World({member.name: cast(Shell, None) for member in NEW.members})
    source = clone_facts(now=True).source
    with pytest.raises(CommandFailed) as raised:
        asyncio.run(position_of(world, NEW, UPSTREAM, source, TEMPLATE))
    assert raised.value.where == second.name and second.node.address in str(raised.value.next_command)


def test_a_clone_on_its_sources_machine_would_share_its_tablespaces() -> None:
    """A replay makes them where the source has them, and takes what is there for its own."""
    facts = clone_facts(now=True)
    [source] = facts.source.members
    [new, *_] = NEW.members
    spaces = dataclasses.replace(
        facts, source=dataclasses.replace(facts.source, members=(dataclasses.replace(source, tablespaces=1),))
    )
    blank = member_facts(new, system=SOURCE_SYSTEM)
    refuse_unfit(blank, "", facts, None)
    with pytest.raises(
        Refused, match=r"pg-meta-1 has tablespaces \(1\).*pg-test-1 is on one machine with pg-meta-1"
    ):
        refuse_unfit(blank, "", spaces, None)


@pytest.mark.parametrize("now", [True, False], ids=["of now", "of a point"])
def test_a_clones_plan_stands_on_its_backup_set_and_on_an_empty_store(now: bool) -> None:
    facts = clone_facts(now=now)
    plan = dataclasses.replace(
        PLANS["to-a-point"], facts=tuple(present_facts(facts, NOTHING_STORED, resolved()).items())
    )
    [used] = facts.catalogue.backups if facts.catalogue is not None else ()
    newer = dataclasses.replace(used, label="20251227-100000F")
    more = clone_facts(now=now, backups=(used, newer))
    refuse_stale(plan, present_facts(more, NOTHING_STORED, resolved()))
    for changed, store, said in (
        (
            clone_facts(now=now, backups=(newer,)),
            NOTHING_STORED,
            f"backup set {used.label} of pg-meta in repo1",
        ),
        (facts, STALE, "entries of pg-test in Patroni's store was none, is those of a former cluster"),
        (dataclasses.replace(facts, catalogue=None), NOTHING_STORED, f"backup set {used.label}"),
        (
            dataclasses.replace(facts, catalogue=catalogue("pg-meta", system=1)),
            NOTHING_STORED,
            f"system identifier of stanza pg-meta was {SOURCE_SYSTEM}, is 1",
        ),
    ):
        with pytest.raises(StalePlan) as raised:
            refuse_stale(plan, present_facts(changed, store, resolved()))
        assert said in raised.value.what or f"{said} was there, is gone" in raised.value.what


@pytest.mark.parametrize(
    ("store", "said"),
    [
        (
            StoreView(leader="a-1", members={"a-1": "10.9.9.1", "a-2": None}),
            "a-1 at 10.9.9.1, which leads it, a-2",
        ),
        (StoreView(leader="a-1", members={}), "a-1, which leads it"),
    ],
)
def test_a_name_by_which_a_cluster_lives_elsewhere(store: StoreView, said: str) -> None:
    """On nodes that the inventory does not know, perhaps: its leader's key would be deleted."""
    with pytest.raises(Refused) as raised:
        refuse_living(NEW, store)
    assert said in raised.value.what and "pgdolly drop pg-test" in str(raised.value.next_command)
    assert raised.value.untouched == "nothing was changed"
    refuse_living(NEW, STALE)


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_what_a_former_cluster_of_that_name_has_left_is_said_to_go(name: str) -> None:
    facts = clone_facts(now=name != "to-a-point")
    _, warnings = describe(BLUEPRINTS[name], facts, STALE)
    assert any("a former cluster pg-test, of system 4711: they go" in each for each in warnings)
    _, warnings = describe(BLUEPRINTS[name], facts, NOTHING_STORED)
    assert not any("former cluster" in each for each in warnings)


def test_a_new_clusters_store_is_begun_and_a_former_life_not_kept() -> None:
    kinds = [step.kind for step in order(PLANS["to-a-point"])]
    assert kinds.count("begin_store") == 1 and "reset_store" not in kinds
    assert kinds.index("begin_store") < kinds.index("start_leader")
