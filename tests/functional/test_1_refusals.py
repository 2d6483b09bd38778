"""What is refused, and that a refusal changes nothing: not a member, not a store, not a stanza."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from scenario import Scenario
from world import SOURCE, TARGET, Result, Sandbox

pytestmark = pytest.mark.usefixtures("whole_target")

INVALID, REFUSED, UNREACHABLE = 2, 3, 5
FROM = ("--from", SOURCE)

Variant = Callable[[str, dict[str, Any]], str]


def refused(sandbox: Sandbox, *options: str, status: int, target: str = TARGET, **more: Any) -> Result:
    """Demand that a reset is refused without a trace, and return what it said."""
    with sandbox.nothing_changes():
        result = sandbox.pgdolly("reset", target, *options, "--yes", status=status, **more)
    assert "nothing was changed" in result.stderr, result
    return result


@pytest.fixture
def servers_path(sandbox: Sandbox) -> Path:
    """A directory that the servers' account can read, for what a test puts in front of its programs."""
    directory = sandbox.repository.parent / "tests"
    directory.mkdir(exist_ok=True)
    directory.chmod(0o755)
    return directory


@pytest.fixture
def variant(sandbox: Sandbox, tmp_path: Path) -> Variant:
    """Write the inventory with some variables of one member's host changed."""

    def write(name: str, variables: dict[str, Any]) -> str:
        tree = copy.deepcopy(sandbox.tree)
        member = sandbox.member(name)
        tree["all"]["children"][member.cluster]["hosts"][member.address].update(variables)
        path = tmp_path / "inventory.yml"
        path.write_text(yaml.safe_dump(tree))
        return str(path)

    return write


