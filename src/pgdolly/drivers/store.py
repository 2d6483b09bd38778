"""A cluster's entries in Patroni's store (etcd, Consul, …), through Patroni's own library on a node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pgdolly.domain.cluster import Member
from pgdolly.domain.command import Command
from pgdolly.drivers.node_program import node_program, run_node_program
from pgdolly.transport.shell import Shell


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreView:
    """What the store holds of a cluster now: who is registered, alive, by name with the host of its PostgreSQL.

    :param empty: it holds nothing at all.
    :param initialize: the system identifier of the cluster's data.
    :param standby_of: host and port that its dynamic configuration follows; the host may be several, with commas.
    :param upstream_slot: the slot there that keeps WAL for it.
    :param slots: those that its own dynamic configuration has it keep.
    """

    leader: str | None
    members: dict[str, str | None]
    empty: bool = False
    initialize: str | None = None
    standby_of: tuple[str, str] | None = None
    upstream_slot: str | None = None
    slots: tuple[str, ...] = ()


async def read_store(
    shell: Shell, member: Member, configuration: Mapping[str, Any] | None = None
) -> StoreView:
    """Look into the cluster's store through this member's Patroni library: it tells of a cluster that is stopped, too.

    A member that has not written for its time to live (`ttl`, 30 s by default) is not there any more.

    :param configuration: the member's, which it does not have yet.
    """
    doing = f"look into Patroni's store from {member.name}"
    answer = await run_node_program(shell, _command(member, "look", doing, secrets=configuration))
    upstream = answer.get("standby_of")
    return StoreView(
        leader=answer["leader"],
        members=dict(answer["members"]),
        empty=answer["empty"],
        initialize=answer["initialize"],
        standby_of=(str(upstream["host"] or ""), str(upstream["port"] or "")) if upstream else None,
        upstream_slot=upstream["primary_slot_name"] if upstream else None,
        slots=tuple(answer["slots"]),
    )


def fence_command(member: Member) -> Command:
    """Let no member of the cluster's former life come up: its Patroni exits with "system ID mismatch"."""
    return _command(
        member,
        "fence",
        f"set initialize of {member.cluster} in Patroni's store to a system that does not exist, so that no Patroni "
        "comes up with old data meanwhile",
    )


def reset_command(member: Member) -> Command:
    """Remove what the store remembers of the cluster's former life; its configuration stays."""
    return _command(
        member,
        "reset",
        f"remove initialize, leader, history, status, sync and failover of {member.cluster} from Patroni's store "
        "(its configuration stays)",
    )


def begin_command(member: Member) -> Command:
    """Begin the cluster's entries: a new cluster, with its member's own idea of its configuration."""
    return _command(
        member,
        "begin",
        f"write the configuration of {member.cluster} into Patroni's store, as bootstrap.dcs of "
        f"{member.patroni_config} has it; what is left there of a former cluster of that name goes",
    )


def found_command(member: Member, standby_cluster: dict[str, Any], system_identifier: int) -> Command:
    """Begin the cluster's entries: a standby cluster of data that is on its members already."""
    return _command(
        member,
        "found",
        f"write the configuration of {member.cluster}, with standby_cluster {standby_cluster}, and its initialize "
        "into Patroni's store",
        standby_cluster=standby_cluster,
        system_identifier=system_identifier,
    )


def remove_command(member: Member, scope: str, registered: tuple[str, ...]) -> Command:
    """Remove all that the store holds of a cluster, unless another member than these is registered there."""
    return _command(
        member,
        "remove",
        f"patronictl remove {scope}  # all of its entries in Patroni's store, through {member.patroni_config}",
        members=list(registered),
    )


def _command(
    member: Member,
    action: Literal["look", "fence", "reset", "begin", "found", "remove"],
    summary: str,
    *,
    secrets: object = None,
    **more: object,
) -> Command:
    arguments = {"patroni_config": member.patroni_config, "action": action, **more}
    return node_program(member, "store", arguments, summary, secrets=secrets)
