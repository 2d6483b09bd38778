"""What a drop refuses, and its plans: golden ones, word for word.

After a change that is meant: `PGDOLLY_WRITE_GOLDEN=1 pytest tests/unit/test_plan_drop.py`, then read the difference.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
from pathlib import Path, PurePosixPath
from typing import Any

import click
import pytest

from pgdolly.cli.plan_view import plan_lines
from pgdolly.domain.cluster import Cluster, Member, Node, ServiceManager
from pgdolly.domain.draft import MARK
from pgdolly.domain.errors import CommandFailed, InvalidInput, PgdollyError, Refused, Unreachable
from pgdolly.drivers.followers import Sender
from pgdolly.drivers.observation import RunLock
from pgdolly.drivers.patroni import ClusterView, MemberView
from pgdolly.drivers.removal import (
    ConfigurationFile,
    Remains,
    files_of_clone,
    parse_remains,
    remove_data_command,
    remove_made_commands,
)
from pgdolly.drivers.store import StoreView
from pgdolly.engine.plan import Plan, outline
from pgdolly.inventory.fleet import Fleet
from pgdolly.operations.drop.observe import DropFacts, KeptSlot, Neighbour, holders, look_at_neighbour
from pgdolly.operations.drop.plan import plan_drop
from pgdolly.operations.drop.refusals import refuse, refuse_unlockable
from pgdolly.steps.drop import DeleteStanza, RemoveData, RemoveMade, RemoveStore, StartStanza, StopServer
from pgdolly.steps.member import StopMember
from pgdolly.steps.promotion import KeepSlot, slot_for
from pgdolly.steps.registry import STEPS
from reset_blueprints import member_facts

GOLDEN = Path(__file__).parents[1] / "data" / "drop_plans"
SYSTEM = "7588470953413209999"


def member(cluster: str, sequence: int, **changed: Any) -> Member:
    name = f"{cluster}-{sequence}"
    host = {"pg-meta": 10, "pg-meta2": 20, "pg-test": 30}[cluster] + sequence
    of = Member(
        name=name,
        cluster=cluster,
        sequence=sequence,
        role="primary" if sequence == 1 else "replica",
        node=Node(name=name, address=f"10.10.10.{host}"),
        service_manager=ServiceManager.SYSTEMD,
        service_enabled=True,
    )
    return dataclasses.replace(of, **changed)


def fleet(**changed: Any) -> Fleet:
    """pg-meta, its clone pg-meta2, which is to be dropped, and pg-test."""
    counts = {"pg-meta": 1, "pg-meta2": 3, "pg-test": 1}
    clusters = {
        name: Cluster(name=name, members=tuple(member(name, number) for number in range(1, count + 1)))
        for name, count in counts.items()
    }
    return Fleet({**clusters, **changed}, "pigsty.yml")


def remains(of: Member, **changed: Any) -> Remains:
    """A member that runs, as `pgdolly clone` made it."""
    whole = Remains(
        member=of,
        serviced=True,
        up=True,
        configured=True,
        scope=of.cluster,
        patroni_name=of.name,
        bin_directory=PurePosixPath("/usr/lib/postgresql/18/bin"),
        patroni_data_directory=of.data_directory,
        real_directory=PurePosixPath("/data/postgres/data"),
        running=True,
        standby=of.sequence != 1,
        empty=False,
        system_identifier=SYSTEM,
        slots=("pg_meta2_2", "pg_meta2_3") if of.sequence == 1 else (),
        senders=(sender("pg-meta2-2"), sender("pg-meta2-3")) if of.sequence == 1 else (),
        stanza=of.cluster,
        spool_path=PurePosixPath("/pg/spool"),
        files=tuple(
            ConfigurationFile(path=path, made=True, by_root=path.suffix == ".service")
            for path in files_of_clone(of)
            if "upstream" not in path.name
        ),
        work=("20251227-100000-pg-meta2-7f3a", "spool"),
        cluster=ClusterView(
            scope=of.cluster, members=(MemberView(name="pg-meta2-1", role="leader", state="running"),)
        ),
    )
    return dataclasses.replace(whole, **changed)


def blank(of: Member, **changed: Any) -> Remains:
    """A member whose node holds nothing of it."""
    nothing = Remains(member=of, patroni_name=of.name, real_directory=of.data_directory)
    return dataclasses.replace(nothing, **changed)


def sender(name: str) -> Sender:
    return Sender(application_name=name, user="replicator", client="10.10.10.99", state="streaming")


STORE = StoreView(
    leader="pg-meta2-1",
    members={f"pg-meta2-{number}": f"10.10.10.2{number}" for number in (1, 2, 3)},
    initialize=SYSTEM,
)
NOTHING_STORED = StoreView(leader=None, members={}, empty=True)


def facts(**changed: Any) -> DropFacts:
    clusters = fleet().clusters
    whole = DropFacts(
        cluster=clusters["pg-meta2"],
        members=tuple(remains(each) for each in clusters["pg-meta2"].members),
        store=STORE,
        neighbours=(
            Neighbour(
                cluster=clusters["pg-meta"],
                scope="pg-meta",
                stanza="pg-meta",
                store=StoreView(leader="pg-meta-1", members={"pg-meta-1": "10.10.10.11"}, initialize="1"),
            ),
            Neighbour(cluster=clusters["pg-test"]),
        ),
        repo_keys=(1, 2),
    )
    return dataclasses.replace(whole, **changed)


def with_member(number: int, **changed: Any) -> DropFacts:
    members = list(facts().members)
    members[number - 1] = dataclasses.replace(members[number - 1], **changed)
    return facts(members=tuple(members))


def with_neighbour(**changed: Any) -> DropFacts:
    first, last = facts().neighbours
    return facts(neighbours=(first, dataclasses.replace(last, **changed)))


def refused(
    by: DropFacts, *said: str, of: Fleet | None = None, with_backups: bool = False, kind: Any = Refused
) -> PgdollyError:
    with pytest.raises(kind) as caught:
        refuse(by, of or fleet(), with_backups=with_backups)
    error: PgdollyError = caught.value
    text = f"{error} {error.next_command}"
    assert [word for word in said if word not in text] == [], text
    assert error.untouched == "nothing was changed" and error.next_command
    return error


# -- who replicates


def test_a_cluster_that_only_its_own_members_replicate_from_is_dropped() -> None:
    refuse(facts(), fleet(), with_backups=True)


@pytest.mark.parametrize("number", [1, 2])
def test_whoever_receives_from_any_member_is_named(number: int) -> None:
    refused(
        with_member(number, senders=(sender("pg_receivewal"),)), "pg_receivewal", f"from pg-meta2-{number}"
    )


def test_a_base_backup_is_somebody_elses_unless_patroni_fills_a_member() -> None:
    senders = (sender("pg_basebackup"), sender("pg_basebackup"))
    refused(with_member(1, senders=senders), "pg_basebackup")
    filled = with_member(1, senders=senders).members
    third = dataclasses.replace(filled[2], fillers=("pg_basebackup (process 7)",))
    refuse(facts(members=(*filled[:2], third)), fleet(), with_backups=False)
    more = dataclasses.replace(filled[0], senders=(*senders, sender("pg_basebackup")))
    refused(facts(members=(more, filled[1], third)), "pg_basebackup")


def test_slots_of_others_are_named_also_where_the_server_is_down() -> None:
    refused(with_member(2, running=False, slots=("for_debezium",)), "slot for_debezium on pg-meta2-2")
    refuse(with_member(2, slots=("pg_meta2_1",)), fleet(), with_backups=False)


def following(host: str, port: str = "5432") -> StoreView:
    return StoreView(leader="pg-test-1", members={}, standby_of=(host, port))


@pytest.mark.parametrize(
    "store", [following("10.10.10.22"), following("10.0.0.1,10.10.10.22"), following("10.10.10.22", "")]
)
def test_a_standby_cluster_is_named_by_its_store(store: StoreView) -> None:
    refused(with_neighbour(scope="pg-test", store=store), "pg-test follows pg-meta2-2", "promote or drop")


@pytest.mark.parametrize(
    "store", [following("10.10.10.11"), following("10.10.10.22", "5433"), following("", "")]
)
def test_a_standby_cluster_of_another_one_does_not_matter(store: StoreView) -> None:
    refuse(with_neighbour(scope="pg-test", store=store), fleet(), with_backups=False)


@pytest.mark.parametrize("upstream", ["pg-meta2", "10.10.10.21", "pg-meta2-2"])
def test_a_standby_cluster_that_cannot_be_asked_is_taken_for_one_by_the_inventory(upstream: str) -> None:
    test = dataclasses.replace(fleet().clusters["pg-test"], upstream=upstream)
    refused(with_neighbour(cluster=test, problem="no route to host"), "pg-test", upstream, "no route to host")
    # A node that can be asked and holds no cluster follows nobody.
    refuse(with_neighbour(cluster=test), fleet(), with_backups=False)


# -- the members


def test_a_member_that_cannot_be_reached_is_named_with_both_ways_out() -> None:
    silent = member("pg-meta2", 3)
    error = refused(
        facts(members=facts().members[:2], silent=((silent, Unreachable("no route to host")),)),
        "pg-meta2-3",
        "no route to host",
        "bring pg-meta2-3 up",
        "take 10.10.10.23 out of the inventory",
        kind=Unreachable,
    )
    assert error.where == "pg-meta2-3"


def test_a_member_that_cannot_be_looked_at_keeps_its_own_advice() -> None:
    failed = CommandFailed("no python", next_command="install patroni")
    refused(
        facts(silent=((member("pg-meta2", 3), failed),)),
        "pg-meta2-3",
        "no python",
        "install",
        kind=CommandFailed,
    )


def test_a_run_that_holds_it_is_named() -> None:
    lock = RunLock(run_id="20251227-1", controller="bastion", pid=7, operation="clone", began_at="09:00")
    refused(with_member(2, lock=lock), "20251227-1", "clone", "pgdolly resume 20251227-1 --abandon")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"patroni_data_directory": PurePosixPath("/pg/other")}, ("/pg/data", "/pg/other", "pg_data")),
        ({"objection": "/pg/data holds no PG_VERSION"}, ("holds no PG_VERSION",)),
        ({"serviced": False, "patronis": (77,)}, ("process 77", "pgdolly_service")),
        ({"shared_tablespaces": ("/ts (also of /other/data)",)}, ("/ts (also of /other/data)",)),
    ],
)
def test_what_is_wrong_with_one_member(changed: dict[str, Any], said: tuple[str, ...]) -> None:
    error = refused(with_member(2, **changed), *said)
    assert error.where == "pg-meta2-2"


def test_a_node_without_a_place_for_the_lock() -> None:
    with pytest.raises(Refused) as caught:
        refuse_unlockable(with_member(3, lockable=False))
    assert caught.value.where == "pg-meta2-3" and "install -d -o postgres" in str(caught.value.next_command)
    refuse_unlockable(facts())


def beside(**changed: Any) -> Fleet:
    """pg-test lives on the node of pg-meta2's first member."""
    other = member("pg-test", 1, node=Node(name="pg-test-1", address="10.10.10.21"), **changed)
    return fleet(**{"pg-test": Cluster(name="pg-test", members=(other,))})


