"""Why a reset or a clean-up is refused before anything is touched, and what makes a plan stale."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any, cast

import pytest

from fake_nodes import FakeNode, Refuses
from pgdolly.domain.backup import Archive, ArchivedSegment, Catalogue
from pgdolly.domain.cluster import Cluster, Node
from pgdolly.domain.command import Command
from pgdolly.domain.errors import CommandFailed, InvalidInput, PgdollyError, Refused, StalePlan, Unreachable
from pgdolly.domain.lsn import LSN, WalSegment
from pgdolly.domain.timeline import Fork, TimelineHistory
from pgdolly.drivers import postgres
from pgdolly.drivers.backup_set import BackupSetContents
from pgdolly.drivers.observation import MemberFacts, RunLock
from pgdolly.drivers.store import StoreView
from pgdolly.engine.plan import Plan
from pgdolly.inventory.fleet import Fleet
from pgdolly.operations import cleanup
from pgdolly.operations.cleanup import CleanupFacts, colliding_history, has_own_backup, stanza_need
from pgdolly.operations.request import PitrRequest
from pgdolly.operations.reset import decide
from pgdolly.operations.reset.links import refuse_shared_links
from pgdolly.operations.reset.observe import ResetFacts
from pgdolly.operations.reset.readers import Readers, ask_for_set, refuse_copies
from pgdolly.operations.reset.refusals import (
    WAL_RESERVE,
    lacks_space,
    refuse_before_choosing,
    refuse_contents,
    refuse_full,
    refuse_odd_path,
    refuse_unfit,
)
from pgdolly.operations.running import refuse_stale
from pgdolly.operations.site import ClusterFacts, refuse_silent
from pgdolly.operations.standby import Upstream
from pgdolly.steps.stanza import EnableArchiving
from pgdolly.steps.verify import VerifyCluster
from pgdolly.steps.world import World
from pgdolly.transport.shell import Shell
from reset_blueprints import (
    MEGABYTE,
    SOURCE_SYSTEM,
    TARGET_SYSTEM,
    catalogue,
    cluster,
    member_facts,
    reset_facts,
    resolved,
)

REQUEST = PitrRequest(cluster="pg-meta")
RESOLVED = resolved()
LOCK = RunLock(run_id="20251227-1", controller="bastion", pid=7, operation="reset", began_at="09:00")
AT = datetime(2025, 12, 27, 9, 30, tzinfo=UTC)


def with_member(facts: ResetFacts, number: int, **changed: Any) -> ResetFacts:
    """The same facts with another member of the target."""
    members = list(facts.target.members)
    members[number] = dataclasses.replace(members[number], **changed)
    return dataclasses.replace(
        facts, target=dataclasses.replace(facts.target, members=tuple(members)), leader=members[0]
    )


def present_facts(facts: ResetFacts) -> dict[str, str]:
    """What a plan that restores the catalogue's one set stands on."""
    return decide.present_facts(facts, RESOLVED)


def refused(call: Callable[[], object]) -> Refused:
    with pytest.raises(Refused) as raised:
        call()
    assert raised.value.untouched == "nothing was changed"
    return raised.value


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("backup", [False, True])
def test_a_healthy_cluster_is_not_refused(in_place: bool, backup: bool) -> None:
    facts, request = reset_facts(in_place=in_place), PitrRequest(backup=backup)
    refuse_before_choosing(facts, request)
    refuse_unfit(facts, resolved(), request)
    for member in facts.target.members:
        refuse_full(member, resolved(), keep=backup)


def test_a_member_that_another_run_holds_is_refused_with_what_to_type() -> None:
    facts = with_member(reset_facts(), 2, lock=LOCK)
    error = refused(lambda: refuse_before_choosing(facts, REQUEST))
    assert error.where == "pg-test-3"
    for word in ("20251227-1", "reset", "09:00", "bastion", "process 7"):
        assert word in error.what
    assert error.next_command is not None
    assert "pgdolly resume 20251227-1" in error.next_command
    assert "--abandon" in error.next_command


def test_a_stanza_that_both_use_is_refused() -> None:
    """The clone's system identifier is the source's: nothing else would keep its WAL out."""
    facts = dataclasses.replace(reset_facts(), target_stanza="pg-meta")
    assert "both use stanza 'pg-meta'" in str(refused(lambda: refuse_before_choosing(facts, REQUEST)))


