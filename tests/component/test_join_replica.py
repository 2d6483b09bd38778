"""A replica that comes nearer to its leader is waited for; one that is being copied from it is not begun again."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from fake_nodes import SOCKET, FakeNode, instance
from pgdolly.domain.cluster import ServiceManager
from pgdolly.domain.command import Command
from pgdolly.domain.lsn import LSN
from pgdolly.engine.step import Context, StepState
from pgdolly.steps import join
from pgdolly.steps.join import JoinReplica
from pgdolly.steps.world import World

STALL_SECONDS, POLL_SECONDS = 0.3, 0.02
FORK = "0/3000028"
RESULTS: dict[str, dict[str, Any]] = {
    "1/1/pg-test-2/1-recover": {"lsn": FORK, "stopped": None},
    "1/2/pg-test-1/1-promote_leader": {"left": 1, "fork": FORK},
}


class Cluster:
    """A leader and a replica, which becomes what `life` says at each look at it."""

    def __init__(self, life: Callable[[Cluster, int], None]) -> None:
        self.life, self.looks = life, 0
        self.active = False
        self.files = {"PG_VERSION"}
        self.marked = False
        self.row: str | None = None  # of pg_stat_replication
        self.title = ""
        self.patroni_state = "starting"
        self.ran: list[str] = []

    def stream(self, replayed: str, leader_at: str) -> None:
        self.row = f"streaming\t{replayed}\t{leader_at}\n"

    def rows(self) -> str:
        self.looks += 1
        self.life(self, self.looks)
        return self.row or ""

    def on_replica(self, command: Command) -> str:
        argv, doing = command.argv, command.summary or ""
        words = " ".join(argv)
        if argv[0] == "systemctl":
            action = argv[1]
            self.ran.append(action)
            if action == "is-active":
                return "active\n" if self.active else "inactive\n"
            self.active = action == "start"
        elif "histories" in doing or "postgresql.auto.conf" in doing:
            self.ran.append("hand over")
            assert "PG_VERSION" in self.files, "it is no data directory"
        elif doing == "empty /pg/data":
            self.ran.append("empty")
            assert not self.active, "Patroni works in it"
            self.files.clear()
        elif argv[0] == "mkdir":
            self.marked = True
        elif argv[0] == "rm":
            self.ran.append("remove placeholders")
            self.files.discard("placeholder")
        elif "ps --ppid" in words:
            return self.title
        elif doing == "look for a copy of the leader":
            return "yes" if self.marked else "no"
        elif doing == "look into the data directory":
            emptied = "PG_VERSION" not in self.files
            return "\n".join("yes" if each else "no" for each in (emptied, "placeholder" in self.files))
        elif argv[0] == "sh" and "du --" in words:
            return "4000\t/pg/data\n"
        elif "ask Patroni" in doing:
            member = {"name": "pg-test-2", "role": "replica", "state": self.patroni_state}
            return json.dumps({"status": 200, "body": {"members": [member]}})
        else:
            raise AssertionError(words)
        return "{}"


class Answering(FakeNode):
    def __init__(self, name: str, answers: Callable[[Command], str]) -> None:
        self.node_name, self.answers = name, answers

    def answer(self, command: Command) -> str:
        return self.answers(command)


STEP = JoinReplica(
    instance=instance("pg-test-2", ServiceManager.SYSTEMD),
    leader=instance("pg-test-1", ServiceManager.SYSTEMD),
    patroni_name="pg-test-2",
    archive=False,
    spool_directory=None,
    segment_size=16 * 1024**2,
    placeholders=(2,),
)


def context_of(cluster: Cluster, notes: list[str] | None = None) -> Context[World]:
    def on_leader(command: Command) -> str:
        if command.argv[0] == "sed":
            return SOCKET
        if "du --" in " ".join(command.argv):
            return "9000\t/pg/data\n"
        return cluster.rows() if "pg_stat_replication" in command.argv[-1] else "{}"

    shells = {
        "pg-test-1": Answering("pg-test-1", on_leader),
        "pg-test-2": Answering("pg-test-2", cluster.on_replica),
    }
    return Context(world=World(shells), run_id="run", results=RESULTS, on_note=(notes or []).append)


def joined(cluster: Cluster) -> dict[str, Any] | None:
    return asyncio.run(STEP.apply(context_of(cluster)))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(join, "JOIN_SECONDS", STALL_SECONDS)
    monkeypatch.setattr(join, "POLL_SECONDS", POLL_SECONDS)


def copies(cluster: Cluster, look: int) -> None:
    """Patroni copies the leader as soon as it is up."""
    if cluster.active and not cluster.files:
        cluster.files = {"PG_VERSION"}
        cluster.stream("0/9000000", "0/9000000")


def test_a_replica_that_replays_for_long_is_not_rebuilt() -> None:
    def replays(cluster: Cluster, look: int) -> None:
        if look < 60:
            cluster.title = (
                f"postgres: pg-test: startup recovering 0000000100000000000000{look // 4 + 16:02X}\n"
            )
        else:
            cluster.stream("0/9000000", "0/9000000")

    cluster = Cluster(replays)
    assert joined(cluster) == {"rebuilt": False, "lsn": "0/9000000"}
    assert "empty" not in cluster.ran


def test_a_replica_that_streams_behind_a_leader_that_is_written_to_is_joined() -> None:
    def follows(cluster: Cluster, look: int) -> None:
        at = 0x9000000 + 1000 * look
        cluster.stream(str(LSN(at - 1500)), str(LSN(at)))

    cluster = Cluster(follows)
    result = joined(cluster)
    assert result is not None and result["rebuilt"] is False
    assert "empty" not in cluster.ran and cluster.ran[-1] == "remove placeholders"


def test_a_replica_that_stands_still_is_rebuilt() -> None:
    def waits(cluster: Cluster, look: int) -> None:
        cluster.title = "postgres: pg-test: startup waiting for 000000010000000000000004\n"
        copies(cluster, look)

    cluster = Cluster(waits)
    result = joined(cluster)
    assert result is not None and result["rebuilt"] is True


def test_a_replica_that_dies_again_and_again_is_rebuilt() -> None:
    """Each time it replays the same: that is no progress."""

    def dies(cluster: Cluster, look: int) -> None:
        cluster.title = f"postgres: pg-test: startup recovering 00000001000000000000000{look % 4 + 3}\n"
        copies(cluster, look)

    result = joined(Cluster(dies))
    assert result is not None and result["rebuilt"] is True


def test_a_rebuild_whose_controller_was_killed_before_the_copy_is_gone_on_with() -> None:
    cluster = Cluster(copies)
    cluster.marked, cluster.files = True, {"base"}
    result = joined(cluster)
    assert result is not None and result["rebuilt"] is True
    assert "hand over" not in cluster.ran and "empty" in cluster.ran


def collected(shown: list[tuple[Any, ...]]) -> Callable[..., None]:
    return lambda *figures: shown.append(figures)


def test_a_copy_that_is_under_way_is_waited_for() -> None:
    def goes_on(cluster: Cluster, look: int) -> None:
        if look == 3:
            cluster.stream("0/9000000", "0/9000000")

    for marked, files in ((True, {"PG_VERSION"}), (True, set[str]()), (False, set[str]())):
        cluster = Cluster(goes_on)
        cluster.active, cluster.marked, cluster.files = True, marked, files
        shown: list[tuple[Any, ...]] = []
        context = dataclasses.replace(context_of(cluster), on_progress=collected(shown))
        result = asyncio.run(STEP.apply(context))
        assert result is not None and result["rebuilt"] is True
        assert not {"empty", "disable", "stop", "hand over"} & set(cluster.ran)
        assert shown == [(4000, 9000, "bytes", "copied")]


def test_a_copy_that_patroni_began_by_itself_is_waited_for() -> None:
    def goes_on(cluster: Cluster, look: int) -> None:
        cluster.patroni_state = join.CREATING
        if look == 2 + int(STALL_SECONDS / POLL_SECONDS):
            cluster.stream("0/9000000", "0/9000000")

    cluster = Cluster(goes_on)
    result = joined(cluster)
    assert result is not None and result["rebuilt"] is True
    assert "empty" not in cluster.ran


@pytest.mark.parametrize(
    ("row", "files", "state"),
    [
        ("streaming\t0/9000000\t0/9000000\n", {"PG_VERSION"}, StepState.DONE),
        ("streaming\t0/9000000\t0/9000000\n", {"PG_VERSION", "placeholder"}, StepState.PENDING),
        ("catchup\t0/8000000\t0/9000000\n", {"PG_VERSION"}, StepState.PENDING),
        ("startup\t\t0/9000000\n", {"PG_VERSION"}, StepState.PENDING),
        (None, {"PG_VERSION"}, StepState.PENDING),
    ],
    ids=["joined", "its placeholders are there", "it catches up", "it begins", "not connected"],
)
def test_it_is_done_once_it_is_level_and_free_of_placeholders(
    row: str | None, files: set[str], state: StepState
) -> None:
    cluster = Cluster(lambda *_: None)
    cluster.row, cluster.files = row, files
    assert asyncio.run(STEP.check(context_of(cluster))).state is state
