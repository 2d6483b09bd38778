"""What can be asked for beside the target: to stand there and go forward, to keep the old data, to clean up at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from scenario import Scenario
from world import SOURCE, TARGET, Member, Rows, Sandbox

FROM = ("--from", SOURCE)
REFUSED = 3


def test_pause_look_go_forward_and_promote(sandbox: Sandbox, scenario: Scenario) -> None:
    paused = sandbox.reset(*FROM, "--name", "early", "--set", scenario.backups[0], "--action", "pause")
    assert paused.outcome["state"] == "paused"
    # The private socket that the outcome names is where a person looks.
    said = re.search(r"psql -h (\S+)", paused.outcome["next"][0])
    assert said is not None, paused.outcome["next"]
    [leader] = [each for each in sandbox.members(TARGET) if each.private_sockets == Path(said[1])]
    private = leader.private_sockets
    assert sandbox.rows(leader, sockets=private) == scenario.early.rows
    assert sandbox.value(leader, "SELECT pg_get_wal_replay_pause_state()", sockets=private) == "paused"

    for point in (scenario.middle, scenario.late):
        further = sandbox.pgdolly("resume", paused.run, "--lsn", point.lsn, "--output=json")
        assert further.outcome["state"] == "paused" and further.run == paused.run
        assert sandbox.rows(leader, sockets=private) == point.rows

    earlier = sandbox.pgdolly("resume", paused.run, "--lsn", scenario.middle.lsn, status=REFUSED)
    assert "replay does not go back" in earlier.stderr, earlier
    assert sandbox.rows(leader, sockets=private) == scenario.late.rows

    promoted = sandbox.pgdolly("resume", paused.run, "--output=json")
    assert promoted.outcome["state"] == "finished"
    sandbox.assert_cluster_whole(rows=scenario.late.rows, archiving=False)


@pytest.fixture
def kept_directories(sandbox: Sandbox) -> Iterator[Callable[[Member], set[Path]]]:
    """The data directories that are kept beside each member's own; they are gone after the test."""

    def kept(member: Member) -> set[Path]:
        return set(member.directory.glob("data.*"))

    yield kept
    for member in sandbox.members(TARGET):
        for path in kept(member):
            sandbox.as_dbsu("rm", "-r", str(path))


@pytest.mark.usefixtures("whole_target")
def test_backup_keeps_the_old_data(
    sandbox: Sandbox, scenario: Scenario, kept_directories: Callable[[Member], set[Path]]
) -> None:
    """Twice, so that the first copy could be overwritten."""
    members = sandbox.members(TARGET)
    assert not any(kept_directories(member) for member in members)
    old = sandbox.leader(TARGET)
    sandbox.psql(old, "CREATE TABLE IF NOT EXISTS only_here (n int); INSERT INTO only_here VALUES (42)")
    rows = sandbox.rows(old)

    sandbox.reset(*FROM, "--lsn", scenario.middle.lsn, "--backup")
    sandbox.assert_cluster_whole(rows=scenario.middle.rows, archiving=False)
    first = {member.name: kept_directories(member) for member in members}
    sandbox.reset(*FROM, "--lsn", scenario.late.lsn, "--backup")
    sandbox.assert_cluster_whole(rows=scenario.late.rows, archiving=False)

    for member in members:
        assert len(first[member.name]) == 1
        assert len(kept_directories(member)) == 2 and first[member.name] < kept_directories(member)
    [kept] = first[old.name]
    assert rows_of_a_directory(sandbox, old, kept) == rows


def rows_of_a_directory(sandbox: Sandbox, member: Member, directory: Path) -> Rows:
    """Start a kept data directory by itself, away from everybody, and look."""
    pg_ctl = (str(member.bin_directory / "pg_ctl"), f"--pgdata={directory}", "--silent")
    settings = {
        "config_file": directory / "postgresql.conf",
        "listen_addresses": "",
        "unix_socket_directories": directory,
        "archive_mode": "off",
        "logging_collector": "off",
    }
    options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
    sandbox.as_dbsu(*pg_ctl, "--wait", f"--log={directory}/kept.log", f"--options={options}", "start")
    try:
        return sandbox.rows(member, sockets=directory)
    finally:
        sandbox.as_dbsu(*pg_ctl, "--mode=fast", "stop")


def test_cleanup_in_the_same_go(sandbox: Sandbox, scenario: Scenario) -> None:
    before = sandbox.labels(TARGET)
    result = sandbox.reset(*FROM, "--time", scenario.middle.time, "--cleanup")
    timeline = sandbox.assert_cluster_whole(rows=scenario.middle.rows, archiving=True)
    added = [label for label in sandbox.labels(TARGET) if label not in before]
    assert len(added) == 1 and added[0].endswith("F")
    assert result.step_result("take_backup")["label"] == added[0]
    assert timeline in sandbox.archived_timelines(TARGET)
    check = sandbox.pgdolly("check", TARGET, status=None)
    assert check.status == 0, check
