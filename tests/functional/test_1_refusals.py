"""What is refused, and that a refusal changes nothing: not a member, not a store, not a stanza."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from member import SOURCE, TARGET, Member
from result import Result
from scenario import Scenario
from world import World

pytestmark = pytest.mark.usefixtures("whole_target")

INVALID, REFUSED, UNREACHABLE = 2, 3, 5
FROM = ("--from", SOURCE)

Variant = Callable[[str, dict[str, Any]], str]


def refused(world: World, *options: str, status: int, target: str = TARGET, **more: Any) -> Result:
    """Demand that a reset is refused without a trace, and return what it said."""
    with world.nothing_changes():
        result = world.pgdolly("reset", target, *options, "--yes", status=status, **more)
    assert "nothing was changed" in result.stderr, result
    return result


@pytest.fixture
def variant(world: World, tmp_path: Path) -> Variant:
    """Write the inventory with some variables of one member's host changed."""

    def write(name: str, variables: dict[str, Any]) -> str:
        tree = copy.deepcopy(world.tree)
        member = world.member(name)
        tree["all"]["children"][member.cluster]["hosts"][member.address].update(variables)
        path = tmp_path / "inventory.yml"
        path.write_text(yaml.safe_dump(tree))
        return str(path)

    return write


def directory_on(member: Member, name: str) -> Path:
    """A directory that the servers' account can read, for what a test puts in front of a node's programs."""
    directory = member.directory / "tests" / name
    for path in (directory.parent, directory):
        path.mkdir(exist_ok=True)
        path.chmod(0o755)
    return directory


