"""A clone gets a history of its own, is reset again from the same source, and goes back to what it was."""

from __future__ import annotations

import re

import pytest
from member import SOURCE, TARGET
from scenario import Scenario
from servers import Rows
from waiting import wait_until
from world import World
from writing import application

FROM = ("--from", SOURCE)


def estrange(world: World) -> None:
    """Make the target's stanza one of another system, as it is where no clone was ever cleaned up.

    The other system is real, and thrown away.
    """
    leader = world.leader(TARGET)
    other = leader.on_node(leader.directory / "other")
    world.as_dbsu(
        leader, str(leader.bin_directory / "initdb"), f"--pgdata={other}", "--no-sync", "--locale=C.UTF-8"
    )
    try:
        world.execute(leader, "pb", "--no-online", f"--pg1-path={other}", "stanza-upgrade")
    finally:
        world.as_dbsu(leader, "rm", "-r", str(other))


def grow(world: World, what: str) -> Rows:
    """Write something on the clone, and see it archived."""
    leader = world.leader(TARGET)
    world.psql(leader, f"INSERT INTO ledger (said) VALUES ('{what}')")
    rows = world.rows(leader)
    world.switch_wal(leader)
    return rows


def archiving_errors(world: World) -> list[str]:
    """Every refusal of WAL by the target's stanza that its members have logged."""
    return [
        line
        for member in world.members(TARGET)
        for log in member.server_logs
        for line in log.read_text(errors="replace").splitlines()
        if re.search(r"\[04[45]\]", line)
    ]


def test_archiving_needs_a_stanza_of_the_clones_system(world: World, scenario: Scenario) -> None:
    """Refused [044]; after the commands that it names it archives from its first moment."""
    early = (*FROM, "--time", scenario.early.time)
    world.reset(*early)
    world.assert_cluster_whole(rows=scenario.early.rows, archiving=False)
    estrange(world)
    with world.nothing_changes():
        refusal = world.pgdolly("reset", TARGET, *early, "--archive", "--yes", status=3)
    commands = ("pb stop --force", "pb stanza-delete --force", "pb start", "pb stanza-create")
    assert "[044]" in refusal.stderr and "; ".join(commands) in refusal.stderr, refusal

    world.shell(world.leader(TARGET), "set -e\n" + "".join(f"{command}\n" for command in commands))
    world.reset(*early, "--archive")
    timeline = world.assert_cluster_whole(rows=scenario.early.rows, archiving=True)
    assert timeline in world.archived_timelines(TARGET)


def test_by_hand_as_the_manual_says(world: World, scenario: Scenario) -> None:
    """[051] at the next backup; then the manual's three commands."""
    world.reset(*FROM, "--time", scenario.early.time)
    timeline = world.assert_cluster_whole(rows=scenario.early.rows, archiving=False)
    estrange(world)
    leader = world.leader(TARGET)

    backup = world.shell(leader, "pb backup\n", status=None)
    assert backup.status != 0 and "[051]" in backup.stdout + backup.stderr, backup
    assert "is this the correct stanza?" in backup.stdout + backup.stderr
    check = world.pgdolly("check", TARGET, status=None)
    assert check.status != 0 and "[051]" in check.stdout + check.stderr, check

    world.shell(leader, "pb stanza-upgrade\npsql -c 'ALTER SYSTEM RESET archive_mode;'\n")
    for member in (*(each for each in world.members(TARGET) if each != leader), leader):
        # The manual's command on every member: archiving is to go on after a failover too.
        world.shell(
            member,
            "psql -c 'ALTER SYSTEM RESET archive_mode;'\n"
            f"patronictl restart --force {TARGET} {member.name}\n",
        )
    before = world.labels(TARGET)
    world.shell(leader, "pg-backup full\n")

    assert len(world.labels(TARGET)) == len(before) + 1
    assert world.assert_cluster_whole(rows=scenario.early.rows, archiving=True) == timeline


