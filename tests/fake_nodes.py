"""Members for the tests of steps, and nodes of theirs that answer as a test has them."""

from __future__ import annotations

from pathlib import PurePosixPath

from pgdolly.domain.cluster import Member, Node, ServiceManager
from pgdolly.domain.command import Command, Completed
from pgdolly.drivers.postgres import Instance

SOCKET = "5432\n/run\n"  # what postmaster.pid says of it


def instance(name: str, service_manager: ServiceManager = ServiceManager.SUPERVISOR) -> Instance:
    """A member of pg-test; its name ends in its number."""
    return Instance(
        member=Member(
            name=name,
            cluster="pg-test",
            sequence=int(name[-1]),
            role="primary" if name[-1] == "1" else "replica",
            node=Node(name=name, address=name),
            service_manager=service_manager,
        ),
        data_directory=PurePosixPath("/pg/data"),
        bin_directory=PurePosixPath("/usr/bin"),
        port=5432,
    )


class Refuses(Exception):
    """A command that fails with this on its stderr."""


class FakeNode:
    """A shell whose commands print what `answer` says; its connection is never lost."""

    node_name: str

    def answer(self, command: Command) -> str:
        """:raises Refuses: if the command is to fail."""
        raise NotImplementedError

    async def run(self, command: Command, *, timeout_seconds: float = 60.0) -> Completed:
        try:
            return Completed(command=command, status=0, stdout=self.answer(command), stderr="")
        except Refuses as refusal:
            return Completed(command=command, status=2, stdout="", stderr=str(refusal))

    async def reconnect(self, *, deadline_seconds: float) -> None:
        raise AssertionError("its connection is never lost")
