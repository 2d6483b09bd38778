"""The fleet: every PostgreSQL cluster that an inventory names."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from pgdolly.domain.cluster import Cluster, Member
from pgdolly.domain.errors import InvalidInput
from pgdolly.inventory.parameters import HostParameters, member_from_variables


@dataclass(frozen=True, slots=True)
class Fleet:
    """Clusters by name, and where they were read from (for messages)."""

    clusters: dict[str, Cluster]
    origin: str

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


def fleet_from_variables(hostvars: Mapping[str, Mapping[str, Any]], origin: str) -> Fleet:
    """Gather the clusters from every host's variables; hosts without `pg_cluster` are not PostgreSQL's.

    :raises InvalidInput: if two hosts claim the same `pg_seq` of a cluster, or a variable is wrong.
    """
    gathered: dict[str, list[tuple[Member, HostParameters, str]]] = defaultdict(list)
    for host, variables in hostvars.items():
        if "pg_cluster" in variables:
            member, parameters = member_from_variables(host, variables)
            gathered[member.cluster].append((member, parameters, host))
    clusters = {}
    for name, found in gathered.items():
        found.sort(key=lambda entry: entry[0].sequence)
        for (left, _, left_host), (right, _, right_host) in pairwise(found):
            if left.sequence == right.sequence:
                raise InvalidInput(
                    f"hosts {left_host} and {right_host} both have pg_seq {left.sequence} of {name}",
                    where=origin,
                    untouched="nothing was changed",
                )
        first = found[0][1]
        clusters[name] = Cluster(
            name=name,
            members=tuple(member for member, _, _ in found),
            version=first.pg_version,
            upstream=next((p.pg_upstream for _, p, _ in found if p.pg_upstream), None),
        )
    return Fleet(clusters, origin)
