"""The functional tests' hands and eyes: a sandbox, its servers, its repository, and the real command line.

Nothing of pgdolly is imported here. What a test asserts is read from the servers and from the repository's files.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import yaml

T = TypeVar("T")

SOURCE, TARGET = "pg-meta", "pg-test"
PGDOLLY = Path(sys.executable).parent / "pgdolly"
COMMAND_SECONDS = 180.0
POLL_SECONDS = 0.05
SHOWN_LINES = 8

# table: its rows and a checksum of them
Rows = Mapping[str, tuple[int, str]]


def wait_until(
    look: Callable[[], T | None],
    deadline_seconds: float,
    what: str,
    seen: Callable[[], object] | None = None,
) -> T:
    """Ask `look` until it returns something true, and return that.

    `look` may raise what a server raises that is not there yet.

    :param seen: what there is instead, for the failure; without it, what `look` returned or raised last.
    """
    until = time.monotonic() + deadline_seconds
    last: object = None
    while True:
        try:
            found = look()
            if found:
                return found
            last = found
        except (OSError, psycopg.Error) as error:
            last = error
        if time.monotonic() > until:
            instead = seen() if seen is not None else last
            raise AssertionError(f"waited {deadline_seconds:.0f} s for {what}; last seen: {instead!r}")
        time.sleep(POLL_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Result:
    """What a command did."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str

    def __repr__(self) -> str:
        """The command, the end of what it printed and its exit status, for a failure's report."""
        events = "".join(self.stdout.splitlines(keepends=True)[-SHOWN_LINES:])
        return f"$ {shlex.join(self.argv)}\n{events}{self.stderr}[exit status {self.status}]"

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The JSON objects that it printed, one per line."""
        return [json.loads(line) for line in self.stdout.splitlines()]

    @property
    def outcome(self) -> dict[str, Any]:
        """The last of them: what came of a run."""
        return self.lines[-1]

    @property
    def run(self) -> str:
        return str(self.outcome["run"])

    def step_result(self, kind: str) -> dict[str, Any]:
        """What the run's last step of a kind returned."""
        found = [value for key, value in self.outcome["results"].items() if key.endswith(f"-{kind}")]
        assert found, f"no step {kind} in {list(self.outcome['results'])}"
        result: dict[str, Any] = found[-1]
        return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One PostgreSQL of the sandbox, as its inventory has it."""

    name: str
    cluster: str
    address: str
    port: int
    patroni_port: int
    data_directory: Path
    patroni_config: Path
    bin_directory: Path

    @property
    def directory(self) -> Path:
        return self.data_directory.parent

    @property
    def sockets(self) -> Path:
        return self.directory / "run"

    @property
    def work_directory(self) -> Path:
        """Where pgdolly keeps its jobs, its lock and the private server's files."""
        return self.directory / "pgdolly"

    @property
    def private_sockets(self) -> Path:
        return self.work_directory / "private"

    @property
    def logs(self) -> tuple[Path, ...]:
        return (
            *sorted((self.directory / "log").glob("*.log")),
            *sorted(self.private_sockets.glob("recovery.log*")),
            *sorted(self.work_directory.glob("*/*/std*")),
        )

    def rest(self, path: str) -> Any:
        """Patroni's answer to GET `path`, whatever its status says of the member's role."""
        try:
            with urllib.request.urlopen(
                f"http://{self.address}:{self.patroni_port}/{path}", timeout=5
            ) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return json.loads(error.read() or b"null")