@pytest.mark.parametrize("data", ["/pg/data", "/pg/data/inner", "/pg"])
def test_a_data_directory_that_is_holds_or_lies_in_anothers(data: str) -> None:
    refused(facts(), data, "pg-test-1", of=beside(data_directory=PurePosixPath(data), service="two"))


def test_a_service_that_is_anothers_too() -> None:
    refused(facts(), "service patroni", "pg-test-1", of=beside(data_directory=PurePosixPath("/two/data")))


# -- the store and the stanza


def test_members_in_the_store_that_nobody_knows() -> None:
    store = dataclasses.replace(STORE, members={**STORE.members, "pg-meta2-4": "10.10.10.24"})
    refused(facts(store=store), "pg-meta2-4", "inventory")


def test_a_scope_that_is_anothers_too() -> None:
    refused(with_neighbour(scope="pg-meta2", store=STORE), "pg-test", "scope pg-meta2")
    # The same scope in another store.
    refuse(with_neighbour(scope="pg-meta2", store=NOTHING_STORED), fleet(), with_backups=False)


def test_members_of_two_scopes() -> None:
    refused(with_member(2, scope="pg-meta"), "pg-meta, pg-meta2")


@pytest.mark.parametrize(
    ("by", "said"),
    [
        (with_member(2, stanza="other"), ("different stanzas", "other, pg-meta2")),
        (
            facts(members=tuple(dataclasses.replace(m, stanza="pg-meta") for m in facts().members)),
            ("pg-meta",),
        ),
        (facts(members=tuple(dataclasses.replace(m, stanza=None) for m in facts().members)), ("pg1-path",)),
        (with_neighbour(scope="pg-test", stanza="pg-meta2", store=NOTHING_STORED), ("that of pg-test",)),
    ],
)
def test_backups_that_may_be_anothers_are_left_alone(by: DropFacts, said: tuple[str, ...]) -> None:
    refused(by, *said, "without --with-backups", with_backups=True)
    refuse(by, fleet(), with_backups=False)


