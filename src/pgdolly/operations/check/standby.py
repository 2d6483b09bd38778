"""What is wrong with a standby cluster, and what is not. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from pgdolly.operations.check.finding import Cure, Finding, warning
from pgdolly.operations.check.members import member_findings
from pgdolly.operations.check.observe import CheckFacts


def standby_findings(facts: CheckFacts) -> Iterator[Finding]:
    """Its members, and whether it follows its source at all."""
    yield from member_findings(facts)
    yield from _silent_upstream(facts)


def standby_seen(facts: CheckFacts) -> Iterator[str]:
    """Why it has no backups, and how it gets them."""
    assert facts.upstream is not None
    yield (
        f"it follows {facts.upstream.name} and writes no WAL of its own: no backups of its own before it is promoted"
    )
    yield f"to make it a cluster of its own: pgdolly promote {facts.name}"


def _silent_upstream(facts: CheckFacts) -> Iterator[Finding]:
    """A warning: it keeps no backup from working, and where the source is down for good it is as it must be."""
    assert facts.upstream is not None
    leader = facts.leader
    replay = leader.server.replay if leader is not None and leader.server is not None else None
    if leader is None or leader.private or replay is None or facts.upstream.host is None:
        return
    if replay.receiver is None or not replay.receiver.streaming:
        yield warning(
            "standby_not_streaming",
            leader.name,
            f"it receives nothing from {facts.upstream.address} now, and falls behind",
            Cure(command=f"pgdolly status {facts.name}"),
        )
