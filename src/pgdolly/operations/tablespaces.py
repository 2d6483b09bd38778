"""Tablespaces lie at one path for every server that has them: two of these on one machine would share their files.

PostgreSQL's replay makes a tablespace at the path that it has on the source, and takes a directory that is there
already for its own; so does a restore that keeps what is right.
"""

from __future__ import annotations

from collections.abc import Iterable

from pgdolly.domain.cluster import Member
from pgdolly.domain.errors import Refused
from pgdolly.operations.request import NOTHING


def refuse_shared_tablespaces(
    what: str, cluster: str, filled: Iterable[Member], others: Iterable[Member]
) -> None:
    """:param what: which tablespaces, as a sentence begins. :param filled: who gets them. :param others: who has them.

    :raises Refused: if one who gets them lives on a machine with another who does, or has them already.
    """
    filled = list(filled)
    for number, member in enumerate(filled):
        for other in (*filled[:number], *others):
            if member.node.shares_machine(other.node):
                raise Refused(
                    f"{what}, and {member.name} is on one machine with {other.name}: both would have the same files",
                    where=cluster,
                    untouched=NOTHING,
                    next_command="move their tables into the data directory (ALTER TABLE … SET TABLESPACE "
                    "pg_default), drop them, and take a new backup",
                )