def test_a_stanza_of_another_name_needs_every_other_cluster_to_be_asked() -> None:
    named = tuple(dataclasses.replace(m, stanza="main") for m in facts().members)
    refuse(facts(members=named), fleet(), with_backups=True)
    silent = dataclasses.replace(with_neighbour(problem="no route to host"), members=named)
    refused(silent, "stanza main", "no route to host", with_backups=True)
    refuse(with_neighbour(problem="no route to host"), fleet(), with_backups=True)


# -- the plans

_MEMBERS = fleet().clusters["pg-meta2"].members
_FAILED = facts(
    members=(
        # A restore was killed in it; Patroni was never started, and its service is not known yet.
        remains(
            dataclasses.replace(_MEMBERS[0], service_manager=None, service_enabled=False),
            serviced=False,
            up=False,
            running=True,
            senders=(),
            slots=(),
            system_identifier=None,
            fillers=("pgbackrest (process 77)",),
            cluster=None,
        ),
        blank(_MEMBERS[1], empty=False),
        blank(_MEMBERS[2]),
    ),
    store=NOTHING_STORED,
    repo_keys=(),
)
_OUTSIDE = facts(
    members=(
        remains(
            _MEMBERS[0],
            stays=True,
            tablespaces=(PurePosixPath("/ts/fast/PG_18_202506291"),),
            wal_directory=PurePosixPath("/wal/pg-meta2"),
            files=tuple(dataclasses.replace(file, made=False) for file in remains(_MEMBERS[0]).files),
            beside=(PurePosixPath("/pg/data.20251227-100000"),),
        ),
    ),
    store=dataclasses.replace(STORE, standby_of=("10.10.10.11", ""), upstream_slot="for_pg_meta2"),
    neighbours=(Neighbour(cluster=fleet().clusters["pg-test"], problem="no route to host"),),
)
PLANS = {
    "whole": plan_drop(facts(repo_keys=(), backups_stay=True), fleet(), with_backups=False),
    "with-backups": plan_drop(facts(), fleet(), with_backups=True),
    "failed-clone": plan_drop(_FAILED, fleet(), with_backups=True),
    "outside": plan_drop(
        dataclasses.replace(_OUTSIDE, repo_keys=(), backups_stay=True), fleet(), with_backups=False
    ),
    "gone": plan_drop(
        facts(members=tuple(map(blank, _MEMBERS)), store=None, repo_keys=()), fleet(), with_backups=False
    ),
}


