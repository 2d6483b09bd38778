"""A target that is not as one would wish: led by another member, stopped, or never started."""

from __future__ import annotations

import pytest
from member import SOURCE, TARGET
from scenario import Scenario
from world import World

FROM = ("--from", SOURCE)


@pytest.mark.usefixtures("whole_target")
def test_a_leader_that_is_not_the_first_member(world: World, scenario: Scenario) -> None:
    """Who leads is asked, not read: it leads afterwards, too."""
    candidate = next(member for member in world.members(TARGET) if member != world.leader(TARGET))
    world.execute(candidate, "patronictl", "switchover", TARGET, "--candidate", candidate.name, "--force")
    world.reset(*FROM, "--lsn", scenario.middle.lsn)
    world.assert_cluster_whole(rows=scenario.middle.rows, archiving=False)
    assert world.leader(TARGET) == candidate


def stop(world: World) -> None:
    """Stop the target, the leader last: it would hand over else."""
    leader = world.leader(TARGET)
    for member in sorted(world.members(TARGET), key=lambda each: each == leader):
        world.stop_service(member)


@pytest.mark.usefixtures("whole_target")
def test_a_stopped_target(world: World, scenario: Scenario) -> None:
    stop(world)
    world.reset(*FROM, "--lsn", scenario.early.lsn)
    world.assert_cluster_whole(rows=scenario.early.rows, archiving=False)


@pytest.mark.usefixtures("whole_target")
def test_a_target_that_was_never_started(world: World, scenario: Scenario) -> None:
    """Configured nodes without data, a store without an entry, and no stanza: the clean-up creates it."""
    stop(world)
    members = world.members(TARGET)
    for member in members:
        world.as_dbsu(member, "rm", "-rf", str(member.on_node(member.data_directory)))
    world.shell(members[0], f"printf '%s\\n' {TARGET} 'Yes I am aware' | patronictl remove {TARGET}\n")
    world.shell(members[0], "pb stop --force\npb stanza-delete --force\npb start\n")

    world.reset(*FROM, "--lsn", scenario.late.lsn, "--cleanup")

    world.assert_cluster_whole(rows=scenario.late.rows, archiving=True)
    assert len(world.labels(TARGET)) == 1
    check = world.pgdolly("check", TARGET, status=None)
    assert check.status == 0, check
