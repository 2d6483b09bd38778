"""The functional tests' world with --fleet: nodes under systemd, which pgdolly reaches by ssh from a controller.

The tests themselves look at the nodes from this machine: at their files, and through their namespaces.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

import psycopg
from member import CLONE, SOURCE, TARGET, Member
from result import Result
from servers import COMMAND_SECONDS
from world import World

from fleet import Fleet, Plan, backup_files, network, patroni_files
from fleet.fleet import take_down
from fleet.layout import ADMIN, DBSU, PATRONI_PORT, POSTGRES_PORT, Place

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000  # setns(2)
SETRESUID = {"x86_64": 117, "aarch64": 147}


@contextlib.contextmanager
def acting_as(user: int) -> Iterator[None]:
    """Let this thread, and no other, act as another user: an application may connect while the test goes on as root.

    os.seteuid is the C library's, which changes all threads alike; the system call itself changes its own
    (setuid(2), "C library/kernel differences").
    """

    def change(effective: int) -> None:
        unchanged = ctypes.c_long(-1)
        if LIBC.syscall(SETRESUID[os.uname().machine], unchanged, ctypes.c_long(effective), unchanged) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    change(user)
    try:
        yield
    finally:
        change(0)


class FleetWorld(World):
    """A fleet of the tests' own, with its repository in a directory that all nodes share."""

    def __init__(self, home: Path, place: Place, postgres: int) -> None:
        super().__init__(home)
        self.place = place
        # The tests count backups that would have expired otherwise.
        self.fleet = Fleet(place, Plan(postgres=postgres, full_backups=10, extra=(CLONE,)))
        self.controller_prefix = tuple(self.fleet.controller_prefix)
        self.environment["PGDOLLY_INVENTORY"] = str(self.inventory)
        # One thread lives in the controller's network.
        self._controller = ThreadPoolExecutor(1, initializer=self._enter_network)

    def bring_up(self) -> None:
        Fleet.up(self.fleet.plan, place=self.place)

    def take_away(self) -> None:
        take_down(self.place)

    def execute(self, member: Member, *argv: str, status: int | None = 0) -> Result:
        return self._run(member, argv, ("bash", "-lc", 'exec "$@"', "bash", *argv), status=status)

    def shell(self, member: Member, script: str, *, status: int | None = 0) -> Result:
        return self._run(member, (script,), ("bash", "-ls"), stdin=script, status=status)

    def administer(self, member: Member, script: str) -> Result:
        return self._run(member, (script,), ("bash", "-ls"), stdin=script, user=ADMIN)

    def as_dbsu(self, member: Member, *argv: str) -> str:
        return self._run(member, argv, argv).stdout

    def stop_service(self, member: Member) -> None:
        argv = ("systemctl", "stop", "patroni")
        self._run(member, argv, argv, user="root")

    def start_service(self, member: Member) -> None:
        argv = ("systemctl", "start", "patroni")
        self._run(member, argv, argv, user="root")

    def logs(self, member: Member) -> Iterator[tuple[str, str]]:
        if self.fleet.nodes[member.name].pid is not None:
            argv = ("journalctl", "--unit=patroni", "--lines=100", "--no-pager")
            yield f"{member.name}'s Patroni", self._run(member, argv, argv, user="root", status=None).stdout
        yield from super().logs(member)

    @property
    def python_of_patroni(self) -> PurePosixPath:
        return PurePosixPath("/usr/bin/python3")

    @property
    def inventory(self) -> Path:
        return self.fleet.inventory

    def variables_of(self, member: Member) -> dict[str, str]:
        return {"ansible_host": member.address}

    def find_members(self) -> Iterator[Member]:
        for node in self.fleet.nodes.values():
            assert node.cluster in (SOURCE, TARGET, CLONE)
            yield Member(
                name=node.name,
                cluster=node.cluster,
                address=node.address,
                port=POSTGRES_PORT,
                patroni_port=PATRONI_PORT,
                data_directory=node.pg / "data",
                pgbackrest_config=node.root / backup_files.CONFIGURATION.lstrip("/"),
                patroni_config=PurePosixPath(patroni_files.CONFIGURATION),
                bin_directory=PurePosixPath(f"/usr/lib/postgresql/{self.fleet.plan.postgres}/bin"),
                mount=(node.pg, PurePosixPath("/pg")),
            )

    def sockets(self, member: Member) -> Path:
        return Path(f"/proc/{self.fleet.nodes[member.name].pid}/root/run/postgresql")

    def connect(self, member: Member, sockets: Path, **settings: Any) -> psycopg.Connection[Any]:
        """As the node's own postgres: its servers ask the kernel who it is that comes (peer authentication).

        That account may not look into another's process, and a socket's path may have 107 bytes only: so it goes by
        a descriptor of the directory that root has opened.
        """
        directory = os.open(sockets, os.O_PATH | os.O_DIRECTORY)
        try:
            with acting_as(member.directory.stat().st_uid):
                return super().connect(member, Path(f"/proc/self/fd/{directory}"), **settings)
        finally:
            os.close(directory)

    def rest(self, member: Member, path: str) -> Any:
        return self._controller.submit(super().rest, member, path).result()

    @property
    def repository(self) -> Path:
        return self.fleet.repository(SOURCE)

    def _enter_network(self) -> None:
        """Move this thread, and no other, into the controller's network."""
        namespace = network.NAMESPACES / self.place.controller_namespace
        descriptor = os.open(namespace, os.O_RDONLY)
        try:
            if LIBC.setns(descriptor, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(namespace))
        finally:
            os.close(descriptor)

    def _run(
        self,
        member: Member,
        shown: tuple[str, ...],
        argv: tuple[str, ...],
        *,
        user: str = DBSU,
        stdin: str | None = None,
        status: int | None = 0,
    ) -> Result:
        done = self.fleet.exec(member.name, *argv, user=user, stdin=stdin, timeout=COMMAND_SECONDS)
        return Result(
            argv=(member.name, user, *shown), status=done.returncode, stdout=done.stdout, stderr=done.stderr
        ).with_status(status)
