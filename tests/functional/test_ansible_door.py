"""The same recovery through Ansible: `./pgsql-pitr.yml`, as the manual page types it."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from member import SOURCE, TARGET
from result import Result
from scenario import Scenario
from waiting import wait_until
from world import World

pytestmark = pytest.mark.usefixtures("whole_target")

PROJECT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
FAILED = 2  # ansible-playbook's own: a task failed
FROM_META = '{"pg_pitr": { "cluster": "pg-meta" }}'


def environment(world: World, inventory: Path | None = None) -> dict[str, str]:
    return {
        **world.environment,
        "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_INVENTORY": str(inventory or world.inventory),
        "ANSIBLE_HOME": str(world.home / "ansible"),
    }


def play(
    world: World,
    *argv: str,
    status: int = 0,
    inventory: Path | None = None,
    changed: Mapping[str, str] | None = None,
) -> Result:
    """Run the playbook in the project's directory, as its users do."""
    done = subprocess.run(
        (*world.controller_prefix, "./pgsql-pitr.yml", *argv),
        cwd=PROJECT,
        env={**environment(world, inventory), **(changed or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    result = Result(
        argv=("pgsql-pitr.yml", *argv), status=done.returncode, stdout=done.stdout, stderr=done.stderr
    )
    assert result.status == status, result
    return result


def request_of(world: World, run: str) -> dict[str, Any]:
    """What the run's journal says that was asked for."""
    with (world.runs_directory / run / "journal.jsonl").open() as journal:
        request: dict[str, Any] = json.loads(journal.readline())["request"]
    return request


# -- what is refused


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("-e", FROM_META), ("no target", "pg-meta, pg-meta2, pg-test", "-l CLUSTER")),
        (("-l", TARGET), ("pg_pitr is not set", '{"pg_pitr": {"cluster": "pg-meta"')),
        (("-l", "pg-t*", "-e", FROM_META), ("means cluster pg-test without naming it", "-l pg-test")),
        (("-l", "etcd", "-e", "{pg_pitr: {}}"), ("means cluster pg-meta without naming it",)),
        (("-l", "all", "-e", "{pg_pitr: {}}"), ("without naming it",)),
        (("-l", f"{SOURCE},{TARGET}", "-e", FROM_META), ("pg-meta is the source of pg-test",)),
        (("-l", TARGET, "-e", "{pg_pitr: {clutser: pg-meta}}"), ("unknown key 'clutser'",)),
        (("-l", TARGET, "-e", "{pg_pitr: {cluster: pg-mata}}"), ("did you mean 'pg-meta'?",)),
        (
            ("-l", TARGET, "-e", "{pg_pitr: {cluster: pg-meta, time: '2025-12-27 17:50:00'}}"),
            ("has no zone",),
        ),
    ],
    ids=[
        "no limit",
        "no request",
        "a pattern",
        "another group",
        "everything",
        "the source too",
        "an unknown key",
        "an unknown source",
        "no zone",
    ],
)
def test_refusals(world: World, argv: tuple[str, ...], said: tuple[str, ...]) -> None:
    with world.nothing_changes():
        result = play(world, *argv, status=FAILED)
    for words in (*said, "nothing was changed"):
        assert words in result.stdout + result.stderr, result


def test_a_single_instance(world: World) -> None:
    with world.nothing_changes():
        result = play(world, "-l", world.members(TARGET)[1].address, "-e", FROM_META, status=FAILED)
    assert f"leaves out {world.members(TARGET)[0].address}" in result.stdout, result
    assert "-l pg-test" in result.stdout


def test_a_python_without_the_library(world: World, tmp_path: Path) -> None:
    """Ansible that was installed for itself: it says which one to call."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['pgdolly'] = None\n")
    result = play(world, "-l", TARGET, "-e", FROM_META, status=FAILED, changed={"PYTHONPATH": str(tmp_path)})
    assert "has no pgdolly" in result.stdout and "bin/setup" in result.stdout, result


# -- a look at the plan


def test_check_mode_shows_the_plan_and_changes_nothing(world: World, scenario: Scenario) -> None:
    runs = world.runs()
    with world.nothing_changes():
        result = play(world, "-l", TARGET, "-e", FROM_META, "--check")
    assert f"Plan: reset {TARGET}" in result.stdout
    assert scenario.backups[-1] in result.stdout
    for member in world.members(TARGET):
        assert member.name in result.stdout
    assert "check mode: nothing was changed" in result.stdout
    assert "changed=1" in result.stdout, "it would change something"
    assert world.runs() == runs


@pytest.mark.usefixtures("own_backups")
def test_several_clusters_in_one_limit(world: World) -> None:
    """Each is planned for by itself; the in-place recovery of the source is none of the target's business."""
    with world.nothing_changes():
        result = play(world, "-l", f"{SOURCE},{TARGET}", "-e", "{pg_pitr: {}}", "--check")
    assert f"Plan: reset {SOURCE}\n" in result.stdout and f"Plan: reset {TARGET}\n" in result.stdout, result


