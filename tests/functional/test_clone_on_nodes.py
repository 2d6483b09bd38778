"""What only nodes can show of a clone: the rights that it needs there, and a source that loses its power."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from controller import Controller
from fleet_world import FleetWorld
from member import CLONE, SOURCE, TARGET, Member
from scenario import Scenario
from waiting import wait_until
from world import World
from writing import application

from fleet import Fleet

FAILED = 6
FAIL_OVER_SECONDS = 90.0  # Patroni's ttl is 30 s
CATCH_UP_SECONDS = 60.0
MADE = (
    "etc/patroni/patroni.yml",
    "etc/pgbackrest/pgbackrest.conf",
    "etc/pgbackrest/pgbackrest-upstream.conf",
    "etc/systemd/system/patroni.service",
)


@pytest.fixture
def clone(world: World, no_run_left: None) -> Iterator[Member]:
    """The empty node's member; it is empty again in the end."""
    assert isinstance(world, FleetWorld)
    [member] = world.members(CLONE)
    yield member
    for run in world.open_runs():
        if f"-{CLONE}-" in run:
            world.pgdolly("resume", run, "--abandon")
    world.pgdolly("drop", CLONE, "--with-backups", "--yes")
    root = world.fleet.nodes[member.name].root
    assert [name for name in MADE if (root / name).exists()] == []
    assert not member.data_directory.exists() and not member.work_directory.exists()
    assert not list(world.repository.glob(f"*/{CLONE}"))


@pytest.fixture
def source(world: World, fleet: Fleet, scenario: Scenario) -> Iterator[str]:
    """A source of three members, whole and with backups of its own; whole again in the end."""
    if world.pgdolly("check", TARGET, status=None).status != 0:
        world.reset("--from", SOURCE, "--cleanup")
    fleet.wait_until_whole(TARGET)
    yield TARGET
    for name, node in fleet.nodes.items():
        if node.pid is None:
            fleet.boot(name)
    fleet.wait_until_whole(TARGET)


@pytest.fixture
def closed_directory(fleet: Fleet, clone: Member) -> Iterator[None]:
    """pgBackRest's directory is root's alone, as Patroni's is."""
    directory = "/etc/pgbackrest"
    fleet.exec(clone.name, "chown", "root:root", directory, user="root")
    yield
    fleet.exec(clone.name, "chown", "postgres:postgres", directory, user="root")


def follows(world: World, clone: Member, table: str, number: int) -> None:
    """Wait until the standby cluster has the row."""
    wait_until(
        lambda: world.psql(clone, f"SELECT 1 FROM {table} WHERE number = {number}"),
        CATCH_UP_SECONDS,
        f"row {number} of {table} on {clone.name}",
        seen=lambda: world.view(CLONE),
    )


@pytest.mark.usefixtures("closed_directory", "manual_rights")
def test_the_rights_of_the_manual_are_enough_for_a_clone(world: World, source: str, clone: Member) -> None:
    """Its source goes on being written to; whatever was committed before the promotion began is in the clone."""
    with application(world, source) as writer:
        writer.has_written()
        world.pgdolly("clone", source, CLONE, "--standby", "--yes")
        writer.has_written()
        follows(world, clone, "heartbeats", writer.acknowledged[-1])
        committed = set(writer.acknowledged)
        assert len(committed) >= 50
        promoted = world.pgdolly("promote", CLONE, "--yes", "--output=json")
        assert promoted.outcome["state"] == "finished"
        found = {number for [number] in world.psql(clone, "SELECT number FROM heartbeats")}
        assert committed <= found
        writer.has_written()  # the source has not noticed
        last = writer.acknowledged[-1]
        assert world.psql(clone, f"SELECT 1 FROM heartbeats WHERE number = {last}") == []
    world.assert_cluster_whole(CLONE, rows=world.rows(clone), archiving=True)
    assert world.pgdolly("check", CLONE).status == 0
    upstream = world.as_dbsu(clone, "cat", "/etc/pgbackrest/pgbackrest-upstream.conf")
    assert len(upstream.splitlines()) == 1, "the way to the source's repository is still there"
    world.pgdolly("drop", CLONE, "--with-backups", "--yes")


