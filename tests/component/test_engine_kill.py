"""A killed run ends in the same state: the controller is killed at every record of its journal."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import engine_toys
from engine_toys import DEADLINE_SECONDS, FileWorld, prepare
from pgdolly.engine.journal import FILE_NAME, list_runs
from pgdolly.engine.record import RunState, StepRecord

# The journal of an uninterrupted run has so many records; the first test keeps this number true.
RECORDS = 30
KILLED = -9


class Controllers:
    """Real processes, one after the other, each of which conducts the run and may be killed on the way."""

    def __init__(self) -> None:
        sources = Path(engine_toys.__file__).parent.parent / "src"
        self._server = subprocess.Popen(
            [sys.executable, "-W", "error", engine_toys.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(sources)},
        )
        assert self._server.stdin is not None and self._server.stdout is not None
        self._orders, self._answers = self._server.stdin, self._server.stdout

    def start(
        self,
        world: FileWorld,
        run_id: str | None = None,
        *,
        kill_at: int | None = None,
        half: bool = False,
        operation: str = "toy",
    ) -> None:
        order = {
            "root": str(world.root),
            "run_id": run_id,
            "kill_at": kill_at,
            "half": half,
            "operation": operation,
        }
        self._orders.write(json.dumps(order).encode() + b"\n")
        self._orders.flush()

    def wait(self) -> int:
        """The exit status of the controller that was started last; negative for a signal."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._answers, selectors.EVENT_READ)
            assert selector.select(DEADLINE_SECONDS), "the controller does not end"
        return int(self._answers.readline())

    def run(
        self, world: FileWorld, run_id: str | None = None, *, kill_at: int | None = None, half: bool = False
    ) -> int:
        self.start(world, run_id, kill_at=kill_at, half=half)
        return self.wait()

    def close(self) -> None:
        self._orders.close()
        self._server.wait(DEADLINE_SECONDS)
        self._answers.close()


@pytest.fixture(scope="module")
def controllers() -> Iterator[Controllers]:
    made = Controllers()
    yield made
    made.close()


@pytest.fixture(scope="module")
def uninterrupted(controllers: Controllers, tmp_path_factory: pytest.TempPathFactory) -> FileWorld:
    world = prepare(tmp_path_factory.mktemp("uninterrupted"))
    assert controllers.run(world) == 0
    return world


def only_run(world: FileWorld) -> str:
    [run] = list_runs(world.root / "runs")
    return run.run_id


def journal_lines(world: FileWorld) -> list[str]:
    [path] = (world.root / "runs").glob(f"*/{FILE_NAME}")
    return path.read_text().splitlines()


def assert_same_end(world: FileWorld, uninterrupted: FileWorld) -> None:
    assert world.state() == uninterrupted.state()
    assert world.effects() == uninterrupted.effects()
    [run] = list_runs(world.root / "runs")
    assert run.state is RunState.FINISHED
    [reference] = list_runs(uninterrupted.root / "runs")
    assert run.results == reference.results
    assert run.steps.keys() == reference.steps.keys()


def test_an_uninterrupted_run_does_everything_once(uninterrupted: FileWorld) -> None:
    assert len(journal_lines(uninterrupted)) == RECORDS
    assert uninterrupted.state() == {
        "a-kept": "a-old.kept\nseen\n",
        "a-old.kept": "old of a\n",
        "b-kept": "b-old.kept\nseen\n",
        "b-old.kept": "old of b\n",
        "restored": "3 rows\nlooked at\n",
        "shared": "begin\nclosed\n",
        "summary.kept": "a-old.kept b-old.kept 3\n",
    }
    assert uninterrupted.effects() == [
        "DESTROY a-old",
        "DESTROY b-old",
        "DESTROY by job restored",
        "DESTROY summary",
        "append closed to shared",
        "append looked at to restored",
        "append seen to a-kept",
        "append seen to b-kept",
        "create shared",
        "create summary",
    ]


@pytest.mark.parametrize("half", [False, True], ids=["record-on-disk", "record-half-written"])
@pytest.mark.parametrize("record", range(1, RECORDS + 1))
def test_a_run_killed_at_any_record_ends_in_the_same_state(
    controllers: Controllers, uninterrupted: FileWorld, tmp_path: Path, record: int, half: bool
) -> None:
    world = prepare(tmp_path / "world")
    assert controllers.run(world, kill_at=record, half=half) == KILLED
    if record == 1 and half:
        # Not even its id came to disk: nothing was done, there is nothing to resume, a new run begins.
        assert list_runs(world.root / "runs") == []
        assert world.effects() == []
        assert controllers.run(world) == 0
    elif record == RECORDS and not half:
        assert list_runs(world.root / "runs")[0].state is RunState.FINISHED
    else:
        assert list_runs(world.root / "runs")[0].state is RunState.INTERRUPTED
        assert controllers.run(world, only_run(world)) == 0
    assert_same_end(world, uninterrupted)


def test_a_run_whose_controllers_are_killed_again_and_again_ends_in_the_same_state(
    controllers: Controllers, uninterrupted: FileWorld, tmp_path: Path
) -> None:
    world = prepare(tmp_path / "world")
    assert controllers.run(world, kill_at=2) == KILLED
    kills = 1
    while (
        status := controllers.run(world, only_run(world), kill_at=2 + kills // 2, half=kills % 2 == 0)
    ) != 0:
        assert status == KILLED
        kills += 1
        assert kills < 2 * RECORDS
    assert kills > 5
    assert_same_end(world, uninterrupted)


def test_a_job_outlives_its_controller_and_is_found_again(controllers: Controllers, tmp_path: Path) -> None:
    world = prepare(tmp_path / "world")
    # Records: run_started, plan, two times step_begun, and the note that the job is at work.
    controllers.start(world, kill_at=5, operation="gated")
    assert controllers.wait() == KILLED
    run_id = only_run(world)
    job = world.jobs / run_id / "restored"
    assert (job / "started").exists() and not (job / "done").exists()
    assert "restored" not in world.state()

    controllers.start(world, run_id, operation="gated")
    wait_until(lambda: job_step(world).attempts == 2)
    (world.root / "gate").touch()
    assert controllers.wait() == 0

    assert world.effects() == ["DESTROY by job restored"]  # attached to, not started again
    assert world.state()["restored"] == "3 rows\n"
    assert list_runs(world.root / "runs")[0].state is RunState.FINISHED
    assert job_step(world).result == {"rows": 3}


def test_a_job_that_ended_while_nobody_looked_gives_its_result(
    controllers: Controllers, tmp_path: Path
) -> None:
    world = prepare(tmp_path / "world")
    controllers.start(world, kill_at=5, operation="gated")
    assert controllers.wait() == KILLED
    run_id = only_run(world)
    (world.root / "gate").touch()
    wait_until((world.jobs / run_id / "restored" / "done").exists)

    controllers.start(world, run_id, operation="gated")
    assert controllers.wait() == 0

    assert (job_step(world).attempts, job_step(world).result) == (1, {"rows": 3})
    assert world.effects() == ["DESTROY by job restored"]


def job_step(world: FileWorld) -> StepRecord:
    [run] = list_runs(world.root / "runs")
    [step] = [step for step in run.steps.values() if step.id.endswith("-run_detached_job")]
    return step


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.01)