def script(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


# -- the target


def test_a_time_before_the_window(world: World, scenario: Scenario) -> None:
    result = refused(world, *FROM, "--time", "2025-12-27 17:50:00+08", status=REFUSED)
    first = datetime.strptime(world.labels(SOURCE)[0][:8], "%Y%m%d").replace(tzinfo=UTC)
    assert "2025-12-27" in result.stderr
    # The window's ends, by their days at least; they may stand in whichever zone is not the servers'.
    days = {f"{first + timedelta(days=shift):%Y-%m-%d}" for shift in (-1, 0, 1)}
    assert any(day in result.stderr for day in days), result


def test_a_time_after_the_window(world: World, scenario: Scenario) -> None:
    later = datetime.now(UTC) + timedelta(days=2)
    result = refused(world, *FROM, "--time", later.isoformat(sep=" "), status=REFUSED)
    assert f"{later:%Y-%m-%d}" in result.stderr
    assert f"{scenario.ended_at:%Y-%m-%d}" in result.stderr, result


def test_an_lsn_before_the_window(world: World) -> None:
    result = refused(world, *FROM, "--lsn", "0/1000000", status=REFUSED)
    assert "0/1000000" in result.stderr


def test_an_lsn_after_the_window(world: World) -> None:
    result = refused(world, *FROM, "--lsn", "7/77000000", status=REFUSED)
    assert "7/77000000" in result.stderr


def test_a_backup_set_that_is_not_there(world: World, scenario: Scenario) -> None:
    result = refused(world, *FROM, "--set", "20200101-000000F", status=REFUSED)
    assert "20200101-000000F" in result.stderr
    assert scenario.backups[0] in result.stderr, result


@pytest.mark.parametrize("option", ["--xid", "--name"])
def test_a_point_that_no_set_is_known_to_come_before(world: World, scenario: Scenario, option: str) -> None:
    """Where a transaction or a name lies cannot be told from the outside, and the newest set may be too new."""
    value = str(scenario.early.xid) if option == "--xid" else scenario.early.name
    result = refused(world, *FROM, option, value, status=REFUSED)
    assert "--set" in result.stderr
    assert all(label in result.stderr for label in scenario.backups), result


def test_a_backup_set_after_the_target(world: World, scenario: Scenario) -> None:
    newest = scenario.backups[-1]
    result = refused(world, *FROM, "--set", newest, "--time", scenario.early.time, status=REFUSED)
    assert newest in result.stderr


def test_contradictions(world: World) -> None:
    cases = {
        ("--time", "2025-12-27 17:50:00+08", "--xid", "777"): ("time", "xid", "contradict"),
        ("--name", "early", "--lsn", "0/3000000"): ("name", "lsn", "contradict"),
        ("--immediate", "--name", "early"): ("immediate", "name", "contradict"),
        ("--name", "early", "--exclusive"): ("exclusive", "name"),
        ("--exclusive",): ("exclusive", "default"),
        ("--action", "pause"): ("pause", "--time"),
        ("--name", "early", "--action", "pause", "--cleanup"): ("cleanup", "pause"),
    }
    with world.nothing_changes():
        for options, said in cases.items():
            result = world.pgdolly("reset", TARGET, *FROM, *options, "--yes", status=INVALID)
            assert "nothing was changed" in result.stderr, result
            assert all(word in result.stderr for word in said), result


def test_a_time_without_a_zone(world: World) -> None:
    result = refused(
        world,
        *FROM,
        "--time",
        "2026-06-27 17:50:00",
        status=INVALID,
        environment={"TZ": "America/New_York"},
    )
    assert "EDT" in result.stderr and "2026-06-27 17:50:00-04:00" in result.stderr, result
    assert "2026-06-27 17:50:00+00" in result.stderr, result


def test_no_time_at_all(world: World) -> None:
    result = refused(world, *FROM, "--time", "yesterday at noon", status=INVALID)
    assert "yesterday at noon" in result.stderr


# -- the clusters


def test_an_unknown_target(world: World) -> None:
    result = refused(world, *FROM, target="pg-tset", status=INVALID)
    assert "did you mean 'pg-test'?" in result.stderr, result


def test_an_unknown_source(world: World) -> None:
    result = refused(world, "--from", "pg-mata", status=INVALID)
    assert "did you mean 'pg-meta'?" in result.stderr, result


def test_a_source_that_is_a_node_of_the_target(world: World) -> None:
    for source in ("pg-test-2", world.member("pg-test-2").address):
        result = refused(world, "--from", source, status=INVALID)
        assert f"{source!r} is a node of cluster 'pg-test'" in result.stderr, result


def test_a_source_that_shares_an_instance_with_the_target(world: World, variant: Variant) -> None:
    """The source's inventory entry points at a member of the target's."""
    victim = world.member("pg-test-2")
    inventory = variant("pg-meta-1", world.variables_of(victim))
    result = refused(world, *FROM, "--inventory", inventory, status=REFUSED)
    assert "pg-test-2" in result.stderr, result


# -- the members


def test_another_major_version(world: World, variant: Variant) -> None:
    member = world.member("pg-test-3")
    programs = directory_on(member, "fourteen")
    script(
        programs / "postgres",
        '#!/bin/sh\n[ "$*" = --version ] || { echo "unexpected: $*" >&2; exit 1; }\n'
        'echo "postgres (PostgreSQL) 14.11 (Debian 14.11-1.pgdg120+2)"\n',
    )
    control = programs / "pg_controldata"
    if not control.is_symlink():
        control.symlink_to(member.bin_directory / "pg_controldata")
    inventory = variant("pg-test-3", {"pg_bin_dir": str(member.on_node(programs))})
    result = refused(world, *FROM, "--inventory", inventory, status=REFUSED)
    assert "pg-test-3" in result.stderr
    assert "14.11" in result.stderr
    assert str(world.tree["all"]["vars"]["pg_version"]) in result.stderr, result


def test_too_little_space(world: World, variant: Variant) -> None:
    """All is real but two answers on one node: 30 MB are free, and the old data, which goes, fills no block."""
    member = world.member("pg-test-2")
    environment = directory_on(member, "little_space")
    (environment / "sitecustomize.py").write_text(
        "import os\n"
        "statvfs, lstat = os.statvfs, os.lstat\n"
        "def little_space(path):\n"
        "    found = list(statvfs(path))\n"
        "    found[3] = found[4] = 30 * 1024**2 // found[1]\n"
        "    return os.statvfs_result(found)\n"
        "def no_block(path, **options):\n"
        "    return os.stat_result(tuple(lstat(path, **options)), {'st_blocks': 0})\n"
        "os.statvfs, os.lstat = little_space, no_block\n"
    )
    # A node's programs run under the interpreter that Patroni's executable names.
    patroni = script(
        environment / "patroni",
        f"#!/usr/bin/env PYTHONPATH={member.on_node(environment)} {world.python_of_patroni}\n",
    )
    inventory = variant("pg-test-2", {"pgdolly_patroni": str(member.on_node(patroni))})
    result = refused(world, *FROM, "--inventory", inventory, status=REFUSED)
    assert "pg-test-2" in result.stderr
    assert "not enough space" in result.stderr
    assert "30.0 MB there with the old data gone" in result.stderr
    assert str(member.on_node(member.data_directory)) in result.stderr, result
    with_old_data = refused(world, *FROM, "--backup", "--inventory", inventory, status=REFUSED)
    assert "leave --backup out" in with_old_data.stderr, with_old_data


def test_an_unreachable_member(world: World, variant: Variant) -> None:
    """Its node cannot be entered: there is no such account."""
    inventory = variant("pg-test-3", {"pg_dbsu": "nobody-lives-here"})
    result = refused(world, *FROM, "--inventory", inventory, status=UNREACHABLE)
    assert "pg-test-3" in result.stderr and "nobody-lives-here" in result.stderr, result


def test_an_inventory_that_is_wrong_about_a_member(world: World, variant: Variant) -> None:
    member = world.member("pg-test-1")
    inventory = variant("pg-test-1", {"pg_data": str(member.on_node(member.directory / "elsewhere"))})
    result = refused(world, *FROM, "--inventory", inventory, status=REFUSED)
    assert "pg-test-1" in result.stderr
    assert str(member.on_node(member.data_directory)) in result.stderr, result


# -- the target's own stanza, if the clone is to archive into it


def test_archiving_while_pgbackrest_is_stopped(world: World) -> None:
    member = world.member("pg-test-2")
    world.execute(member, "pb", "stop")
    try:
        for option in ("--archive", "--cleanup"):
            result = refused(world, *FROM, option, status=REFUSED)
            assert "pg-test-2" in result.stderr and "[062]" in result.stderr
            assert "pb start, on pg-test-2" in result.stderr, result
    finally:
        world.execute(member, "pb", "start")


def test_archiving_into_a_stanza_that_is_not_there(world: World, tmp_path: Path) -> None:
    """pgBackRest's configurations on the target's nodes name one that nobody has created."""
    tree = copy.deepcopy(world.tree)
    for member in world.members(TARGET):
        config = directory_on(member, "other_stanza") / "pgbackrest.conf"
        config.write_text(member.pgbackrest_config.read_text().replace(f"[{TARGET}]", "[pg-nobody]"))
        config.chmod(0o644)
        host = tree["all"]["children"][TARGET]["hosts"][member.address]
        host["pgdolly_pgbackrest_config"] = str(member.on_node(config))
    inventory = tmp_path / "inventory.yml"
    inventory.write_text(yaml.safe_dump(tree))
    result = refused(world, *FROM, "--archive", "--inventory", str(inventory), status=REFUSED)
    assert "'pg-nobody'" in result.stderr and "[055]" in result.stderr
    assert "--cleanup in place of --archive" in result.stderr, result


# -- the person


def test_nobody_who_says_yes(world: World) -> None:
    with world.nothing_changes():
        result = world.pgdolly("reset", TARGET, *FROM, status=INVALID)
    assert "--yes" in result.stderr and "nothing was changed" in result.stderr, result


def test_a_look_at_the_plan(world: World, scenario: Scenario) -> None:
    with world.nothing_changes():
        result = world.pgdolly(
            "reset", TARGET, *FROM, "--name", "early", "--set", scenario.backups[0], "--check"
        )
    assert scenario.backups[0] in result.stdout
    assert all(member.name in result.stdout for member in world.members(TARGET))
    assert os.linesep + "--check: nothing was changed" in result.stdout
