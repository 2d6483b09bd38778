"""What a standby cluster follows, by the name that the inventory has for it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from pgdolly.domain.cluster import Member
from pgdolly.drivers.replay import WalReceiver
from pgdolly.inventory.fleet import Fleet
from pgdolly.operations.site import ClusterFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """Where a standby cluster's WAL comes from; without a host, out of an archive only.

    :param host: several, with commas between, if none of them is in the inventory.
    :param member: whose address it is, if the inventory has it.
    """

    host: str | None = None
    port: int | None = None
    member: Member | None = None

    @property
    def name(self) -> str:
        """The cluster's name, else its address."""
        if self.member is not None:
            return self.member.cluster
        return self.address or "a cluster that its configuration does not name"

    @property
    def address(self) -> str | None:
        if self.host is None:
            return None
        return f"{self.host}:{self.port}" if self.port is not None else self.host


def upstream_of(fleet: Fleet, facts: ClusterFacts, receiver: WalReceiver | None = None) -> Upstream | None:
    """What the cluster follows; None for a cluster of its own.

    Where its leader streams from now, else what its configuration says, else what the inventory does.
    """
    followed = facts.follows
    if followed is None:
        return None
    if (
        receiver is not None
        and receiver.streaming
        and receiver.host is not None
        and receiver.port is not None
    ):
        host, port = receiver.host, receiver.port
        return Upstream(host=host, port=port, member=fleet.member_at(host, port))
    for host, port in followed.addresses:
        member = fleet.member_at(host, port)
        if member is not None:
            return Upstream(host=host, port=port, member=member)
    if followed.host is not None:
        hosts, ports = zip(*followed.addresses, strict=True)
        return Upstream(host=",".join(hosts), port=ports[0])
    named = facts.cluster.upstream
    members = [m for each in fleet.clusters.values() for m in each.members]
    found = next((m for m in members if named in (m.node.address, m.name)), None) if named else None
    if found is not None:
        return Upstream(host=named, port=found.port, member=found)
    return Upstream(host=named)
