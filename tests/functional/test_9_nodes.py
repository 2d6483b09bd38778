"""Nodes that go down and come back in the middle of a run, or do not; and a network that is cut. Only on a fleet."""

from __future__ import annotations

import time

import pytest
from controller import Controller
from member import SOURCE, TARGET, Member
from scenario import Scenario
from waiting import COMMAND_POLL_SECONDS, wait_until
from world import World

from fleet import Fleet

FROM = ("--from", SOURCE)
UNREACHABLE = 5
CUT_SECONDS = 30.0
STORE_FORGETS_SECONDS = 90.0  # Patroni's ttl is 30 s

pytestmark = pytest.mark.usefixtures("whole_target")


def restoring(member: Member, run: str) -> bool:
    job = member.work_directory / run / "restore"
    return (job / "pid").exists() and not (job / "status").exists()


def service(fleet: Fleet, member: Member, question: str) -> str:
    return fleet.exec(member.name, "systemctl", question, "patroni", user="root").stdout.strip()


@pytest.mark.usefixtures("manual_rights")
def test_the_rights_of_the_manual_are_enough(world: World, scenario: Scenario) -> None:
    world.reset(*FROM, "--lsn", scenario.middle.lsn, "--cleanup")
    world.assert_cluster_whole(rows=scenario.middle.rows, archiving=True)


@pytest.mark.parametrize("killed", [True, False], ids=["with its controller", "alone"])
def test_a_node_that_is_powered_off_during_its_restore(
    world: World, fleet: Fleet, scenario: Scenario, controllers: list[Controller], killed: bool
) -> None:
    """It boots again without starting Patroni on half the data, and the run ends as if nothing had been."""
    member = next(member for member in world.members(TARGET) if member != world.leader(TARGET))
    controller = world.start("reset", TARGET, *FROM, "--lsn", scenario.late.lsn, "--yes", "--output=json")
    controllers.append(controller)
    run = controller.run()
    controller.wait_for(lambda: restoring(member, run), f"a restore to be at work on {member.name}")
    fleet.power_off(member.name)
    if killed:
        controller.kill()
    fleet.boot(member.name)
    assert (service(fleet, member, "is-active"), service(fleet, member, "is-enabled")) == (
        "inactive",
        "disabled",
    )

    if killed:
        assert world.state_of(run) == "interrupted"
        world.pgdolly("resume", run, "--output=json")
    else:
        output = controller.wait()
        assert controller.process.returncode == 0, output
        # A node that boots in a second is back before anybody asks.
        lost = f"the connection to {member.name} was lost"
        assert lost in output or f"{member.name} went down during the restore" in output, output
    assert world.state_of(run) == "finished"
    world.assert_cluster_whole(rows=scenario.late.rows, archiving=False)
    for each in world.members(TARGET):
        assert service(fleet, each, "is-enabled") == "enabled"


def test_a_network_that_is_cut_during_the_replay(
    world: World, fleet: Fleet, scenario: Scenario, controllers: list[Controller]
) -> None:
    """The replay does not need the controller; the run goes on by itself once that is back."""
    controller = world.start("reset", TARGET, *FROM, "--set", scenario.backups[0], "--yes", "--output=json")
    controllers.append(controller)
    controller.wait_for_step("step_begun", "recover")
    fleet.cut()
    time.sleep(CUT_SECONDS)  # it is what is tested
    assert controller.process.poll() is None
    fleet.mend()
    output = controller.wait()
    assert controller.process.returncode == 0, output
    assert "was lost, and back after" in output
    world.assert_cluster_whole(rows=scenario.end, archiving=False)


def test_a_node_that_stays_away_is_named(
    world: World, fleet: Fleet, scenario: Scenario, controllers: list[Controller]
) -> None:
    """The run fails, names it, and is taken up when it is back."""
    member = next(member for member in world.members(TARGET) if member != world.leader(TARGET))
    controller = world.start("reset", TARGET, *FROM, "--lsn", scenario.early.lsn, "--yes")
    controllers.append(controller)
    run = controller.run()
    controller.wait_for(lambda: restoring(member, run), f"a restore to be at work on {member.name}")
    fleet.power_off(member.name)
    output = controller.wait()
    assert controller.process.returncode == UNREACHABLE, output
    assert f"error: {member.name}: " in output and f"pgdolly resume {run}" in output
    assert world.state_of(run) == "failed"

    fleet.boot(member.name)
    world.pgdolly("resume", run, "--output=json")
    world.assert_cluster_whole(rows=scenario.early.rows, archiving=False)


def test_a_replica_that_is_down_for_good(world: World, fleet: Fleet, scenario: Scenario) -> None:
    """The reset goes on without it. It is back later with its old data, of the same system identifier."""
    world.reset(*FROM, "--lsn", scenario.late.lsn)
    leader = world.leader(TARGET)
    gone, other = (member for member in world.members(TARGET) if member != leader)
    fleet.power_off(gone.name)
    refused = world.pgdolly("reset", TARGET, *FROM, "--check", status=UNREACHABLE)
    assert gone.name in refused.stderr and "by the store's word its Patroni is alive" in refused.stderr

    def forgotten() -> bool:
        return world.pgdolly("reset", TARGET, *FROM, "--check", status=None).status == 0

    wait_until(
        forgotten,
        STORE_FORGETS_SECONDS,
        f"the store to forget {gone.name}",
        poll_seconds=COMMAND_POLL_SECONDS,
    )
    shown = world.pgdolly("reset", TARGET, *FROM, "--lsn", scenario.early.lsn, "--check").stdout
    assert f"{gone.name} is down and is LEFT OUT" in shown
    paused = world.reset(*FROM, "--lsn", scenario.early.lsn, "--action", "pause")
    world.pgdolly("resume", paused.run, "--abandon")  # without the node that is down

    done = world.reset(*FROM, "--lsn", scenario.early.lsn)
    [note] = [note for note in done.outcome["notes"] if "LEFT OUT" in note]
    for member in (leader, other):
        assert world.rows(member) == scenario.early.rows
    assert world.leader(TARGET) == leader
    cleaned = world.pgdolly("cleanup", TARGET, "--no-backup", "--yes", "--output=json")
    assert any(f"{gone.name} is down and is LEFT OUT" in each for each in cleaned.outcome["notes"]), cleaned
    assert {world.value(member, "SHOW archive_mode") for member in (leader, other)} == {"on"}

    fleet.boot(gone.name)
    began = time.monotonic()
    while time.monotonic() - began < 30:  # long enough for Patroni to make up its mind
        assert world.leader(TARGET) == leader
        role, state, _ = world.view(TARGET)["members"].get(gone.name, ("", "", None))
        assert role != "leader"
        if state == "streaming":
            assert world.rows(gone) == scenario.early.rows, "it streams with its old data"
        time.sleep(1)

    stop, empty, start = note.rpartition("as root:  ")[2].split("; ")
    for command in (stop, empty, start):
        back = fleet.exec(gone.name, "sh", "-c", command, user="root")
        assert back.returncode == 0, back.stderr
    world.assert_cluster_whole(rows=scenario.early.rows, archiving=True)
