"""Who replicates from a member's server, asked on its node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pgdolly.domain.cluster import Member
from pgdolly.drivers.node_program import node_program, run_node_program
from pgdolly.drivers.observation import MemberFacts
from pgdolly.transport.shell import Shell


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Somebody who replicates from a server, as pg_stat_replication has it."""

    application_name: str
    user: str
    client: str | None
    state: str

    def __str__(self) -> str:
        return f"{self.application_name} ({self.user} from {self.client or 'the node itself'}, {self.state})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Followers:
    """Who replicates from one member, and for whom it keeps slots: the cluster's own members among them.

    :param fillers: what copies into its data directory just now.
    """

    member: Member
    senders: tuple[Sender, ...] = ()
    slots: tuple[str, ...] = ()
    fillers: tuple[str, ...] = ()


async def look_for_followers(shell: Shell, facts: MemberFacts) -> Followers:
    """Ask one member; if its server is down, only its slots tell.

    :raises CommandFailed: if the node does not answer in time.
    """
    command = node_program(
        facts.member,
        "ask_followers",
        {
            "data_directory": facts.data_directory,
            "bin_directory": facts.bin_directory,
            "socket_directory": facts.socket_directory,
            "port": facts.running_port,
            "superuser": facts.superuser,
        },
        f"ask who replicates from {facts.member.name}",
    )
    found = await run_node_program(shell, command)
    return Followers(
        member=facts.member,
        senders=parse_senders(found["senders"]),
        slots=tuple(found["slots"]),
        fillers=tuple(found["fillers"]),
    )


def parse_senders(found: list[list[Any]]) -> tuple[Sender, ...]:
    """Senders as a node's program prints them."""
    return tuple(
        Sender(application_name=name, user=user, client=client, state=state)
        for name, user, client, state in found
    )
