"""Each thing that `pgdolly check` finds, brought about on real servers and cured by the commands that it names."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from member import CLONE, SOURCE, TARGET, Member
from scenario import Scenario
from waiting import COMMAND_POLL_SECONDS, wait_until
from world import World

WRONG = 8
MINUTE = 60  # PostgreSQL's archiver waits so long after three failures

Finding = dict[str, Any]


def check(world: World, *clusters: str, status: int) -> dict[str, Finding]:
    """The findings by their codes."""
    result = world.pgdolly("check", *(clusters or (TARGET,)), "--output=json", status=status)
    [report] = json.loads(result.stdout)["clusters"]
    assert report["works"] is (status == 0)
    found = {finding["code"]: finding for finding in report["findings"]}
    assert len(found) == len(report["findings"]), result
    return found


def cure(world: World, finding: Finding) -> None:
    """Type what it says, where it says."""
    for each in finding["cures"]:
        if each["on"] is None:
            program, *argv = shlex.split(each["command"])
            assert program == "pgdolly", each
            world.pgdolly(*argv, *(["--yes"] if argv[0] == "cleanup" else []))
        elif each["command"].startswith("sudo "):
            world.administer(world.member(each["on"]), f"{each['command']}\n")
        else:
            world.shell(world.member(each["on"]), f"{each['command']}\n")


def is_well(world: World) -> None:
    """All is well, within the time that PostgreSQL's archiver takes to try again."""

    def well() -> bool:
        return world.pgdolly("check", TARGET, status=None).status == 0

    wait_until(well, MINUTE + 30, f"the backups of {TARGET} to work", poll_seconds=COMMAND_POLL_SECONDS)


@pytest.fixture(scope="module")
def own_history(world: World, scenario: Scenario) -> None:
    """The target as a clone of the source, with backups of its own."""
    heal(world)


@pytest.fixture(autouse=True)
def well(world: World, own_history: None, source_untouched: None) -> Iterator[None]:
    """After each test, as before it; what one has left that is not is mended for the next one."""
    yield
    try:
        is_well(world)
    except Exception:
        heal(world)
        raise


def heal(world: World) -> None:
    """What a test that failed has left must not fail the next ones."""
    for run in world.open_runs():
        world.pgdolly("resume", run, "--abandon", status=None)
    settings = ("archive_mode=on", f"archive_command=pgbackrest --stanza={TARGET} archive-push %p")
    first = world.members(TARGET)[0]
    world.execute(
        first, "patronictl", "edit-config", TARGET, *(f"--pg={each}" for each in settings), "--force"
    )
    for member in world.members(TARGET):
        world.shell(member, "pgbackrest start\npb start\n", status=None)
    world.reset("--from", SOURCE)
    world.pgdolly("cleanup", TARGET, "--yes")
    is_well(world)


@pytest.fixture
def leader(world: World) -> Member:
    return world.leader(TARGET)


@pytest.fixture
def replicas(world: World, leader: Member) -> list[Member]:
    return [member for member in world.members(TARGET) if member != leader]


def restart(world: World, member: Member) -> None:
    world.execute(member, "patronictl", "restart", TARGET, member.name, "--force")

    def back() -> bool:
        return world.view(TARGET)["members"][member.name][1] in ("running", "streaming")

    wait_until(back, 60, f"{member.name} to be back")


def wait_for_findings(world: World, *codes: str) -> dict[str, Finding]:
    """What is found once these are among it: settings reach the members with Patroni's next round."""
    found: dict[str, Finding] = {}

    def there() -> bool:
        found.clear()
        result = world.pgdolly("check", TARGET, "--output=json", status=None)
        [report] = json.loads(result.stdout)["clusters"]
        found.update({finding["code"]: finding for finding in report["findings"]})
        return set(codes) <= found.keys()

    wait_until(there, 60, f"{', '.join(codes)} to be found", poll_seconds=COMMAND_POLL_SECONDS)
    return found


def newest_segment(world: World, leader: Member) -> Path:
    """The file of the last segment that the leader has archived, once the leader says so, too.

    A segment is in the archive a moment before PostgreSQL counts it. What it counted last can be a backup's history
    file, which is named after an earlier segment.
    """
    segment = re.compile(r"[0-9A-F]{24}-[0-9a-f]{40}\.zst")  # and no .pgbackrest.tmp, which is on its way
    files = (world.repository / "archive" / TARGET).rglob("*")
    newest = max((path for path in files if segment.fullmatch(path.name)), key=lambda path: path.name)
    name = newest.name[:24]
    counted = (
        f"SELECT (last_archived_wal >= '{name}' OR last_archived_wal LIKE '%.backup') AND NOT EXISTS "
        f"(SELECT FROM pg_ls_archive_statusdir() s WHERE s.name = '{name}.ready') FROM pg_stat_archiver"
    )
    wait_until(
        lambda: world.value(leader, counted),
        30,
        f"{leader.name} to count {name} as archived",
    )
    return newest


