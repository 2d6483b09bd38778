"""How the tests reach a world: pgdolly's command line, its nodes, and its servers.

Nothing of pgdolly is imported here. What is abstract, a sandbox and a fleet each do in their own way.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import psycopg
import yaml
from controller import Controller
from member import SOURCE, TARGET, Member
from result import Result
from waiting import wait_until

PGDOLLY = Path(sys.executable).parent / "pgdolly"
COMMAND_SECONDS = 180.0
# The servers' addresses are no proxy's business.
DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))

# table: its rows and a checksum of them
Rows = Mapping[str, tuple[int, str]]


class Servers(ABC):
    """Two clusters, empty nodes for a third one, a store and a repository, and pgdolly's command line with its home.

    :param home: pgdolly's, on this machine.
    """

    # Put before a command of the controller's, to run it where the controller is.
    controller_prefix: tuple[str, ...] = ()

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PG", "ANSIBLE_"))},
            "PGDOLLY_HOME": str(home),
            "TZ": "Asia/Shanghai",  # neither the servers' zone nor the one that most machines have
        }

    # -- its life

    @abstractmethod
    def bring_up(self) -> None:
        """Make it; one that stands is taken as it is."""

    @abstractmethod
    def take_away(self) -> None:
        """Remove all of it, also what a killed session has left."""

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
        done = subprocess.run(
            (*self.controller_prefix, str(PGDOLLY), *argv),
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
        return result.with_status(status)

    def reset(self, *options: str, target: str = TARGET) -> Result:
        """Reset the target to its end, or to the point where it is to pause."""
        return self.pgdolly("reset", target, *options, "--yes", "--output=json")

    def start(self, *argv: str) -> Controller:
        """Start pgdolly and return while it works."""
        before = {path.name for path in self.runs_directory.glob("*")}
        process = subprocess.Popen(
            (*self.controller_prefix, str(PGDOLLY), *argv),
            env=self.environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return Controller(self, process, before, argv[1] if argv[0] == "resume" else None)

    @property
    def runs_directory(self) -> Path:
        return self.home / "runs"

    def runs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.pgdolly("runs", "--output=json").stdout)
        return found

    def open_runs(self) -> list[str]:
        """The ids of those that could be taken up again, by the last lines of their journals."""
        return [
            path.parent.name
            for path in sorted(self.runs_directory.glob("*/journal.jsonl"))
            if not re.search(
                r'"record": "run_ended", "outcome": "(finished|abandoned)".*\n\Z', path.read_text()[-2000:]
            )
        ]

    def state_of(self, run: str) -> str:
        return str(next(each["state"] for each in self.runs() if each["run_id"] == run))

    # -- the nodes

    @abstractmethod
    def execute(self, member: Member, *argv: str, status: int | None = 0) -> Result:
        """Run a command on a node, as somebody who works with its servers."""

    @abstractmethod
    def shell(self, member: Member, script: str, *, status: int | None = 0) -> Result:
        """Type lines into such a person's shell on a node."""

    @abstractmethod
    def administer(self, member: Member, script: str) -> Result:
        """Type lines into the shell of the node's administrator, who may use sudo."""

    @abstractmethod
    def as_dbsu(self, member: Member, *argv: str) -> str:
        """Run a command as the account of a member's servers, and return what it printed."""

    @abstractmethod
    def stop_service(self, member: Member) -> None:
        """Stop the service that keeps a member's Patroni."""

    @abstractmethod
    def start_service(self, member: Member) -> None:
        """Start it again."""

    def logs(self, member: Member) -> Iterator[tuple[str, str]]:
        """What has been written on a member's node, for the report of a failure: where, and the text."""
        for path in member.logs:
            yield str(path), path.read_text(errors="replace")

    @property
    @abstractmethod
    def python_of_patroni(self) -> PurePosixPath:
        """The interpreter of Patroni's, on every node."""

    # -- the inventory

    @property
    @abstractmethod
    def inventory(self) -> Path: ...

    @cached_property
    def tree(self) -> dict[str, Any]:
        """The inventory."""
        tree: dict[str, Any] = yaml.safe_load(self.inventory.read_text())
        return tree

    @abstractmethod
    def variables_of(self, member: Member) -> dict[str, str]:
        """What leads to this member in the inventory: with it, another host's entry would, too."""

    # -- the servers

    @cached_property
    def all_members(self) -> tuple[Member, ...]:
        """The members of the two clusters that every test finds, in the inventory's order."""
        return tuple(member for member in self._planned_members if member.cluster in (SOURCE, TARGET))

    @cached_property
    def _planned_members(self) -> tuple[Member, ...]:
        return tuple(self.find_members())

    @abstractmethod
    def find_members(self) -> Iterator[Member]:
        """All members that the inventory names, in its order; those of the clone are there only once it is made."""

    @abstractmethod
    def sockets(self, member: Member) -> Path:
        """The directory of a server's own socket, as this machine sees it now."""

    def connect(self, member: Member, sockets: Path, **settings: Any) -> psycopg.Connection[Any]:
        """Connect to the server on a node whose socket lies in `sockets`."""
        return psycopg.connect(host=str(sockets), **settings)

    def rest(self, member: Member, path: str) -> Any:
        """Patroni's answer to GET `path`, whatever its status says of the member's role."""
        try:
            with DIRECTLY.open(f"http://{member.address}:{member.patroni_port}/{path}", timeout=5) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return json.loads(error.read() or b"null")

    def members(self, cluster: str) -> tuple[Member, ...]:
        return tuple(member for member in self._planned_members if member.cluster == cluster)

    def member(self, name: str) -> Member:
        return next(member for member in self._planned_members if member.name == name)

    def leader(self, cluster: str) -> Member:
        return self.member(self.view(cluster)["leader"])

    @contextlib.contextmanager
    def connection(self, member: Member, sockets: Path | None = None) -> Iterator[psycopg.Connection[Any]]:
        with self.connect(
            member,
            sockets or self.sockets(member),
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
                    "SELECT count(*), coalesce(sum(hash_record_extended(t, 0)::numeric), 0)::text "
                    f'FROM "{table}" t'.encode()
                ).fetchone()
                assert counted is not None
                found[str(table)] = (int(counted[0]), str(counted[1]))
            return found

    def view(self, cluster: str) -> dict[str, Any]:
        """What Patroni says of a cluster: its leader, and each member's role, state and timeline."""
        for member in self.members(cluster):
            with contextlib.suppress(OSError):
                members = self.rest(member, "cluster")["members"]
                leaders = [each["name"] for each in members if each["role"] == "leader"]
                return {
                    "leader": leaders[0] if len(leaders) == 1 else None,
                    "members": {
                        each["name"]: (each["role"], each["state"], each.get("timeline")) for each in members
                    },
                }
        return {"leader": None, "members": {}}

    @property
    @abstractmethod
    def repository(self) -> Path:
        """The directory of the repository that both clusters' stanzas are in."""

    def switch_wal(self, member: Member) -> None:
        """Switch to a new segment and wait until the last one is in the archive."""
        self.psql(
            member, "SELECT pg_logical_emit_message(false, 'test', 'so that there is something to switch')"
        )
        last = self.value(member, "SELECT pg_walfile_name(pg_switch_wal())")
        self.wait_archived(member, last)

    def wait_archived(self, member: Member, segment: str) -> None:
        wait_until(
            lambda: list(self.repository.glob(f"archive/{member.cluster}/*/{segment[:16]}/{segment}-*.zst")),
            90,
            f"{segment} of {member.name} to be in the archive",
        )
