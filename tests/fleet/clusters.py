"""Patroni clusters: made, looked at, backed up for the first time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fleet import machine
from fleet.layout import DBSU, PATRONI_PORT, NodePlan, Place
from fleet.running import FleetError, side_by_side, wait_for

LEADER_SECONDS = 90.0
STREAMING_SECONDS = 90.0
BACKUP_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class MemberState:
    """A member as Patroni shows it.

    :param state: "streaming" for a replica that does, else PostgreSQL's.
    """

    role: str
    state: str
    timeline: int | None


def bootstrap(place: Place, members: Sequence[NodePlan], say: Callable[[str], None]) -> None:
    """Make a cluster of members that are up and have never held one; the first of them leads.

    Its stanza is made and its first backup taken while the replicas are copied.
    """
    begun = time.monotonic()
    primary, *replicas = members

    def took(what: str) -> None:
        say(f"{primary.cluster}: {what} after {time.monotonic() - begun:.1f} s")

    _start_patroni(place, primary)
    wait_for(
        f"{primary.cluster}: a leader", lambda: _no_leader(place, primary), deadline_seconds=LEADER_SECONDS
    )
    took(f"{primary.name} leads")

    def back_up() -> None:
        _must(place, primary, "pb", "stanza-create")
        _must(place, primary, "pg-backup", "full")
        took("backed up")

    def join() -> None:
        side_by_side(*(lambda node=node: _start_patroni(place, node) for node in replicas))
        wait_for(
            f"{primary.cluster}: replicas that stream",
            lambda: not_whole(place, members),
            deadline_seconds=STREAMING_SECONDS,
        )
        took("streaming" if replicas else "running")

    side_by_side(back_up, join)


def not_whole(place: Place, members: Sequence[NodePlan]) -> str | None:
    """Return None if one member leads and all others stream on its timeline, else what is missing.

    Each is asked itself, as the store remembers for a while what a member that is gone has said last; and the store is
    asked, as those who go by it shall see the same.
    """
    own = {node.name: _ask(place, node) for node in members}
    for source, found in (("by its own word", own), ("by Patroni's store", look(place, members))):
        leaders = [member for member in found.values() if member and member.role == "leader"]
        if len(leaders) != 1 or leaders[0].state != "running":
            return f"{source}: no leader that runs: {found}"
        for node in members:
            member = found.get(node.name)
            if member is None:
                return f"{source}: {node.name} is not there"
            timelines = {member.timeline, leaders[0].timeline} - {None}  # a replica does not tell its own
            if member.role != "leader" and (member.state != "streaming" or len(timelines) > 1):
                return f"{source}: {node.name} is {member.state} on timeline {member.timeline}"
    return None


def look(place: Place, members: Sequence[NodePlan]) -> dict[str, MemberState]:
    """Return the members by name, as the store has them; the first that answers tells. Empty if nobody does."""
    for node in members:
        if answer := _get(place, node, "cluster"):
            return {
                str(member["name"]): MemberState(
                    str(member["role"]), str(member["state"]), _number(member.get("timeline"))
                )
                for member in json.loads(answer)["members"]
            }
    return {}


def _ask(place: Place, node: NodePlan) -> MemberState | None:
    """Return what a member says of itself; None if it does not answer."""
    if not (answer := _get(place, node, "patroni")):
        return None
    said = json.loads(answer)
    role = "leader" if said["role"] in ("primary", "master") else str(said["role"])
    return MemberState(role, str(said.get("replication_state", said["state"])), _number(said.get("timeline")))


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _no_leader(place: Place, node: NodePlan) -> str | None:
    if _get(place, node, "primary"):
        return None
    active = machine.enter(place, node, ["systemctl", "is-active", "patroni"], user="root").stdout.strip()
    if active not in ("active", "activating"):
        raise FleetError(f"{node.name}: patroni is {active}; {place.console(node.name)} says why")
    return f"{node.name} does not lead; {place.console(node.name)} says why"


def _get(place: Place, node: NodePlan, path: str) -> str:
    """Return the body of a good answer of a member's Patroni; "" if there is none, or the node is off."""
    if not machine.is_on(place, node):
        return ""
    url = f"http://{node.address}:{PATRONI_PORT}/{path}"
    asked = machine.enter(place, node, ["curl", "-sf", "--max-time", "3", url], user=DBSU)
    return asked.stdout if asked.returncode == 0 else ""


def _start_patroni(place: Place, node: NodePlan) -> None:
    _must(place, node, "systemctl", "enable", "--now", "--quiet", "patroni.service", user="root")


def _must(place: Place, node: NodePlan, *argv: str, user: str = DBSU) -> None:
    done = machine.enter(place, node, argv, user=user, deadline_seconds=BACKUP_SECONDS)
    if done.returncode != 0:
        raise FleetError(f"{node.name}: {' '.join(argv)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
