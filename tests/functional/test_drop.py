"""`pgdolly drop`: a clone goes whole, killed or not; and what is refused, without a trace, while it is needed."""

from __future__ import annotations

import contextlib
import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from controller import Controller
from member import CLONE, SOURCE, TARGET, Member
from result import Result
from scenario import Scenario
from waiting import wait_until
from world import World

CLONE_SECONDS = 300.0
INVALID, REFUSED, UNREACHABLE = 2, 3, 5


def refused(world: World, *options: str, status: int = REFUSED) -> Result:
    """Demand that the target is not dropped, and that nothing is touched."""
    with world.nothing_changes():
        result = world.pgdolly("drop", TARGET, *options, "--with-backups", "--yes", status=status)
    assert "nothing was changed" in result.stderr, result
    return result


@contextlib.contextmanager
def receiver(world: World, member: Member, name: str) -> Iterator[None]:
    """A pg_receivewal on a member's node, which is no member of the cluster."""
    directory = member.on_node(member.directory / name)
    sockets = (member.data_directory / "postmaster.pid").read_text().splitlines()[4]
    program = member.bin_directory / "pg_receivewal"
    script = (
        'mkdir "$1" && cd "$1" && { '
        f'PGAPPNAME={name} "{program}" -D "$1" -h "{sockets}" -p {member.port} -U postgres >log 2>&1 </dev/null & '
        "echo $!; }"
    )
    process = world.as_dbsu(member, "sh", "-c", script, "receive", str(directory)).strip()
    try:
        wait_until(
            lambda: world.psql(
                member,
                f"SELECT 1 FROM pg_stat_replication WHERE application_name = '{name}' AND state = 'streaming'",
            ),
            30,
            f"{name} to stream from {member.name}",
        )
        yield
    finally:
        world.as_dbsu(member, "kill", process)
        wait_until(
            lambda: (
                not world.psql(member, f"SELECT 1 FROM pg_stat_replication WHERE application_name = '{name}'")
            ),
            30,
            f"{name} to end",
        )
        world.as_dbsu(member, "rm", "-r", str(directory))


@pytest.mark.usefixtures("whole_target")
@pytest.mark.parametrize("leads", [True, False], ids=["from the leader", "from a replica"])
def test_somebody_who_receives_is_named(world: World, leads: bool) -> None:
    leader = world.leader(TARGET)
    member = next(each for each in world.members(TARGET) if (each == leader) is leads)
    with receiver(world, member, "the_auditors"):
        result = refused(world)
        warned = world.pgdolly("reset", TARGET, "--from", SOURCE, "--immediate", "--check")
    assert "the_auditors" in result.stderr and f"from {member.name}" in result.stderr, result
    assert "the_auditors" in warned.stdout and "CANNOT go on" in warned.stdout, warned


@pytest.mark.usefixtures("whole_target")
def test_a_slot_that_is_no_members_is_named(world: World) -> None:
    leader = world.leader(TARGET)
    # A temporary one: Patroni drops others that it does not know, sooner or later.
    with world.connection(leader) as connection:
        connection.execute("SELECT pg_create_physical_replication_slot('for_the_auditors', true, true)")
        result = refused(world)
    assert "replication slot for_the_auditors" in result.stderr and leader.name in result.stderr, result


@pytest.mark.usefixtures("whole_target")
def test_a_member_that_cannot_be_reached_is_named(world: World, tmp_path: Path) -> None:
    """It would come up again one day, with its old data."""
    tree = copy.deepcopy(world.tree)
    member = world.member("pg-test-3")
    tree["all"]["children"][TARGET]["hosts"][member.address]["pg_dbsu"] = "nobody-lives-here"
    inventory = tmp_path / "inventory.yml"
    inventory.write_text(yaml.safe_dump(tree))
    result = refused(world, "--inventory", str(inventory), status=UNREACHABLE)
    assert "pg-test-3" in result.stderr and "nobody-lives-here" in result.stderr, result
    assert f"take {member.address} out of the inventory" in result.stderr, result


@pytest.mark.usefixtures("whole_target")
def test_a_run_that_holds_a_member_is_named(world: World) -> None:
    member = world.member("pg-test-2")
    work, run = str(member.on_node(member.work_directory)), "20251227-175000-pg-test-7f3a"
    holder = json.dumps({"run_id": run, "controller": "bastion", "operation": "clone"})
    script = 'mkdir -p "$1" && printf %s "$2" >"$1/run.lock"'
    world.as_dbsu(member, "sh", "-c", script, "lock", work, holder)
    try:
        result = refused(world)
    finally:
        world.as_dbsu(member, "rm", f"{work}/run.lock")
    assert f"pgdolly resume {run} --abandon" in result.stderr and "clone" in result.stderr, result


