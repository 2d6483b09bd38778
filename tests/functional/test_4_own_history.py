"""A clone gets a history of its own, is reset again from the same source, and goes back to what it was."""

from __future__ import annotations

import re

from scenario import Scenario
from world import SOURCE, TARGET, Rows, Sandbox

FROM = ("--from", SOURCE)


def estrange(sandbox: Sandbox) -> None:
    """Make the target's stanza one of another system, as it is where no clone was ever cleaned up.

    The other system is real, and thrown away.
    """
    leader = sandbox.leader(TARGET)
    other = leader.directory / "other"
    sandbox.as_dbsu(
        str(leader.bin_directory / "initdb"), f"--pgdata={other}", "--no-sync", "--locale=C.UTF-8"
    )
    try:
        sandbox.execute(leader, "pb", "--no-online", f"--pg1-path={other}", "stanza-upgrade")
    finally:
        sandbox.as_dbsu("rm", "-r", str(other))


def grow(sandbox: Sandbox, what: str) -> Rows:
    """Write something on the clone, and see it archived."""
    leader = sandbox.leader(TARGET)
    sandbox.psql(leader, f"INSERT INTO ledger (said) VALUES ('{what}')")
    rows = sandbox.rows(leader)
    sandbox.switch_wal(leader)
    return rows


def archiving_errors(sandbox: Sandbox) -> list[str]:
    """Every refusal of WAL by the target's stanza that its members have logged."""
    return [
        line
        for member in sandbox.members(TARGET)
        for log in (member.directory / "log").glob("*.log")
        for line in log.read_text(errors="replace").splitlines()
        if re.search(r"\[04[45]\]", line)
    ]


def test_by_hand_as_the_manual_says(sandbox: Sandbox, scenario: Scenario) -> None:
    """[051] at the next backup; then the manual's three commands."""
    sandbox.reset(*FROM, "--time", scenario.early.time)
    timeline = sandbox.assert_cluster_whole(rows=scenario.early.rows, archiving=False)
    estrange(sandbox)
    leader = sandbox.leader(TARGET)

    backup = sandbox.shell(leader, "pb backup\n", status=None)
    assert backup.status != 0 and "[051]" in backup.stdout + backup.stderr, backup
    assert "is this the correct stanza?" in backup.stdout + backup.stderr
    check = sandbox.pgdolly("check", TARGET, status=None)
    assert check.status != 0 and "[051]" in check.stdout + check.stderr, check

    sandbox.shell(leader, "pb stanza-upgrade\npsql -c 'ALTER SYSTEM RESET archive_mode;'\n")
    for member in (*(each for each in sandbox.members(TARGET) if each != leader), leader):
        # The manual's command on every member: archiving is to go on after a failover too.
        sandbox.shell(
            member,
            "psql -c 'ALTER SYSTEM RESET archive_mode;'\n"
            f"patronictl restart --force {TARGET} {member.name}\n",
        )
    before = sandbox.labels(TARGET)
    sandbox.shell(leader, "pg-backup full\n")

    assert len(sandbox.labels(TARGET)) == len(before) + 1
    assert sandbox.assert_cluster_whole(rows=scenario.early.rows, archiving=True) == timeline


def test_cleanup_and_again_and_back(sandbox: Sandbox, scenario: Scenario) -> None:
    """Across clusters twice in a row, each with its clean-up, then in place to the first clone's own state."""
    errors_before = archiving_errors(sandbox)

    sandbox.reset(*FROM, "--time", scenario.early.time)
    estrange(sandbox)
    sandbox.pgdolly("cleanup", TARGET, "--yes")
    first_timeline = sandbox.assert_cluster_whole(rows=scenario.early.rows, archiving=True)
    first_backup = sandbox.labels(TARGET)[-1]
    first_rows = grow(sandbox, "by the first clone")
    [(first_lsn,)] = sandbox.psql(sandbox.leader(TARGET), "SELECT pg_current_wal_lsn()::text")
    grow(sandbox, "by the first clone, later")
    first_archive = sandbox.fingerprint(TARGET)
    archive_id = {name.split("/")[2] for name in first_archive if f"/{first_timeline:08X}" in name}

    sandbox.reset(*FROM, "--lsn", scenario.late.lsn)
    second_timeline = sandbox.assert_cluster_whole(rows=scenario.late.rows, archiving=False)
    sandbox.pgdolly("cleanup", TARGET, "--yes")
    second_rows = grow(sandbox, "by the second clone")
    sandbox.assert_cluster_whole(rows=second_rows, archiving=True, timeline=second_timeline)
    second_backup = sandbox.labels(TARGET)[-1]
    assert second_timeline > first_timeline
    assert second_backup not in (first_backup, None) and first_backup in sandbox.labels(TARGET)
    after = sandbox.fingerprint(TARGET)
    changed = [name for name in first_archive if after.get(name) != first_archive[name]]
    assert all(re.search(r"\.info(\.copy)?$|/latest$", name) for name in changed), changed
    # The same system, so the same archive, and nothing of the first clone's in the way of the second's.
    assert archive_id == {name.split("/")[2] for name in after if f"/{second_timeline:08X}" in name}
    assert archiving_errors(sandbox) == errors_before

    sandbox.reset("--set", first_backup, "--timeline", str(first_timeline), "--lsn", first_lsn)
    third_timeline = sandbox.assert_cluster_whole(rows=first_rows, archiving=False)
    assert third_timeline > second_timeline
    sandbox.pgdolly("cleanup", TARGET, "--yes")
    sandbox.assert_cluster_whole(rows=first_rows, archiving=True, timeline=third_timeline)
    assert archiving_errors(sandbox) == errors_before


def test_in_place(sandbox: Sandbox, scenario: Scenario) -> None:
    """A DROP on the cluster itself is undone, out of its own backups."""
    if sandbox.value(sandbox.leader(TARGET), "SHOW archive_mode") != "on":
        sandbox.pgdolly("cleanup", TARGET, "--yes")
    leader = sandbox.leader(TARGET)
    sandbox.psql(leader, "CREATE TABLE IF NOT EXISTS precious AS SELECT n FROM generate_series(1, 777) n")
    sandbox.switch_wal(leader)
    sandbox.psql(leader, "INSERT INTO precious VALUES (0)")
    rows = sandbox.rows(leader)
    before = sandbox.assert_cluster_whole(rows=rows, archiving=True)
    at, segment = sandbox.psql(
        leader, "SELECT clock_timestamp(), pg_walfile_name(pg_current_wal_insert_lsn())"
    )[0]
    sandbox.psql(leader, "DROP TABLE precious")
    assert sandbox.value(leader, "SELECT pg_walfile_name(pg_current_wal_lsn())") == segment

    sandbox.switch_wal(leader)
    sandbox.reset("--time", at.isoformat(sep=" "))

    timeline = sandbox.assert_cluster_whole(rows=rows, archiving=False)
    assert timeline > before
    for member in sandbox.members(TARGET):
        assert sandbox.value(member, "SELECT count(*) FROM precious") == 778
