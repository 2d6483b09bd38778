"""How a cluster stands, put together from what its members, servers and Patroni say."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import click

from check_worlds import NOW, look, server, view
from pgdolly.cli.status import status_lines
from pgdolly.domain.errors import CommandFailed, Unreachable
from pgdolly.drivers.observation import RunLock
from pgdolly.drivers.patroni import MemberView
from pgdolly.drivers.server_state import ArchiverState
from pgdolly.operations.look import ClusterLook, MemberLook
from pgdolly.operations.status import status_of

LOCK = RunLock(run_id="run-1", controller="here", operation="reset", began_at="today")


def lines(seen: ClusterLook) -> list[str]:
    return [click.unstyle(line) for line in status_lines(status_of(seen), NOW)]


def test_a_cluster_that_works() -> None:
    assert lines(look()) == [
        "pg-test (stanza pg-test)",
        "  member     role     state      timeline  lag  archive  last archived                       version",
        "  pg-test-1  leader   running    2         -    on       000000020000000000000009, 30 s ago  18.1",
        "  pg-test-2  replica  streaming  2         0 B  on       -                                   18.1",
        "  pg-test-3  replica  streaming  2         0 B  on       -                                   18.1",
    ]


def test_lag_failing_archiving_a_pending_restart_and_a_pause() -> None:
    patroni = view("pg-test", 3, paused=True)
    lagging = dataclasses.replace(patroni.members[1], lag=50_331_648, pending_restart=True)
    patroni = dataclasses.replace(patroni, members=(patroni.members[0], lagging, patroni.members[2]))
    failing = ArchiverState(
        last_archived="000000020000000000000009",
        last_archived_at=NOW - timedelta(hours=5),
        last_failed_at=NOW,
        failures=9,
        waiting=4,
    )
    _, _, leader, replica, _, *below = lines(look(servers={1: server(archiver=failing)}, patroni=patroni))
    assert "on FAILING" in leader and "5 h 00 min ago" in leader
    assert "50.3 MB" in replica
    assert below == ["  pg-test-2: a restart is pending", "  paused in Patroni"]


def test_a_clock_that_is_ahead() -> None:
    ahead = ArchiverState(
        last_archived="000000020000000000000009", last_archived_at=NOW + timedelta(seconds=3)
    )
    assert "000000020000000000000009, 0.0 s ago" in lines(look(servers={1: server(archiver=ahead)}))[2]


def test_a_member_that_cannot_be_looked_at_stands_as_patroni_sees_it() -> None:
    found = status_of(look(silent={3: Unreachable("no route to host", where="pg-test-3")}))
    assert found.members[2].state == "unreachable"
    assert (found.members[2].role, found.members[2].timeline) == ("replica", 2)
    assert found.members[2].problem == "no route to host"


def test_a_server_that_does_not_answer() -> None:
    seen = look()
    silent = MemberLook(facts=seen.members[1].facts, problem=CommandFailed("the system is starting up"))
    found = status_of(dataclasses.replace(seen, members=(seen.members[0], silent, seen.members[2])))
    assert found.members[1].problem == "the system is starting up"
    assert found.members[1].archive_mode is None


def test_without_patroni_the_servers_say_their_roles() -> None:
    silent = {"cluster": None}
    stopped = {"cluster": None, "running": False}
    found = status_of(look(members={1: silent, 2: silent, 3: stopped}))
    assert [(member.role, member.state) for member in found.members] == [
        ("primary", "running"),
        ("replica", "running"),
        (None, "stopped"),
    ]
    assert found.remarks == ("no member's Patroni answers",)


def test_a_run_and_its_private_recovery() -> None:
    private = {"socket_directory": "/pg/pgdolly/private", "lock": LOCK, "cluster": None}
    held = {"lock": LOCK, "running": False, "cluster": None}
    found = status_of(look(members={1: private, 2: held, 3: held}))
    assert [member.state for member in found.members] == ["private recovery", "stopped", "stopped"]
    assert {member.run for member in found.members} == {"run-1"}
    assert "run run-1 (reset, begun today on here) holds it: pgdolly show run-1" in found.remarks


def test_no_leader_and_a_stranger() -> None:
    patroni = view("pg-test", 3)
    stranger = MemberView(name="pg-test-9", role="replica", state="streaming")
    members = tuple(dataclasses.replace(member, role="replica") for member in patroni.members)
    found = status_of(look(patroni=dataclasses.replace(patroni, members=(*members, stranger))))
    assert found.remarks == (
        "no member leads",
        "Patroni has a member pg-test-9 that is not in the inventory",
    )