@pytest.mark.usefixtures("whole_target")
def test_a_data_directory_that_is_none(world: World, tmp_path: Path) -> None:
    """The inventory is wrong about where a member keeps its data; Patroni's configuration is not there to say so."""
    tree = copy.deepcopy(world.tree)
    member = world.member("pg-test-3")
    host = tree["all"]["children"][TARGET]["hosts"][member.address]
    host["pg_data"] = str(member.on_node(member.directory))
    host["pgdolly_patroni_config"] = str(member.on_node(member.directory / "nowhere.yml"))
    inventory = tmp_path / "inventory.yml"
    inventory.write_text(yaml.safe_dump(tree))
    result = refused(world, "--inventory", str(inventory))
    assert f"{host['pg_data']} is or holds" in result.stderr and "pg-test-3" in result.stderr, result


@pytest.mark.usefixtures("whole_target")
def test_nobody_who_says_yes(world: World) -> None:
    with world.nothing_changes():
        result = world.pgdolly("drop", TARGET, status=INVALID)
    assert "--yes" in result.stderr and "nothing was changed" in result.stderr, result


@pytest.mark.usefixtures("whole_target")
def test_a_look_at_the_plan(world: World) -> None:
    with world.nothing_changes():
        kept = world.pgdolly("drop", TARGET, "--check")
        lost = world.pgdolly("drop", TARGET, "--with-backups", "--check", "--output=json")
    assert "its backups stay: stanza pg-test" in kept.stdout, kept
    assert all(member.name in kept.stdout for member in world.members(TARGET)), kept
    kinds = {
        step["kind"]
        for stage in json.loads(lost.stdout)["stages"]
        for lane in stage["lanes"]
        for step in lane["steps"]
    }
    # Its files were made by whoever made the world.
    assert kinds == {"stop_member", "remove_data", "remove_store", "delete_stanza"}


# -- a clone


@pytest.fixture
def no_clone(world: World) -> Iterator[None]:
    """Whatever a test does with it, the third cluster is gone before and after."""

    def away() -> None:
        for run in world.open_runs():
            if f"-{CLONE}-" in run:
                world.pgdolly("resume", run, "--abandon")
        world.pgdolly("drop", CLONE, "--with-backups", "--yes")

    away()
    yield
    away()


def clone(world: World, *options: str) -> None:
    argv = ("clone", SOURCE, CLONE, *options, "--yes", "--output=json")
    world.pgdolly(*argv, deadline_seconds=CLONE_SECONDS)


def assert_gone(world: World) -> None:
    """Nothing is left on its nodes, in the store and in the repository."""
    for member in world.members(CLONE):
        named = (
            member.on_node(member.data_directory),
            member.on_node(member.work_directory),
            member.patroni_config,
        )
        script = 'for path; do [ ! -e "$path" ] || echo "$path"; done'
        assert world.as_dbsu(member, "sh", "-c", script, "left", *map(str, named)) == "", member.name
        assert not member.pgbackrest_config.exists()
    for top in ("archive", "backup"):
        assert not (world.repository / top / CLONE).exists()
    [source] = world.members(SOURCE)
    patronictl = world.python_of_patroni.with_name("patronictl")
    listed = world.as_dbsu(source, str(patronictl), "-c", str(source.patroni_config), "list", CLONE)
    assert "uninitialized" in listed and f"{CLONE}-1" not in listed, listed
    configured = world.as_dbsu(
        source, str(patronictl), "-c", str(source.patroni_config), "show-config", CLONE
    )
    assert configured.strip() in ("", "null", "{}", "None"), configured


def kept_for_clone(world: World, member: Member) -> bool:
    """Whether the source's configuration has it keep WAL for the clone."""
    return "pgdolly_pg_meta2" in (world.rest(member, "config").get("slots") or {})


@pytest.mark.usefixtures("no_clone")
def test_a_clone_goes_with_all_that_is_its_own(world: World, scenario: Scenario) -> None:
    clone(world, "--lsn", scenario.early.lsn)
    target = world.fingerprint(TARGET)
    dropped = world.pgdolly("drop", CLONE, "--with-backups", "--yes", "--output=json")
    assert dropped.outcome["state"] == "finished" and dropped.outcome["notes"] == []
    assert_gone(world)
    after = world.fingerprint(TARGET)
    assert {path: after.get(path) for path in target} == target
    again = world.pgdolly("drop", CLONE, "--with-backups", "--yes")
    assert "nothing left of pg-meta2" in again.stdout and "nothing to do" in again.stdout, again


