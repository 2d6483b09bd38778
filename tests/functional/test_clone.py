"""New clusters on empty nodes: out of the source's backups, behind it, and cut off from it."""

from __future__ import annotations

import copy
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from controller import Controller
from member import CLONE, SOURCE, TARGET
from result import Result
from scenario import Scenario
from waiting import wait_until
from world import World
from writing import application

INVALID, REFUSED, FAILED = 2, 3, 6


@pytest.fixture(autouse=True)
def empty_again(world: World, no_run_left: None) -> Iterator[None]:
    """Whatever a test has made is dropped after it, and nothing of it is left."""
    yield
    for run in world.open_runs():
        world.pgdolly("resume", run, "--abandon")
    world.pgdolly("drop", CLONE, "--with-backups", "--yes")
    for member in world.members(CLONE):
        named = (member.data_directory, member.pgbackrest_config, member.data_directory.with_name("pgpass"))
        left = [path for path in named if path.exists()]
        assert not left, f"left on {member.name}"
    assert not list(world.repository.glob(f"*/{CLONE}/*"))


@pytest.fixture
def source_of_three(world: World, scenario: Scenario) -> str:
    """A source with replicas that tests may write to: a clone of the world's own source with its own backups."""
    if world.pgdolly("check", TARGET, status=None).status != 0:
        world.reset("--from", SOURCE, "--cleanup")
    return TARGET


def clone(world: World, source: str, *options: str, status: int | None = 0) -> Result:
    return world.pgdolly("clone", source, CLONE, *options, "--yes", "--output=json", status=status)


def status_of(world: World, cluster: str) -> dict[str, Any]:
    [found] = json.loads(world.pgdolly("status", cluster, "--output=json").stdout)["clusters"]
    assert isinstance(found, dict)
    return found


def edited(world: World, cluster: str, changes: dict[str, Any]) -> Path:
    """The world's inventory with other variables for a cluster."""
    tree = copy.deepcopy(world.tree)
    tree["all"]["children"][cluster]["vars"].update(changes)
    path = world.home / "edited.yml"
    path.write_text(yaml.safe_dump(tree))
    return path


def stands(world: World, cluster: str) -> dict[str, Any] | None:
    """A standby cluster whose members all stream; None if it is not so yet."""
    view = world.view(cluster)["members"]
    roles = sorted((role, state) for role, state, _ in view.values())
    replicas = [("replica", "streaming")] * (len(world.members(cluster)) - 1)
    return view if roles == [*replicas, ("standby_leader", "streaming")] else None


def standby_leader(world: World) -> Any:
    [name] = [name for name, (role, *_) in world.view(CLONE)["members"].items() if role == "standby_leader"]
    return world.member(name)


def has_reached(world: World, source: str, last: int) -> None:
    """Wait until every member of the clone has the application's row."""

    def missing() -> list[str]:
        asked = f"SELECT 1 FROM heartbeats WHERE number = {last}"
        return [member.name for member in world.members(CLONE) if not world.psql(member, asked)]

    wait_until(
        lambda: not missing(),
        60,
        f"row {last} of {source} on every member of {CLONE}",
        seen=lambda: status_of(world, CLONE),
    )


# Patroni's library on a node of the source's, with the new cluster's scope: what another cluster would write.
NAMESAKE = """
import json, os, sys, yaml
from patroni.config import Config
from patroni.dcs import get_dcs

with open(sys.argv[1]) as text:
    configuration = {**yaml.safe_load(text), "scope": sys.argv[2], "name": "elsewhere-1"}
os.environ["PATRONI_CONFIGURATION"] = yaml.safe_dump(configuration)
dcs = get_dcs(Config(None, validator=None))
if sys.argv[3] == "lives":
    dcs.get_cluster()
    dcs.touch_member({"conn_url": "postgres://192.0.2.1:5432/postgres", "state": "running", "role": "replica"})
if sys.argv[3] == "lived":
    dcs.delete_cluster()
    dcs.initialize(create_new=True, sysid="4711")
    dcs.set_config_value(json.dumps({"ttl": 99, "standby_cluster": {"host": "192.0.2.1", "port": 5432}}))
    dcs.set_history_value('[[5, 25623960, "no recovery target specified"]]')
"""


