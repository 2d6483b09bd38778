"""Every finding of `pgdolly check`: what it takes, what it says, and the command that cures it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Any

import pytest

from check_worlds import (
    AUTO_CONF,
    CONF,
    FORK,
    NOW,
    OTHER,
    OWN,
    WORKING,
    archive,
    backup,
    catalogue,
    facts,
    look,
    push,
    repository,
    server,
    view,
)
from pgdolly.cli.check import as_document, report_lines
from pgdolly.domain.cluster import ServiceManager
from pgdolly.domain.errors import CommandFailed, NoCluster, PgdollyError, Unreachable
from pgdolly.domain.lsn import LSN, WalSegment
from pgdolly.domain.timeline import Fork, TimelineHistory
from pgdolly.drivers.observation import RunLock
from pgdolly.drivers.server_state import ArchiverState, Written
from pgdolly.operations.check.diagnose import diagnose
from pgdolly.operations.check.finding import Finding
from pgdolly.operations.check.observe import CheckFacts, Neighbour
from pgdolly.operations.standby import Upstream
from reset_blueprints import cluster

CLEANUP = "pgdolly cleanup pg-test"
EDIT = "/opt/bin/patronictl -c /etc/patroni/patroni.yml edit-config pg-test"
RENAME = r"sed -i 's/^\[{old}\(:.*\)\?\]/[{new}\1]/' /etc/pgbackrest/pgbackrest.conf"
RESET_MODE = "psql -c 'ALTER SYSTEM RESET archive_mode' -c 'SELECT pg_reload_conf()'"
FAILED = ArchiverState(
    last_archived="000000020000000000000009",
    last_archived_at=NOW - timedelta(minutes=5),
    last_failed="00000002000000000000000A",
    last_failed_at=NOW - timedelta(minutes=1),
    failures=7,
    waiting=2,
)
OFF = Written(value="off", file=AUTO_CONF)
OFF_IN_CONF = Written(value="off", file=CONF)
EMPTY = NoCluster("it holds no cluster", where="pg-test-3", next_command="pgdolly clone SOURCE pg-test")
LOCK = RunLock(run_id="run-1", controller="here", operation="reset", began_at="today")
OLD = backup("20251226-090000F", "000000010000000000000004", hours_ago=27)


def codes(found: CheckFacts) -> list[str]:
    return [finding.code for finding in diagnose(found).findings]


def only(found: CheckFacts) -> Finding:
    """The one thing that is wrong."""
    findings = diagnose(found).findings
    assert len(findings) == 1, findings
    return findings[0]


def cures(finding: Finding) -> list[tuple[str, str | None]]:
    return [(cure.command, cure.on) for cure in finding.cures]


def pgmeta(number: int = 1, **changed: Any) -> Neighbour:
    """The neighbour pg-meta, whose only server is changed."""
    return Neighbour(look=look("pg-meta", 1, servers={number: server("pg-meta", **changed)}))


@dataclass(frozen=True)
class Case:
    """Facts with one thing wrong; `where`, words of `what`, and the cures as (command, member)."""

    facts: CheckFacts
    where: tuple[str, ...]
    what: tuple[str, ...]
    cures: list[tuple[str, str | None]]
    severity: str = "error"


CASES = {
    "run_open": Case(
        facts(look(members={2: {"lock": LOCK, "running": False, "cluster": None}, 3: {"lock": LOCK}})),
        ("pg-test-2", "pg-test-3"),
        ("run-1", "reset", "nothing else is judged"),
        [("pgdolly resume run-1", None)],
    ),
    "member_unreachable": Case(
        facts(look(silent={3: Unreachable("ssh: no route to host", where="pg-test-3")})),
        ("pg-test-3",),
        ("no route to host",),
        [("pgdolly status pg-test", None)],
    ),
    "member_empty": Case(
        facts(look(silent={3: EMPTY})),
        ("pg-test-3",),
        ("it holds no cluster",),
        [("add it as the others were added, or take 10.10.10.13 out of pg-test in the inventory", None)],
    ),
    "patroni_down": Case(
        facts(look(members={2: {"cluster": None}})),
        ("pg-test-2",),
        ("Patroni does not answer",),
        [("/opt/bin/supervisorctl -c /etc/supervisord.conf start pg-test-2", "pg-test-2")],
    ),
    "postgres_down": Case(
        facts(look(members={2: {"running": False}})),
        ("pg-test-2",),
        ("does not run",),
        [("/opt/bin/patronictl -c /etc/patroni/patroni.yml restart pg-test pg-test-2 --force", "pg-test-2")],
    ),
    "stanza_differs": Case(
        facts(look(members={3: {"stanza": "pg-other"}})),
        ("pg-test-3",),
        ("'pg-other' on pg-test-3",),
        [(RENAME.format(old="pg-other", new="pg-test"), "pg-test-3")],
    ),
    "stanza_differs: from archive_command": Case(
        facts(look(members={number: {"stanza": "pg-other"} for number in (1, 2, 3)})),
        ("pg-test-1", "pg-test-2", "pg-test-3"),
        ("archive_command pushes into 'pg-test'",),
        [(RENAME.format(old="pg-other", new="pg-test"), f"pg-test-{number}") for number in (1, 2, 3)],
    ),
    "archive_off: kept on the replicas": Case(
        facts(
            look(
                servers={
                    number: server(leads=False, archive_mode="off", archive_mode_written=OFF)
                    for number in (2, 3)
                }
            )
        ),
        ("pg-test-2", "pg-test-3"),
        ("kept in postgresql.auto.conf", "at a failover"),
        [(CLEANUP, None)],
    ),
    "archive_off: on the leader": Case(
        facts(look(servers={1: server(archive_mode="off", archive_mode_written=OFF)})),
        ("pg-test-1",),
        ("nothing is archived",),
        [(CLEANUP, None)],
    ),
    "archive_off: configured": Case(
        facts(
            look(
                servers={
                    number: server(
                        leads=number == 1,
                        archive_mode="off",
                        archive_mode_written=OFF_IN_CONF,
                        archive_mode_configured="off",
                    )
                    for number in (1, 2, 3)
                }
            )
        ),
        ("pg-test-1", "pg-test-2", "pg-test-3"),
        ("by the cluster's configuration",),
        [(f"{EDIT} --pg archive_mode=on --force", "pg-test-1"), (CLEANUP, None)],
    ),
    "archive_off: kept and configured": Case(
        facts(
            look(
                servers={
                    2: server(
                        leads=False,
                        archive_mode="off",
                        archive_mode_written=OFF,
                        archive_mode_configured="off",
                    )
                }
            )
        ),
        ("pg-test-2",),
        ("by the cluster's configuration",),
        [(f"{EDIT} --pg archive_mode=on --force", "pg-test-2"), (CLEANUP, None)],
    ),
    "archive_off_after_restart: kept and configured": Case(
        facts(
            look(servers={2: server(leads=False, archive_mode_written=OFF, archive_mode_configured="off")})
        ),
        ("pg-test-2",),
        ("in postgresql.auto.conf and in the cluster's configuration",),
        [(RESET_MODE, "pg-test-2"), (f"{EDIT} --pg archive_mode=on --force", "pg-test-2")],
    ),
    "archive_off: restart pending": Case(
        facts(look(servers={2: server(leads=False, archive_mode="off", archive_mode_pending=True)})),
        ("pg-test-2",),
        ("after a restart, which is pending",),
        [(CLEANUP, None)],
    ),
    "archive_off_after_restart": Case(
        facts(
            look(
                servers={
                    2: server(leads=False, archive_mode_written=OFF),
                    3: server(leads=False, archive_mode_written=OFF),
                }
            )
        ),
        ("pg-test-2", "pg-test-3"),
        ("off in postgresql.auto.conf", "at the next restart"),
        [(RESET_MODE, "pg-test-2"), (RESET_MODE, "pg-test-3")],
    ),
    "archive_off_after_restart: configured": Case(
        facts(look(servers={1: server(archive_mode_written=OFF_IN_CONF, archive_mode_configured="off")})),
        ("pg-test-1",),
        ("the cluster's configuration",),
        [(f"{EDIT} --pg archive_mode=on --force", "pg-test-1")],
    ),
    "archive_command_foreign": Case(
        facts(look(servers={n: server("pg-meta", leads=n == 1) for n in (1, 2, 3)})),
        ("pg-test-1", "pg-test-2", "pg-test-3"),
        ("'pg-meta'", "another cluster's", "'pg-test'"),
        [
            (
                f"{EDIT} --pg 'archive_command=pgbackrest --stanza=pg-test archive-push %p' --force",
                "pg-test-1",
            )
        ],
    ),
    "archive_command_foreign: by ALTER SYSTEM": Case(
        facts(look(servers={3: server(leads=False, archive_command=push("pg-meta", AUTO_CONF))})),
        ("pg-test-3",),
        ("'pg-meta'",),
        [("psql -c 'ALTER SYSTEM RESET archive_command' -c 'SELECT pg_reload_conf()'", "pg-test-3")],
    ),
    "archive_command_other": Case(
        facts(look(servers={1: server(archive_command=Written(value="/bin/true", file=CONF))})),
        ("pg-test-1",),
        ("'/bin/true'", "no WAL"),
        [
            (
                f"{EDIT} --pg 'archive_command=pgbackrest --stanza=pg-test archive-push %p' --force",
                "pg-test-1",
            )
        ],
    ),
    "archive_library": Case(
        facts(look(servers={1: server(archive_library="basic_archive")})),
        ("pg-test-1",),
        ("basic_archive",),
        [(f"{EDIT} --pg archive_library= --force", "pg-test-1")],
    ),
    "stop_file": Case(
        facts(look(members={2: {"stop_files": ("/tmp/pgbackrest/pg-test.stop",)}})),
        ("pg-test-2",),
        ("/tmp/pgbackrest/pg-test.stop", "[062]"),
        [("pb start", "pg-test-2")],
    ),
    "stop_file: of all stanzas": Case(
        facts(look(members={2: {"stop_files": ("/tmp/pgbackrest/all.stop",)}})),
        ("pg-test-2",),
        ("for every stanza",),
        [("pgbackrest start", "pg-test-2")],
    ),
    "archiver_failing": Case(
        facts(
            look(servers={1: server(archiver=FAILED)}),
            archiver_message="ERROR: [082]: unable to push WAL file '00000002000000000000000A'",
        ),
        ("pg-test-1",),
        ("00000002000000000000000A", "7 failures", "2 files wait", "[082]"),
        [("pb check", "pg-test-1")],
    ),
    "stanza_missing": Case(
        facts(stanza=None, repositories=(repository(1, "missing stanza path"),)),
        ("pg-test",),
        ("'pg-test' does not exist in repo1", "[055]"),
        [(CLEANUP, None)],
    ),
    "stanza_missing: unfinished": Case(
        facts(stanza=None, repositories=(repository(3, "missing stanza data"),)),
        ("pg-test",),
        ("is not whole",),
        [(CLEANUP, None)],
    ),
    "repository_unreadable": Case(
        facts(stanza=None, repositories=(repository(99, "[CryptoError] …", wrongly_deciphered=True),)),
        ("pg-test",),
        ("passphrase", "CryptoError"),
        [("pb info", "pg-test-1")],
    ),
    "repository_unreadable: no answer": Case(
        facts(problem=CommandFailed("could not ask pgBackRest", stderr_end="ERROR: [037]: no\nmore")),
        ("pg-test",),
        ("could not ask pgBackRest: ERROR: [037]: no",),
        [("pb info", "pg-test-1")],
    ),
    "stanza_other_system": Case(
        facts(stanza=catalogue(OLD, archive=archive(), system=OTHER)),
        ("pg-test",),
        (f"system {OTHER}", f"system {OWN}", "[051]", "[044]"),
        [(CLEANUP, None)],
    ),
    "stanza_other_version": Case(
        facts(stanza=catalogue(OLD, archive=archive(), version="17")),
        ("pg-test",),
        ("PostgreSQL 17", "PostgreSQL 18", "[051]"),
        [(CLEANUP, None)],
    ),
    "no_backup": Case(
        facts(stanza=catalogue(archive=archive())),
        ("pg-test",),
        ("no backup",),
        [(CLEANUP, None)],
    ),
    "no_backup_since_clone: left timeline": Case(
        facts(
            stanza=catalogue(
                backup("20251227-090000F", "000000010000000000000008"),
                archive=archive("000000010000000000000007", "000000010000000000000008"),
            )
        ),
        ("pg-test",),
        ("20251227-090000F", "timeline 1", "timeline 2"),
        [(CLEANUP, None)],
    ),
    "no_backup_since_clone: former system": Case(
        facts(
            stanza=dataclasses.replace(
                catalogue(OLD, archive=archive(archive_id="18-2")),
                systems=tuple(
                    dataclasses.replace(WORKING.systems[0], history_id=number, system_identifier=system)
                    for number, system in ((1, OTHER), (2, OWN))
                ),
            )
        ),
        ("pg-test",),
        (f"is of system {OTHER}, the cluster is {OWN}",),
        [(CLEANUP, None)],
    ),
    "backup_old": Case(
        facts(
            stanza=catalogue(
                backup("20251217-090000F", "000000010000000000000005", hours_ago=243), archive=archive()
            )
        ),
        ("pg-test",),
        ("10 days old",),
        [("pg-backup full", "pg-test-1")],
        "warning",
    ),
    "newest_backup_left_behind": Case(
        facts(
            stanza=catalogue(
                OLD,
                backup(
                    "20251227-100000F",
                    "000000010000000000000007",
                    hours_ago=2,
                    stop_lsn=LSN(FORK.position + 1),
                ),
                archive=archive(),
            )
        ),
        ("pg-test",),
        ("20251227-100000F", "of use is 20251226-090000F"),
        [("pg-backup full", "pg-test-1")],
        "warning",
    ),
    "backup_damaged": Case(
        facts(
            stanza=catalogue(
                OLD, backup("20251227-090000F", "000000010000000000000005", error=True), archive=archive()
            )
        ),
        ("pg-test",),
        ("20251227-090000F", "checksums"),
        [("pg-backup full", "pg-test-1")],
        "warning",
    ),
    "wal_not_arriving": Case(
        facts(
            stanza=catalogue(
                backup("20251227-090000F", "000000010000000000000005"),
                archive=archive(without=("000000020000000000000009",)),
            )
        ),
        ("pg-test-1",),
        ("000000020000000000000009", "does not have it"),
        [("pb check", "pg-test-1"), ("pg-backup full", "pg-test-1")],
    ),
    "wal_gap": Case(
        facts(
            stanza=catalogue(
                backup("20251227-090000F", "000000010000000000000005"),
                archive=archive(without=("000000020000000000000008",)),
            )
        ),
        ("pg-test",),
        ("000000020000000000000008", "20251227-090000F"),
        [("pg-backup full", "pg-test-1")],
    ),
    "wal_gap: before the newest timeline": Case(
        facts(
            look(
                servers={1: server(archiver=ArchiverState(last_archived="000000010000000000000007.partial"))}
            ),
            stanza=catalogue(
                backup("20251227-090000F", "000000010000000000000004"),
                archive=archive(
                    without=("000000010000000000000006", *(f"00000002000000000000000{n}" for n in (7, 8, 9)))
                ),
            ),
        ),
        ("pg-test",),
        ("000000010000000000000006", "20251227-090000F"),
        [("pg-backup full", "pg-test-1")],
    ),
    "wal_gap: stored twice": Case(
        facts(
            stanza=catalogue(
                backup("20251227-090000F", "000000010000000000000005"),
                archive=archive(
                    without=("000000020000000000000008",),
                    duplicates=(WalSegment.parse("000000020000000000000008"),),
                ),
            )
        ),
        ("pg-test",),
        ("stored twice",),
        [("pg-backup full", "pg-test-1")],
    ),
    "timeline_ahead": Case(
        facts(stanza=dataclasses.replace(WORKING, archives=(archive("000000030000000000000009"),))),
        ("pg-test",),
        ("timeline 3", "the cluster is on 2", "[045]"),
        [("pgdolly window pg-test", None)],
    ),
    "timeline_ahead: a suspect": Case(
        facts(
            stanza=dataclasses.replace(WORKING, archives=(archive("000000030000000000000009"),)),
            neighbours=(pgmeta(),),
        ),
        ("pg-test",),
        ("timeline 3",),
        [("pgdolly check pg-meta", None)],
    ),
    "wal_collides: ahead of the leader": Case(
        facts(
            stanza=dataclasses.replace(
                WORKING, archives=(archive("00000002000000000000000A", "00000002000000000000000B"),)
            )
        ),
        ("pg-test",),
        ("00000002000000000000000B is there", "0/A000100", "[045]"),
        [
            ("pb stop --force", "pg-test-1"),
            ("pb stanza-delete --force", "pg-test-1"),
            ("pb start", "pg-test-1"),
            (CLEANUP, None),
        ],
    ),
    "wal_collides: another fork": Case(
        facts(
            stanza=dataclasses.replace(
                WORKING,
                archives=(archive(histories=(TimelineHistory(2, (Fork(1, LSN.parse("0/6000000")),)),)),),
            )
        ),
        ("pg-test",),
        ("tells of another fork",),
        [
            ("pb stop --force", "pg-test-1"),
            ("pb stanza-delete --force", "pg-test-1"),
            ("pb start", "pg-test-1"),
            (CLEANUP, None),
        ],
    ),
    "foreign_push": Case(
        facts(neighbours=(pgmeta(archive_command=push("pg-test")),)),
        ("pg-meta-1",),
        ("pushes into this cluster's stanza 'pg-test'", "lets it in"),
        [("pgdolly check pg-meta", None)],
    ),
    "foreign_push: refused by pgBackRest": Case(
        facts(
            neighbours=(
                Neighbour(
                    look=look(
                        "pg-meta",
                        1,
                        servers={1: server("pg-meta", archive_command=push("pg-test"))},
                        system=OTHER,
                    )
                ),
            )
        ),
        ("pg-meta-1",),
        ("[044]",),
        [("pgdolly check pg-meta", None)],
        "warning",
    ),
    "stanza_shared": Case(
        facts(
            neighbours=(
                Neighbour(look=look("pg-meta", 1, members={1: {"stanza": "pg-test"}}), same_stanza=True),
            )
        ),
        ("pg-test", "pg-meta"),
        ("both clusters use stanza 'pg-test'",),
        [
            (RENAME.format(old="pg-test", new="pg-meta"), "pg-meta-1"),
            ("pgdolly check pg-meta", None),
        ],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_finding(name: str) -> None:
    case = CASES[name]
    finding = only(case.facts)
    assert finding.code == name.partition(":")[0]
    assert finding.severity == case.severity
    assert finding.where == case.where
    for words in case.what:
        assert words in finding.what, finding.what
    assert cures(finding) == case.cures
    assert diagnose(case.facts).works is (case.severity == "warning")


# -- what is no finding


@pytest.mark.parametrize(
    "found",
    [
        facts(),
        facts(neighbours=(pgmeta(),)),
        # A script of the site's own may call archive-push; whether WAL arrives is seen elsewhere.
        facts(look(servers={1: server(archive_command=Written(value="/pg/bin/archive %p", file=CONF))})),
        facts(look(servers={1: server(archive_mode="always")})),
        # The archiver failed, but has succeeded since, or has nothing left to do.
        facts(
            look(
                servers={
                    1: server(
                        archiver=dataclasses.replace(FAILED, last_archived_at=NOW - timedelta(seconds=5))
                    )
                }
            )
        ),
        facts(look(servers={1: server(archiver=dataclasses.replace(FAILED, waiting=0))})),
        # The newest archived file is no segment.
        facts(
            look(
                servers={
                    1: server(
                        archiver=ArchiverState(
                            last_archived="00000002000000000000000A.00000028.backup", last_archived_at=NOW
                        )
                    )
                }
            )
        ),
        # The leader has just been promoted and has archived nothing yet; nor has the history file arrived.
        facts(
            look(servers={1: server(archiver=ArchiverState())}),
            stanza=dataclasses.replace(WORKING, archives=(archive(histories=(), history_files=()),)),
        ),
        # A neighbour that is stopped names our stanza: its own check says so.
        facts(neighbours=(pgmeta(archive_command=push("pg-test"), archive_mode="off"),)),
        # Another generation of the same stanza has WAL on a later timeline.
        facts(
            stanza=dataclasses.replace(
                WORKING, archives=(archive(), archive("000000090000000000000009", archive_id="18-7"))
            )
        ),
    ],
    ids=[
        "all is well",
        "a neighbour",
        "a script",
        "archive_mode is always",
        "archived since",
        "nothing waits",
        "a backup label",
        "just promoted",
        "a quiet neighbour",
        "another generation",
    ],
)
def test_nothing_is_wrong(found: CheckFacts) -> None:
    report = diagnose(found)
    assert report.findings == ()
    assert report.works
    assert report.seen[0].startswith("newest backup: 20251227-090000F (full), stopped 2025-12-27 09:00:00Z")


def test_segments_that_have_just_come_out_of_order_are_no_gap() -> None:
    found = archive(without=("000000020000000000000008",))
    young = [
        dataclasses.replace(each, archived_at=NOW - timedelta(seconds=20))
        if each.segment.name.endswith("9")
        else each
        for each in found.segments
    ]
    stanza = dataclasses.replace(WORKING, archives=(dataclasses.replace(found, segments=tuple(young)),))
    assert codes(facts(stanza=stanza)) == []


# -- several at once


def test_what_endangers_another_cluster_comes_first_and_warnings_last() -> None:
    found = facts(
        look(
            members={2: {"stop_files": ("/tmp/pgbackrest/pg-test.stop",)}},
            servers={3: server("pg-meta", leads=False)},
        ),
        stanza=catalogue(
            backup("20251217-090000F", "000000010000000000000005", hours_ago=243), archive=archive()
        ),
    )
    assert codes(found) == ["archive_command_foreign", "stop_file", "backup_old"]


def test_a_reset_under_way_hides_all_but_a_foreign_command() -> None:
    """To start Patroni on a half-made member would be the ruin of the recovery."""
    found = facts(
        look(
            members={
                number: {"lock": LOCK, "cluster": None, "running": number == 3, "archive_mode_kept": "off"}
                for number in (1, 2, 3)
            },
            servers={3: server("pg-meta", leads=False)},
        ),
        stanza=catalogue(system=OTHER),
    )
    assert codes(found) == ["archive_command_foreign", "run_open"]


def test_a_node_that_is_down_is_named_beside_the_run_that_needs_it() -> None:
    found = facts(
        look(
            members={1: {"lock": LOCK, "cluster": None, "running": False}},
            silent={2: Unreachable("no route to host", where="pg-test-2")},
        )
    )
    assert codes(found) == ["run_open", "member_unreachable"]


def test_nodes_that_are_all_empty_are_one_finding_with_the_clone_that_fills_them() -> None:
    found = facts(look(silent={1: EMPTY, 2: EMPTY, 3: EMPTY}), stanza=None, repositories=())
    finding = next(each for each in diagnose(found).findings if each.code == "member_empty")
    assert finding.where == ("pg-test-1", "pg-test-2", "pg-test-3")
    assert cures(finding) == [("pgdolly clone SOURCE pg-test", None)]
    assert "member_unreachable" not in codes(found)


GIVEN_UP = {
    "abandoned": dataclasses.replace(LOCK, operation="clone"),
    "cluster": None,
    "running": False,
    "standby": True,
}


def test_what_an_abandoned_clone_has_left_is_dropped() -> None:
    """There is no old data that a reset would bring back, and neither leader nor stanza to be missed."""
    missing = (repository(1, "missing stanza path"),)
    private = {**GIVEN_UP, "running": True, "socket_directory": "/pg/pgdolly/private"}
    found = facts(
        look(members={1: private, 2: GIVEN_UP}, silent={3: EMPTY}), stanza=None, repositories=missing
    )
    finding = only(found)
    assert (finding.code, finding.where) == ("half_made", ("pg-test-1", "pg-test-2"))
    assert "neither the old" not in finding.what
    assert cures(finding) == [("pgdolly drop pg-test, then the clone again", None)]


def test_an_abandoned_clone_follows_nobody() -> None:
    members = dict.fromkeys((1, 2, 3), GIVEN_UP)
    report = diagnose(facts(look(members=members), upstream=Upstream(host="10.10.10.1", port=5432)))
    assert (report.standby_of, report.works) == (None, False)


@pytest.mark.parametrize(
    ("first", "silent"),
    [
        ({"abandoned": GIVEN_UP["abandoned"]}, {}),
        ({**GIVEN_UP, "cluster": view("pg-test", 3, paused=True)}, {}),
        (GIVEN_UP, {3: Unreachable("no route to host", where="pg-test-3")}),
    ],
)
def test_a_cluster_that_may_be_in_use_is_not_dropped_for_an_old_mark(
    first: dict[str, Any], silent: dict[int, PgdollyError]
) -> None:
    found = facts(look(members={1: first, 2: GIVEN_UP, 3: GIVEN_UP}, silent=silent))
    assert all("pgdolly drop" not in cure.command for f in diagnose(found).findings for cure in f.cures)


def test_an_abandoned_reset_is_reset_again() -> None:
    members = {number: {**GIVEN_UP, "abandoned": LOCK} for number in (1, 2, 3)}
    made = [f for f in diagnose(facts(look(members=members))).findings if f.code == "half_made"]
    assert all(cure.command.startswith("pgdolly reset pg-test") for f in made for cure in f.cures) and made


def test_an_interrupted_cleanup_hides_nothing() -> None:
    lock = dataclasses.replace(LOCK, operation="cleanup")
    found = facts(look(members={1: {"lock": lock}}), stanza=catalogue(archive=archive()))
    assert codes(found) == ["run_open", "no_backup"]


def test_a_private_recovery_is_not_asked_for_the_clusters_archiving() -> None:
    private = {"socket_directory": "/pg/pgdolly/private"}
    found = facts(
        look(
            members={number: {**private, "lock": LOCK} for number in (1, 2, 3)},
            servers={number: server("pg-meta", leads=False, archive_mode="off") for number in (1, 2, 3)},
        )
    )
    assert codes(found) == ["run_open"]


def test_a_stopped_member_is_known_by_its_files() -> None:
    found = facts(look(members={2: {"running": False, "archive_mode_kept": "off"}}))
    assert codes(found) == ["postgres_down", "archive_off"]


def test_a_service_of_systemds_is_started_by_whoever_may() -> None:
    member = dataclasses.replace(
        cluster("pg-test", 3).member("pg-test-2"),
        service="patroni",
        service_manager=ServiceManager.SYSTEMD,
        service_enabled=True,
    )
    [down] = diagnose(facts(look(members={2: {"cluster": None, "member": member}}))).findings
    assert [cure.command for cure in down.cures] == ["sudo systemctl enable --now patroni"]


def test_no_leader() -> None:
    found = facts(
        look(members={number: {"cluster": None, "standby": True} for number in (1, 2, 3)}), history=None
    )
    assert codes(found) == ["patroni_down", "patroni_down", "patroni_down", "no_leader"]


@pytest.mark.parametrize(
    ("message", "stop_files", "cure"),
    [
        ("ERROR: [044]: PostgreSQL version 18, system-id …", (), CLEANUP),
        ("ERROR: [103]: unable to find a valid repository", (), CLEANUP),
        ("ERROR: [062]: stop file exists", ("/tmp/pgbackrest/pg-test.stop",), "pb start"),
        ("", (), "pb check"),
    ],
)
def test_what_the_archiver_says_chooses_the_cure(
    message: str, stop_files: tuple[str, ...], cure: str
) -> None:
    found = facts(
        look(members={1: {"stop_files": stop_files}}, servers={1: server(archiver=FAILED)}),
        archiver_message=message,
    )
    failing = next(f for f in diagnose(found).findings if f.code == "archiver_failing")
    assert failing.cures[0].command == cure


def test_each_repository_has_its_own_present_system() -> None:
    systems = (
        WORKING.systems[0],
        dataclasses.replace(WORKING.systems[0], repo_key=2, history_id=4, system_identifier=OTHER),
    )
    finding = only(facts(stanza=dataclasses.replace(WORKING, systems=systems)))
    assert finding.code == "stanza_other_system"
    assert "in repo2" in finding.what


def test_a_new_stanza_need_not_hold_what_was_archived_before_it() -> None:
    assert codes(facts(stanza=catalogue(archive=archive(segments=())))) == ["no_backup"]


def test_one_repository_of_two_lacks_the_wal() -> None:
    systems = (WORKING.systems[0], dataclasses.replace(WORKING.systems[0], repo_key=2))
    second = archive(without=("000000020000000000000009",), repo_key=2)
    finding = only(
        facts(stanza=dataclasses.replace(WORKING, systems=systems, archives=(*WORKING.archives, second)))
    )
    assert finding.code == "wal_not_arriving"
    assert "repo2" in finding.what


# -- the report


def test_a_report_for_people() -> None:
    member = dataclasses.replace(
        cluster("pg-test", 3).members[1], pgbackrest_config=PurePosixPath("/etc/pgbackrest.conf")
    )
    stopped = {"member": member, "stop_files": ("/tmp/pgbackrest/all.stop",)}
    report = diagnose(facts(look(members={2: stopped})))
    assert [line for line in report_lines(report) if "\x1b" not in line] == [
        "  newest backup: 20251227-090000F (full), stopped 2025-12-27 09:00:00Z",
        "  last archived: 000000020000000000000009 at 2025-12-27 11:59:30Z",
        "    pgBackRest is stopped there for every stanza by /tmp/pgbackrest/all.stop: archive-push and backup "
        "say [062]",
        "    cure: pgbackrest --config=/etc/pgbackrest.conf start   # on pg-test-2",
    ]


def test_a_report_for_programs() -> None:
    document = json.loads(json.dumps(as_document(diagnose(CASES["stop_file"].facts))))
    assert document["works"] is False
    assert document["findings"] == [
        {
            "code": "stop_file",
            "severity": "error",
            "where": ["pg-test-2"],
            "what": "pgBackRest is stopped there by /tmp/pgbackrest/pg-test.stop: archive-push and backup say [062]",
            "cures": [{"command": "pb start", "on": "pg-test-2"}],
        }
    ]