@pytest.mark.parametrize("stanza", ["pg-test", "pg-meta"], ids=["its own stanza", "its owner's stanza"])
def test_a_directory_of_the_source_is_no_target(stanza: str) -> None:
    facts = dataclasses.replace(reset_facts(), target_stanza=stanza)
    [source] = facts.source.members
    facts = with_member(
        facts, 1, member=dataclasses.replace(facts.target.members[1].member, node=source.member.node)
    )
    assert "is the same instance as pg-meta-1" in str(refused(lambda: refuse_before_choosing(facts, REQUEST)))


def test_in_place_source_and_target_are_the_same_on_purpose() -> None:
    facts = dataclasses.replace(reset_facts(in_place=True))
    assert facts.source_stanza == facts.target_stanza
    refuse_before_choosing(facts, PitrRequest())


def test_inventory_and_patroni_have_to_mean_the_same_directory() -> None:
    facts = with_member(reset_facts(), 1, data_directory=PurePosixPath("/other/data"))
    error = refused(lambda: refuse_before_choosing(facts, REQUEST))
    assert "/pg/data" in error.what and "/other/data" in error.what
    assert error.next_command == "set pg_data of pg-test-2 to /other/data"


@pytest.mark.parametrize("backup", [False, True])
def test_tablespaces_cannot_be_kept_aside(backup: bool) -> None:
    facts, request = (
        with_member(reset_facts(), 0, tablespaces=2),
        PitrRequest(cluster="pg-meta", backup=backup),
    )
    if backup:
        assert "2 tablespaces" in str(refused(lambda: refuse_before_choosing(facts, request)))
    else:
        refuse_before_choosing(facts, request)


def test_a_database_that_the_set_does_not_hold_is_refused() -> None:
    contents = BackupSetContents(databases=("orders", "postgres"))
    refuse_contents(reset_facts(), contents, PitrRequest(cluster="pg-meta", db_include=("orders",)))
    request = PitrRequest(cluster="pg-meta", db_include=("order",))
    error = refused(lambda: refuse_contents(reset_facts(), contents, request))
    assert "no database 'order'" in error.what and "orders, postgres" in error.what


FAST = BackupSetContents(databases=("postgres",), tablespaces=(("fast", PurePosixPath("/ssd/fast")),))


def apart() -> ResetFacts:
    """Every member on a machine of its own."""
    facts = reset_facts()

    def remote(node: Node) -> Node:
        return dataclasses.replace(node, connection="ssh")

    return with_nodes(facts, source=remote, target=remote)


def with_nodes(
    facts: ResetFacts,
    *,
    source: Callable[[Node], Node] = lambda node: node,
    target: Callable[[Node], Node] = lambda node: node,
) -> ResetFacts:
    def changed(of: ClusterFacts, change: Callable[[Node], Node]) -> ClusterFacts:
        members = tuple(dataclasses.replace(each, node=change(each.node)) for each in of.cluster.members)
        return dataclasses.replace(of, cluster=dataclasses.replace(of.cluster, members=members))

    return dataclasses.replace(
        facts, source=changed(facts.source, source), target=changed(facts.target, target)
    )


class Asked(FakeNode):
    """A node whose pgBackRest answers so when it is asked for the backup set."""

    def __init__(self, name: str, answer: str) -> None:
        self.node_name, self._answer = name, answer

    def answer(self, command: Command) -> str:
        assert command.argv[-1] == "info"
        if self._answer.startswith("ERROR"):
            raise Refuses(self._answer)
        return self._answer


def a_set(*, tablespaces: bool = False, status: str = "ok", there: bool = True) -> str:
    backup: dict[str, Any] = {"label": resolved().backup_set, "database-ref": [{"name": "postgres"}]}
    if tablespaces:
        backup["tablespace"] = [{"name": "fast", "destination": "/ssd/fast"}]
    return json.dumps([{"status": {"message": status}, "backup": [backup] if there else []}])