def namesake(world: World, what: str) -> None:
    """Another cluster that has the clone's name: it `lives` on nodes that nobody named, or `lived` once."""
    [source] = world.members(SOURCE)
    config = str(source.patroni_config)
    world.as_dbsu(source, str(world.python_of_patroni), "-c", NAMESAKE, config, CLONE, what)


def test_to_a_point_out_of_the_backups(world: World, scenario: Scenario) -> None:
    """A DROP right after it is not in the clone; its passwords are its own, and nothing is a former cluster's."""
    namesake(world, "lives")
    for options in (("--time", scenario.middle.time), ("--standby",)):
        result = refused(world, *options)
        assert "elsewhere-1 at 192.0.2.1" in result.stderr and f"pgdolly drop {CLONE}" in result.stderr, (
            result
        )
    namesake(world, "lived")
    clone(world, SOURCE, "--time", scenario.middle.time)
    config = world.rest(world.members(CLONE)[0], "config")
    assert config["ttl"] != 99 and "standby_cluster" not in config, config
    timeline = world.assert_cluster_whole(CLONE, rows=scenario.middle.rows, archiving=True)
    assert timeline not in world.archived_timelines(SOURCE)
    assert len(world.labels(CLONE)) == 1
    assert world.pgdolly("check", CLONE).status == 0
    [source] = world.members(SOURCE)
    theirs = own_secrets(world, source)
    for member in world.members(CLONE):
        own = passwords(world, member)
        assert len(own) >= 3 and not theirs & set(own)
    everything = "".join(path.read_text() for path in world.runs_directory.rglob("*") if path.is_file())
    assert not [each for each in {*own, *theirs} if each in everything]


def passwords(world: World, member: Any) -> list[str]:
    text = world.as_dbsu(member, "cat", str(member.patroni_config))
    found = yaml.safe_load(text)["postgresql"]["authentication"].values()
    return [each["password"] for each in found]


def own_secrets(world: World, member: Any) -> set[str]:
    """Its passwords but for those that the inventory gives to every cluster, which are no secret between them."""
    given = {value for name, value in world.tree["all"]["vars"].items() if name.endswith("_password")}
    return set(passwords(world, member)) - given


def test_cut_off_now(world: World, scenario: Scenario) -> None:
    result = clone(world, SOURCE)
    assert result.outcome["state"] == "finished"
    world.assert_cluster_whole(CLONE, rows=scenario.end, archiving=True)
    assert len(world.labels(CLONE)) == 1
    config = world.rest(world.members(CLONE)[0], "config")
    assert "standby_cluster" not in config and "recovery_conf" not in config["postgresql"]
    for member in world.members(CLONE):
        assert not member.pgbackrest_config.with_name("pgbackrest-upstream.conf").exists()


@pytest.mark.parametrize("via", ["backup", "stream"])
def test_a_standby_cluster_follows_and_is_promoted(world: World, source_of_three: str, via: str) -> None:
    """The source goes on, and fails over: the clone follows its new leader and has every row."""
    source = source_of_three
    with application(world, source) as writer:
        writer.has_written()
        clone(world, source, "--standby", "--via", via)
        wait_until(lambda: stands(world, CLONE), 60, "a standby cluster", seen=lambda: world.view(CLONE))
        writer.has_written()
        has_reached(world, source, writer.acknowledged[-1])
        shown = status_of(world, CLONE)
        assert shown["standby"]["source"] == source, shown
        if via == "backup":
            fail_over(world, source)
            writer.has_written()
            has_reached(world, source, writer.acknowledged[-1])
        writer.end()
        rows = world.rows(world.leader(source))
        promoted = world.pgdolly("promote", CLONE, "--yes", "--output=json")
        assert promoted.outcome["state"] == "finished"
        world.assert_cluster_whole(CLONE, rows=rows, archiving=True)
        found = {number for [number] in world.psql(world.leader(CLONE), "SELECT number FROM heartbeats")}
        assert found >= set(writer.acknowledged)
        assert len(world.labels(CLONE)) == 1
    leader = world.leader(source)
    others = {member.name for member in world.members(source)}
    walsenders = world.psql(leader, "SELECT application_name FROM pg_stat_replication")
    assert {name for [name] in walsenders} <= others
    slots = {name for [name] in world.psql(leader, "SELECT slot_name FROM pg_replication_slots")}
    assert slots <= {name.replace("-", "_") for name in others}


