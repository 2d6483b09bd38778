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


def parse_cluster(document: dict[str, Any]) -> tuple[MemberView, ...]:
    """Read the answer of GET /cluster."""

    def number(value: object) -> int | None:
        return (
            value if isinstance(value, int) else None
        )  # Patroni says "unknown" for a lag that it cannot tell

    return tuple(
        MemberView(
            name=str(member["name"]),
            role=str(member["role"]),
            state=str(member["state"]),
            timeline=number(member.get("timeline")),
            lag_bytes=number(member.get("lag")),
        )
        for member in document.get("members", [])
    )


def view_cluster(nodes: Sequence[SandboxNode]) -> tuple[MemberView, ...]:
    """Ask the members of one cluster in turn; the first that answers speaks for all. Empty if none does."""
    for node in nodes:
        if (document := _get(f"{node.patroni_url}/cluster")) is not None:
            return parse_cluster(document)
    return ()


def has_leader(members: Sequence[MemberView]) -> str | None:
    """Return None if a leader runs, else what is missing."""
    leader = next((member for member in members if member.role in LEADERS), None)
    if leader is None:
        return "no leader"
    return None if leader.state in ("running", "streaming") else f"{leader.name} is {leader.state}"


def is_whole(members: Sequence[MemberView], names: Sequence[str]) -> str | None:
    """Return None if all members are there, one leads and the others stream, else what is missing."""
    if (missing := has_leader(members)) is not None:
        return missing
    by_name = {member.name: member for member in members}
    timeline = next(member.timeline for member in members if member.role in LEADERS)
    for name in names:
        member = by_name.get(name)
        if member is None:
            return f"{name} has not joined"
        if member.role in LEADERS:
            continue
        if member.state != "streaming" or member.timeline != timeline:
            return f"{name} is {member.state} on timeline {member.timeline}, the leader on {timeline}"
    return None


def leads(node: SandboxNode) -> bool:
    """Whether a member says of itself that it holds the leader's lock and PostgreSQL accepts writes."""
    return _get(f"{node.patroni_url}/primary") is not None


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