class Sandbox:
    """A sandbox of the tests' own, and pgdolly's command line with its home."""

    def __init__(self, home: Path, network: str) -> None:
        self.home = home
        self.network = network
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PG", "ANSIBLE_"))},
            "PGDOLLY_HOME": str(home),
            "TZ": "Asia/Shanghai",  # neither the servers' zone nor the one that most machines have
        }

    # -- the command line

    def pgdolly(
        self,
        *argv: str,
        status: int | None = 0,
        stdin: str = "",
        deadline_seconds: float = COMMAND_SECONDS,
        environment: Mapping[str, str] | None = None,
    ) -> Result:
        """Run pgdolly to its end.

        :param status: the exit status that it must have; None for any.
        """
        command = (str(PGDOLLY), *argv)
        done = subprocess.run(
            command,
            env={**self.environment, **(environment or {})},
            cwd=self.home,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=deadline_seconds,
            check=False,
        )
        result = Result(
            argv=("pgdolly", *argv), status=done.returncode, stdout=done.stdout, stderr=done.stderr
        )
        if status is not None:
            assert result.status == status, f"exit status {status} was expected\n{result!r}"
        return result

    def reset(self, *options: str, target: str = TARGET) -> Result:
        """Reset the target to its end, or to the point where it is to pause."""
        return self.pgdolly("reset", target, *options, "--yes", "--output=json")

    def start(self, *argv: str) -> Controller:
        """Start pgdolly and return while it works."""
        before = {path.name for path in self.runs_directory.glob("*")}
        process = subprocess.Popen(
            (str(PGDOLLY), *argv),
            env=self.environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return Controller(self, process, before)

    def execute(self, member: Member, *argv: str, status: int | None = 0) -> Result:
        """Run a command in a node's environment."""
        return self.pgdolly("sandbox", "exec", member.name, "--", *argv, status=status)

    def shell(self, member: Member, script: str, *, status: int | None = 0) -> Result:
        """Type lines into a node's shell."""
        return self.pgdolly("sandbox", "shell", member.name, stdin=script, status=status)

    @property
    def runs_directory(self) -> Path:
        return self.home / "runs"

    def runs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.pgdolly("runs", "--output=json").stdout)
        return found

    def state_of(self, run: str) -> str:
        return str(next(each["state"] for each in self.runs() if each["run_id"] == run))

    # -- the servers

    @property
    def inventory(self) -> Path:
        return self.home / "sandbox" / "pigsty.yml"

    @cached_property
    def tree(self) -> dict[str, Any]:
        """The inventory."""
        tree: dict[str, Any] = yaml.safe_load(self.inventory.read_text())
        return tree

    @cached_property
    def all_members(self) -> tuple[Member, ...]:
        common = self.tree["all"]["vars"]
        return tuple(
            Member(
                name=f"{cluster}-{host['pg_seq']}",
                cluster=cluster,
                address=address,
                port=common["pg_port"],
                patroni_port=common["patroni_port"],
                data_directory=Path(host["pg_data"]),
                patroni_config=Path(host["pgdolly_patroni_config"]),
                bin_directory=Path(common["pg_bin_dir"]),
            )
            for cluster in (SOURCE, TARGET)
            for address, host in self.tree["all"]["children"][cluster]["hosts"].items()
        )

    @property
    def dbsu(self) -> str:
        return str(self.tree["all"]["vars"]["pg_dbsu"])

    def as_dbsu(self, *argv: str) -> str:
        """Run a command as the servers' account."""
        prefix = ("runuser", "-u", self.dbsu, "--") if os.geteuid() == 0 else ()
        done = subprocess.run(
            (*prefix, *argv), capture_output=True, text=True, timeout=COMMAND_SECONDS, cwd="/", check=False
        )
        assert done.returncode == 0, f"{shlex.join(argv)}: {done.stdout}{done.stderr}"
        return done.stdout

    def members(self, cluster: str) -> tuple[Member, ...]:
        return tuple(member for member in self.all_members if member.cluster == cluster)

    def member(self, name: str) -> Member:
        return next(member for member in self.all_members if member.name == name)

    def leader(self, cluster: str) -> Member:
        return self.member(self.view(cluster)["leader"])

    @contextlib.contextmanager
    def connection(self, member: Member, sockets: Path | None = None) -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(
            host=str(sockets or member.sockets),
            port=member.port,
            user="postgres",
            dbname="postgres",
            connect_timeout=5,
            options="-c statement_timeout=60s",
            autocommit=True,
        ) as connection:
            yield connection

    def psql(self, member: Member, sql: str, *, sockets: Path | None = None) -> list[tuple[Any, ...]]:
        """The rows of the last statement of `sql`."""
        with self.connection(member, sockets) as connection:
            cursor = connection.execute(sql.encode())
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def value(self, member: Member, sql: str, *, sockets: Path | None = None) -> Any:
        return self.psql(member, sql, sockets=sockets)[0][0]

    def rows(self, member: Member, *, sockets: Path | None = None, largest_table_bytes: int = 2**40) -> Rows:
        """Every table of the schema public with the number and a checksum of its rows."""
        with self.connection(member, sockets) as connection:
            tables = connection.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' "
                "AND pg_table_size(oid) <= %s ORDER BY 1",
                (largest_table_bytes,),
            ).fetchall()
            found = {}
            for (table,) in tables:
                counted = connection.execute(
                    "SELECT count(*), md5(coalesce(string_agg(row, '' ORDER BY row), '')) "
                    f'FROM (SELECT md5(t::text) AS row FROM "{table}" t) rows'.encode()
                ).fetchone()
                assert counted is not None
                found[str(table)] = (int(counted[0]), str(counted[1]))
            return found

    def view(self, cluster: str) -> dict[str, Any]:
        """What Patroni says of a cluster: its leader, and each member's role, state and timeline."""
        for member in self.members(cluster):
            with contextlib.suppress(OSError):
                members = member.rest("cluster")["members"]
                leaders = [each["name"] for each in members if each["role"] == "leader"]
                return {
                    "leader": leaders[0] if len(leaders) == 1 else None,
                    "members": {
                        each["name"]: (each["role"], each["state"], each.get("timeline")) for each in members
                    },
                }
        return {"leader": None, "members": {}}

    def switch_wal(self, member: Member) -> None:
        """Switch to a new segment and wait until the last one is in the archive."""
        self.psql(
            member, "SELECT pg_logical_emit_message(false, 'test', 'so that there is something to switch')"
        )
        last = self.value(member, "SELECT pg_walfile_name(pg_switch_wal())")
        self.wait_archived(member, last)

    def wait_archived(self, member: Member, segment: str) -> None:
        wait_until(
            lambda: list(self.repository.glob(f"archive/{member.cluster}/*/{segment[:16]}/{segment}-*")),
            90,
            f"{segment} of {member.name} to be in the archive",
        )

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
            30,
            f"one leader and streaming replicas on one timeline in {cluster}",
            seen=lambda: self.view(cluster),
        )
        timelines = {on for _, _, on in view["members"].values()}
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
        assert timelines == {on_disk}
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

    @cached_property
    def repository(self) -> Path:
        return Path(self.tree["all"]["vars"]["pgbackrest_repo"]["local"]["path"])

    def fingerprint(self, stanza: str) -> dict[str, str]:
        """Every file of a stanza in the repository with its checksum, every link with what it names."""
        found = {}
        for top in ("archive", "backup"):
            for path in sorted((self.repository / top / stanza).rglob("*")):
                name = str(path.relative_to(self.repository))
                if name.endswith(".pgbackrest.tmp"):  # on its way; it is renamed when it is whole
                    continue
                if path.is_symlink():
                    found[name] = f"-> {path.readlink()}"
                elif path.is_file():
                    found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
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
        return SourceLook(
            files=self.fingerprint(SOURCE),
            rows=self.rows(member),
            standing=self.standing(SOURCE),
            store={name: member.rest(name) for name in ("config", "history")},
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
        """What no restart, restore or failover would leave as it is, for each member."""
        return {
            member.name: (
                *self.psql(
                    member,
                    "SELECT system_identifier, pg_is_in_recovery(), pg_postmaster_start_time(), "
                    "current_setting('archive_mode') FROM pg_control_system()",
                )[0],
                (member.work_directory / "run.lock").exists(),
                self.view(cluster)["members"].get(member.name),
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
                "store": {name: self.members(name)[0].rest("config") for name in clusters},
                "begun steps": self.begun_steps(),
            }

        before, files = look(), {name: self.fingerprint(name) for name in clusters}
        yield
        assert look() == before
        for name in clusters:
            after = self.fingerprint(name)
            assert {path: after.get(path) for path in files[name]} == files[name]
            assert all(f"archive/{name}/" in path for path in after.keys() - files[name].keys())


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceLook:
    files: dict[str, str]
    rows: Rows
    standing: dict[str, tuple[Any, ...]]
    store: dict[str, Any]


def records(journal: Path) -> list[dict[str, Any]]:
    """The whole records of a journal; the last line may be half written."""
    try:
        lines = journal.read_text().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines if line.endswith("\n")]


@dataclass(slots=True)
class Controller:
    """A pgdolly at work, and the journal that it writes."""

    sandbox: Sandbox
    process: subprocess.Popen[str]
    before: set[str]
    output: str = field(default="", init=False)

    def run(self) -> str:
        """The id of its run."""

        def new() -> str | None:
            found = [
                path.name for path in self.sandbox.runs_directory.glob("*") if path.name not in self.before
            ]
            if not found:
                self._check_alive()
            return found[0] if found else None

        return wait_until(new, 30, "the run to begin")

    def _check_alive(self) -> None:
        if self.process.poll() is not None:
            raise AssertionError(f"pgdolly ended by itself: {self.wait()}")

    def records(self) -> list[dict[str, Any]]:
        return records(self.sandbox.runs_directory / self.run() / "journal.jsonl")

    def steps(self, record: str) -> list[str]:
        """The ids of the steps with such a record: part/stage/lane/number-kind."""
        return [each["id"] for each in self.records() if each["record"] == record]

    def wait_for(self, look: Callable[[], object], what: str) -> None:
        """Wait, while it works, until something is so."""

        def so() -> bool:
            if look():
                return True
            self._check_alive()
            return False

        wait_until(so, 90, what)

    def wait_for_step(self, record: str, kind: str) -> None:
        self.wait_for(
            lambda: any(each.endswith(f"-{kind}") for each in self.steps(record)), f"{record} of {kind}"
        )

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """kill -9, and make sure that this is what ended it."""
        self.process.kill()
        output = self.wait()
        assert self.process.returncode == -signal.SIGKILL, output

    def wait(self) -> str:
        """Wait for its end and return what it printed."""
        self.output = self.output or self.process.communicate(timeout=COMMAND_SECONDS)[0]
        return self.output

    def end(self) -> None:
        """Leave no process behind, whatever the test did."""
        if self.process.poll() is None:
            self.process.kill()
        self.wait()