def fail_over(world: World, cluster: str) -> None:
    """Its leader's service is stopped, another member leads, and the former one comes back behind it."""
    former = world.leader(cluster)
    world.stop_service(former)
    wait_until(
        lambda: world.view(cluster)["leader"] not in (None, former.name), 90, f"another leader of {cluster}"
    )
    world.start_service(former)


def test_a_delay_and_a_slot_end_with_the_promotion(
    world: World, source_of_three: str, controllers: list[Controller]
) -> None:
    """Commits are archived all the time: it stands at its delay with what it finds there, and cannot stream yet.

    The promotion is killed and given up right after the cut; another one ends what it has begun.
    """
    source, inventory = source_of_three, edited(world, CLONE, {"pg_delay": "1h"})
    configured = world.rest(world.leader(source), "config")
    with application(world, source, pause_seconds=1, archived=True) as writer:
        writer.has_written(2)
        clone(world, source, "--standby", "--slot", "--via", "backup", f"--inventory={inventory}")
        assert delays(world) == ["1h"] * len(world.members(CLONE))
        leader = world.leader(source)
        slots = "SELECT slot_name FROM pg_replication_slots WHERE slot_name LIKE 'pgdolly%'"
        assert world.psql(leader, slots) == [("pgdolly_pg_meta2",)]
        writer.has_written(5)
        last = writer.acknowledged[-1]
        writer.end()
        [[end]] = world.psql(leader, "SELECT pg_current_wal_lsn()")
        for member in world.members(CLONE):
            assert world.psql(member, f"SELECT pg_last_wal_replay_lsn() < '{end}'") == [(True,)], member.name
        assert status_of(world, CLONE)["standby"]["delay_seconds"] == 3600
        controllers.append(controller := world.start("promote", CLONE, "--yes"))
        controller.wait_for_step("step_begun", "set_own_roles")
        controller.kill()
        given_up = world.pgdolly("resume", controller.run(), "--abandon")
        assert f"pgdolly promote {CLONE}" in given_up.stdout, given_up
        assert world.psql(leader, slots), "the source still keeps WAL for it"
        refused = world.pgdolly("cleanup", CLONE, "--yes", status=REFUSED)
        checked = world.pgdolly("check", CLONE, status=None)
        for said in (refused.stderr, checked.stdout):
            assert controller.run() in said and f"pgdolly promote {CLONE}" in said, said
        world.pgdolly("promote", CLONE, "--yes")
        world.pgdolly("check", CLONE)
        assert delays(world) == ["0"] * len(world.members(CLONE))
        assert world.psql(world.leader(CLONE), f"SELECT 1 FROM heartbeats WHERE number = {last}") == [(1,)]
        wait_until(lambda: not world.psql(leader, slots), 60, "the source to drop the slot")
        assert world.rest(leader, "config") == configured
        for member in world.members(CLONE):
            written = world.as_dbsu(member, "cat", str(member.patroni_config))
            assert "restore_command" not in written, member.name
        assert_streams_after_a_restart(world)


def assert_streams_after_a_restart(world: World) -> None:
    """With the passwords that patroni.yml has now, which a connection that stands does not need."""
    leader, others = world.leader(CLONE), len(world.members(CLONE)) - 1
    for member in world.members(CLONE):
        if member != leader:
            world.stop_service(member)
            world.start_service(member)
    streams = "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'"
    wait_until(
        lambda: len(world.psql(leader, streams)) == others,
        60,
        f"the replicas of {CLONE} to stream again",
        seen=lambda: world.view(CLONE),
    )