def test_a_source_whose_leader_loses_its_power(
    world: World, fleet: Fleet, source: str, clone: Member
) -> None:
    """The clone follows the next one, and is promoted while a member of the source is still away."""
    world.pgdolly("clone", source, CLONE, "--standby", "--yes")
    former = world.leader(source)
    world.psql(former, "CREATE TABLE failovers (number int); INSERT INTO failovers VALUES (1)")
    follows(world, clone, "failovers", 1)
    # A node without power does not even hang up: by default it is given up after 60 s.
    world.psql(clone, "ALTER SYSTEM SET wal_receiver_timeout = '5s'")
    world.psql(clone, "SELECT pg_reload_conf()")
    fleet.power_off(former.name)
    others = [member for member in world.members(source) if member != former]

    def next_leader() -> Member | None:
        return next((each for each in others if not world.value(each, "SELECT pg_is_in_recovery()")), None)

    leader = wait_until(next_leader, FAIL_OVER_SECONDS, f"another leader than {former.name}")
    world.psql(leader, "INSERT INTO failovers VALUES (2)")
    follows(world, clone, "failovers", 2)
    rows = world.rows(leader)
    world.pgdolly("promote", CLONE, "--yes")
    world.assert_cluster_whole(CLONE, rows=rows, archiving=True)
    world.psql(leader, "DROP TABLE failovers")


def test_a_source_that_is_down_for_good(world: World, fleet: Fleet, source: str, clone: Member) -> None:
    """Its repository is enough; the configuration follows that of another cluster's nodes."""
    leader = world.leader(source)
    rows = world.rows(leader)
    at = world.value(leader, "SELECT clock_timestamp()::text")
    world.psql(leader, "CREATE TABLE IF NOT EXISTS later (number int); INSERT INTO later VALUES (1)")
    world.switch_wal(leader)
    for member in world.members(source):
        fleet.power_off(member.name)
    made = world.pgdolly("clone", source, CLONE, "--time", at, "--yes")
    assert f"the configuration follows that of {SOURCE}" in made.stdout, made
    world.assert_cluster_whole(CLONE, rows=rows, archiving=True)
    assert world.pgdolly("check", CLONE).status == 0


def left_empty(fleet: Fleet, clone: Member) -> None:
    """Root's `install` makes a file before it reads what goes into it: what it leaves if nothing came."""
    for name in MADE:
        argv = ("install", "-D", "-o", "postgres", "-m", "0600", "/dev/stdin", f"/{name}")
        done = fleet.exec(clone.name, *argv, user="root", stdin="")
        assert done.returncode == 0, done.stderr


def test_killed_before_root_had_read_what_it_writes(
    world: World, fleet: Fleet, clone: Member, scenario: Scenario, controllers: list[Controller]
) -> None:
    """Files that hold nothing stand in nobody's way: not in a resume's, and not in a drop's."""
    controller = world.start("clone", SOURCE, CLONE, "--lsn", scenario.early.lsn, "--no-backup", "--yes")
    controllers.append(controller)
    controller.wait_for_step("step_begun", "configure_member")
    controller.kill()
    left_empty(fleet, clone)
    world.pgdolly("resume", controller.run())
    world.assert_cluster_whole(CLONE, rows=scenario.early.rows, archiving=True)
    world.pgdolly("drop", CLONE, "--with-backups", "--yes")
    left_empty(fleet, clone)
    dropped = world.pgdolly("drop", CLONE, "--with-backups", "--yes")
    assert "not made by" not in dropped.stdout, dropped
    root = fleet.nodes[clone.name].root
    assert [name for name in MADE if (root / name).exists()] == []


@pytest.fixture
def small_disk(fleet: Fleet, clone: Member) -> Iterator[Callable[[], None]]:
    """A file system of its own for the data; what is returned makes it smaller than the data, once it is in use."""
    owner = fleet.exec(clone.name, "id", "-u", "postgres", user="root").stdout.strip()

    def as_root(*argv: str) -> None:
        done = fleet.exec(clone.name, *argv, user="root")
        assert done.returncode == 0, done.stdout + done.stderr

    as_root("mkdir", "/pg/data")
    as_root("mount", "-t", "tmpfs", "-o", f"size=2g,mode=0700,uid={owner},gid={owner}", "data", "/pg/data")
    yield lambda: as_root("mount", "-o", "remount,size=20m", "/pg/data")
    as_root("umount", "/pg/data")
    as_root("rmdir", "/pg/data")


def test_a_disk_that_fills_up(
    world: World,
    clone: Member,
    small_disk: Callable[[], None],
    scenario: Scenario,
    controllers: list[Controller],
) -> None:
    """Somebody else takes the room that was there: the run says so, and what it has left can be removed."""
    controller = world.start("clone", SOURCE, CLONE, "--lsn", scenario.late.lsn, "--yes")
    controllers.append(controller)
    controller.wait_for_step("step_begun", "configure_member")
    small_disk()
    said = controller.wait()
    assert controller.process.returncode == FAILED, said
    assert (
        "the file system of /pg/data is full" in said
        and clone.name in said
        and f"resume {controller.run()}" in said
    ), said
    world.pgdolly("resume", controller.run(), "--abandon")
    dropped = world.pgdolly("drop", CLONE, "--with-backups", "--yes")
    assert "emptied, and left" in dropped.stdout, dropped
    assert world.as_dbsu(clone, "ls", "-A", "/pg/data") == ""
