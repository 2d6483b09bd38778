"""The fleet: every PostgreSQL cluster that an inventory names."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

from pgdolly.domain.cluster import Cluster, Member
from pgdolly.domain.errors import InvalidInput
from pgdolly.domain.repository import UnusableRepository
from pgdolly.inventory.parameters import HostParameters, member_from_variables
from pgdolly.inventory.repository import NamedRepository


@dataclass(frozen=True, slots=True)
class Fleet:
    """Clusters by name, and where they were read from: `origin` for messages, `sources` to read them again."""

    clusters: dict[str, Cluster]
    origin: str
    sources: tuple[str, ...] = ()

    def cluster(self, name: str) -> Cluster:
        """:raises InvalidInput: if the inventory has no such cluster; names those it has."""
        found = self.clusters.get(name)
        if found is not None:
            return found
        for cluster in self.clusters.values():
            if any(name in (member.name, member.node.address) for member in cluster.members):
                raise InvalidInput(
                    f"{name!r} is a node of cluster {cluster.name!r}, not a cluster",
                    where=self.origin,
                    untouched="nothing was changed",
                    next_command=f"name the cluster: {cluster.name}",
                )
        close = difflib.get_close_matches(name, self.clusters, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InvalidInput(
            f"no cluster {name!r} in the inventory: it has {', '.join(sorted(self.clusters)) or 'none'}{hint}",
            where=self.origin,
            untouched="nothing was changed",
        )


def fleet_from_variables(
    hostvars: Mapping[str, Mapping[str, Any]], origin: str, sources: tuple[str, ...] = ()
) -> Fleet:
    """Gather the clusters from every host's variables; hosts without `pg_cluster` are not PostgreSQL's.

    :param origin: where they were read, for messages. :param sources: what to give to `-i` to read them again.
    :raises InvalidInput: if two hosts claim the same `pg_seq` of a cluster, if they contradict each other, or if a
        variable is wrong.
    """
    gathered: dict[str, list[tuple[Member, HostParameters, str]]] = defaultdict(list)
    for host, variables in hostvars.items():
        if "pg_cluster" in variables:
            member, parameters = member_from_variables(host, variables)
            gathered[member.cluster].append((member, parameters, host))
    return Fleet({name: _cluster(name, found, origin) for name, found in gathered.items()}, origin, sources)


def _cluster(name: str, found: list[tuple[Member, HostParameters, str]], origin: str) -> Cluster:
    found.sort(key=lambda entry: entry[0].sequence)
    for (left, _, left_host), (right, _, right_host) in pairwise(found):
        if left.sequence == right.sequence:
            raise InvalidInput(
                f"hosts {left_host} and {right_host} both have pg_seq {left.sequence} of {name}",
                where=origin,
                untouched="nothing was changed",
            )
    versions = {host: parameters.pg_version for _, parameters, host in found if parameters.pg_version}
    if len(set(versions.values())) > 1:
        said = ", ".join(f"{host}: {version}" for host, version in versions.items())
        raise InvalidInput(
            f"the hosts of {name} differ in pg_version ({said}), and a cluster has one major version",
            where=origin,
            untouched="nothing was changed",
            next_command=f"set pg_version once, for the group {name}",
        )
    # A replica's pg_upstream is the member of its own cluster that it streams from.
    leading = [p for _, p, _ in found if p.pg_role == "primary"] or [p for _, p, _ in found]
    return Cluster(
        name=name,
        members=tuple(member for member, _, _ in found),
        version=next(iter(versions.values()), None),
        upstream=next((p.pg_upstream for p in leading if p.pg_upstream), None),
        delay=next((p.pg_delay for p in leading if p.pg_delay), None),
        named_passwords=found[0][1].passwords(),
        named_repository=_repository([(p.repository(), host) for _, p, host in found]),
    )


def _repository(named: list[tuple[NamedRepository, str]]) -> NamedRepository:
    first, first_host = named[0]
    for other, host in named:
        if other != first:
            return UnusableRepository(f"hosts {first_host} and {host} name different ones")
    return first


def refuse_hosts_of_two_clusters(
    hostvars: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Collection[str]], origin: str
) -> None:
    """Refuse a host that stands in the groups of two clusters: Ansible would quietly give it to one of them.

    The other cluster would look like a smaller one, and a reset would leave that member out. Groups are taken for a
    cluster's if they have its name, as Pigsty's do.

    :param groups: every group's hosts.
    :raises InvalidInput: naming the host and the groups.
    """
    named = {str(variables["pg_cluster"]) for variables in hostvars.values() if "pg_cluster" in variables}
    of_clusters = {group: set(hosts) for group, hosts in groups.items() if group in named}
    for (left, its), (right, others) in combinations(sorted(of_clusters.items()), 2):
        shared = its & others
        if shared:
            host = min(shared)
            raise InvalidInput(
                f"host {host} is in the groups of clusters {left} and {right}, and can be a member of one only: "
                f"Ansible takes {hostvars[host].get('pg_cluster')}",
                where=origin,
                untouched="nothing was changed",
                next_command=f"take {host} out of one of these groups",
            )