def delays(world: World) -> list[str]:
    return [world.psql(member, "SHOW recovery_min_apply_delay")[0][0] for member in world.members(CLONE)]


def test_pg_upstream_means_a_standby_cluster(world: World, scenario: Scenario) -> None:
    """The plans are one and the same, but for what the source has archived in between."""

    def stages(plan: Result) -> str:
        return re.sub(r'"last_segment": {[^}]*}', "", json.dumps(json.loads(plan.stdout)["stages"]))

    asked = world.pgdolly("clone", SOURCE, CLONE, "--standby", "--check", "--output=json")
    [source] = world.members(SOURCE)
    inventory = edited(world, CLONE, {"pg_upstream": source.address})
    named = world.pgdolly("clone", SOURCE, CLONE, "--check", "--output=json", f"--inventory={inventory}")
    assert stages(named) == stages(asked)
    with world.nothing_changes():
        point = world.pgdolly(
            *("clone", SOURCE, CLONE, "--lsn", scenario.late.lsn, "--yes", f"--inventory={inventory}"),
            status=INVALID,
        )
    assert "pg_upstream" in point.stderr, point


def test_the_manuals_own_way(world: World, scenario: Scenario) -> None:
    """A standby cluster, its stanza made by hand, and a quick delta restore whose archiving works straight away."""
    clone(world, SOURCE, "--standby")
    leader = standby_leader(world)
    with_archive = ("--from", SOURCE, "--time", scenario.late.time, "--archive")
    refused = world.pgdolly("reset", CLONE, *with_archive, "--yes", status=REFUSED)
    assert "stanza" in refused.stderr and "next:" in refused.stderr, refused
    world.shell(leader, "pb stop --force\npb stanza-delete --force\npb start\npb stanza-create\n")
    world.reset(*with_archive, target=CLONE)
    world.assert_cluster_whole(CLONE, rows=scenario.late.rows, archiving=True)
    # It is a cluster of its own: neither its passwords nor a way to fetch WAL are the source's any more.
    [source] = world.members(SOURCE)
    for member in world.members(CLONE):
        assert not own_secrets(world, source) & set(passwords(world, member))
        assert "upstream" not in world.as_dbsu(member, "cat", str(member.patroni_config))
        assert not member.pgbackrest_config.with_name("pgbackrest-upstream.conf").exists()


def test_killed_at_every_step(world: World, scenario: Scenario, controllers: list[Controller]) -> None:
    """kill -9 as soon as another step has begun, again and again, until there is none left."""
    controller = world.start("clone", SOURCE, CLONE, "--no-backup", "--yes")
    controllers.append(controller)
    run, kills = controller.run(), 0
    seen: set[str] = set()
    while controller.process.poll() is None:
        time.sleep(0.02)  # to look all the time would take a core from what is looked at
        begun = set(controller.steps("step_begun")) - seen
        if begun and kills < 40:
            seen |= begun
            controller.process.kill()
            controller.wait()
            kills += 1
            controller = world.start("resume", run)
            controllers.append(controller)
    output = controller.wait()
    assert controller.process.returncode == 0, output
    assert kills > 5, output
    world.assert_cluster_whole(CLONE, rows=scenario.end, archiving=True)


def test_killed_at_its_first_steps(world: World, scenario: Scenario, controllers: list[Controller]) -> None:
    """Until the repository's secrets are placed, a resume decides anew on nodes that the run itself holds."""
    controller = world.start("clone", SOURCE, CLONE, "--lsn", scenario.early.lsn, "--no-backup", "--yes")
    controllers.append(controller)
    controller.wait_for_step("step_begun", "configure_member")
    controller.kill()
    assert not any(each.endswith("-place_repository") for each in controller.steps("step_finished"))
    world.pgdolly("resume", controller.run())
    world.assert_cluster_whole(CLONE, rows=scenario.early.rows, archiving=True)


