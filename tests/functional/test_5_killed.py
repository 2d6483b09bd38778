"""A controller that is killed with kill -9, at every stage that cannot be undone, and the run taken up again."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from controller import Controller
from member import SOURCE, TARGET
from scenario import Scenario
from servers import Rows
from world import World

FROM = ("--from", SOURCE)
REFUSED = 3
FAILED = 6


def _restoring(controller: Controller) -> bool:
    """A restore is at work on some node."""
    run = controller.run()
    jobs = [member.work_directory / run / "restore" for member in controller.world.members(TARGET)]
    return any((job / "pid").exists() and not (job / "status").exists() for job in jobs)


def _replaying(controller: Controller) -> bool:
    """A private server is up and has not reached the target."""
    begun = {each for each in controller.steps("step_begun") if each.endswith("-recover")}
    open_steps = begun - set(controller.steps("step_finished"))
    lanes = {each.split("/")[2] for each in open_steps}
    return any((controller.world.member(lane).data_directory / "postmaster.pid").exists() for lane in lanes)


def _step(record: str, kind: str) -> Callable[[Controller], bool]:
    return lambda controller: any(each.endswith(f"-{kind}") for each in controller.steps(record))


@dataclass(frozen=True, slots=True)
class Moment:
    """When to kill, and what must not have been done by then."""

    come: Callable[[Controller], bool]
    not_yet: str
    options: Callable[[Scenario], tuple[str, ...]]
    rows: Callable[[Scenario], Rows]


MOMENTS = {
    "during the restore": Moment(_restoring, "recover", lambda s: (), lambda s: s.end),
    "during the replay": Moment(
        _replaying,
        "promote_leader",
        lambda s: ("--time", s.late.time, "--set", s.backups[0]),
        lambda s: s.late.rows,
    ),
    "during the replay to the end": Moment(_replaying, "promote_leader", lambda s: (), lambda s: s.end),
    "after the promotion": Moment(
        _step("step_finished", "promote_leader"),
        "start_leader",
        lambda s: ("--lsn", s.early.lsn),
        lambda s: s.early.rows,
    ),
    "before Patroni starts": Moment(
        _step("step_begun", "reset_store"),
        "join_replica",
        lambda s: ("--xid", str(s.middle.xid), "--set", s.backups[1]),
        lambda s: s.middle.rows,
    ),
}


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=list(MOMENTS))
def test_killed_and_resumed(
    world: World, scenario: Scenario, controllers: list[Controller], moment: Moment
) -> None:
    taken = world.archived_timelines(TARGET) | world.archived_timelines(SOURCE)
    controller = world.start("reset", TARGET, *FROM, *moment.options(scenario), "--yes", "--output=json")
    controllers.append(controller)
    controller.wait_for(lambda: moment.come(controller), "the moment to kill it")
    controller.kill()
    run = controller.run()
    assert not any(each.endswith(f"-{moment.not_yet}") for each in controller.steps("step_finished"))
    assert world.state_of(run) == "interrupted"

    other = world.pgdolly("reset", TARGET, *FROM, "--yes", status=REFUSED)
    assert run in other.stderr and f"pgdolly resume {run}" in other.stderr, other

    begun = world.begun_steps()
    planned = world.pgdolly("resume", run, "--check")
    assert "1. stop the replicas" not in planned.stdout and ". verify" in planned.stdout, planned
    assert world.begun_steps() == begun

    resumed = world.pgdolly("resume", run, "--output=json")

    assert resumed.outcome["state"] == "finished" and resumed.run == run
    timeline = world.assert_cluster_whole(rows=moment.rows(scenario), archiving=False)
    assert timeline > max(taken)
    assert not [note for note in resumed.outcome["notes"] if "rebuilt" in note]
    again = world.pgdolly("resume", run, status=REFUSED)
    assert "nothing to" in again.stderr, again


def test_killed_while_a_replica_is_rebuilt(
    world: World, scenario: Scenario, controllers: list[Controller]
) -> None:
    """Its directory is emptied and nothing copies the leader yet."""
    controller = world.start("reset", TARGET, *FROM, "--lsn", scenario.early.lsn, "--yes", "--output=json")
    controllers.append(controller)
    controller.wait_for_step("step_begun", "join_replica")
    controller.kill()
    run = controller.run()
    [begun, *_] = (each for each in controller.steps("step_begun") if each.endswith("-join_replica"))
    replica = world.member(begun.split("/")[2])
    world.stop_service(replica)
    world.as_dbsu(replica, "mkdir", "-p", str(replica.on_node(replica.work_directory / run / "rebuild")))
    data = str(replica.on_node(replica.data_directory))
    world.as_dbsu(replica, "find", data, "-mindepth", "1", "-delete")

    resumed = world.pgdolly("resume", run, "--output=json")

    assert resumed.outcome["state"] == "finished"
    world.assert_cluster_whole(rows=scenario.early.rows, archiving=False)


def test_an_archive_that_fails_does_not_pass_for_its_end(world: World, scenario: Scenario) -> None:
    """Its last segment is there and cannot be read: without it, the leader would lack what was committed last."""
    archived = world.repository / "archive" / SOURCE
    last = max(archived.glob("*/*/*-*"), key=lambda path: path.name[8:24])
    mode = last.stat().st_mode
    last.chmod(0)
    try:
        failed = world.pgdolly("reset", TARGET, *FROM, "--yes", status=FAILED)
        assert "ended before it reached its target" in failed.stderr, failed
    finally:
        last.chmod(mode)

    [run] = set(re.findall(r"pgdolly resume (\S+)", failed.stderr))
    world.pgdolly("resume", run)
    world.assert_cluster_whole(rows=scenario.end, archiving=False)


@pytest.mark.usefixtures("whole_target")
def test_a_run_that_is_under_way(world: World, scenario: Scenario, controllers: list[Controller]) -> None:
    """Its controller is held up, so that it is under way for as long as the others ask."""
    controller = world.start("reset", TARGET, *FROM, "--lsn", scenario.early.lsn, "--yes")
    controllers.append(controller)
    controller.wait_for(lambda: controller.steps("step_begun"), "its first step")
    controller.send(signal.SIGSTOP)
    run = controller.run()
    begun = controller.steps("step_begun")

    other = world.pgdolly("reset", TARGET, *FROM, "--yes", status=REFUSED)
    assert run in other.stderr and "under way" in other.stderr, other
    assert "nothing was changed" in other.stderr, other
    cleanup = world.pgdolly("cleanup", TARGET, "--yes", status=REFUSED)
    assert run in cleanup.stderr, cleanup
    resume = world.pgdolly("resume", run, status=REFUSED)
    assert "nothing to take up" in resume.stderr or "conducting" in resume.stderr, resume
    assert controller.steps("step_begun") == begun
    assert world.state_of(run) == "running"

    controller.send(signal.SIGCONT)
    output = controller.wait()
    assert controller.process.returncode == 0, output
    world.assert_cluster_whole(rows=scenario.early.rows, archiving=False)


@pytest.mark.usefixtures("whole_target")
def test_a_killed_run_that_is_given_up(
    world: World, scenario: Scenario, controllers: list[Controller]
) -> None:
    """Its target is free for another run, which finds a stopped and half-restored cluster."""
    controller = world.start("reset", TARGET, *FROM, "--lsn", scenario.early.lsn, "--yes")
    controllers.append(controller)
    controller.wait_for(lambda: _restoring(controller), "a restore to be at work")
    controller.kill()
    run = controller.run()

    given_up = world.pgdolly("resume", run, "--abandon", "--output=json")

    assert given_up.outcome["state"] == "abandoned"
    assert not any((member.work_directory / "run.lock").exists() for member in world.members(TARGET))
    world.pgdolly("resume", run, status=REFUSED)
    world.reset(*FROM, "--lsn", scenario.late.lsn)
    world.assert_cluster_whole(rows=scenario.late.rows, archiving=False)