def readers_of(**answers: str) -> Readers:
    """What the members say, by the ends of their names."""
    facts = reset_facts()
    names = {f"pg-test{end.replace('_', '-')}": answer for end, answer in answers.items()}
    shells = {name: Asked(name, answer) for name, answer in names.items()}
    return asyncio.run(ask_for_set(facts, resolved(), World(shells), facts.target.members))


NOWHERE = a_set(status="missing stanza path", there=False)


def test_a_replica_that_cannot_read_the_set_is_copied_and_not_restored() -> None:
    readers = readers_of(_1=a_set(), _2=NOWHERE, _3="ERROR: [103]: unable to find a valid repository")
    assert readers.contents.databases == ("postgres",)
    assert set(readers.unreadable) == {"pg-test-2", "pg-test-3"}
    assert readers.unreadable["pg-test-2"].endswith(": missing stanza path")
    assert readers.unreadable["pg-test-3"] == "ERROR: [103]: unable to find a valid repository"
    refuse_copies(reset_facts(), readers, PitrRequest())


def test_a_leader_that_cannot_read_the_set_is_an_error() -> None:
    with pytest.raises(CommandFailed, match="missing stanza path"):
        readers_of(_1=NOWHERE, _2=NOWHERE, _3="ERROR: [103]: unable to find a valid repository")


def test_a_member_that_can_read_the_set_is_to_lead() -> None:
    error = refused(lambda: readers_of(_1=NOWHERE, _2="ERROR: [103]: unable to find", _3=a_set()))
    assert "pg-test-3 can read" in error.what and "missing stanza path" in error.what
    assert error.next_command is not None
    assert error.next_command.startswith("patronictl switchover pg-test --candidate pg-test-3 --force")


def test_a_base_backup_does_not_go_where_there_is_something() -> None:
    with_tablespace = a_set(tablespaces=True)
    readers = readers_of(_1=with_tablespace, _2=NOWHERE, _3=with_tablespace)
    error = refused(lambda: refuse_copies(reset_facts(), readers, PitrRequest()))
    assert "pg-test-2 cannot read" in str(error) and "tablespaces" in str(error)
    all_read = readers_of(_1=with_tablespace, _2=with_tablespace, _3=with_tablespace)
    refuse_copies(reset_facts(), all_read, PitrRequest())
    linked, readers = PitrRequest(link_map={"pg_wal": "/wal"}), readers_of(_1=a_set(), _2=NOWHERE, _3=a_set())
    error = refused(lambda: refuse_copies(reset_facts(), readers, linked))
    assert "--link-map" in str(error) and error.untouched == "nothing was changed"


def test_a_link_leads_to_one_place_of_one_server() -> None:
    """What a restore finds where a link leads, and does not want, it removes."""
    apart_, together_ = (list(each.target.cluster.members) for each in (apart(), reset_facts()))
    refuse_shared_links({"pg_wal": "/wal", "pg_log": "/log"}, apart_)
    error = refused(lambda: refuse_shared_links({"pg_wal": "/wal"}, together_))
    assert "on one machine" in error.what and "/wal" in error.what
    for links in (
        {"pg_wal": "wal"},
        {"pg_wal": "/"},
        {"pg_wal": "/a/../b"},
        {"pg_wal": "/a", "pg_log": "/a/b"},
    ):
        with pytest.raises(InvalidInput):
            refuse_shared_links(links, apart_)


def test_tablespaces_go_to_machines_of_their_own() -> None:
    refuse_contents(apart(), FAST, REQUEST)


@pytest.mark.parametrize("node", [{"connection": "local"}, {"address": "10.10.10.99"}])
def test_a_tablespace_would_be_one_directory_of_several_servers(node: dict[str, Any]) -> None:
    crowded = with_nodes(apart(), target=lambda each: dataclasses.replace(each, **node))
    error = refused(lambda: refuse_contents(crowded, FAST, REQUEST))
    assert "fast (/ssd/fast)" in error.what and "pg-test-2 is on one machine with pg-test-1" in error.what
    refuse_contents(crowded, BackupSetContents(databases=("postgres",)), REQUEST)
    error = refused(lambda: refuse_contents(reset_facts(), FAST, REQUEST))
    assert "pg-test-1 is on one machine with pg-meta-1" in error.what


