"""A target that is not as one would wish: led by another member, stopped, never started, or partly without backups."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence

import pytest
from member import SOURCE, TARGET, Member
from scenario import Scenario
from waiting import wait_until
from world import World

FROM = ("--from", SOURCE)
REFUSED = 3


@pytest.mark.usefixtures("whole_target")
def test_a_leader_that_is_not_the_first_member(world: World, scenario: Scenario) -> None:
    """Who leads is asked, not read: it leads afterwards, too."""
    candidate = next(member for member in world.members(TARGET) if member != world.leader(TARGET))
    world.execute(candidate, "patronictl", "switchover", TARGET, "--candidate", candidate.name, "--force")
    world.reset(*FROM, "--lsn", scenario.middle.lsn)
    world.assert_cluster_whole(rows=scenario.middle.rows, archiving=False)
    assert world.leader(TARGET) == candidate


def stop(world: World) -> None:
    """Stop the target, the leader last: it would hand over else."""
    leader = world.leader(TARGET)
    for member in sorted(world.members(TARGET), key=lambda each: each == leader):
        world.stop_service(member)


@pytest.mark.usefixtures("whole_target")
def test_a_stopped_target(world: World, scenario: Scenario) -> None:
    stop(world)
    world.reset(*FROM, "--lsn", scenario.early.lsn)
    world.assert_cluster_whole(rows=scenario.early.rows, archiving=False)


@pytest.mark.usefixtures("whole_target")
def test_a_target_that_was_never_started(world: World, scenario: Scenario) -> None:
    """Configured nodes without data, a store without an entry, and no stanza: the clean-up creates it."""
    stop(world)
    members = world.members(TARGET)
    for member in members:
        world.as_dbsu(member, "rm", "-rf", str(member.on_node(member.data_directory)))
    world.shell(members[0], f"printf '%s\\n' {TARGET} 'Yes I am aware' | patronictl remove {TARGET}\n")
    world.shell(members[0], "pb stop --force\npb stanza-delete --force\npb start\n")

    world.reset(*FROM, "--lsn", scenario.late.lsn, "--cleanup")

    world.assert_cluster_whole(rows=scenario.late.rows, archiving=True)
    assert len(world.labels(TARGET)) == 1
    check = world.pgdolly("check", TARGET, status=None)
    assert check.status == 0, check


@pytest.mark.usefixtures("whole_target")
def test_a_reset_that_was_given_up_at_its_target(world: World, scenario: Scenario) -> None:
    """Nobody leads: a clean-up is refused and advised by nobody, and the next reset makes it whole."""
    paused = world.reset(*FROM, "--lsn", scenario.early.lsn, "--action", "pause")
    held = world.pgdolly("cleanup", TARGET, "--yes", status=REFUSED)
    assert f"pgdolly resume {paused.run}" in held.stderr, held
    world.pgdolly("resume", paused.run, "--abandon")
    refused = world.pgdolly("cleanup", TARGET, "--yes", status=REFUSED)
    assert paused.run in refused.stderr and f"pgdolly reset {TARGET}" in refused.stderr, refused
    found = world.pgdolly("check", TARGET, status=None).stdout
    assert "half_made" in found and "cleanup" not in found, found
    plan = world.pgdolly("reset", TARGET, *FROM, "--check").stdout
    assert "pgdolly check" not in plan, plan
    world.reset(*FROM, "--lsn", scenario.late.lsn)
    world.assert_cluster_whole(rows=scenario.late.rows, archiving=False)


@contextlib.contextmanager
def repositories_of_their_own(members: Sequence[Member]) -> Iterator[None]:
    """Lead these members to directories of their own nodes, as Pigsty's `local` repositories are; they hold nothing."""
    before = {member: member.pgbackrest_config.read_text() for member in members}
    try:
        for member, text in before.items():
            own = member.on_node(member.directory / "local-backup")
            changed, count = re.subn(r"(?m)^repo1-path=.*$", f"repo1-path={own}", text)
            assert count == 1, text
            member.pgbackrest_config.write_text(changed)
        yield
    finally:
        for member, text in before.items():
            member.pgbackrest_config.write_text(text)


