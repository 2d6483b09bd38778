"""What members say of themselves: Patroni's REST interface, and pg_controldata of those that are down.

https://patroni.readthedocs.io/en/latest/rest_api.html
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pgdolly.domain.errors import CommandFailed
from pgdolly.sandbox.account import run_as
from pgdolly.sandbox.layout import ETCD_CLIENT_PORT, SandboxNode, World

ANSWER_SECONDS = 2
LEADERS = frozenset({"leader", "standby_leader"})


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberView:
    """A member as Patroni's GET /cluster shows it.

    :param lag_bytes: how far it is behind the leader; None for the leader, and if it is not known.
    """

    name: str
    role: str
    state: str
    timeline: int | None
    lag_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterView:
    """A cluster as GET /cluster shows it; without members if nobody answers."""

    members: tuple[MemberView, ...] = ()
    is_paused: bool = False

    @property
    def leader(self) -> MemberView | None:
        return next((member for member in self.members if member.role in LEADERS), None)


def parse_cluster(document: dict[str, Any]) -> ClusterView:
    """Read the answer of GET /cluster."""

    def number(value: object) -> int | None:
        return (
            value if isinstance(value, int) else None
        )  # Patroni says "unknown" for a lag that it cannot tell

    members = tuple(
        MemberView(
            name=str(member["name"]),
            role=str(member["role"]),
            state=str(member["state"]),
            timeline=number(member.get("timeline")),
            lag_bytes=number(member.get("lag")),
        )
        for member in document.get("members", [])
    )
    return ClusterView(members=members, is_paused=bool(document.get("pause")))


def view_cluster(nodes: Sequence[SandboxNode]) -> ClusterView:
    """Ask the members of one cluster in turn; the first that answers speaks for all."""
    for node in nodes:
        if (document := _get(f"{node.patroni_url}/cluster")) is not None:
            return parse_cluster(document)
    return ClusterView()


def no_leader(view: ClusterView) -> str | None:
    """Return what is missing for a leader to run; None if one does."""
    if view.leader is None:
        return "no leader"
    # A standby cluster's leader follows another cluster, by its stream or by its archive.
    good = (
        ("running", "streaming", "in archive recovery")
        if view.leader.role == "standby_leader"
        else ("running",)
    )
    return None if view.leader.state in good else f"{view.leader.name} is {view.leader.state}"


def missing_members(view: ClusterView, names: Sequence[str]) -> str | None:
    """Return what is missing for one member to lead and all others to stream from it; None if nothing is."""
    if view.leader is None or no_leader(view) is not None:
        return no_leader(view)
    by_name = {member.name: member for member in view.members}
    timeline = view.leader.timeline
    for name in names:
        member = by_name.get(name)
        if member is None:
            return f"{name} has not joined"
        if member.role in LEADERS:
            continue
        if member.state != "streaming" or member.timeline != timeline:
            paused = ", and the cluster is paused" if view.is_paused else ""
            return f"{name} is {member.state} on timeline {member.timeline}, the leader on {timeline}{paused}"
    return None


def leads(node: SandboxNode) -> bool:
    """Whether a member says of itself that it holds the leader's lock, and PostgreSQL does what that asks of it.

    It accepts writes or, in a standby cluster, follows.
    """
    return any(_get(f"{node.patroni_url}/{role}") is not None for role in ("primary", "standby-leader"))


def store_health(world: World) -> str | None:
    """Return None if etcd is healthy, else what it says (https://etcd.io/docs/v3.4/op-guide/monitoring/)."""
    answer = _get(f"http://{world.etcd_address}:{ETCD_CLIENT_PORT}/health")
    if answer is None:
        return "etcd does not answer"
    return None if answer.get("health") == "true" else f"etcd says {answer}"


def first_to_start(world: World, nodes: Sequence[SandboxNode]) -> SandboxNode:
    """Return the member of a stopped cluster that was its leader, so that no replica takes over in its place.

    pg_controldata calls a replica's state "shut down in recovery" or "in archive recovery".
    """
    if len(nodes) == 1:
        return nodes[0]
    ranks: list[tuple[bool, int, int]] = []
    for position, node in enumerate(nodes):
        try:
            text = run_as(
                world.user,
                (str(world.pg_bin / "pg_controldata"), str(node.data_directory)),
                where=node.name,
                what="reading the control file",
                deadline_seconds=10,
            )
        except CommandFailed:
            continue  # no data directory yet
        facts = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        was_leader = "recovery" not in facts["Database cluster state"]
        ranks.append((was_leader, int(facts["Latest checkpoint's TimeLineID"]), -position))
    return nodes[-max(ranks)[2]] if ranks else nodes[0]


def _get(url: str) -> dict[str, Any] | None:
    """Return the JSON object at `url`, or None if there is no answer or not a good one."""
    # Proxies of the environment's are not for loopback addresses.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=ANSWER_SECONDS) as answer:
            document = json.load(answer)
    except (urllib.error.URLError, OSError, http.client.HTTPException, ValueError):
        return None
    return document if isinstance(document, dict) else None