def golden(name: str, text: str) -> str:
    path = GOLDEN / name
    if os.environ.get("PGDOLLY_WRITE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return path.read_text()


@pytest.mark.parametrize("name", PLANS)
def test_the_plan_that_a_person_reads(name: str) -> None:
    text = click.unstyle("\n".join(plan_lines(outline(PLANS[name])))) + "\n"
    assert text == golden(f"{name}.txt", text)


def test_the_plan_that_is_journaled() -> None:
    text = json.dumps(STEPS.encode_plan(PLANS["with-backups"]), indent=1, ensure_ascii=False) + "\n"
    assert text == golden("with-backups.json", text)
    for plan in PLANS.values():
        assert STEPS.decode_plan(json.loads(json.dumps(STEPS.encode_plan(plan)))) == plan


def test_no_golden_file_is_left_over() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {f"{n}.txt" for n in PLANS} | {"with-backups.json"}


def stages_of(plan: Plan, *kinds: type) -> set[int]:
    return {int(step_id.split("/")[1]) for step_id, _, _, step in plan.steps() if isinstance(step, kinds)}


@pytest.mark.parametrize("name", ["whole", "with-backups", "failed-clone", "outside"])
def test_data_goes_when_all_is_down_the_store_after_it_and_what_leads_to_them_last(name: str) -> None:
    plan = PLANS[name]
    stops = [lane.name for _, _, lane, step in plan.steps() if isinstance(step, StopMember | StopServer)]
    assert stops[-1] == "pg-meta2-1", "its replicas would hold an election"
    order = [
        stages_of(plan, *kinds)
        for kinds in ((StopMember, StopServer), (RemoveData,), (RemoveStore,), (DeleteStanza,), (RemoveMade,))
    ]
    flat = [number for stages in order for number in sorted(stages)]
    assert flat == sorted(flat) and len(set(flat)) == len(flat)
    assert bool(stages_of(plan, DeleteStanza)) is (name == "with-backups")


def test_what_is_gone_needs_no_step_but_a_trace_of_anything_does() -> None:
    assert PLANS["gone"].stages == ()
    traces: list[dict[str, Any]] = [
        {"empty": False},
        {"work": ("run.abandoned",)},
        {"running": True},
        {"serviced": True, "up": True},
        {"fillers": ("pgbackrest (process 7)",)},
        {"files": (ConfigurationFile(path=PurePosixPath("/etc/patroni/patroni.yml"), made=True),)},
    ]
    for trace in traces:
        members = (blank(_MEMBERS[0]), blank(_MEMBERS[1], **trace), blank(_MEMBERS[2]))
        plan = plan_drop(facts(members=members, store=None, repo_keys=()), fleet(), with_backups=False)
        assert stages_of(plan, RemoveData), trace
    nowhere = tuple(map(blank, _MEMBERS))
    left = ConfigurationFile(path=PurePosixPath("/etc/patroni/patroni.yml"), made=False)
    others = (*nowhere[:2], blank(_MEMBERS[2], files=(left,), configured=True, scope="pg-meta2"))
    assert plan_drop(facts(members=others, store=NOTHING_STORED), fleet(), with_backups=False).stages == ()
    assert plan_drop(facts(members=others), fleet(), with_backups=False).stages != ()


def test_a_stop_file_goes_with_the_stanza_and_stays_with_it() -> None:
    """A drop that was killed while it deleted the backups has left it; a later cluster could not make its stanza."""
    left = (blank(_MEMBERS[0], stanza="pg-meta2", stopped=True), *map(blank, _MEMBERS[1:]))
    gone = facts(members=left, store=None, repo_keys=())
    for with_backups in (True, False):
        plan = plan_drop(gone, fleet(), with_backups=with_backups)
        started = [step for _, _, _, step in plan.steps() if isinstance(step, StartStanza)]
        assert [step.member.name for step in started] == ["pg-meta2-1"]
        assert all(
            command.argv[-2:] == ("--log-level-console=info", "start") for command in started[0].commands()
        )
    kept = dataclasses.replace(gone, backups_stay=True)
    assert plan_drop(kept, fleet(), with_backups=False).stages == ()


def test_no_data_is_lost_where_there_is_none() -> None:
    """A drop before has removed it, and kept the backups that go now."""
    config = ConfigurationFile(path=PurePosixPath("/etc/pgbackrest/pgbackrest.conf"), made=True)
    left = tuple(blank(each, stanza="pg-meta2", files=(config,)) for each in _MEMBERS)
    plan = plan_drop(facts(members=left, store=None, repo_keys=(1,)), fleet(), with_backups=True)
    assert plan.summary == (
        "what is left of pg-meta2 (pg-meta2-1, pg-meta2-2, pg-meta2-3) is removed; its nodes hold no data of it",
        "its backups are LOST: stanza pg-meta2 in repo1",
    )


def test_what_leads_to_backups_that_stay_goes_with_them() -> None:
    config = PurePosixPath("/etc/pgbackrest/pgbackrest.conf")

    def removed(plan: Plan) -> set[PurePosixPath]:
        steps = [step for _, _, _, step in plan.steps() if isinstance(step, RemoveMade)]
        return {path for step in steps for path in (*step.files, *step.by_root)}

    kept, lost = PLANS["whole"], PLANS["with-backups"]
    assert removed(lost) - removed(kept) == {config} and removed(kept)
    none = plan_drop(facts(repo_keys=()), fleet(), with_backups=False)
    assert config in removed(none)
    left = tuple(
        blank(each, stanza="pg-meta2", files=(ConfigurationFile(path=config, made=True),))
        for each in _MEMBERS
    )
    again = facts(members=left, store=None, repo_keys=(), backups_stay=True)
    assert plan_drop(again, fleet(), with_backups=False).stages == ()
    later = facts(members=left, store=None, repo_keys=(1,))
    plan = plan_drop(later, fleet(), with_backups=True)
    assert stages_of(plan, DeleteStanza) and removed(plan) == {config}


def test_what_another_member_on_the_node_has_too_stays() -> None:
    other = beside(
        data_directory=PurePosixPath("/pg/data2"),
        service="two",
        pgbackrest_config=PurePosixPath("/etc/pgbackrest/pgbackrest.conf"),
        patroni_config=PurePosixPath("/etc/patroni/two.yml"),
    )
    plan = plan_drop(facts(repo_keys=()), other, with_backups=False)
    steps = {lane.name: step for _, _, lane, step in plan.steps() if isinstance(step, RemoveMade)}
    assert [str(path) for path in steps["pg-meta2-1"].files] == ["/etc/patroni/patroni.yml"]
    assert len(steps["pg-meta2-2"].files) == 2
    assert any("pgbackrest.conf (also of pg-test-1)" in line for line in plan.summary)
    works = {lane.name: step.work for _, _, lane, step in plan.steps() if isinstance(step, RemoveData)}
    assert works == {"pg-meta2-1": False, "pg-meta2-2": True, "pg-meta2-3": True}


def test_another_cluster_that_cannot_even_be_reached_is_no_obstacle() -> None:
    odd = member("pg-test", 1, node=Node(name="pg-test-1", address="10.10.10.31", connection="docker"))
    seen = asyncio.run(look_at_neighbour(Cluster(name="pg-test", members=(odd,))))
    assert seen.store is None and seen.problem is not None and "ansible_connection 'docker'" in seen.problem


# -- the commands


@pytest.mark.parametrize("path", ["", ".", "pg/data", "/", "//", "/pg/../data"])
def test_no_command_removes_what_is_no_absolute_path_below_the_root(path: str) -> None:
    odd = member("pg-meta2", 1, data_directory=PurePosixPath(path))
    with pytest.raises(InvalidInput):
        remove_data_command(odd, real_directory=PurePosixPath("/pg/data"))
    with pytest.raises(InvalidInput):
        remove_data_command(member("pg-meta2", 1), real_directory=PurePosixPath(path))
    with pytest.raises(InvalidInput):
        remove_made_commands(member("pg-meta2", 1), (), (PurePosixPath(path),))


def test_files_of_root_are_looked_at_before_root_removes_them() -> None:
    [look, remove, reload] = remove_made_commands(
        member("pg-meta2", 1),
        (PurePosixPath("/etc/patroni/patroni.yml"),),
        (PurePosixPath("/etc/systemd/system/patroni.service"),),
    )
    assert look.run_as == "dbsu" and MARK in look.shown()
    assert remove.argv == ("rm", "-f", "--", "/etc/systemd/system/patroni.service")
    assert reload.argv == ("systemctl", "daemon-reload")
    assert (remove.run_as, reload.run_as) == ("root", "root")


# -- what the nodes say

_FOUND: dict[str, Any] = {
    "patroni_problem": "/etc/patroni/patroni.yml: no such file",
    "bin_directory": "",
    "postmaster": None,
    "data_directory": {"real_path": "/pg/data", "standby": False},
    "systemd": {"known": False, "enabled": False},
    "stanza": {"stanza": None, "spool_path": "/var/spool/pgbackrest", "stop_files": ["/lock/None.stop"]},
}
_MORE: dict[str, Any] = {
    "objection": None,
    "empty": True,
    "stays": False,
    "tablespaces": [],
    "shared_tablespaces": [],
    "wal_directory": None,
    "slots": [],
    "senders": [],
    "patronis": [],
    "fillers": [],
    "files": [],
    "work": [],
    "pgpass": None,
    "lockable": True,
    "beside": [],
}


def test_a_node_that_holds_nothing_is_no_error() -> None:
    of = member("pg-meta2", 1)
    assert parse_remains(of, _FOUND, _MORE) == blank(
        dataclasses.replace(of, service_manager=None, service_enabled=False)
    )


def test_what_a_node_says_is_read() -> None:
    found = {
        **_FOUND,
        "patroni": {"scope": "pg-meta2", "name": "here", "superuser": "dba", "data_directory": "/d"},
    }
    found |= {"systemd": {"known": True, "enabled": True}, "lock": {"run_id": "one"}}
    found |= {
        "stanza": {"stanza": "main", "spool_path": "/spool", "stop_files": ["/lock/main.stop"]},
        "postmaster": {"pid": 7},
    }
    more = {**_MORE, "senders": [["x", "u", None, "streaming"]], "empty": False}
    more |= {
        "files": [{"path": "/etc/patroni/patroni.yml", "made": True, "empty": False, "removable": False}]
    }
    read = parse_remains(member("pg-meta2", 1), found, more)
    assert (read.configured, read.scope, read.patroni_name, read.superuser) == (
        True,
        "pg-meta2",
        "here",
        "dba",
    )
    assert read.member.service_manager is ServiceManager.SYSTEMD and read.member.service_enabled
    assert read.lock is not None and read.lock.run_id == "one"
    assert (read.stanza, read.spool_path, read.running) == ("main", PurePosixPath("/spool"), True)
    assert read.made == (
        ConfigurationFile(path=PurePosixPath("/etc/patroni/patroni.yml"), made=True, by_root=True),
    )
    assert str(read.senders[0]) == "x (u from the node itself, streaming)"


def slots_freed(plan: Plan) -> list[tuple[str, str]]:
    """Which slot on whose word, and always once the clone is stopped: Patroni does not drop one that is in use."""
    titles = [stage.title for stage in plan.stages]
    found = []
    for _, _, _, step in plan.steps():
        if isinstance(step, KeepSlot):
            assert not step.kept
            found.append((step.slot, step.instance.member.name))
    if found:
        assert titles.index("free the source") > titles.index("remove the data")
    return found


META = member_facts(fleet().clusters["pg-meta"].members[0], system=int(SYSTEM))
KEPT = KeptSlot(name="pgdolly_pg_meta2", keeper=META)


def test_the_slot_of_a_clone_is_taken_out_of_the_sources_configuration() -> None:
    store = dataclasses.replace(STORE, standby_of=("10.10.10.11", "5432"), upstream_slot="pgdolly_pg_meta2")
    plan = plan_drop(facts(store=store, kept_slots=(KEPT,)), fleet(), with_backups=False)
    assert slots_freed(plan) == [("pgdolly_pg_meta2", "pg-meta-1")]
    assert "stop the leader" in [stage.title for stage in plan.stages]
    assert "pgdolly_pg_meta2" not in " ".join(plan.warnings)
    unreachable = plan_drop(facts(store=store), fleet(), with_backups=False)
    assert "slots.pgdolly_pg_meta2=null" in " ".join(unreachable.warnings)


def test_a_slot_that_a_failed_clone_has_left_is_something_to_remove() -> None:
    """Nothing else may be left of it: its nodes were made anew, perhaps."""
    nothing = facts(members=tuple(map(blank, _MEMBERS)), store=None, repo_keys=(), kept_slots=(KEPT,))
    plan = plan_drop(nothing, fleet(), with_backups=False)
    assert slots_freed(plan) == [("pgdolly_pg_meta2", "pg-meta-1")]


def test_a_failed_clones_slot_is_found_by_its_name() -> None:
    """The store of the clone itself does not yet say whom it follows."""
    [meta, test] = facts().neighbours
    assert meta.store is not None
    keeping = dataclasses.replace(
        meta, store=dataclasses.replace(meta.store, slots=("for_the_auditors", "pgdolly_pg_meta2"))
    )
    slot = slot_for("pg-meta2")
    assert [each.name for each in holders(slot, [keeping, test])] == ["pg-meta"]
    assert list(holders(slot, [meta, test])) == []
    assert list(holders(slot_for("pg-meta"), [keeping, test])) == []
    # One of another cluster, whose name differs in a way that a slot's name cannot.
    using = dataclasses.replace(test, store=dataclasses.replace(NOTHING_STORED, upstream_slot=slot))
    assert list(holders(slot, [keeping, using])) == []
