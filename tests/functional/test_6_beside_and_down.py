"""A restore beside the running cluster, and a recovered server that goes down before it is handed over."""

from __future__ import annotations

import os
import shutil
import signal

import pytest
from scenario import Scenario
from world import SOURCE, TARGET, Controller, Sandbox

FROM = ("--from", SOURCE)
REFUSED = 3


@pytest.mark.usefixtures("whole_target")
def test_beside_the_running_cluster(sandbox: Sandbox, scenario: Scenario) -> None:
    leader = sandbox.leader(TARGET)
    data = leader.directory / "beside"
    private = leader.directory / "beside.private"
    standing = sandbox.standing(TARGET)
    try:
        result = sandbox.reset(*FROM, "--lsn", scenario.early.lsn, "--data", str(data))

        assert result.outcome["state"] == "finished"
        assert sandbox.rows(leader, sockets=private) == scenario.early.rows
        assert sandbox.value(leader, "SHOW archive_mode", sockets=private) == "off"
        assert sandbox.value(leader, "SHOW listen_addresses", sockets=private) == ""
        assert sandbox.standing(TARGET) == standing
        in_use = sandbox.pgdolly("reset", TARGET, *FROM, "--data", str(data), "--yes", status=REFUSED)
        assert "a server runs in" in in_use.stderr, in_use
    finally:
        if (data / "postmaster.pid").exists():
            sandbox.as_dbsu(str(leader.bin_directory / "pg_ctl"), "-D", str(data), "stop")
        shutil.rmtree(data, ignore_errors=True)
        shutil.rmtree(private, ignore_errors=True)


@pytest.mark.usefixtures("whole_target")
def test_beside_is_never_a_members_own_directory(sandbox: Sandbox) -> None:
    leader = sandbox.leader(TARGET)
    with sandbox.nothing_changes():
        result = sandbox.pgdolly(
            "reset", TARGET, *FROM, "--data", str(leader.data_directory), "--yes", status=REFUSED
        )
    assert "beside the cluster" in result.stderr, result


@pytest.mark.parametrize("step", ["promote_leader", "set_roles"])
def test_a_recovered_server_that_went_down(
    sandbox: Sandbox, scenario: Scenario, controllers: list[Controller], step: str
) -> None:
    """Its node failed between the target and Patroni: the run starts it again, to the same point."""
    controller = sandbox.start("reset", TARGET, *FROM, "--lsn", scenario.middle.lsn, "--yes", "--output=json")
    controllers.append(controller)
    controller.wait_for_step("step_begun", step)
    controller.kill()
    leader = next(m for m in sandbox.members(TARGET) if (m.data_directory / "postmaster.pid").exists())
    postmaster = int((leader.data_directory / "postmaster.pid").read_text().split()[0])
    os.kill(postmaster, signal.SIGKILL)

    resumed = sandbox.pgdolly("resume", controller.run(), "--output=json")

    assert resumed.outcome["state"] == "finished"
    assert any("was down and is started again" in note for note in resumed.outcome["notes"])
    sandbox.assert_cluster_whole(rows=scenario.middle.rows, archiving=False)
