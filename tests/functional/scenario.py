"""What happened on the source: backups, and points in its history with what it held there.

    full ── early ── incr ── middle ── incr ── late ── a lot of WAL ── end

Each point comes right after a commit, and right before a DROP in the same WAL segment, which is what its user
wants to undo. The full backup holds system settings under which no recovery could be watched: they are the source's
business, and none of a clone's private server.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

from member import SOURCE
from servers import Rows
from world import World

POINTS = ("early", "middle", "late")
BULK_ROWS, BULK_WORDS = 160, 5000  # 25 MB that do not compress to nothing: a restore takes a moment
REPLAY_ROWS = 200  # 31 MB of WAL between the last point and the end
# Never read by the source itself, which is told of them without a reload.
SYSTEM_SETTINGS = {
    "hot_standby": "off",
    "max_connections": "30",  # less than the WAL needs
    "max_worker_processes": "2",
    "recovery_min_apply_delay": "1d",
    "log_min_messages": "fatal",
    "log_error_verbosity": "verbose",
    "update_process_title": "off",
}
ELSEWHERE = timezone(timedelta(hours=8))


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One moment of the source's history, and the four ways to name it.

    :param name: a restore point.
    :param xid: the transaction that committed just before.
    :param before: what the source held before that transaction.
    :param rows: what it held at the point.
    """

    name: str
    at: datetime
    xid: int
    lsn: str
    before: Rows
    rows: Rows

    @property
    def time(self) -> str:
        """As a person elsewhere would write it."""
        return self.at.astimezone(ELSEWHERE).isoformat(sep=" ")

    @property
    def dropped(self) -> str:
        """The table that is dropped right after."""
        return f"doomed_{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """
    :param backups: the labels of the sets, the oldest first; the first one is full.
    :param at_backup: what the source held while each was taken.
    """

    first_at: datetime
    backups: tuple[str, ...]
    at_backup: tuple[Rows, ...]
    early: Point
    middle: Point
    late: Point
    end: Rows
    ended_at: datetime

    def point(self, name: str) -> Point:
        return {"early": self.early, "middle": self.middle, "late": self.late}[name]


def build(world: World) -> Scenario:
    """Let it happen."""
    [source] = world.members(SOURCE)
    first_at = datetime.now(UTC)
    world.psql(
        source,
        "DROP SCHEMA public CASCADE; CREATE SCHEMA public; "
        "CREATE TABLE ledger (id serial PRIMARY KEY, said text NOT NULL); "
        "CREATE TABLE bulk (id serial PRIMARY KEY, filler text NOT NULL); "
        "ALTER TABLE bulk ALTER filler SET STORAGE external; "
        + "".join(
            f"CREATE TABLE doomed_{name} AS SELECT n, md5(n::text) AS said FROM generate_series(1, 500) n; "
            for name in POINTS
        ),
    )
    _fill(world, BULK_ROWS)
    _say(world, "in the beginning", times=1000)
    backups, at_backup, points = [], [], {}
    for name, kind in zip(POINTS, ("full", "incr", "incr"), strict=True):
        at_backup.append(world.rows(source))
        if kind == "full":
            for setting, value in SYSTEM_SETTINGS.items():
                world.psql(source, f"ALTER SYSTEM SET {setting} = '{value}'")
        world.execute(source, "pg-backup", kind)
        for setting in SYSTEM_SETTINGS:
            world.psql(source, f"ALTER SYSTEM RESET {setting}")
        backups.append(world.labels(SOURCE)[-1])
        _say(world, f"before {name}", times=100)
        points[name] = _point(world, name)
        _say(world, f"after {name}", times=100)
    _fill(world, REPLAY_ROWS)
    _say(world, "at the end", times=10)
    end = world.rows(source)
    world.switch_wal(source)
    return Scenario(
        first_at=first_at,
        backups=tuple(backups),
        at_backup=tuple(at_backup),
        **points,
        end=end,
        ended_at=datetime.now(UTC),
    )


def _fill(world: World, rows: int) -> None:
    [source] = world.members(SOURCE)
    world.psql(
        source,
        "INSERT INTO bulk (filler) SELECT (SELECT string_agg(md5(random()::text || i || o), '') "
        f"FROM generate_series(1, {BULK_WORDS}) i) FROM generate_series(1, {rows}) o",
    )


def _say(world: World, what: str, *, times: int) -> None:
    [source] = world.members(SOURCE)
    world.psql(source, f"INSERT INTO ledger (said) SELECT '{what} ' || n FROM generate_series(1, {times}) n")


def _point(world: World, name: str) -> Point:
    """One transaction, then the point, then a DROP in the same segment."""
    [source] = world.members(SOURCE)
    world.switch_wal(source)  # plenty of room in the new one
    before = world.rows(source)
    xid = world.value(
        source,
        f"INSERT INTO ledger (said) VALUES ('the last word of {name}') RETURNING pg_current_xact_id()::text",
    )
    rows = world.rows(source)
    # The record at this LSN is the restore point's. Past it comes the DROP's lock, which would be held by a
    # recovery that pauses after the record, against everybody who wants to look.
    lsn = world.value(source, "SELECT pg_current_wal_insert_lsn()::text")
    world.psql(source, f"SELECT pg_create_restore_point('{name}')")
    at, segment = world.psql(
        source, "SELECT clock_timestamp(), pg_walfile_name(pg_current_wal_insert_lsn())"
    )[0]
    world.psql(source, f"DROP TABLE doomed_{name}")
    after = world.value(source, "SELECT pg_walfile_name(pg_current_wal_lsn())")
    assert after == segment, "the DROP is to be in the target's own segment"
    assert before != rows != world.rows(source)
    return Point(name=name, at=at, xid=int(xid), lsn=lsn, before=before, rows=rows)
