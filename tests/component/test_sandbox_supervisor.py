"""A real supervisord takes the programs of added nodes, and what it runs already notices nothing."""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pgdolly.sandbox import files, processes, render, supervise
from pgdolly.sandbox.layout import ETCD, World
from pgdolly.sandbox.supervise import RUNNING
from pgdolly.sandbox.waiting import wait_until


def lay_out(world: World) -> None:
    for directory in render.directories(world):
        directory.mkdir(parents=True, exist_ok=True)
    world.supervisor_config.write_text(render.supervisor_config(world))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A sandbox of this account's with a store that only sleeps, and nothing else started."""
    account = pwd.getpwuid(os.geteuid())
    store = tmp_path / "sleeping-store"
    store.write_text("#!/bin/sh\nexec sleep 60\n")
    store.chmod(0o755)
    world = World(
        home=tmp_path / "home",
        directory=tmp_path,
        network="127.10.99",  # nothing listens there
        user=account.pw_name,
        user_home=account.pw_dir,
        pg_version=15,
        pg_bin=Path("/nonexistent"),
        environment_bin=Path(sys.prefix).resolve() / "bin",
        pgbackrest=Path("/nonexistent/pgbackrest"),
        etcd=store,
    )
    lay_out(world)
    supervise.start_supervisor(world)
    supervisor = [
        each for each in processes.processes_of(world) if each.pid == supervise.supervisor_pid(world)
    ]
    try:
        yield world
    finally:
        supervise.shut_down_supervisor(world)
        processes.wait_gone(world, supervisor, deadline_seconds=20)


def test_programs_are_added_beside_those_that_run(world: World) -> None:
    def pid_of_store() -> int | None:
        return (supervise.program_states(world) or {})[ETCD].pid

    supervise.start_program(world, ETCD)
    wait_until(
        lambda: None if (supervise.program_states(world) or {})[ETCD].state == RUNNING else "not yet",
        what="the store to run",
        where=ETCD,
        deadline_seconds=20,
    )
    pid = pid_of_store()
    larger = replace(world, added={"pg-meta2": 2})
    assert not files.is_laid_out(larger)
    lay_out(larger)
    assert files.is_laid_out(larger)
    for _ in range(2):
        supervise.add_new_programs(larger)
        states = supervise.program_states(larger) or {}
        assert tuple(sorted(states)) == tuple(sorted(larger.programs))
        assert {states[node.name].state for node in larger.members("pg-meta2")} == {"STOPPED"}
        assert pid is not None and pid_of_store() == pid
