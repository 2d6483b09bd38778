"""What a step is given to act on: the shells of the nodes, and a way to wait that always ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from pgdolly.domain.cluster import Member
from pgdolly.domain.draft import Draft
from pgdolly.domain.errors import ConnectionLost, DeadlinePassed
from pgdolly.domain.repository import RepositorySettings
from pgdolly.domain.secret import Secret
from pgdolly.engine.step import Context
from pgdolly.transport.shell import Shell

T = TypeVar("T")
POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class World:
    """The shells of the members' nodes by member name, and what steps must know that no plan may hold.

    :param repository: the source's, if the target's own configuration does not lead to it.
    :param drafts: by member name, the files of members that are going to be configured.
    :param passwords: those that the inventory gives to the target's roles, by Patroni's names of these.
    """

    shells: Mapping[str, Shell] = field(default_factory=dict)
    repository: RepositorySettings | None = None
    drafts: Mapping[str, tuple[Draft, ...]] = field(default_factory=dict)
    passwords: Mapping[str, Secret] = field(default_factory=dict)

    def shell(self, member: Member) -> Shell:
        return self.shells[member.name]

    async def reconnect(self, error: ConnectionLost, deadline_seconds: float) -> None:
        """Wait until the node whose connection was lost answers again.

        :raises Unreachable: if it does not in time.
        """
        shell = next((shell for shell in self.shells.values() if shell.node_name == error.where), None)
        if shell is None:
            raise error
        await shell.reconnect(deadline_seconds=deadline_seconds)


StepContext = Context[World]


async def wait_for(
    look: Callable[[], Awaitable[T | None]],
    *,
    what: str,
    where: str,
    deadline_seconds: float,
    next_command: str | None = None,
    describe: Callable[[], str] | None = None,
    poll_seconds: float = POLL_SECONDS,
) -> T:
    """Ask `look` again and again until it returns something.

    :param what: what is waited for, as the error says it: "Patroni to make pg-test-1 the leader".
    :param describe: what was seen last, for the error.
    :raises DeadlinePassed: if it returned nothing in time.
    """
    until = time.monotonic() + deadline_seconds
    while True:
        found = await look()
        if found is not None:
            return found
        left = until - time.monotonic()
        if left <= 0:
            seen = f"; last seen: {describe()}" if describe is not None else ""
            raise DeadlinePassed(
                f"waited {deadline_seconds:.0f} s for {what}{seen}", where=where, next_command=next_command
            )
        await asyncio.sleep(min(poll_seconds, left))
