"""A PostgreSQL of a world: its names, and its files by their paths here and on its node."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

SOURCE, TARGET = "pg-meta", "pg-test"
# On empty nodes until a test makes it: three of a sandbox's, one of a fleet's.
CLONE = "pg-meta2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One PostgreSQL of a world, and where its files are.

    A `Path` is one of this machine, a `PurePosixPath` one of the node. For pgdolly's command line, or to be compared
    with what it says, the former needs `on_node`.

    :param mount: a directory of this machine, and where its node has it: all of the member's files lie below.
    """

    name: str
    cluster: str
    address: str
    port: int
    patroni_port: int
    data_directory: Path
    pgbackrest_config: Path
    patroni_config: PurePosixPath
    bin_directory: PurePosixPath
    mount: tuple[Path, PurePosixPath] = (Path("/"), PurePosixPath("/"))

    def on_node(self, path: Path) -> PurePosixPath:
        """The node's name of a file of this member's.

        :raises ValueError: if the node does not see it.
        """
        here, there = self.mount
        return there / path.relative_to(here)

    @property
    def directory(self) -> Path:
        return self.data_directory.parent

    @property
    def work_directory(self) -> Path:
        """Where pgdolly keeps its jobs, its lock and the private server's files."""
        return self.directory / "pgdolly"

    @property
    def private_sockets(self) -> Path:
        return self.work_directory / "private"

    @property
    def server_logs(self) -> tuple[Path, ...]:
        """What PostgreSQL and pgBackRest have written."""
        written = (path for path in (self.directory / "log").rglob("*") if path.suffix in (".log", ".csv"))
        return tuple(sorted(written))

    @property
    def logs(self) -> tuple[Path, ...]:
        return (
            *self.server_logs,
            *sorted(self.private_sockets.glob("recovery.log*")),
            *sorted(self.work_directory.glob("*/*/std*")),
        )
