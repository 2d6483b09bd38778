"""What can be asked for beside the target: to stand there and go forward, to keep the old data, to clean up at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from member import SOURCE, TARGET, Member
from scenario import Scenario
from servers import Rows
from world import World

FROM = ("--from", SOURCE)
REFUSED = 3


def test_pause_look_go_forward_and_promote(world: World, scenario: Scenario) -> None:
    paused = world.reset(*FROM, "--name", "early", "--set", scenario.backups[0], "--action", "pause")
    assert paused.outcome["state"] == "paused"
    # The private socket that the outcome names is where a person looks.
    said = re.search(r"psql -h (\S+) .* on (\S+)$", paused.outcome["next"][0])
    assert said is not None, paused.outcome["next"]
    leader = world.member(said[2])
    private = leader.private_sockets
    assert said[1] == str(leader.on_node(private))
    assert world.rows(leader, sockets=private) == scenario.early.rows
    assert world.value(leader, "SELECT pg_get_wal_replay_pause_state()", sockets=private) == "paused"

    for point in (scenario.middle, scenario.late):
        further = world.pgdolly("resume", paused.run, "--lsn", point.lsn, "--output=json")
        assert further.outcome["state"] == "paused" and further.run == paused.run
        assert world.rows(leader, sockets=private) == point.rows

    earlier = world.pgdolly("resume", paused.run, "--lsn", scenario.middle.lsn, status=REFUSED)
    assert "replay does not go back" in earlier.stderr, earlier
    assert world.rows(leader, sockets=private) == scenario.late.rows

    planned = world.pgdolly("resume", paused.run, "--check")
    assert "1. promote the leader" in planned.stdout and "nothing was changed" in planned.stdout, planned
    assert world.state_of(paused.run) == "paused"
    assert world.value(leader, "SELECT pg_get_wal_replay_pause_state()", sockets=private) == "paused"
    promoted = world.pgdolly("resume", paused.run, "--output=json")
    assert promoted.outcome["state"] == "finished"
    world.assert_cluster_whole(rows=scenario.late.rows, archiving=False)


@pytest.fixture
def kept_directories(world: World) -> Iterator[Callable[[Member], set[Path]]]:
    """The data directories that are kept beside each member's own; they are gone after the test."""

    def kept(member: Member) -> set[Path]:
        return set(member.directory.glob("data.*"))

    yield kept
    for member in world.members(TARGET):
        for path in kept(member):
            world.as_dbsu(member, "rm", "-r", str(member.on_node(path)))


@pytest.mark.usefixtures("whole_target")
def test_backup_keeps_the_old_data(
    world: World, scenario: Scenario, kept_directories: Callable[[Member], set[Path]]
) -> None:
    """Twice, so that the first copy could be overwritten."""
    members = world.members(TARGET)
    assert not any(kept_directories(member) for member in members)
    old = world.leader(TARGET)
    world.psql(old, "CREATE TABLE IF NOT EXISTS only_here (n int); INSERT INTO only_here VALUES (42)")
    rows = world.rows(old)

    world.reset(*FROM, "--lsn", scenario.middle.lsn, "--backup")
    world.assert_cluster_whole(rows=scenario.middle.rows, archiving=False)
    first = {member.name: kept_directories(member) for member in members}
    world.reset(*FROM, "--lsn", scenario.late.lsn, "--backup")
    world.assert_cluster_whole(rows=scenario.late.rows, archiving=False)

    for member in members:
        assert len(first[member.name]) == 1
        assert len(kept_directories(member)) == 2 and first[member.name] < kept_directories(member)
    [kept] = first[old.name]
    assert rows_of_a_directory(world, old, kept) == rows


def rows_of_a_directory(world: World, member: Member, directory: Path) -> Rows:
    """Start a kept data directory by itself, away from everybody, and look."""
    there = member.on_node(directory)
    pg_ctl = (str(member.bin_directory / "pg_ctl"), f"--pgdata={there}", "--silent")
    settings = {
        "config_file": there / "postgresql.conf",
        "listen_addresses": "",
        "unix_socket_directories": there,
        "archive_mode": "off",
        "logging_collector": "off",
    }
    options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
    world.as_dbsu(member, *pg_ctl, "--wait", f"--log={there}/kept.log", f"--options={options}", "start")
    try:
        return world.rows(member, sockets=directory)
    finally:
        world.as_dbsu(member, *pg_ctl, "--mode=fast", "stop")


def test_cleanup_in_the_same_go(world: World, scenario: Scenario) -> None:
    before = world.labels(TARGET)
    result = world.reset(*FROM, "--time", scenario.middle.time, "--cleanup")
    timeline = world.assert_cluster_whole(rows=scenario.middle.rows, archiving=True)
    added = [label for label in world.labels(TARGET) if label not in before]
    assert len(added) == 1 and added[0].endswith("F")
    assert result.step_result("take_backup")["label"] == added[0]
    assert timeline in world.archived_timelines(TARGET)
    check = world.pgdolly("check", TARGET, status=None)
    assert check.status == 0, check
