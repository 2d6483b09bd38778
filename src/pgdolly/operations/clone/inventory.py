"""What the inventory must not say of a new cluster. Pure."""

from __future__ import annotations

from pgdolly.domain.cluster import Cluster
from pgdolly.domain.errors import InvalidInput, Refused
from pgdolly.drivers.repository import pgbackrest_path
from pgdolly.inventory.fleet import Fleet
from pgdolly.operations.request import NOTHING


def refuse_crowded(fleet: Fleet, new: Cluster) -> None:
    """Two instances on one node need ports, directories, files and services of their own.

    :raises Refused: naming both, and what they share.
    """
    everybody = [member for cluster in fleet.clusters.values() for member in cluster.members]
    for member in new.members:
        for other in everybody:
            if other == member or other.node.address != member.node.address:
                continue
            shared = [
                name
                for name, mine, its in (
                    ("pg_port", member.port, other.port),
                    ("patroni_port", member.patroni_port, other.patroni_port),
                    ("pg_data", member.data_directory, other.data_directory),
                    ("pgdolly_patroni_config", member.patroni_config, other.patroni_config),
                    ("pgdolly_pgbackrest_config", pgbackrest_path(member), pgbackrest_path(other)),
                    ("pgdolly_service", member.service, other.service),
                )
                if mine == its
            ]
            if member.data_directory.parent == other.data_directory.parent and "pg_data" not in shared:
                shared.append("the directory above pg_data")
            if shared:
                raise Refused(
                    f"{other.name} is on the same node ({member.node.address}) and has the same {', '.join(shared)}",
                    where=member.name,
                    untouched=NOTHING,
                    next_command=f"give {member.name} its own in the inventory",
                )


def refuse_other_upstream(fleet: Fleet, source: Cluster, new: Cluster) -> None:
    """:raises InvalidInput: if pg_upstream is a member of a cluster that is not the source."""
    if any(new.upstream in (member.node.address, member.name) for member in source.members):
        return
    for cluster in fleet.clusters.values():
        if cluster.name != source.name and any(
            new.upstream in (member.node.address, member.name) for member in cluster.members
        ):
            raise InvalidInput(
                f"the inventory's pg_upstream ({new.upstream}) is of {cluster.name}, and the source is {source.name}",
                where=new.name,
                untouched=NOTHING,
                next_command=f"pgdolly clone {cluster.name} {new.name}",
            )