def test_a_tablespace_beside_the_cluster_would_be_the_clusters_own() -> None:
    request = PitrRequest(cluster="pg-meta", data="/pg/look")
    error = refused(lambda: refuse_contents(apart(), FAST, request))
    assert "pg-test-1 is on one machine with pg-test-1" in error.what


@pytest.mark.parametrize("path", ["/pg/my data", "/pg/data'", "/pg/$HOME", "/pg/données"])
def test_a_path_that_would_have_to_be_quoted_twice_is_refused(path: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        refuse_odd_path(PurePosixPath(path), "pg-test-1")
    assert "restore_command" in caught.value.what
    assert caught.value.untouched == "nothing was changed"
    refuse_odd_path(PurePosixPath("/var/lib/postgresql/15/main-2_a.b"), "pg-test-1")


def test_another_major_version_is_refused() -> None:
    facts = with_member(reset_facts(), 2, postgres_version="17.9")
    error = refused(lambda: refuse_unfit(facts, resolved(), REQUEST))
    assert (error.where, "PostgreSQL 17.9 cannot run the data of PostgreSQL 18" in error.what) == (
        "pg-test-3",
        True,
    )


def test_a_directory_that_cannot_be_written_is_refused() -> None:
    facts = with_member(reset_facts(), 1, writable=False)
    assert "/pg cannot be written by postgres" in str(
        refused(lambda: refuse_unfit(facts, resolved(), REQUEST))
    )


@pytest.mark.parametrize(
    ("stanza", "keys", "words"),
    [
        ("none", {"archive": True}, "does not exist"),
        ("other", {"archive": True}, "another system and refuses its WAL [044]"),
        ("same", {"archive": True}, None),
        ("none", {"archive": True, "cleanup": True}, None),
        ("other", {"cleanup": True}, None),
        ("none", {}, None),
    ],
)
def test_archiving_needs_a_stanza_that_accepts_it(
    stanza: str, keys: dict[str, Any], words: str | None
) -> None:
    systems = {"other": TARGET_SYSTEM, "same": SOURCE_SYSTEM}
    facts = reset_facts(
        no_stanza=stanza == "none", stanza=catalogue("pg-test", system=systems.get(stanza, TARGET_SYSTEM))
    )
    request = PitrRequest(cluster="pg-meta", **keys)
    if words is None:
        refuse_unfit(facts, resolved(), request)
    else:
        error = refused(lambda: refuse_unfit(facts, resolved(), request))
        assert words in error.what
        assert error.next_command is not None and "--cleanup" in error.next_command
        assert "pb " not in error.next_command, "stanza-create would make it the stanza of the old system"


def of_the_sources_system(facts: ResetFacts, *, upstream: Upstream | None = None) -> ResetFacts:
    """The target as it is if it follows the source, or is an earlier clone of it."""
    source = {"control": facts.source.members[0].control}
    for number in range(len(facts.target.members)):
        facts = with_member(facts, number, **source)
    return dataclasses.replace(facts, upstream=upstream)


@pytest.mark.parametrize(
    ("stanza", "upstream", "commands"),
    [
        (None, None, "pb stanza-create, on pg-test-1; or "),
        (None, Upstream(host="10.10.10.1"), "pb --no-online stanza-create, on pg-test-1; or "),
        (
            catalogue("pg-test", system=TARGET_SYSTEM),
            Upstream(host="10.10.10.1"),
            "pb stop --force; pb stanza-delete --force; pb start; pb --no-online stanza-create, on pg-test-1 "
            "(its backups are gone then); or ",
        ),
    ],
)
def test_a_target_of_the_sources_system_can_make_its_stanza_take_the_clones_wal(
    stanza: Catalogue | None, upstream: Upstream | None, commands: str
) -> None:
    facts = of_the_sources_system(reset_facts(no_stanza=stanza is None, stanza=stanza), upstream=upstream)
    error = refused(lambda: refuse_unfit(facts, resolved(), PitrRequest(cluster="pg-meta", archive=True)))
    assert error.next_command is not None
    assert error.next_command.startswith(commands)


@pytest.mark.parametrize(
    ("path", "cure"),
    [
        ("/tmp/pgbackrest/pg-test.stop", "pb start, on pg-test-3"),
        ("/tmp/pgbackrest/all.stop", "pgbackrest start, on pg-test-3"),
    ],
)
@pytest.mark.parametrize(
    "keys", [{"archive": True}, {"cleanup": True}, {}], ids=["archive", "cleanup", "neither"]
)
def test_a_stopped_pgbackrest_would_keep_the_clones_wal_out(
    path: str, cure: str, keys: dict[str, Any]
) -> None:
    own = reset_facts(stanza=catalogue("pg-test", system=SOURCE_SYSTEM))
    facts, request = with_member(own, 2, stop_files=(path,)), PitrRequest(cluster="pg-meta", **keys)
    if keys:
        error = refused(lambda: refuse_unfit(facts, resolved(), request))
        assert (error.where, error.next_command) == ("pg-test-3", cure)
        assert "[062]" in error.what
    else:
        refuse_unfit(facts, resolved(), request)


NEEDED = resolved().backup.database_size + WAL_RESERVE


@pytest.mark.parametrize(
    ("free", "data", "keep", "fits"),
    [
        (NEEDED, 0, False, True),
        (NEEDED - 1, 0, False, False),
        (NEEDED - 1, None, False, False),  # not measured yet
        (NEEDED - 50 * MEGABYTE, 50 * MEGABYTE, False, True),  # the old data makes room
        (NEEDED - 50 * MEGABYTE, 50 * MEGABYTE, True, False),  # it is kept
        (NEEDED, 50 * MEGABYTE, True, True),
    ],
)
def test_the_backup_set_and_some_wal_have_to_fit(free: int, data: int | None, keep: bool, fits: bool) -> None:
    member = member_facts(
        cluster("pg-test", 1).members[0], system=TARGET_SYSTEM, free_bytes=free, data_bytes=data
    )
    assert lacks_space(member, resolved(), keep=keep) is not fits
    if fits:
        refuse_full(member, resolved(), keep=keep)
    else:
        error = refused(lambda: refuse_full(member, resolved(), keep=keep))
        assert "406.0 MB needed (150.0 MB of data)" in error.what
        assert ("which is kept" in error.what) is keep


FACTS = reset_facts()
CHANGES: list[tuple[str, ResetFacts, str]] = [
    (
        "leader of pg-test",
        dataclasses.replace(FACTS, leader=FACTS.target.members[1]),
        "was pg-test-1, is pg-test-2",
    ),
    (
        "system identifier of pg-test-2",
        with_member(FACTS, 1, control={**FACTS.leader.control, "Database system identifier": "1"}),
        f"was {TARGET_SYSTEM}, is 1",
    ),
    (
        "newest timeline of pg-test",
        with_member(FACTS, 0, control={**FACTS.leader.control, "Latest checkpoint's TimeLineID": "2"}),
        "was 1, is 2",
    ),
    ("data directory of pg-test-1", with_member(FACTS, 0, data_directory=PurePosixPath("/x")), "is /x"),
    (
        "version of PostgreSQL on pg-test-1",
        with_member(FACTS, 0, postgres_version="18.2"),
        "was 18.1, is 18.2",
    ),
    (
        "backup set 20251227-090000F of pg-meta in repo1",
        dataclasses.replace(FACTS, catalogue=dataclasses.replace(FACTS.catalogue, backups=())),
        "was there, is gone",
    ),
]


@pytest.mark.parametrize(("name", "now", "change"), CHANGES)
def test_a_plan_is_stale_when_what_it_stands_on_has_changed(name: str, now: ResetFacts, change: str) -> None:
    plan = Plan(operation="reset", target="pg-test", facts=tuple(present_facts(FACTS).items()))
    refuse_stale(plan, present_facts(FACTS))
    with pytest.raises(StalePlan) as raised:
        refuse_stale(plan, present_facts(now))
    assert name in raised.value.what
    assert change in raised.value.what
    assert raised.value.what.count(" was ") == 1, "nothing else is named"
    assert raised.value.untouched == "nothing was changed"


def without_member(facts: ResetFacts, number: int) -> ResetFacts:
    """The same facts, with a member of the target that does not answer."""
    members = facts.target.members
    gone = (members[number].member, Unreachable("no route to host"))
    target = dataclasses.replace(
        facts.target, members=(*members[:number], *members[number + 1 :]), silent=(gone,)
    )
    return dataclasses.replace(facts, target=target)


def test_a_member_that_is_back_makes_a_plan_stale() -> None:
    """The plan leaves it out: nobody would stop it, and its Patroni would see the others' leader go."""
    plan = Plan(
        operation="reset", target="pg-test", facts=tuple(present_facts(without_member(FACTS, 2)).items())
    )
    refuse_stale(plan, present_facts(without_member(FACTS, 2)))
    with pytest.raises(StalePlan) as raised:
        refuse_stale(plan, present_facts(FACTS))
    assert (
        "members of pg-test that answer was pg-test-1, pg-test-2, is pg-test-1, pg-test-2, pg-test-3"
        in raised.value.what
    )


def on_timeline(facts: ResetFacts, index: int, timeline: int, **changed: Any) -> ResetFacts:
    control = {**FACTS.leader.control, "Latest checkpoint's TimeLineID": str(timeline)}
    return with_member(facts, index, control=control, **changed)


@pytest.mark.parametrize("running", [True, False])
def test_a_replica_that_catches_up_with_its_leader_does_not_make_a_plan_stale(running: bool) -> None:
    """It replays a checkpoint on the leader's timeline; or it led itself, was down, and is a replica by now."""
    led = with_member(FACTS, 0, running=True, primary_timeline=3)
    behind = on_timeline(led, 1, 2, running=running, standby=running)
    now = on_timeline(led, 1, 3, running=True, standby=True)
    plan = Plan(operation="reset", target="pg-test", facts=tuple(present_facts(behind).items()))
    refuse_stale(plan, present_facts(now))


def test_a_primarys_own_word_counts_before_its_checkpoint() -> None:
    promoted = with_member(FACTS, 0, primary_timeline=7)
    assert present_facts(promoted)["newest timeline of pg-test"] == "7"


def test_another_backup_that_came_or_went_does_not_make_a_plan_stale() -> None:
    [used] = FACTS.catalogue.backups
    other = dataclasses.replace(used, label="20251220-090000F")
    more = dataclasses.replace(FACTS, catalogue=dataclasses.replace(FACTS.catalogue, backups=(other, used)))
    for then, now in ((FACTS, more), (more, FACTS)):
        plan = Plan(operation="reset", target="pg-test", facts=tuple(present_facts(then).items()))
        refuse_stale(plan, present_facts(now))


def archive(*names: str, histories: tuple[TimelineHistory, ...] = (), archive_id: str = "18-1") -> Archive:
    return Archive(
        archive_id=archive_id,
        repo_key=1,
        segments=tuple(
            ArchivedSegment(segment=WalSegment.parse(name), archived_at=AT, size=1) for name in names
        ),
        histories=histories,
    )


HISTORY = TimelineHistory(2, (Fork(1, LSN.parse("0/5000028"), "mine"),))


def cleanup_facts(own: Catalogue | None, *, system: int = SOURCE_SYSTEM, **changed: Any) -> CleanupFacts:
    """pg-test on timeline 2 at 0/7000028."""
    its = cluster("pg-test", 3)
    members: list[MemberFacts] = [member_facts(each, system=system) for each in its.members]
    members[1] = dataclasses.replace(members[1], **changed)
    return CleanupFacts(
        cluster=ClusterFacts(cluster=its, members=tuple(members)),
        leader=members[0],
        catalogue=own,
        timeline=2,
        lsn=LSN.parse("0/7000028"),
        history=HISTORY,
    )


@pytest.mark.parametrize(
    ("archived", "system", "collides"),
    [
        ((), SOURCE_SYSTEM, None),
        ((archive("000000020000000000000007"),), SOURCE_SYSTEM, None),
        ((archive("000000010000000000000009"),), SOURCE_SYSTEM, None),
        ((archive("000000020000000000000008"),), SOURCE_SYSTEM, "000000020000000000000008 is there"),
        ((archive("000000020000000000000008"),), TARGET_SYSTEM, None),  # it is upgraded: another folder
        ((archive("000000020000000000000008", archive_id="18-2"),), SOURCE_SYSTEM, None),
        ((archive(histories=(HISTORY,)),), SOURCE_SYSTEM, None),
        (
            (archive(histories=(TimelineHistory(2, (Fork(1, LSN.parse("0/5000028"), "its"),)),)),),
            SOURCE_SYSTEM,
            None,  # the reason is only words
        ),
        (
            (archive(histories=(TimelineHistory(2, (Fork(1, LSN.parse("0/6000000"), "mine"),)),)),),
            SOURCE_SYSTEM,
            "00000002.history tells of another fork",
        ),
        (
            (archive(), archive("000000020000000000000009")),
            SOURCE_SYSTEM,
            "is there",
        ),  # in the other repository
    ],
)
def test_wal_of_another_clone_is_found_in_the_archive(
    archived: tuple[Archive, ...], system: int, collides: str | None
) -> None:
    facts = cleanup_facts(catalogue("pg-test", system=SOURCE_SYSTEM, archives=archived), system=system)
    found = colliding_history(facts)
    if collides is None:
        assert found is None
        cleanup.refuse(facts)
    else:
        assert found is not None and collides in found
        assert "[045]" in refused(lambda: cleanup.refuse(facts)).what


def test_a_clean_up_waits_for_no_run_and_starts_no_stopped_pgbackrest() -> None:
    own = catalogue("pg-test", system=SOURCE_SYSTEM)
    assert "20251227-1" in refused(lambda: cleanup.refuse(cleanup_facts(own, lock=LOCK))).what
    error = refused(lambda: cleanup.refuse(cleanup_facts(own, stop_files=("/tmp/pgbackrest/all.stop",))))
    assert (error.where, error.next_command) == (
        "pg-test-2",
        "pgbackrest --stanza=pg-test start, on pg-test-2",
    )


def test_a_clean_up_whose_cluster_has_changed_since_is_not_carried_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It failed over while the plan was being read: the restarts would begin with the new leader."""
    facts = cleanup_facts(catalogue("pg-test", system=SOURCE_SYSTEM))
    fleet = Fleet({"pg-test": facts.cluster.cluster}, "pigsty.yml")
    prepared = cleanup.PreparedCleanup(cleanup.plan_cleanup(facts, backup=True), facts, World(), fleet)
    now, carried = facts, []

    async def observe(*_: Any) -> tuple[CleanupFacts, World]:
        return now, World()

    async def carry_out(*_: Any, **__: Any) -> None:
        carried.append(1)

    monkeypatch.setattr(cleanup, "observe", observe)
    monkeypatch.setattr(cleanup, "carry_out", carry_out)
    asyncio.run(cleanup.execute_prepared(prepared, lambda event: None))
    assert carried
    now = dataclasses.replace(facts, leader=facts.cluster.members[1], timeline=3)
    with pytest.raises(StalePlan, match="leader of pg-test was pg-test-1, is pg-test-2"):
        asyncio.run(cleanup.execute_prepared(prepared, lambda event: None))
    assert len(carried) == 1


def cleanup_without(number: int, problem: PgdollyError) -> CleanupFacts:
    facts = cleanup_facts(catalogue("pg-test", system=SOURCE_SYSTEM))
    members = facts.cluster.members
    its = dataclasses.replace(
        facts.cluster,
        members=(*members[:number], *members[number + 1 :]),
        silent=((members[number].member, problem),),
    )
    return dataclasses.replace(facts, cluster=its)


def test_a_clean_up_goes_on_without_a_replica_whose_node_is_down() -> None:
    facts = cleanup_without(2, Unreachable("no route to host"))
    plan = cleanup.plan_cleanup(facts, backup=True)
    steps = [step for stage in plan.stages for lane in stage.lanes for step in lane.steps]
    enabled = [step.instance.member.name for step in steps if isinstance(step, EnableArchiving)]
    assert enabled == ["pg-test-2", "pg-test-1"]
    [verify] = [step for step in steps if isinstance(step, VerifyCluster)]
    assert [replica.member.name for replica in verify.replicas] == ["pg-test-2"]
    [warning] = plan.warnings
    for text in (warning, *verify.left_out):
        assert "pg-test-3 is down and is LEFT OUT" in text and "pgdolly cleanup pg-test" in text
    assert "no route to host" in warning
    # Once it is back, it belongs to the clean-up.
    with pytest.raises(StalePlan, match="members of pg-test that answer"):
        refuse_stale(plan, cleanup.present_facts(cleanup_facts(facts.catalogue)))


@pytest.mark.parametrize(
    ("problem", "registered", "refused_with"),
    [
        (Unreachable("no route to host"), {}, None),
        (Unreachable("no route to host"), {"pg-test-3": None}, "by the store's word its Patroni is alive"),
        (CommandFailed("could not look at pg-test-3"), {}, "could not look at pg-test-3"),
    ],
    ids=["down", "alive", "something else"],
)
def test_a_silent_member_is_left_out_only_if_its_node_is_down(
    monkeypatch: pytest.MonkeyPatch,
    problem: PgdollyError,
    registered: dict[str, str | None],
    refused_with: str | None,
) -> None:
    async def read_store(*_: Any) -> StoreView:
        return StoreView(leader="pg-test-1", members=registered)

    monkeypatch.setattr("pgdolly.operations.site.read_store", read_store)
    its = cleanup_without(2, problem).cluster
    world = World({member.name: cast("Shell", None) for member in its.cluster.members})
    look = refuse_silent(world, its, alive="archiving would stay off there")
    if refused_with is None:
        asyncio.run(look)
    else:
        with pytest.raises(PgdollyError, match=refused_with) as raised:
            asyncio.run(look)
        assert (raised.value.where, raised.value.untouched) == ("pg-test-3", "nothing was changed")


@pytest.mark.parametrize(
    ("own", "need"),
    [
        (None, "create"),
        (catalogue("pg-test", system=TARGET_SYSTEM), "upgrade"),
        (catalogue("pg-test", system=SOURCE_SYSTEM), "nothing"),
    ],
)
def test_what_a_stanza_needs(own: Catalogue | None, need: str) -> None:
    assert stanza_need(cleanup_facts(own)) == need


def test_a_backup_of_a_former_timeline_is_not_the_clones_own() -> None:
    own = catalogue("pg-test", system=SOURCE_SYSTEM)
    assert not has_own_backup(cleanup_facts(own))
    [former] = own.backups
    segment = WalSegment.parse("000000020000000000000006")
    mine = dataclasses.replace(former, start_segment=segment, stop_segment=segment)
    assert has_own_backup(cleanup_facts(dataclasses.replace(own, backups=(former, mine))))
    broken = dataclasses.replace(mine, error=True)
    assert not has_own_backup(cleanup_facts(dataclasses.replace(own, backups=(broken,))))
    assert not has_own_backup(cleanup_facts(dataclasses.replace(own, backups=(mine,)), system=TARGET_SYSTEM))


def test_a_leader_that_goes_on_archiving_does_not_collide_with_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It fills and archives two segments while it is being looked at: its position is asked for last."""
    position = LSN.parse("0/7000028")
    archived = [WalSegment.holding(2, position).name]

    def time_passes() -> None:
        nonlocal position
        archived.append(WalSegment.holding(2, position).name)
        position = WalSegment.holding(2, position).end

    async def observe_cluster(world: World, its: Cluster) -> ClusterFacts:
        time_passes()
        return cleanup_facts(None).cluster

    async def query(*_: Any, **__: Any) -> list[list[str]]:
        time_passes()
        return [["00000002", str(position)]]

    async def read_catalogue(*_: Any, **__: Any) -> Catalogue:
        time_passes()
        return catalogue("pg-test", system=SOURCE_SYSTEM, archives=(archive(*archived),))

    async def read_histories(*_: Any) -> dict[str, str]:
        time_passes()
        return {"00000002.history": "1\t0/5000028\tmine\n"}

    async def public_sql_command(*_: Any) -> Command:
        return Command(argv=("psql",))

    monkeypatch.setattr(cleanup, "observe_cluster", observe_cluster)
    monkeypatch.setattr(cleanup, "read_catalogue", read_catalogue)
    monkeypatch.setattr(postgres, "query", query)
    monkeypatch.setattr(postgres, "read_histories", read_histories)
    monkeypatch.setattr(postgres, "public_sql_command", public_sql_command)
    its = cluster("pg-test", 3)
    facts, _ = asyncio.run(cleanup.observe(Fleet({"pg-test": its}, "pigsty.yml"), "pg-test"))
    assert facts.catalogue is not None and facts.catalogue.archives[0].segments
    cleanup.refuse(facts)
