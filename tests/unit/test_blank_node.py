"""A node that is to become a member, as a clone looks at it: before its run begins, and when that is resumed."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from pgdolly.domain.command import Command, Completed
from pgdolly.domain.errors import Refused
from pgdolly.drivers.configuration import MemberConfiguration
from pgdolly.operations.clone.blank import Blank, look_at_blank
from pgdolly.steps.world import World
from reset_blueprints import SOURCE_SYSTEM, cluster, member_facts

SOURCE, NEW = cluster("pg-meta", 1), cluster("pg-test", 1)
[NODE] = NEW.members
TEMPLATE = MemberConfiguration(
    member=SOURCE.members[0],
    patroni={
        "scope": "pg-meta",
        "name": "pg-meta-1",
        "restapi": {"listen": "0.0.0.0:8008", "connect_address": "10.10.10.1:8008"},
        "postgresql": {"connect_address": "10.10.10.1:5432", "data_dir": "/pg/data"},
    },
    dynamic={},
    pgbackrest="[global]\nrepo1-path=/backup\n[pg-meta]\npg1-path=/pg/data\n",
)
LOCK = {"run_id": "clone-1", "operation": "clone", "controller": "admin", "pid": 7, "began_at": "today"}
FOUND: dict[str, Any] = {
    "data_directory": {
        "path": "/pg/data",
        "real_path": "/pg/data",
        "exists": False,
        "empty": True,
        "has_version": False,
        "standby": False,
        "tablespaces": 0,
    },
    "postgres_version": "18.1",
    "pgbackrest_version": "2.57.0",
    "bin_directory": "/usr/lib/postgresql/18/bin",
    "systemd": {"known": False, "enabled": False},
    "free_bytes": 2**30,
    "writable": True,
    "timezone": ["UTC"],
}


class Shell:
    """A node whose programs answer as those do that look at it; a clone has written its files already."""

    node_name = NODE.name

    def __init__(self, lock: dict[str, Any] | None, stop_files: tuple[str, ...]) -> None:
        self.lock, self.stop_files = lock, stop_files

    async def run(self, command: Command, *, timeout_seconds: float = 60) -> Completed:
        answer: dict[str, Any] = {**FOUND, "lock": self.lock}
        if command.argv[3] == "files":
            answer = {
                path: {
                    "exists": not path.endswith(".stop") or path in self.stop_files,
                    "made": True,
                    "writable": True,
                }
                for path in json.loads(command.argv[-1])["look"]
            }
        return Completed(command=command, status=0, stdout=json.dumps(answer), stderr="")

    async def reconnect(self, *, deadline_seconds: float) -> None:
        raise AssertionError("nothing is lost here")


def look(lock: dict[str, Any] | None, resumed: str | None, *stop_files: str) -> Blank:
    return asyncio.run(
        look_at_blank(
            World({NODE.name: Shell(lock, stop_files)}),
            NODE,
            template=TEMPLATE,
            template_facts=member_facts(SOURCE.members[0], system=SOURCE_SYSTEM),
            neighbours=SOURCE,
            new=NEW,
            restore_command=None,
            repository=None,
            delay=None,
            resumed=resumed,
        )
    )


def test_the_lock_of_the_resumed_run_is_no_obstacle_to_it() -> None:
    """A recovery is decided on the same facts, and refuses a member that any run holds."""
    assert look(LOCK, resumed="clone-1").facts.lock is None


@pytest.mark.parametrize("resumed", [None, "clone-2"])
def test_another_runs_lock_is_one(resumed: str | None) -> None:
    with pytest.raises(Refused) as raised:
        look(LOCK, resumed=resumed)
    assert raised.value.next_command is not None and "pgdolly resume clone-1" in raised.value.next_command


@pytest.mark.parametrize(
    ("path", "cure"),
    [
        ("/tmp/pgbackrest/pg-test.stop", "pgbackrest --lock-path=/tmp/pgbackrest --stanza=pg-test start"),
        ("/tmp/pgbackrest/all.stop", "pgbackrest --lock-path=/tmp/pgbackrest start"),
    ],
)
def test_a_stop_file_of_pgbackrest_is_one(path: str, cure: str) -> None:
    """Found in the middle of a run, when the stanza is to be created, it would end that there [062]."""
    with pytest.raises(Refused) as raised:
        look(None, None, path)
    assert path in raised.value.what and raised.value.next_command is not None
    assert raised.value.next_command.startswith(f"{cure}, on pg-test-1")