def replicas(world: World) -> list[Member]:
    leader = world.leader(TARGET)
    return [member for member in world.members(TARGET) if member != leader]


@pytest.mark.usefixtures("whole_target", "own_backups")
def test_only_the_leader_has_the_repository(world: World) -> None:
    """Its replicas are copied from it: none is left behind, and the plan says so before."""
    leader = world.leader(TARGET)
    rows = world.rows(leader)
    with repositories_of_their_own(replicas(world)):
        world.execute(leader, "pg-backup", "full")
        world.psql(leader, "CREATE TABLE too_late (n int)")
        plan = world.pgdolly("reset", TARGET, "--immediate", "--check").stdout
        reset = world.reset("--immediate")
    for member in replicas(world):
        assert f"{member.name} cannot read the backup set (" in plan, plan
        assert reset.step_result("copy_leader", member.name)["rebuilt"] is True
    assert "missing stanza path" in plan and f"copied from {leader.name} by base backup" in plan, plan
    world.assert_cluster_whole(rows=rows, archiving=False)


@pytest.mark.usefixtures("whole_target", "own_backups")
def test_only_a_replica_has_the_repository(world: World) -> None:
    """After a failover the new leader's own repository holds nothing; what is typed next works as it is printed."""
    leader = world.leader(TARGET)
    reader, other = replicas(world)
    world.execute(leader, "pg-backup", "full")
    rows, newest = world.rows(leader), world.labels(TARGET)[-1]
    with repositories_of_their_own([leader, other]):
        for number in range(3):  # no archive ever holds these, and the next leader has them
            world.psql(leader, f"CREATE TABLE written_meanwhile{number} (n int)")
            world.psql(leader, "SELECT pg_switch_wal()")
        written = world.rows(leader)
        wait_until(
            lambda: world.rows(reader) == world.rows(other) == written,
            60,
            f"what {leader.name} wrote on its replicas",
        )
        with world.nothing_changes():
            result = world.pgdolly("reset", TARGET, "--immediate", "--yes", status=REFUSED)
        assert f"{leader.name} leads and finds no backup (" in result.stderr, result
        assert f"{reader.name} finds {newest}" in result.stderr, result
        found = re.search(r"(patronictl switchover .* --force), and again", result.stderr)
        assert found is not None, result
        world.shell(leader, found[1])
        wait_until(lambda: world.leader(TARGET) == reader, 60, f"{reader.name} to lead")
        result = world.pgdolly("reset", TARGET, "--check", status=REFUSED)
        assert "WAL is missing: " in result.stderr, result
        world.reset("--immediate")
    world.assert_cluster_whole(rows=rows, archiving=False)


@pytest.mark.usefixtures("whole_target")
def test_a_replica_without_the_repository_waits_while_the_others_stand_at_the_target(
    world: World, scenario: Scenario
) -> None:
    """Its old data stays until the leader is promoted; others are joined as ever."""
    leader, (joined, copied) = world.leader(TARGET), replicas(world)
    with repositories_of_their_own([copied]):
        paused = world.reset(*FROM, "--lsn", scenario.early.lsn, "--action", "pause")
        assert world.rows(leader, sockets=leader.private_sockets) == scenario.early.rows
        assert (copied.data_directory / "PG_VERSION").exists()
        world.pgdolly("resume", paused.run, "--lsn", scenario.middle.lsn)
        finished = world.pgdolly("resume", paused.run, "--output=json")
    assert finished.outcome["state"] == "finished"
    assert finished.step_result("copy_leader", copied.name)["rebuilt"] is True
    assert finished.step_result("join_replica", joined.name)["rebuilt"] is False
    world.assert_cluster_whole(rows=scenario.middle.rows, archiving=False)