def test_given_up_and_dropped(world: World, scenario: Scenario, controllers: list[Controller]) -> None:
    """A clone that is killed half way can be removed, and made again."""
    controller = world.start("clone", SOURCE, CLONE, "--standby", "--yes")
    controllers.append(controller)
    controller.wait_for_step("step_finished", "restore_data_directory")
    controller.kill()
    run = controller.run()
    locked = world.pgdolly("drop", CLONE, "--yes", status=REFUSED)
    assert run in locked.stderr and "--abandon" in locked.stderr, locked
    again = clone(world, SOURCE, "--standby", status=REFUSED)
    assert run in again.stderr, again
    world.pgdolly("resume", run, "--abandon")
    occupied = clone(world, SOURCE, "--standby", status=REFUSED)
    assert "pgdolly drop" in occupied.stderr, occupied
    world.pgdolly("drop", CLONE, "--yes")
    clone(world, SOURCE, "--time", scenario.early.time, "--no-backup")
    world.assert_cluster_whole(CLONE, rows=scenario.early.rows, archiving=True)


def refused(world: World, *options: str, source: str = SOURCE, status: int = REFUSED) -> Result:
    with world.nothing_changes():
        result = clone(world, source, *options, status=status)
    assert not any(member.data_directory.exists() for member in world.members(CLONE))
    assert "nothing was changed" in result.stderr, result
    return result


def test_a_password_that_is_wrong(world: World, source_of_three: str) -> None:
    """The source's own configuration names another one than its role has: no replica of it could connect either."""
    leader = world.leader(TARGET)
    role = yaml.safe_load(world.as_dbsu(leader, "cat", str(leader.patroni_config)))["postgresql"][
        "authentication"
    ]["replication"]
    world.psql(leader, f"ALTER ROLE {role['username']} PASSWORD 'another'")
    try:
        result = refused(world, "--standby", source=TARGET, status=FAILED)
    finally:
        world.psql(leader, f"ALTER ROLE {role['username']} PASSWORD '{role['password']}'")
    assert "password authentication failed" in result.stderr and "pg_hba.conf" in result.stderr, result
    assert role["password"] not in result.stderr


def test_a_directory_that_holds_something(world: World) -> None:
    member = world.members(CLONE)[0]
    path = str(member.on_node(member.data_directory))
    world.as_dbsu(member, "sh", "-c", 'mkdir "$1" && echo mine >"$1/precious"', "make", path)
    try:
        with world.nothing_changes():
            result = clone(world, SOURCE, "--standby", status=REFUSED)
        assert path in result.stderr and member.name in result.stderr, result
        assert (member.data_directory / "precious").read_text() == "mine\n"
    finally:
        world.as_dbsu(member, "rm", "-r", path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--standby", "--xid", "1000"), "point of its past"),
        (("--delay", "1h"), "standby"),
        (("--delay", "soon", "--standby"), "soon"),
        (("--via", "stream", "--immediate"), "not of a point"),
        (("--time", "2020-01-01 00:00:00+00"), "window"),
    ],
)
def test_what_cannot_be(world: World, scenario: Scenario, options: tuple[str, ...], said: str) -> None:
    result = refused(world, *options, status=REFUSED if "--time" in options else INVALID)
    assert said in result.stderr, result


def test_a_source_without_a_leader(world: World, source_of_three: str) -> None:
    """A clone of now needs it; one of then does not."""
    leader = world.leader(TARGET)
    rows = world.rows(leader)
    end = world.value(leader, "SELECT pg_create_restore_point('before it went down')::text")
    world.switch_wal(leader)
    others = [member for member in world.members(TARGET) if member != leader]
    for member in (*others, leader):
        world.stop_service(member)
    try:
        now = clone(world, TARGET, "--standby", status=FAILED)
        assert "cannot stream from" in now.stderr, now
        clone(world, TARGET, "--lsn", end, "--no-backup")
        world.assert_cluster_whole(CLONE, rows=rows, archiving=True)
    finally:
        # Whoever comes first leads, and has to have all that the others have.
        world.start_service(leader)
        wait_until(
            lambda: world.view(TARGET)["leader"] == leader.name, 90, f"{leader.name} to lead {TARGET} again"
        )
        for member in others:
            world.start_service(member)
