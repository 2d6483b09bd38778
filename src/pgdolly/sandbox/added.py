"""Nodes for clusters of one's own: which ones are asked for, and which of them are empty still."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from pgdolly.domain.errors import InvalidInput
from pgdolly.sandbox.layout import CLUSTERS, ETCD, FIRST_HOST, SandboxNode, World, longest_directory

OPTION = "--with"
MOST_MEMBERS = 5
LAST_HOST = 254

# The name becomes a scope, a stanza, a group of the inventory and a part of paths, nowhere in quotes.
CLUSTER_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
# Groups that are Ansible's own, or the store's.
TAKEN_GROUPS = frozenset({"all", "ungrouped", ETCD})


def with_added(remembered: Mapping[str, int], asked: Iterable[str], directory: Path) -> dict[str, int]:
    """Return the added clusters and how many members each has: those that there are, then the new ones.

    :param asked: what `--with` was given: `NAME` or `NAME:MEMBERS`. Without a number one that is there stays as it
        is, and a new one has one member.
    :param directory: the sandbox's, whose name and the clusters' make up their sockets' paths.
    :raises InvalidInput: if a name or a number cannot be, or differs from what there is.
    """
    added = dict(remembered)
    for text in asked:
        name, members = _parsed(text)
        has = added.setdefault(name, members or 1)
        if members is not None and members != has:
            raise InvalidInput(
                f"{name} has {has} member{'s' if has > 1 else ''} in this sandbox, not {members}",
                where=OPTION,
                untouched="nothing was created",
                next_command="pgdolly sandbox down --purge    # or add a cluster of another name",
            )
    last = FIRST_HOST + sum(CLUSTERS.values()) + sum(added.values()) - 1
    if last > LAST_HOST:
        raise _invalid(
            f"there is no address left for {', '.join(asked)}: a sandbox's network ends at {LAST_HOST}"
        )
    for name in added:
        if len(str(directory)) > (longest := longest_directory([name])):
            raise _invalid(
                f"{name} is too long a name: its sockets' paths fit if the sandbox's directory has at most "
                f"{longest} characters, and {directory} has {len(str(directory))}"
            )
    return added


def _parsed(text: str) -> tuple[str, int | None]:
    name, colon, number = text.partition(":")
    if name in CLUSTERS:
        raise _invalid(f"{name} is there in every sandbox")
    if not CLUSTER_NAME.fullmatch(name) or name in TAKEN_GROUPS:
        raise _invalid(
            f"{name!r} cannot be a cluster's name here: small letters, digits and single -, a letter first, "
            f"and none of {', '.join(sorted(TAKEN_GROUPS))}"
        )
    if not colon:
        return name, None
    if not re.fullmatch(f"[1-{MOST_MEMBERS}]", number):
        raise _invalid(f"{text!r}: a cluster has 1 to {MOST_MEMBERS} members, as in {name}:3")
    return name, int(number)


def _invalid(what: str) -> InvalidInput:
    return InvalidInput(what, where=OPTION, untouched="nothing was created")


def occupied(world: World, cluster: str) -> tuple[SandboxNode, ...]:
    """Return the members of a cluster that Patroni is to run on: of an added one those that are not empty.

    Patroni would make a new cluster of a node that has its configuration and no data.
    """
    nodes = world.members(cluster)
    return nodes if cluster in CLUSTERS else tuple(node for node in nodes if _holds_member(node))


def _holds_member(node: SandboxNode) -> bool:
    # pg_control is the last file that a restore or a base backup writes.
    control_file = node.data_directory / "global" / "pg_control"
    return node.patroni_config.exists() and control_file.exists()