def test_cleanup_and_again_and_back(world: World, scenario: Scenario) -> None:
    """Across clusters twice in a row, each with its clean-up, then in place to the first clone's own state."""
    errors_before = archiving_errors(world)

    world.reset(*FROM, "--time", scenario.early.time)
    estrange(world)
    world.pgdolly("cleanup", TARGET, "--yes")
    first_timeline = world.assert_cluster_whole(rows=scenario.early.rows, archiving=True)
    first_backup = world.labels(TARGET)[-1]
    first_rows = grow(world, "by the first clone")
    [(first_lsn,)] = world.psql(world.leader(TARGET), "SELECT pg_current_wal_lsn()::text")
    grow(world, "by the first clone, later")
    first_archive = world.fingerprint(TARGET)
    archive_id = {name.split("/")[2] for name in first_archive if f"/{first_timeline:08X}" in name}

    world.reset(*FROM, "--lsn", scenario.late.lsn)
    second_timeline = world.assert_cluster_whole(rows=scenario.late.rows, archiving=False)
    world.pgdolly("cleanup", TARGET, "--yes")
    second_rows = grow(world, "by the second clone")
    world.assert_cluster_whole(rows=second_rows, archiving=True, timeline=second_timeline)
    second_backup = world.labels(TARGET)[-1]
    assert second_timeline > first_timeline
    assert second_backup not in (first_backup, None) and first_backup in world.labels(TARGET)
    after = world.fingerprint(TARGET)
    changed = [name for name in first_archive if after.get(name) != first_archive[name]]
    assert all(re.search(r"\.info(\.copy)?$|/latest$", name) for name in changed), changed
    # The same system, so the same archive, and nothing of the first clone's in the way of the second's.
    assert archive_id == {name.split("/")[2] for name in after if f"/{second_timeline:08X}" in name}
    assert archiving_errors(world) == errors_before

    world.reset("--set", first_backup, "--timeline", str(first_timeline), "--lsn", first_lsn)
    third_timeline = world.assert_cluster_whole(rows=first_rows, archiving=False)
    assert third_timeline > second_timeline
    world.pgdolly("cleanup", TARGET, "--yes")
    world.assert_cluster_whole(rows=first_rows, archiving=True, timeline=third_timeline)
    assert archiving_errors(world) == errors_before


def test_cleanup_of_a_clone_that_is_in_use(world: World, scenario: Scenario) -> None:
    """An application writes all the while, without a pause, and goes on after each restart."""
    world.reset(*FROM, "--time", scenario.early.time)
    with application(world, TARGET, pause_seconds=0) as writer:
        writer.has_written()
        world.pgdolly("cleanup", TARGET, "--no-backup", "--yes")
        writer.has_written()
        writer.end()
        written = {
            int(number) for (number,) in world.psql(world.leader(TARGET), "SELECT number FROM heartbeats")
        }
        assert set(writer.acknowledged) <= written
    world.assert_cluster_whole(rows=scenario.early.rows, archiving=True)


@pytest.mark.usefixtures("own_backups")
def test_in_place(world: World) -> None:
    """A DROP on the cluster itself is undone, out of its own backups."""
    leader = world.leader(TARGET)
    world.psql(leader, "CREATE TABLE IF NOT EXISTS precious AS SELECT n FROM generate_series(1, 777) n")
    world.switch_wal(leader)
    world.psql(leader, "INSERT INTO precious VALUES (0)")
    rows = world.rows(leader)
    before = world.assert_cluster_whole(rows=rows, archiving=True)
    at, segment = world.psql(
        leader, "SELECT clock_timestamp(), pg_walfile_name(pg_current_wal_insert_lsn())"
    )[0]
    world.psql(leader, "DROP TABLE precious")
    assert world.value(leader, "SELECT pg_walfile_name(pg_current_wal_lsn())") == segment

    world.switch_wal(leader)
    world.reset("--time", at.isoformat(sep=" "))

    timeline = world.assert_cluster_whole(rows=rows, archiving=False)
    assert timeline > before
    for member in world.members(TARGET):
        assert world.value(member, "SELECT count(*) FROM precious") == 778


def test_in_place_after_a_failover(world: World) -> None:
    """Out of a backup from before it: the recovery follows its cluster onto the next timeline."""
    world.pgdolly("cleanup", TARGET, "--yes")
    leader = world.leader(TARGET)
    next_leader = next(each for each in world.members(TARGET) if each != leader)
    backup = world.labels(TARGET)[-1]
    world.shell(leader, f"patronictl failover {TARGET} --candidate {next_leader.name} --force\n")
    wait_until(
        lambda: world.view(TARGET)["leader"] == next_leader.name, 60, f"{next_leader.name} to lead {TARGET}"
    )
    world.psql(next_leader, "CREATE TABLE after_the_failover AS SELECT n FROM generate_series(1, 333) n")
    rows = world.rows(next_leader)
    timeline = world.assert_cluster_whole(rows=rows, archiving=True)
    at = world.value(next_leader, "SELECT clock_timestamp()")
    world.psql(next_leader, "DROP TABLE after_the_failover")
    world.switch_wal(next_leader)

    world.reset("--time", at.isoformat(sep=" "), "--set", backup)

    assert world.assert_cluster_whole(rows=rows, archiving=False) > timeline
