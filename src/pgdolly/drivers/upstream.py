"""The server that a standby cluster follows, asked from a node of the standby cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from pgdolly.domain.cluster import Member
from pgdolly.domain.errors import CommandFailed
from pgdolly.domain.lsn import LSN
from pgdolly.domain.secret import Secret
from pgdolly.drivers.node_program import node_program, run_node_program
from pgdolly.transport.shell import Shell


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamServers:
    """Where a standby cluster gets its WAL: `standby_cluster` in Patroni's words.

    :param hosts: one or several; the one that takes writes is asked, and copied.
    :param standby: it is a standby cluster itself, of which none takes writes.
    """

    hosts: tuple[str, ...]
    ports: tuple[int, ...]
    standby: bool = False

    @property
    def host(self) -> str:
        return ",".join(self.hosts)

    @property
    def port(self) -> str:
        return ",".join(map(str, self.ports))

    @property
    def session(self) -> str:
        """libpq's target_session_attrs."""
        return "read-write" if len(self.hosts) > 1 and not self.standby else "any"

    def __str__(self) -> str:
        return ", ".join(f"{host}:{port}" for host, port in zip(self.hosts, self.ports, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """What IDENTIFY_SYSTEM says: the upstream's system, timeline and the end of its WAL on disk."""

    system_identifier: int
    timeline: int
    lsn: LSN


async def ask_upstream(
    shell: Shell,
    member: Member,
    upstream: UpstreamServers,
    *,
    bin_directory: PurePosixPath,
    role: tuple[str, Secret] | None = None,
) -> Position:
    """Connect as a replica would, and ask.

    :param role: who connects; None: the replication role of the member's own patroni.yml.
    :raises CommandFailed: with what libpq says: no route, no such role, no line in pg_hba.conf, …
    """
    command = node_program(
        member,
        "ask_upstream",
        {
            "psql": str(bin_directory / "psql"),
            "host": upstream.host,
            "port": upstream.port,
            "session": upstream.session,
            "patroni_config": None if role is not None else str(member.patroni_config),
        },
        f"ask {upstream} for its position, from {member.name}",
        secrets=None if role is None else {"username": role[0], "password": role[1].reveal()},
    )
    answer = await run_node_program(shell, command)
    if "problem" in answer:
        raise CommandFailed(
            f"it cannot stream from {upstream}",
            where=member.name,
            stderr_end=answer["problem"],
        )
    return Position(
        system_identifier=answer["system_identifier"],
        timeline=answer["timeline"],
        lsn=LSN.parse(answer["lsn"]),
    )


def listed(hosts: Sequence[tuple[str, int]], *, standby: bool = False) -> UpstreamServers:
    """An upstream of these addresses and ports."""
    return UpstreamServers(
        hosts=tuple(host for host, _ in hosts), ports=tuple(port for _, port in hosts), standby=standby
    )