# -- all is well


def test_backups_that_work(world: World, leader: Member) -> None:
    with world.nothing_changes():
        result = world.pgdolly("check", TARGET)
    assert f"{TARGET}: backups work" in result.stdout
    assert world.labels(TARGET)[-1] in result.stdout


def test_it_only_reads(world: World, leader: Member) -> None:
    """pgbackrest check would switch a segment; this one leaves the WAL where it is."""
    segment = "SELECT pg_walfile_name(pg_current_wal_lsn())"  # the server itself writes a record now and then
    before = world.value(leader, segment)
    check(world, status=0)
    assert world.value(leader, segment) == before


# -- archiving


def test_a_stop_file_and_an_archiver_that_fails(world: World, leader: Member) -> None:
    world.execute(leader, "pb", "stop")
    stopped = check(world, status=WRONG)["stop_file"]
    assert stopped["where"] == [leader.name]
    assert stopped["cures"] == [{"command": "pb start", "on": leader.name}]

    world.psql(leader, "CREATE TABLE IF NOT EXISTS noise (); SELECT pg_switch_wal()")
    found = wait_for_findings(world, "archiver_failing")
    assert "[062]" in found["archiver_failing"]["what"]
    assert found["archiver_failing"]["cures"] == stopped["cures"]
    cure(world, stopped)
    world.switch_wal(leader)  # else the archiver tries again after a minute


def test_a_stop_file_for_every_stanza_on_a_replica(world: World, replicas: list[Member]) -> None:
    """`pb start` would leave it where it is."""
    world.execute(replicas[0], "sh", "-c", "pgbackrest stop")
    found = check(world, status=WRONG)
    assert list(found) == ["stop_file"]
    assert found["stop_file"]["where"] == [replicas[0].name]
    cure(world, found["stop_file"])
    check(world, status=0)


def test_archiving_is_off_on_a_replica(world: World, replicas: list[Member]) -> None:
    """It is found now, not after the next failover."""
    world.psql(replicas[1], "ALTER SYSTEM SET archive_mode = off")
    restart(world, replicas[1])
    found = check(world, status=WRONG)
    assert list(found) == ["archive_off"]
    assert found["archive_off"]["where"] == [replicas[1].name]
    assert "failover" in found["archive_off"]["what"]
    cure(world, found["archive_off"])
    assert world.value(replicas[1], "SHOW archive_mode") == "on"


def test_archiving_would_be_off_after_a_restart(world: World, leader: Member, replicas: list[Member]) -> None:
    started = world.value(leader, "SELECT pg_postmaster_start_time()")
    for member in (leader, replicas[0]):
        world.psql(member, "ALTER SYSTEM SET archive_mode = off")
    found = check(world, status=WRONG)
    assert list(found) == ["archive_off_after_restart"]
    assert sorted(found["archive_off_after_restart"]["where"]) == sorted([leader.name, replicas[0].name])
    cure(world, found["archive_off_after_restart"])
    check(world, status=0)
    assert world.value(leader, "SELECT pg_postmaster_start_time()") == started, "no restart was needed"


def test_archiving_is_off_by_the_clusters_configuration(world: World, leader: Member) -> None:
    world.execute(leader, "patronictl", "edit-config", TARGET, "--pg", "archive_mode=off", "--force")
    wait_for_findings(world, "archive_off_after_restart")
    for member in world.members(TARGET):
        restart(world, member)
    found = wait_for_findings(world, "archive_off")
    assert sorted(found["archive_off"]["where"]) == [member.name for member in world.members(TARGET)]
    assert "configuration" in found["archive_off"]["what"]
    assert found["archive_off"]["cures"][-1]["command"] == f"pgdolly cleanup {TARGET}"
    cure(world, found["archive_off"])
    for member in world.members(TARGET):
        assert world.value(member, "SHOW archive_mode") == "on"


def test_archiving_into_the_sources_stanza(world: World, leader: Member) -> None:
    """The clone has the source's system identifier: pgBackRest's own checks would let its WAL in."""
    foreign = f"archive_command=pgbackrest --stanza={SOURCE} archive-push %p"
    world.execute(leader, "patronictl", "edit-config", TARGET, "--pg", foreign, "--force")
    found = wait_for_findings(world, "archive_command_foreign")
    assert sorted(found["archive_command_foreign"]["where"]) == [
        member.name for member in world.members(TARGET)
    ]
    assert repr(SOURCE) in found["archive_command_foreign"]["what"]
    # The victim's own check tells as well.
    pushed = check(world, SOURCE, status=WRONG)["foreign_push"]
    assert leader.name in pushed["where"]
    assert pushed["cures"] == [{"command": f"pgdolly check {TARGET}", "on": None}]
    cure(world, found["archive_command_foreign"])

    def cured() -> bool:
        return all(
            world.value(member, "SHOW archive_command") == f"pgbackrest --stanza={TARGET} archive-push %p"
            for member in world.members(TARGET)
        )

    wait_until(cured, 60, "archive_command to be the cluster's own")
    check(world, SOURCE, status=0)


