"""Findings about other clusters of the inventory that reach into this one's stanza. Pure.

A repository that several clusters share is as it should be; a stanza is one cluster's own.
"""

from __future__ import annotations

from collections.abc import Iterator

from pgdolly.operations.check.finding import Cure, Finding, error, warning
from pgdolly.operations.check.members import pushed_stanza, rename_stanza
from pgdolly.operations.check.observe import CheckFacts, Neighbour


def neighbour_findings(facts: CheckFacts) -> Iterator[Finding]:
    """Who else uses, or writes into, this cluster's stanza."""
    for neighbour in facts.neighbours:
        if neighbour.same_stanza:
            yield _shared(facts, neighbour)
        else:
            yield from _pushes(facts, neighbour)


def _shared(facts: CheckFacts, neighbour: Neighbour) -> Finding:
    """The cluster that the stanza is not named after gets one of its own name."""
    stanza = facts.stanza.name
    wrong = neighbour.look if neighbour.look.name != stanza else facts.look
    return error(
        "stanza_shared",
        (facts.name, neighbour.look.name),
        f"both clusters use stanza {stanza!r} of one repository: each one's WAL and backups are taken for the other's",
        *(rename_stanza(member, wrong.name) for member in wrong.members),
        Cure(command=f"pgdolly check {wrong.name}"),
    )


def _pushes(facts: CheckFacts, neighbour: Neighbour) -> Iterator[Finding]:
    pushing = [
        member
        for member in neighbour.look.members
        if member.server is not None
        and member.server.archive_mode != "off"
        and member.facts.stanza != facts.stanza.name
        and pushed_stanza(member.server.archive_command.value) == facts.stanza.name
    ]
    if not pushing:
        return
    own = facts.leader.facts.system_identifier if facts.leader is not None else None
    taken = any(member.facts.system_identifier == own for member in pushing)
    names = tuple(member.name for member in pushing)
    cure = Cure(command=f"pgdolly check {neighbour.look.name}")
    what = f"the archive_command of {neighbour.look.name} pushes into this cluster's stanza {facts.stanza.name!r}"
    if taken:
        yield error(
            "foreign_push",
            names,
            f"{what}, and its system identifier is the same: pgBackRest lets it in",
            cure,
        )
    else:
        yield warning("foreign_push", names, f"{what}; pgBackRest refuses it as another system's [044]", cure)
