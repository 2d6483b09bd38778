"""Several clones: of a clone, beside another on one host, and of a source whose nodes do not answer any more."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from controller import Controller
from member import CLONE, SOURCE, TARGET, Member
from scenario import Scenario
from waiting import wait_until
from world import World

SECOND = "pg-meta3"


@pytest.fixture(scope="module")
def second(world: World, scenario: Scenario) -> Member:
    """The one node of another empty cluster."""
    world.pgdolly("sandbox", "up", "--with", SECOND)
    like = world.members(CLONE)[0]
    tree = yaml.safe_load(world.inventory.read_text())
    [(address, host)] = tree["all"]["children"][SECOND]["hosts"].items()
    return dataclasses.replace(
        like,
        name=f"{SECOND}-1",
        cluster=SECOND,
        address=address,
        data_directory=Path(host["pg_data"]),
        pgbackrest_config=Path(host["pgdolly_pgbackrest_config"]),
        patroni_config=type(like.patroni_config)(host["pgdolly_patroni_config"]),
    )


@pytest.fixture(autouse=True)
def empty_again(world: World, second: Member, no_run_left: None) -> Iterator[None]:
    """Both are dropped, whoever follows whom."""
    yield
    for cluster in (SECOND, CLONE):
        world.pgdolly("drop", cluster, "--with-backups", "--yes")


def inventory(world: World, change: Any) -> str:
    tree: dict[str, Any] = copy.deepcopy(yaml.safe_load(world.inventory.read_text()))
    change(tree["all"]["children"])
    path = world.home / "several.yml"
    path.write_text(yaml.safe_dump(tree))
    return f"--inventory={path}"


def test_a_clone_of_a_clone(world: World, scenario: Scenario, second: Member) -> None:
    """A standby cluster of a clone; as long as it follows, the first one is not dropped."""
    world.pgdolly("clone", SOURCE, CLONE, "--lsn", scenario.early.lsn, "--yes")
    world.pgdolly("clone", CLONE, SECOND, "--standby", "--yes")
    world.psql(world.leader(CLONE), "CREATE TABLE since (n int)")
    wait_until(lambda: "since" in world.rows(second), 60, f"a table of {CLONE} on {SECOND}")
    refused = world.pgdolly("drop", CLONE, "--yes", status=3)
    assert SECOND in refused.stderr, refused
    world.pgdolly("promote", SECOND, "--yes")
    assert world.rows(second) == {**scenario.early.rows, "since": world.rows(second)["since"]}
    assert world.value(second, "SELECT pg_is_in_recovery()") is False
    assert world.pgdolly("check", CLONE, SECOND).status == 0


def test_two_side_by_side_on_one_host(
    world: World, scenario: Scenario, second: Member, controllers: list[Controller]
) -> None:
    """Both at the same time, at one address, with ports and directories of their own."""
    first = world.members(CLONE)[0]

    def one_host(clusters: dict[str, Any]) -> None:
        hosts = clusters[CLONE]["hosts"]
        clusters[CLONE]["hosts"] = {first.address: hosts[first.address]}
        clusters[SECOND]["hosts"][second.address] |= {
            "ansible_host": first.address,
            "pg_port": 5433,
            "patroni_port": 8009,
        }

    beside = inventory(world, one_host)
    both = [
        world.start("clone", SOURCE, cluster, "--lsn", scenario.middle.lsn, "--yes", beside)
        for cluster in (CLONE, SECOND)
    ]
    controllers += both
    for controller in both:
        output = controller.wait()
        assert controller.process.returncode == 0, output
    moved = dataclasses.replace(second, address=first.address, port=5433, patroni_port=8009)
    for member in (first, moved):
        assert world.rows(member) == scenario.middle.rows
        assert world.value(member, "SELECT pg_is_in_recovery()") is False
    assert world.pgdolly("check", CLONE, SECOND, beside).status == 0

    def crowded(clusters: dict[str, Any]) -> None:
        one_host(clusters)
        del clusters[SECOND]["hosts"][second.address]["pg_port"]

    again = world.pgdolly("clone", SOURCE, SECOND, "--yes", inventory(world, crowded), status=3)
    assert "pg_port" in again.stderr and f"{CLONE}-1" in again.stderr, again
    world.pgdolly("drop", SECOND, "--with-backups", "--yes", beside)
    world.pgdolly("drop", CLONE, "--with-backups", "--yes", beside)


def test_a_source_whose_nodes_do_not_answer(world: World, scenario: Scenario) -> None:
    """Its repository alone is needed; the configuration follows that of another cluster."""
    if world.pgdolly("check", TARGET, status=None).status != 0:
        world.reset("--from", SOURCE, "--cleanup")
    leader = world.leader(TARGET)
    end = world.value(leader, "SELECT pg_create_restore_point('the end')::text")
    rows = world.rows(leader)
    world.switch_wal(leader)

    def gone(clusters: dict[str, Any]) -> None:
        for host in clusters[TARGET]["hosts"].values():
            host |= {"ansible_connection": "ssh", "ansible_port": 1}

    without = inventory(world, gone)
    plan = world.pgdolly("clone", TARGET, CLONE, "--lsn", end, "--check", "--output=json", without)
    assert SOURCE in " ".join(json.loads(plan.stdout)["warnings"]), plan
    world.pgdolly("clone", TARGET, CLONE, "--lsn", end, "--yes", without)
    world.assert_cluster_whole(CLONE, rows=rows, archiving=True)
    now = world.pgdolly("clone", TARGET, SECOND, "--yes", without, status=3)
    assert "no node of the source answers" in now.stderr and "--time" in now.stderr, now


def test_a_source_that_is_not_there(world: World, second: Member) -> None:
    """It is refused at once; asked for another way, the program must not wait for what nobody answers."""
    result = world.pgdolly("clone", SECOND, CLONE, "--standby", "--yes", status=3, deadline_seconds=60)
    assert f"{SECOND} is not there" in result.stderr and "nothing was changed" in result.stderr, result