def test_a_foreign_command_is_seen_while_archiving_is_off(world: World, leader: Member) -> None:
    """The server says only (disabled); the clean-up refuses to turn it on."""
    foreign = f"pgbackrest --stanza={SOURCE} archive-push %p"
    world.psql(leader, "ALTER SYSTEM SET archive_mode = off")
    world.psql(leader, f"ALTER SYSTEM SET archive_command = '{foreign}'")
    restart(world, leader)
    assert world.value(leader, "SHOW archive_command") == "(disabled)"
    found = check(world, status=WRONG)
    assert list(found) == ["archive_command_foreign", "archive_off"]
    assert found["archive_command_foreign"]["where"] == [leader.name]

    refused = world.pgdolly("cleanup", TARGET, "--yes", status=None)
    assert refused.status != 0 and repr(SOURCE) in refused.stderr, refused
    assert world.value(leader, "SHOW archive_mode") == "off"
    cure(world, found["archive_command_foreign"])
    open_run = check(world, status=WRONG)["run_open"]
    cure(world, open_run)


# -- the stanza


def test_the_stanza_is_missing(world: World, leader: Member) -> None:
    world.shell(leader, "pb stop --force\npb stanza-delete --force\npb start\n")
    world.psql(leader, "CREATE TABLE noise2 (); SELECT pg_switch_wal()")
    found = wait_for_findings(world, "stanza_missing", "archiver_failing")
    assert "[055]" in found["stanza_missing"]["what"]
    backup = world.execute(leader, "pb", "backup", status=None)
    assert "[055]" in backup.stdout + backup.stderr
    cure(world, found["stanza_missing"])
    assert len(world.labels(TARGET)) == 1


def test_a_new_stanza_without_a_backup(world: World, leader: Member) -> None:
    """As after the manual's four commands: archiving works, and there is nothing to restore from."""
    world.shell(leader, "pb stop --force\npb stanza-delete --force\npb start\npb stanza-create\n")
    found = check(world, status=WRONG)
    assert list(found) == ["no_backup"]
    cure(world, found["no_backup"])
    check(world, status=0)


def test_a_stanza_of_another_system(world: World, leader: Member) -> None:
    """[051] for a backup, [044] for WAL, as the manual shows it."""
    other = leader.on_node(leader.directory / "other")
    initdb = leader.bin_directory / "initdb"
    world.as_dbsu(leader, str(initdb), f"--pgdata={other}", "--no-sync", "--locale=C.UTF-8")
    try:
        world.execute(leader, "pb", "--no-online", f"--pg1-path={other}", "stanza-upgrade")
    finally:
        world.as_dbsu(leader, "rm", "-r", str(other))
    world.psql(leader, "CREATE TABLE noise3 (); SELECT pg_switch_wal()")
    found = wait_for_findings(world, "stanza_other_system", "archiver_failing")
    assert "[051]" in found["stanza_other_system"]["what"]
    assert "[044]" in found["archiver_failing"]["what"], found["archiver_failing"]
    backup = world.execute(leader, "pb", "backup", status=None)
    assert "[051]" in backup.stdout + backup.stderr
    cure(world, found["stanza_other_system"])


def test_two_clusters_that_share_a_stanza(world: World, leader: Member) -> None:
    """By their names alone they would not: it is the repository that shows them the same backups."""
    for member in world.members(TARGET):
        text = member.pgbackrest_config.read_text()
        member.pgbackrest_config.write_text(text.replace(f"[{TARGET}]", f"[{SOURCE}]"))
    shared = check(world, SOURCE, status=WRONG)["stanza_shared"]
    assert sorted(shared["where"]) == [SOURCE, TARGET]
    found = check(world, status=WRONG)
    assert "stanza_shared" in found
    # To follow the configuration would make the clone push into the source's stanza.
    assert "archive_command_foreign" not in found
    cure(world, shared)
    check(world, SOURCE, status=0)


# -- the backups and their WAL


