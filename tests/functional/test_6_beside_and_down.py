"""A restore beside the running cluster, and a recovered server that goes down before it is handed over."""

from __future__ import annotations

import shutil

import pytest
from controller import Controller
from member import SOURCE, TARGET
from scenario import Scenario
from world import World

FROM = ("--from", SOURCE)
INVALID, REFUSED = 2, 3


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
def test_a_part_of_the_data_lies_elsewhere(world: World, scenario: Scenario) -> None:
    """A restore empties the place where a link leads: what lies there already is refused, and kept."""
    leader = world.leader(TARGET)
    data, private, wal = (leader.directory / name for name in ("linked", "linked.private", "linked.wal"))
    there = str(leader.on_node(wal))
    options = (
        *FROM,
        "--lsn",
        scenario.early.lsn,
        "--data",
        str(leader.on_node(data)),
        "--action",
        "shutdown",
    )

    def refused(*links: str, status: int = REFUSED) -> str:
        mapped = [f"--link-map={link}" for link in links]
        with world.nothing_changes():
            result = world.pgdolly("reset", TARGET, *options, *mapped, "--yes", status=status)
        assert "nothing was changed" in result.stderr, result
        return result.stderr

    try:
        assert "'nolink'" in refused(f"nolink={there}")
        assert "one place" in refused(f"pg_wal={there}", f"pg_xact={there}/xact", status=INVALID)
        assert "in the data directory" in refused(f"pg_wal={leader.on_node(data)}/elsewhere")
        world.as_dbsu(leader, "mkdir", there)
        world.as_dbsu(leader, "touch", f"{there}/precious")
        assert f"{there} is not empty ({there}/precious)" in refused(f"pg_wal={there}")
        assert (wal / "precious").exists()
        world.as_dbsu(leader, "rm", f"{there}/precious")
        for _ in range(2):  # the second one finds what the first has put there
            shut_down = world.reset(*options, "--link-map", f"pg_wal={there}")
            assert world.as_dbsu(leader, "readlink", f"{leader.on_node(data)}/pg_wal").strip() == there
            assert (wal / "archive_status").is_dir()
            world.pgdolly("resume", shut_down.run, "--abandon")
    finally:
        for path in (data, private, wal):
            shutil.rmtree(path, ignore_errors=True)


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