@pytest.mark.usefixtures("no_clone")
def test_backups_that_stay_can_be_deleted_later(world: World, scenario: Scenario) -> None:
    """Until then the name is taken: what a clone of now archived would collide with them."""
    clone(world, "--lsn", scenario.early.lsn)
    backups = world.fingerprint(CLONE)
    kept = world.pgdolly("drop", CLONE, "--yes")
    assert "its backups stay: stanza pg-meta2" in kept.stdout, kept
    assert backups.keys() <= world.fingerprint(CLONE).keys()
    assert "nothing to do" in world.pgdolly("drop", CLONE, "--yes").stdout
    again = world.pgdolly("clone", SOURCE, CLONE, "--standby", "--yes", status=REFUSED)
    assert "pgdolly drop pg-meta2 --with-backups" in again.stderr, again
    world.pgdolly("drop", CLONE, "--with-backups", "--yes")
    assert_gone(world)


@pytest.mark.usefixtures("no_clone")
def test_killed_and_taken_up(world: World, scenario: Scenario, controllers: list[Controller]) -> None:
    """Twice: with data left on some members, and again when only the way to what is gone is left."""
    clone(world, "--lsn", scenario.early.lsn)
    command: tuple[str, ...] = ("drop", CLONE, "--with-backups", "--yes", "--output=json")
    for kind in ("remove_data", "remove_made"):
        controller = world.start(*command)
        controllers.append(controller)
        controller.wait_for_step("step_begun", kind)
        controller.kill()
        command = ("resume", controller.run(), "--output=json")
    assert world.pgdolly(*command).outcome["state"] == "finished"
    assert_gone(world)


@pytest.mark.usefixtures("no_clone")
def test_killed_and_begun_anew(world: World, scenario: Scenario, controllers: list[Controller]) -> None:
    clone(world, "--lsn", scenario.early.lsn)
    controller = world.start("drop", CLONE, "--with-backups", "--yes", "--output=json")
    controllers.append(controller)
    controller.wait_for_step("step_finished", "remove_store")
    controller.kill()
    run = controller.run()
    held = world.pgdolly("drop", CLONE, "--with-backups", "--yes", status=REFUSED)
    assert f"pgdolly resume {run} --abandon" in held.stderr, held
    world.pgdolly("resume", run, "--abandon")
    stop_file = deleted_but_stopped(world)
    world.pgdolly("drop", CLONE, "--with-backups", "--yes")
    world.as_dbsu(world.members(CLONE)[0], "test", "!", "-e", stop_file)
    assert_gone(world)


def deleted_but_stopped(world: World) -> str:
    """Go on by hand as the killed drop may have: the stanza is gone, and pgBackRest not started again.

    A newer pgBackRest takes the stop file away with the stanza.

    :return: the stop file.
    """
    member = world.members(CLONE)[0]
    configured = re.search(r"^lock-path=(.*)$", member.pgbackrest_config.read_text(), re.MULTILINE)
    for command in (("stop",), ("stanza-delete", "--force")):
        world.execute(member, "pb", *command)
    return f"{configured[1] if configured else '/tmp/pgbackrest'}/{CLONE}.stop"


@pytest.mark.usefixtures("no_clone", "own_backups")
@pytest.mark.parametrize(
    ("record", "kind", "slot"),
    [("step_begun", "configure_member", False), ("step_begun", "restore_data_directory", True)],
)
def test_what_a_killed_clone_has_left(
    world: World, scenario: Scenario, controllers: list[Controller], record: str, kind: str, slot: bool
) -> None:
    """A slot at the source, too: it would keep WAL for ever, for somebody who never came."""
    point, now = (SOURCE, "--lsn", scenario.early.lsn), (TARGET, "--standby", "--slot", "--via=backup")
    source, *options = now if slot else point
    controller = world.start("clone", source, CLONE, *options, "--yes", "--output=json")
    controllers.append(controller)
    controller.wait_for_step(record, kind)
    controller.kill()
    run = controller.run()
    held = world.pgdolly("drop", CLONE, "--yes", status=REFUSED)
    assert f"pgdolly resume {run} --abandon" in held.stderr and "nothing was changed" in held.stderr, held
    world.pgdolly("resume", run, "--abandon")
    keeper = world.members(source)[0]
    assert kept_for_clone(world, keeper) is slot
    world.pgdolly("drop", CLONE, "--with-backups", "--yes")
    assert_gone(world)
    assert not kept_for_clone(world, keeper)