def script(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


# -- the target


def test_a_time_before_the_window(sandbox: Sandbox, scenario: Scenario) -> None:
    result = refused(sandbox, *FROM, "--time", "2025-12-27 17:50:00+08", status=REFUSED)
    first = datetime.strptime(sandbox.labels(SOURCE)[0][:8], "%Y%m%d").replace(tzinfo=UTC)
    assert "2025-12-27" in result.stderr
    # The window's ends, by their days at least; they may stand in whichever zone is not the servers'.
    days = {f"{first + timedelta(days=shift):%Y-%m-%d}" for shift in (-1, 0, 1)}
    assert any(day in result.stderr for day in days), result


def test_a_time_after_the_window(sandbox: Sandbox, scenario: Scenario) -> None:
    later = datetime.now(UTC) + timedelta(days=2)
    result = refused(sandbox, *FROM, "--time", later.isoformat(sep=" "), status=REFUSED)
    assert f"{later:%Y-%m-%d}" in result.stderr
    assert f"{scenario.ended_at:%Y-%m-%d}" in result.stderr, result


def test_an_lsn_before_the_window(sandbox: Sandbox) -> None:
    result = refused(sandbox, *FROM, "--lsn", "0/1000000", status=REFUSED)
    assert "0/1000000" in result.stderr


def test_an_lsn_after_the_window(sandbox: Sandbox) -> None:
    result = refused(sandbox, *FROM, "--lsn", "7/77000000", status=REFUSED)
    assert "7/77000000" in result.stderr


def test_a_backup_set_that_is_not_there(sandbox: Sandbox, scenario: Scenario) -> None:
    result = refused(sandbox, *FROM, "--set", "20200101-000000F", status=REFUSED)
    assert "20200101-000000F" in result.stderr
    assert scenario.backups[0] in result.stderr, result


@pytest.mark.parametrize("option", ["--xid", "--name"])
def test_a_point_that_no_set_is_known_to_come_before(
    sandbox: Sandbox, scenario: Scenario, option: str
) -> None:
    """Where a transaction or a name lies cannot be told from the outside, and the newest set may be too new."""
    value = str(scenario.early.xid) if option == "--xid" else scenario.early.name
    result = refused(sandbox, *FROM, option, value, status=REFUSED)
    assert "--set" in result.stderr
    assert all(label in result.stderr for label in scenario.backups), result


def test_a_backup_set_after_the_target(sandbox: Sandbox, scenario: Scenario) -> None:
    newest = scenario.backups[-1]
    result = refused(sandbox, *FROM, "--set", newest, "--time", scenario.early.time, status=REFUSED)
    assert newest in result.stderr


def test_contradictions(sandbox: Sandbox) -> None:
    cases = {
        ("--time", "2025-12-27 17:50:00+08", "--xid", "777"): ("time", "xid", "contradict"),
        ("--name", "early", "--lsn", "0/3000000"): ("name", "lsn", "contradict"),
        ("--immediate", "--name", "early"): ("immediate", "name", "contradict"),
        ("--name", "early", "--exclusive"): ("exclusive", "name"),
        ("--exclusive",): ("exclusive", "default"),
        ("--action", "pause"): ("pause", "--time"),
        ("--name", "early", "--action", "pause", "--cleanup"): ("cleanup", "pause"),
    }
    with sandbox.nothing_changes():
        for options, said in cases.items():
            result = sandbox.pgdolly("reset", TARGET, *FROM, *options, "--yes", status=INVALID)
            assert "nothing was changed" in result.stderr, result
            assert all(word in result.stderr for word in said), result


def test_a_time_without_a_zone(sandbox: Sandbox) -> None:
    result = refused(
        sandbox,
        *FROM,
        "--time",
        "2026-06-27 17:50:00",
        status=INVALID,
        environment={"TZ": "America/New_York"},
    )
    assert "EDT" in result.stderr and "2026-06-27 17:50:00-04:00" in result.stderr, result
    assert "2026-06-27 17:50:00+00" in result.stderr, result


def test_no_time_at_all(sandbox: Sandbox) -> None:
    result = refused(sandbox, *FROM, "--time", "yesterday at noon", status=INVALID)
    assert "yesterday at noon" in result.stderr


# -- the clusters


def test_an_unknown_target(sandbox: Sandbox) -> None:
    result = refused(sandbox, *FROM, target="pg-tset", status=INVALID)
    assert "did you mean 'pg-test'?" in result.stderr, result


def test_an_unknown_source(sandbox: Sandbox) -> None:
    result = refused(sandbox, "--from", "pg-mata", status=INVALID)
    assert "did you mean 'pg-meta'?" in result.stderr, result


def test_a_source_that_is_a_node_of_the_target(sandbox: Sandbox) -> None:
    for source in ("pg-test-2", sandbox.member("pg-test-2").address):
        result = refused(sandbox, "--from", source, status=INVALID)
        assert f"{source!r} is a node of cluster 'pg-test'" in result.stderr, result


def test_a_source_that_shares_an_instance_with_the_target(sandbox: Sandbox, variant: Variant) -> None:
    """The source's inventory entry points at a member of the target's."""
    victim = sandbox.member("pg-test-2")
    inventory = variant(
        "pg-meta-1",
        {
            "ansible_host": victim.address,
            "pg_data": str(victim.data_directory),
            "pgdolly_patroni_config": str(victim.patroni_config),
        },
    )
    result = refused(sandbox, *FROM, "--inventory", inventory, status=REFUSED)
    assert "pg-test-2" in result.stderr, result


# -- the members


def test_another_major_version(sandbox: Sandbox, variant: Variant, servers_path: Path) -> None:
    programs = servers_path / "fourteen"
    programs.mkdir(exist_ok=True)
    script(
        programs / "postgres",
        '#!/bin/sh\n[ "$*" = --version ] || { echo "unexpected: $*" >&2; exit 1; }\n'
        'echo "postgres (PostgreSQL) 14.11 (Debian 14.11-1.pgdg120+2)"\n',
    )
    control = programs / "pg_controldata"
    if not control.is_symlink():
        control.symlink_to(sandbox.member("pg-test-3").bin_directory / "pg_controldata")
    inventory = variant("pg-test-3", {"pg_bin_dir": str(programs)})
    result = refused(sandbox, *FROM, "--inventory", inventory, status=REFUSED)
    assert "pg-test-3" in result.stderr
    assert "14.11" in result.stderr
    assert str(sandbox.tree["all"]["vars"]["pg_version"]) in result.stderr, result


def test_too_little_space(sandbox: Sandbox, variant: Variant, servers_path: Path) -> None:
    """All is real but the answer of statvfs(3) on one node: 30 MB are free, and the set does not fit."""
    environment = servers_path / "little_space"
    environment.mkdir(exist_ok=True)
    (environment / "sitecustomize.py").write_text(
        "import os\n"
        "real = os.statvfs\n"
        "def statvfs(path):\n"
        "    found = list(real(path))\n"
        "    found[3] = found[4] = 30 * 1024**2 // found[1]\n"
        "    return os.statvfs_result(found)\n"
        "os.statvfs = statvfs\n"
    )
    # A node's programs run under the interpreter that Patroni's executable names.
    patroni = script(
        servers_path / "patroni", f"#!/usr/bin/env PYTHONPATH={environment} {Path(sys.executable)}\n"
    )
    inventory = variant("pg-test-2", {"pgdolly_patroni": str(patroni)})
    result = refused(sandbox, *FROM, "--inventory", inventory, status=REFUSED)
    assert "pg-test-2" in result.stderr
    assert "not enough space" in result.stderr
    assert str(sandbox.member("pg-test-2").data_directory) in result.stderr, result
    with_old_data = refused(sandbox, *FROM, "--backup", "--inventory", inventory, status=REFUSED)
    assert "leave --backup out" in with_old_data.stderr, with_old_data


def test_an_unreachable_member(sandbox: Sandbox, variant: Variant) -> None:
    """Its node cannot be entered: there is no such account."""
    inventory = variant("pg-test-3", {"pg_dbsu": "nobody-lives-here"})
    result = refused(sandbox, *FROM, "--inventory", inventory, status=UNREACHABLE)
    assert "pg-test-3" in result.stderr and "nobody-lives-here" in result.stderr, result


def test_an_inventory_that_is_wrong_about_a_member(sandbox: Sandbox, variant: Variant) -> None:
    inventory = variant("pg-test-1", {"pg_data": str(sandbox.repository.parent / "elsewhere")})
    result = refused(sandbox, *FROM, "--inventory", inventory, status=REFUSED)
    assert "pg-test-1" in result.stderr
    assert str(sandbox.member("pg-test-1").data_directory) in result.stderr, result


# -- the person


def test_nobody_who_says_yes(sandbox: Sandbox) -> None:
    with sandbox.nothing_changes():
        result = sandbox.pgdolly("reset", TARGET, *FROM, status=INVALID)
    assert "--yes" in result.stderr and "nothing was changed" in result.stderr, result


def test_a_look_at_the_plan(sandbox: Sandbox, scenario: Scenario) -> None:
    with sandbox.nothing_changes():
        result = sandbox.pgdolly(
            "reset", TARGET, *FROM, "--name", "early", "--set", scenario.backups[0], "--check"
        )
    assert scenario.backups[0] in result.stdout
    assert all(member.name in result.stdout for member in sandbox.members(TARGET))
    assert os.linesep + "--check: nothing was changed" in result.stdout
