"""A restore beside the running cluster, and a recovered server that goes down before it is handed over."""

from __future__ import annotations

import shutil

import pytest
from controller import Controller
from member import SOURCE, TARGET
from scenario import Scenario
from world import World

FROM = ("--from", SOURCE)
REFUSED = 3


@pytest.mark.usefixtures("whole_target")
def test_beside_the_running_cluster(world: World, scenario: Scenario) -> None:
    leader = world.leader(TARGET)
    data = leader.directory / "beside"
    private = leader.directory / "beside.private"
    standing = world.standing(TARGET)
    try:
        result = world.reset(*FROM, "--lsn", scenario.early.lsn, "--data", str(leader.on_node(data)))

        assert result.outcome["state"] == "finished"
        assert world.rows(leader, sockets=private) == scenario.early.rows
        assert world.value(leader, "SHOW archive_mode", sockets=private) == "off"
        assert world.value(leader, "SHOW listen_addresses", sockets=private) == ""
        assert world.standing(TARGET) == standing
        in_use = world.pgdolly(
            "reset", TARGET, *FROM, "--data", str(leader.on_node(data)), "--yes", status=REFUSED
        )
        assert "a server runs in" in in_use.stderr, in_use
    finally:
        if (data / "postmaster.pid").exists():
            world.as_dbsu(
                leader, str(leader.bin_directory / "pg_ctl"), "-D", str(leader.on_node(data)), "stop"
            )
        shutil.rmtree(data, ignore_errors=True)
        shutil.rmtree(private, ignore_errors=True)


@pytest.mark.usefixtures("whole_target")
def test_beside_is_never_a_members_own_directory(world: World) -> None:
    leader = world.leader(TARGET)
    with world.nothing_changes():
        result = world.pgdolly(
            "reset",
            TARGET,
            *FROM,
            "--data",
            str(leader.on_node(leader.data_directory)),
            "--yes",
            status=REFUSED,
        )
    assert "beside the cluster" in result.stderr, result


@pytest.mark.parametrize("step", ["promote_leader", "set_roles"])
def test_a_recovered_server_that_went_down(
    world: World, scenario: Scenario, controllers: list[Controller], step: str
) -> None:
    """Its node failed between the target and Patroni: the run starts it again, to the same point."""
    controller = world.start("reset", TARGET, *FROM, "--lsn", scenario.middle.lsn, "--yes", "--output=json")
    controllers.append(controller)
    controller.wait_for_step("step_begun", step)
    controller.kill()
    leader = next(m for m in world.members(TARGET) if (m.data_directory / "postmaster.pid").exists())
    postmaster = (leader.data_directory / "postmaster.pid").read_text().split()[0]
    world.as_dbsu(leader, "kill", "-KILL", postmaster)

    resumed = world.pgdolly("resume", controller.run(), "--output=json")

    assert resumed.outcome["state"] == "finished"
    assert any("was down and is started again" in note for note in resumed.outcome["notes"])
    world.assert_cluster_whole(rows=scenario.middle.rows, archiving=False)
