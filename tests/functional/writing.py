"""An application that writes to a cluster and never stops: it goes on with whoever leads."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import psycopg
from member import Member
from waiting import wait_until
from world import World


class Application:
    """Inserts a row at a time into `heartbeats`, and remembers those whose commit was acknowledged."""

    def __init__(self, world: World, cluster: str, pause_seconds: float, *, archived: bool) -> None:
        self.world, self.cluster, self.pause_seconds = world, cluster, pause_seconds
        self.archived = archived
        self.acknowledged: list[int] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write, name=f"writes to {cluster}", daemon=True)

    def _write(self) -> None:
        while not self._stop.is_set():
            leader = self.world.view(self.cluster)["leader"]
            if leader is None:
                self._stop.wait(0.2)
                continue
            # Whoever led may be going down just now; the next round asks anew.
            with contextlib.suppress(psycopg.Error, OSError):
                self._write_to(self.world.member(leader))

    def _write_to(self, leader: Member) -> None:
        with self.world.connection(leader) as connection:
            while not self._stop.is_set():
                [[number]] = connection.execute(
                    "INSERT INTO heartbeats DEFAULT VALUES RETURNING number"
                ).fetchall()
                self.acknowledged.append(int(number))
                if self.archived:
                    connection.execute("SELECT pg_switch_wal()")
                self._stop.wait(self.pause_seconds)

    def begin(self) -> None:
        self._thread.start()

    def has_written(self, more: int = 25) -> None:
        """Wait until it has written so many rows more."""
        goal = len(self.acknowledged) + more
        wait_until(
            lambda: len(self.acknowledged) >= goal,
            90,
            f"the application to write {more} rows more to {self.cluster}",
            seen=lambda: self.world.view(self.cluster),
        )

    def end(self) -> None:
        self._stop.set()
        self._thread.join(90)
        assert not self._thread.is_alive()


@contextlib.contextmanager
def application(
    world: World, cluster: str, *, pause_seconds: float = 0.02, archived: bool = False
) -> Iterator[Application]:
    """One that writes while the block runs, or until it is ended there.

    :param pause_seconds: between two rows. :param archived: each row is in the archive at once.
    """
    world.psql(
        world.leader(cluster),
        "CREATE TABLE heartbeats (number serial PRIMARY KEY, at timestamptz DEFAULT now())",
    )
    writer = Application(world, cluster, pause_seconds, archived=archived)
    writer.begin()
    try:
        yield writer
    finally:
        writer.end()
        world.psql(world.leader(cluster), "DROP TABLE heartbeats")