def test_no_backup_since_the_clone(world: World, scenario: Scenario) -> None:
    """The stanza is of the right system, and its backups are of the clone's former life."""
    former = world.labels(TARGET)
    world.reset("--from", SOURCE, "--time", scenario.late.time)
    found = check(world, status=WRONG)
    assert sorted(found) == ["archive_off", "no_backup_since_clone"]
    assert len(found["archive_off"]["where"]) == len(world.members(TARGET))
    assert former[-1] in found["no_backup_since_clone"]["what"]
    cure(world, found["no_backup_since_clone"])
    assert len(world.labels(TARGET)) == len(former) + 1


def test_wal_that_was_acknowledged_and_is_not_there(world: World, leader: Member) -> None:
    world.switch_wal(leader)
    path = newest_segment(world, leader)
    path.unlink()
    found = check(world, status=WRONG)
    assert list(found) == ["wal_not_arriving"]
    assert path.name[:24] in found["wal_not_arriving"]["what"]
    cure(world, found["wal_not_arriving"])
    check(world, status=0)


def test_a_gap_in_the_wal(world: World, leader: Member) -> None:
    world.switch_wal(leader)
    path = newest_segment(world, leader)
    world.switch_wal(leader)
    path.unlink()
    # Archived just now: what comes before it might be on its way.
    check(world, status=0)
    for later in path.parent.glob("*.zst"):
        os.utime(later, (time.time() - 2 * MINUTE,) * 2)
    found = check(world, status=WRONG)
    assert list(found) == ["wal_gap"]
    assert path.name[:24] in found["wal_gap"]["what"]
    cure(world, found["wal_gap"])


def test_wal_of_a_later_timeline(world: World, leader: Member) -> None:
    """A stray clone has archived here: a recovery along the latest timeline would follow it."""
    path = newest_segment(world, leader)
    stray = path.with_name("000000EE" + path.name[8:])
    shutil.copy(path, stray)
    os.chown(stray, path.stat().st_uid, path.stat().st_gid)
    try:
        ahead = check(world, status=WRONG)["timeline_ahead"]
        assert f"timeline {0xEE}" in ahead["what"]
        # The source is of the same system and in the same inventory: it is where to look.
        assert {"command": f"pgdolly check {SOURCE}", "on": None} in ahead["cures"]
    finally:
        stray.unlink()


# -- the members


def test_a_stopped_member(world: World, replicas: list[Member]) -> None:
    member = replicas[0]
    world.stop_service(member)
    found = check(world, status=WRONG)
    assert "patroni_down" in found
    assert found["patroni_down"]["where"] == [member.name]
    status = json.loads(world.pgdolly("status", TARGET, "--output=json").stdout)
    states = {each["name"]: each["state"] for each in status["clusters"][0]["members"]}
    assert states[member.name] != "streaming"
    cure(world, found["patroni_down"])

    def back() -> bool:
        return bool(world.view(TARGET)["members"][member.name][1] == "streaming")

    wait_until(back, 60, f"{member.name} to stream again")


def test_a_run_that_stands_at_its_target(world: World, scenario: Scenario) -> None:
    """Nothing is judged then; to start Patroni on such a member would be the ruin of the recovery."""
    run = world.reset("--from", SOURCE, "--time", scenario.early.time, "--action", "pause").run
    found = check(world, status=WRONG)
    assert list(found) == ["run_open"]
    assert run in found["run_open"]["what"]
    status = world.pgdolly("status", TARGET)
    assert "private recovery" in status.stdout
    assert run in status.stdout
    cure(world, found["run_open"])
    world.pgdolly("cleanup", TARGET, "--yes")


# -- status


def test_status(world: World, leader: Member) -> None:
    world.switch_wal(leader)
    began = time.monotonic()
    result = world.pgdolly("status", "--output=json")
    took = time.monotonic() - began
    found = {each["cluster"]: each for each in json.loads(result.stdout)["clusters"]}
    assert set(found) == {SOURCE, TARGET, CLONE}
    view = world.view(TARGET)["members"]
    for each in found[TARGET]["members"]:
        assert (each["role"], each["state"], each["timeline"]) == view[each["name"]]
        assert each["archive_mode"] == "on"
        assert each["run"] is None and each["problem"] is None
    own = next(each for each in found[TARGET]["members"] if each["name"] == leader.name)
    last = world.value(leader, "SELECT last_archived_wal FROM pg_stat_archiver")
    assert own["last_archived"] == last
    assert took < 10, f"it took {took:.1f} s"  # 2 s by itself; other programs may have the processors


def test_status_of_one_cluster_for_people(world: World) -> None:
    result = world.pgdolly("status", SOURCE)
    assert f"{SOURCE}-1" in result.stdout and "leader" in result.stdout
    assert TARGET not in result.stdout


def test_an_unknown_cluster(world: World) -> None:
    for command in ("check", "status"):
        result = world.pgdolly(command, "pg-tset", status=2)
        assert "did you mean 'pg-test'?" in result.stderr
