"""What the tests demand of a world: whole clusters, a source that nobody touched, and nothing changed by a refusal.

What is asserted is read from the servers and from the repository's files. A test knows no kind of world; what differs
between a sandbox and a fleet is asked of `Servers` and `Member`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from controller import records
from member import SOURCE, TARGET
from servers import Rows, Servers
from waiting import wait_until


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceLook:
    files: dict[str, str]
    rows: Rows
    standing: dict[str, tuple[Any, ...]]
    store: dict[str, Any]


class World(Servers):
    """A world, and what is demanded of it."""

    @cached_property
    def _checksums(self) -> dict[tuple[str | int, ...], str]:
        return {}

    @cached_property
    def _rows_at(self) -> dict[tuple[Any, ...], Rows]:
        return {}

    # -- what a whole cluster is

    def assert_cluster_whole(
        self,
        cluster: str = TARGET,
        *,
        rows: Rows,
        archiving: bool,
        timeline: int | None = None,
    ) -> int:
        """One leader, all others streaming on its timeline at its LSN, these rows on every member.

        :param archiving: whether archive_mode is on, on every member alike, and so whether `pgbackrest check` passes.
        :return: the timeline.
        """
        members = self.members(cluster)

        def whole() -> dict[str, Any] | None:
            view = self.view(cluster)
            states = sorted((role, state) for role, state, _ in view["members"].values())
            expected = [("leader", "running"), *[("replica", "streaming")] * (len(members) - 1)]
            # A member writes its timeline into the store once per loop: the store's word may be older than the truth.
            timelines = {on for _, _, on in view["members"].values()}
            return view if states == expected and len(timelines) == 1 else None

        view = wait_until(
            whole,
            60,
            f"one leader and streaming replicas on one timeline in {cluster}",
            seen=lambda: self.view(cluster),
        )
        leader = self.member(view["leader"])
        others = [member for member in members if member != leader]

        def level() -> bool:
            # Asked in one statement: the positions are those of one moment, at rest.
            found = self.psql(
                leader,
                "SELECT application_name, state, replay_lsn = pg_current_wal_lsn() FROM pg_stat_replication",
            )
            return sorted(found) == sorted((member.name, "streaming", True) for member in others)

        wait_until(level, 30, f"the replicas of {cluster} to have replayed all of {leader.name}'s WAL")
        on_disk = int(self.value(leader, "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"), 16)
        wait_until(
            lambda: {on for _, _, on in self.view(cluster)["members"].values()} == {on_disk},
            30,
            f"the store to have timeline {on_disk} of {cluster}",
            seen=lambda: self.view(cluster),
        )
        if timeline is not None:
            assert on_disk == timeline
        identifiers = set()
        for member in members:
            assert self.rows(member) == rows, f"other rows on {member.name}"
            assert self.value(member, "SELECT pg_is_in_recovery()") is (member != leader)
            if member != leader:
                assert self.value(member, "SELECT received_tli FROM pg_stat_wal_receiver") == on_disk
            mode = self.value(member, "SHOW archive_mode")
            assert mode == ("on" if archiving else "off"), f"archive_mode is {mode} on {member.name}"
            identifiers.add(self.value(member, "SELECT system_identifier FROM pg_control_system()"))
            assert not (member.work_directory / "run.lock").exists(), f"{member.name} is still locked"
            assert not (member.data_directory / "recovery.signal").exists()
        assert len(identifiers) == 1
        check = self.execute(leader, "pb", "check", status=None)
        if archiving:
            assert check.status == 0, check
        else:
            # [087]: archive_mode must be enabled
            assert check.status != 0 and "[087]" in check.stdout + check.stderr, check
        return on_disk

    # -- the repository

    def fingerprint(self, stanza: str) -> dict[str, str]:
        """Every file of a stanza in the repository with its checksum, every link with what it names.

        A file that was written to has another change time, which nobody can set: the others are not read again.
        """
        found = {}
        for top in ("archive", "backup"):
            for path in sorted((self.repository / top / stanza).rglob("*")):
                name = str(path.relative_to(self.repository))
                if name.endswith(".pgbackrest.tmp"):  # on its way; it is renamed when it is whole
                    continue
                if path.is_symlink():
                    found[name] = f"-> {path.readlink()}"
                elif path.is_file():
                    at = path.stat()
                    seen = (name, at.st_dev, at.st_ino, at.st_size, at.st_mtime_ns, at.st_ctime_ns)
                    if seen not in self._checksums:
                        self._checksums[seen] = hashlib.sha256(path.read_bytes()).hexdigest()
                    found[name] = self._checksums[seen]
        return found

    def labels(self, stanza: str) -> list[str]:
        """The labels of a stanza's backup sets, the oldest first."""
        member = self.members(stanza)[0]
        listed = json.loads(self.execute(member, "pb", "info", "--output=json").stdout)
        return [backup["label"] for found in listed if found["name"] == stanza for backup in found["backup"]]

    def archived_timelines(self, stanza: str) -> set[int]:
        """Every timeline that a stanza's archive has WAL or a history of."""
        names = (path.name for path in (self.repository / "archive" / stanza).rglob("*"))
        return {
            int(name[:8], 16) for name in names if re.match(r"[0-9A-F]{24}(-|\.)|[0-9A-F]{8}\.history", name)
        }

    # -- the source, which nobody may touch

    def look_at_source(self) -> SourceLook:
        [member] = self.members(SOURCE)
        # Where no WAL was written since, no row was.
        at = self.psql(
            member,
            "SELECT system_identifier, pg_postmaster_start_time(), pg_current_wal_insert_lsn()::text "
            "FROM pg_control_system()",
        )[0]
        if at not in self._rows_at:
            self._rows_at[at] = self.rows(member)
        return SourceLook(
            files=self.fingerprint(SOURCE),
            rows=self._rows_at[at],
            standing=self.standing(SOURCE),
            store={name: self.rest(member, name) for name in ("config", "history")},
        )

    def assert_source_untouched(self, before: SourceLook) -> None:
        """Byte for byte what it was, but for the segments that the source itself has archived since."""
        [member] = self.members(SOURCE)
        after = self.look_at_source()
        assert after.rows == before.rows
        assert after.standing == before.standing
        assert after.store == before.store
        gone = [name for name in before.files if name not in after.files]
        changed = [name for name in before.files if after.files.get(name, "") != before.files[name]]
        assert not gone and not changed
        # What the source can have archived: its own timeline's segments, up to the one that it writes now.
        current = self.value(member, "SELECT pg_walfile_name(pg_current_wal_lsn())")
        for name in after.files.keys() - before.files.keys():
            segment = re.fullmatch(
                rf"archive/{SOURCE}/[^/]+/[0-9A-F]{{16}}/([0-9A-F]{{24}})-[0-9a-f]{{40}}\.zst", name
            )
            assert segment, f"{name} is no segment of the source's"
            assert segment[1][:8] == current[:8] and segment[1] <= current, f"{name} is not the source's own"

    # -- whether anything was changed

    def standing(self, cluster: str) -> dict[str, tuple[Any, ...]]:
        """What no restart, restore or failover would leave as it is, for each member.

        The servers say it, and of the store only who leads: a member writes its state and its timeline there once per
        loop, so both may still change after all has long been at rest.
        """
        return {
            member.name: (
                *self.psql(
                    member,
                    "SELECT system_identifier, pg_is_in_recovery(), pg_postmaster_start_time(), "
                    "CASE WHEN NOT pg_is_in_recovery() THEN substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END, "
                    "current_setting('archive_mode') FROM pg_control_system()",
                )[0],
                (member.work_directory / "run.lock").exists(),
                self.view(cluster)["leader"] == member.name,
            )
            for member in self.members(cluster)
        }

    def begun_steps(self) -> list[str]:
        """Every step that any run has begun."""
        return [
            f"{path.parent.name} {record['id']}"
            for path in sorted(self.runs_directory.glob("*/journal.jsonl"))
            for record in records(path)
            if record["record"] == "step_begun"
        ]

    @contextlib.contextmanager
    def nothing_changes(self) -> Iterator[None]:
        """Within this block nobody touches either cluster, either stanza's old files or either store."""
        clusters = (SOURCE, TARGET)

        def look() -> dict[str, Any]:
            return {
                "standing": {name: self.standing(name) for name in clusters},
                "rows": {
                    member.name: self.rows(member, largest_table_bytes=2**20) for member in self.all_members
                },
                "store": {name: self.rest(self.members(name)[0], "config") for name in clusters},
                "begun steps": self.begun_steps(),
            }

        before, files = look(), {name: self.fingerprint(name) for name in clusters}
        yield
        assert look() == before
        for name in clusters:
            after = self.fingerprint(name)
            assert {path: after.get(path) for path in files[name]} == files[name]
            assert all(f"archive/{name}/" in path for path in after.keys() - files[name].keys())
