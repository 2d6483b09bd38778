"""Who replicates from a cluster and is no member of it. Pure, over what was observed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

from pgdolly.drivers.followers import Followers, Sender
from pgdolly.inventory.fleet import Fleet
from pgdolly.steps.promotion import slot_for


def strange_senders(
    followers: Collection[Followers], names: Collection[str]
) -> Iterator[tuple[Followers, Sender]]:
    """Whoever is connected, and whom he is connected to.

    :param names: what Patroni may call the cluster's members.
    """
    # A replica that Patroni is filling receives as pg_basebackup does for anybody, by two connections.
    copying = 2 * sum("pg_basebackup" in filler for each in followers for filler in each.fillers)
    for each in followers:
        for sender in each.senders:
            if sender.application_name in names:
                continue
            if sender.application_name == "pg_basebackup" and copying > 0:
                copying -= 1
                continue
            yield each, sender


def strange_slots(followers: Iterable[Followers], names: Collection[str]) -> dict[str, list[str]]:
    """Slots that are not for a member, each with the members that have it."""
    own = {slot_name(name) for name in names}
    found: dict[str, list[str]] = {}
    for each in followers:
        for slot in each.slots:
            if slot not in own:
                found.setdefault(slot, []).append(each.member.name)
    return found


def described(followers: Collection[Followers], names: Collection[str]) -> list[str]:
    """All of them, in the words that a person reads."""
    return [
        *(f"{sender} from {each.member.name}" for each, sender in strange_senders(followers, names)),
        *(
            f"replication slot {slot} on {', '.join(members)}"
            for slot, members in strange_slots(followers, names).items()
        ),
    ]


def standby_clusters(
    fleet: Fleet, name: str, followers: Collection[Followers], names: Collection[str]
) -> tuple[str, ...]:
    """Clusters of the inventory that are known among them: a member of theirs receives, or has a slot by a clone."""
    receive = {sender.application_name for _, sender in strange_senders(followers, names)}
    kept = strange_slots(followers, names)
    return tuple(
        other.name
        for other in fleet.clusters.values()
        if other.name != name
        and (slot_for(other.name) in kept or any(member.name in receive for member in other.members))
    )


def slot_name(member_name: str) -> str:
    """What Patroni calls a member's slot.

    Source: Patroni, dcs/__init__.py, slot_name_from_member_name.
    """

    def replaced(match: re.Match[str]) -> str:
        return "_" if match[0] in "-." else f"u{ord(match[0]):04d}"

    return re.sub("[^a-z0-9_]", replaced, member_name.lower())[:63]