def test_the_reasons_of_all_that_cannot_be_reset_are_told(world: World) -> None:
    with world.nothing_changes():
        result = play(
            world, "-l", f"{SOURCE},{TARGET}", "-e", "{pg_pitr: {set: 20000101-000000F}}", status=FAILED
        )
    for words in (f"stanza {SOURCE}: there is no ", f"and stanza {TARGET}: there is no "):
        assert words in result.stdout, result


@pytest.fixture
def vaulted(world: World, tmp_path: Path) -> Path:
    """The inventory with a template, a value in a vault, and a variable that cannot be templated."""
    password = tmp_path / "password"
    password.write_text("a secret\n")
    member = world.members(TARGET)[0]
    encrypted = subprocess.run(
        (
            PROGRAMS / "ansible-vault",
            "encrypt_string",
            f"--vault-password-file={password}",
            str(member.patroni_config),
        ),
        env=environment(world),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    tree = copy.deepcopy(world.tree)
    hosts = tree["all"]["children"][TARGET]["hosts"]
    paths = {each.address: each.on_node(each.data_directory) for each in world.members(TARGET)}
    below = os.path.commonpath([path.parent for path in paths.values()])
    for address, path in paths.items():
        hosts[address]["pg_data"] = "{{ below }}/" + str(path.relative_to(below))
    hosts[member.address].pop("pgdolly_patroni_config", None)
    tree["all"]["vars"].update(below=below, broken="{{ nowhere }}")
    inventory = tmp_path / "inventory"
    inventory.mkdir()
    (inventory / "hosts.yml").write_text(yaml.safe_dump(tree))
    variables = inventory / "host_vars"
    variables.mkdir()
    (variables / f"{member.address}.yml").write_text(f"pgdolly_patroni_config: {encrypted}")
    return inventory


def test_templates_and_vaults(world: World, vaulted: Path) -> None:
    """Ansible fills in what only Ansible can."""
    with world.nothing_changes():
        result = play(
            world,
            "-l",
            TARGET,
            "-e",
            FROM_META,
            "--check",
            f"--vault-password-file={vaulted.parent / 'password'}",
            inventory=vaulted,
        )
    leader = world.leader(TARGET)  # a plan says MEMBER in place of the replicas' names
    assert str(leader.on_node(leader.data_directory)) in result.stdout, result


# -- the recovery itself


def test_to_the_latest_state(world: World, scenario: Scenario) -> None:
    """./pgsql-pitr.yml -l pg-test -e '{"pg_pitr": { "cluster": "pg-meta" }}'"""
    before = {run["run_id"] for run in world.runs()}
    result = play(world, "-l", TARGET, "-e", FROM_META)
    world.assert_cluster_whole(rows=scenario.end, archiving=False)
    [run] = [run for run in world.runs() if run["run_id"] not in before]
    assert run["state"] == "finished"
    assert request_of(world, run["run_id"]) == {
        "pg_pitr": {"cluster": SOURCE},
        "inventory": [str(world.inventory)],
        "members": [member.name for member in world.members(TARGET)],
        "door": "ansible",
    }
    assert "changed=1" in result.stdout
    assert f"next: pgdolly cleanup {TARGET}" in result.stdout
    # Every step has a line, and no host but one ran the task.
    assert "join the leader's timeline by streaming  done in" in result.stdout
    assert result.stdout.count("unreachable=0") == 1


def test_to_a_time_with_archiving_on(world: World, scenario: Scenario) -> None:
    """The manual page's other command, its keys in whatever YAML allows."""
    world.pgdolly("cleanup", TARGET, "--yes")  # the stanza is to take the clone's WAL
    given = f'{{"pg_pitr": {{ "cluster": "{SOURCE}", "time": "{scenario.early.time}" ,archive: true }}}}'
    play(world, "-l", TARGET, "-e", given)
    world.assert_cluster_whole(rows=scenario.early.rows, archiving=True)


@pytest.fixture
def playing(world: World) -> Iterator[subprocess.Popen[str]]:
    """A playbook at work."""
    with subprocess.Popen(
        (*world.controller_prefix, "./pgsql-pitr.yml", "-l", TARGET, "-e", FROM_META),
        cwd=PROJECT,
        env=environment(world),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        yield process
        process.kill()


def test_interrupted_and_taken_up_by_the_other_door(
    world: World, scenario: Scenario, playing: subprocess.Popen[str]
) -> None:
    """Ctrl-C; its lines come while it works, so the run and how to go on are known by then."""
    assert playing.stdout is not None
    run = ""
    for line in playing.stdout:
        if line.startswith("should this be interrupted: pgdolly resume "):
            run = line.split()[-1]
        if "restore" in line and "begins" in line and run:
            break
    assert run, "no progress was shown"
    playing.send_signal(signal.SIGINT)
    playing.communicate(timeout=60)
    wait_until(lambda: world.state_of(run) == "interrupted", 30, "the journal to say so")

    world.pgdolly("resume", run, "--output=json")
    assert world.state_of(run) == "finished"
    world.assert_cluster_whole(rows=scenario.end, archiving=False)
