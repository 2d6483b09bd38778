"""Put the findings of one cluster together, in the order in which a person wants to know them. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from pgdolly.operations.check.archiving import archiving_findings, foreign_command_findings
from pgdolly.operations.check.backups import backup_findings, newest_usable
from pgdolly.operations.check.finding import CheckReport, Severity
from pgdolly.operations.check.members import (
    empty_findings,
    is_half_made,
    is_unmade,
    member_findings,
    run_findings,
    unmade_findings,
    unreachable_findings,
)
from pgdolly.operations.check.neighbours import neighbour_findings
from pgdolly.operations.check.observe import CheckFacts
from pgdolly.operations.check.standby import standby_findings, standby_seen
from pgdolly.operations.check.stanza import stanza_findings

# Whoever writes into a stanza that is not his destroys backups that work; all else only lacks some.
_WORST = ("archive_command_foreign", "foreign_push", "stanza_shared")


def diagnose(facts: CheckFacts) -> CheckReport:
    """Every finding, the worst first, and what speaks for the backups.

    While a recovery holds the cluster, its members are half made: a cure such as "start Patroni" would be its ruin,
    and what the run has not come to yet is not wrong.
    """
    findings = [
        *run_findings(facts),
        *unreachable_findings(facts),
        *empty_findings(facts),
        *foreign_command_findings(facts),
        *neighbour_findings(facts),
    ]
    upstream = facts.upstream
    if is_unmade(facts) and not is_half_made(facts):
        upstream = None  # it may have been configured to follow one, and does not
        findings += unmade_findings(facts)
    elif upstream is not None:
        # It writes no WAL of its own: that its stanza is missing or empty, or its archiving off, is not wrong.
        findings += [*standby_findings(facts)] if not is_half_made(facts) else []
    elif not is_half_made(facts):
        findings += member_findings(facts)
        # What a reset that was given up has left is no cluster whose archiving and backups could be put right.
        led = facts.leader is not None and not facts.leader.private
        if led or not any(look.facts.abandoned is not None for look in facts.look.members):
            findings += [*archiving_findings(facts), *stanza_findings(facts), *backup_findings(facts)]
    findings.sort(key=lambda finding: (finding.severity is not Severity.ERROR, finding.code not in _WORST))
    return CheckReport(
        cluster=facts.name,
        stanza=facts.stanza.name,
        findings=tuple(findings),
        seen=tuple(standby_seen(facts) if upstream is not None else _seen(facts)),
        standby_of=upstream.name if upstream is not None else None,
    )


def _seen(facts: CheckFacts) -> Iterator[str]:
    backup = newest_usable(facts)
    if backup is not None:
        yield f"newest backup: {backup.label} ({backup.type}), stopped {backup.stop_at:%Y-%m-%d %H:%M:%SZ}"
    archiver = facts.writer.archiver if facts.writer is not None else None
    if archiver is not None and archiver.last_archived_at is not None:
        yield f"last archived: {archiver.last_archived} at {archiver.last_archived_at:%Y-%m-%d %H:%M:%SZ}"
    if facts.stanza.catalogue is not None:
        yield from facts.stanza.catalogue.remarks
