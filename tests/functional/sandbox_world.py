"""The functional tests' world by default: pgdolly's own sandbox, on this machine's loopback addresses."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from member import CLONE, SOURCE, TARGET, Member
from result import Result
from servers import COMMAND_SECONDS
from world import World

UP_SECONDS = 400.0


class SandboxWorld(World):
    """A sandbox of the tests' own.

    :param network: the first three octets of its addresses.
    """

    def __init__(self, home: Path, network: str) -> None:
        super().__init__(home)
        self.network = network

    def bring_up(self) -> None:
        self.pgdolly(
            *("sandbox", "up", "--network", self.network, "--with", f"{CLONE}:3"), deadline_seconds=UP_SECONDS
        )

    def take_away(self) -> None:
        self.pgdolly("sandbox", "down", "--purge", deadline_seconds=UP_SECONDS)

    def execute(self, member: Member, *argv: str, status: int | None = 0) -> Result:
        return self.pgdolly("sandbox", "exec", member.name, "--", *argv, status=status)

    def shell(self, member: Member, script: str, *, status: int | None = 0) -> Result:
        return self.pgdolly("sandbox", "shell", member.name, stdin=script, status=status)

    def administer(self, member: Member, script: str) -> Result:
        return self.shell(member, script)

    def as_dbsu(self, member: Member, *argv: str) -> str:
        prefix = ("runuser", "-u", str(self._common["pg_dbsu"]), "--") if os.geteuid() == 0 else ()
        done = subprocess.run(
            (*prefix, *argv), capture_output=True, text=True, timeout=COMMAND_SECONDS, cwd="/", check=False
        )
        assert done.returncode == 0, f"{shlex.join(argv)}: {done.stdout}{done.stderr}"
        return done.stdout

    def stop_service(self, member: Member) -> None:
        self._supervise(member, "stop")

    def start_service(self, member: Member) -> None:
        self._supervise(member, "start")

    def _supervise(self, member: Member, verb: str) -> None:
        supervisorctl = PurePosixPath(self._common["pgdolly_patroni"]).with_name("supervisorctl")
        configuration = self._common["pgdolly_supervisor_config"]
        self.as_dbsu(member, str(supervisorctl), "-c", configuration, verb, member.name)

    @property
    def python_of_patroni(self) -> PurePosixPath:
        return PurePosixPath(sys.executable)

    @property
    def inventory(self) -> Path:
        return self.home / "sandbox" / "pigsty.yml"

    def variables_of(self, member: Member) -> dict[str, str]:
        return {
            "ansible_host": member.address,
            "pg_data": str(member.data_directory),
            "pgdolly_patroni_config": str(member.patroni_config),
        }

    def find_members(self) -> Iterator[Member]:
        for cluster in (SOURCE, TARGET, CLONE):
            for address, host in self.tree["all"]["children"][cluster]["hosts"].items():
                yield Member(
                    name=f"{cluster}-{host['pg_seq']}",
                    cluster=cluster,
                    address=address,
                    port=self._common["pg_port"],
                    patroni_port=self._common["patroni_port"],
                    data_directory=Path(host["pg_data"]),
                    pgbackrest_config=Path(host["pgdolly_pgbackrest_config"]),
                    patroni_config=PurePosixPath(host["pgdolly_patroni_config"]),
                    bin_directory=PurePosixPath(self._common["pg_bin_dir"]),
                )

    def sockets(self, member: Member) -> Path:
        return member.directory / "run"

    @property
    def repository(self) -> Path:
        return Path(self._common["pgbackrest_repo"]["local"]["path"])

    @property
    def _common(self) -> dict[str, Any]:
        common: dict[str, Any] = self.tree["all"]["vars"]
        return common
