"""A finding: what is wrong, where, and what to type against it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """An error keeps backups or archiving from working, now or at the next failover; a warning does not yet."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cure:
    """A command to type.

    :param on: the member on whose node, as its database superuser (with `sudo` before it, as
        somebody who may); None for where pgdolly runs.
    """

    command: str
    on: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    :param code: never changes its meaning: scripts match on it.
    :param where: the members that it concerns, or the cluster.
    :param what: one sentence, with pgBackRest's error number where it has one: "[051]".
    :param cures: in the order in which they are typed; after the last one the finding is gone.
    """

    code: str
    severity: Severity
    where: tuple[str, ...]
    what: str
    cures: tuple[Cure, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What came of checking one cluster.

    :param seen: what speaks for the backups, in a few lines: the newest one, the last WAL.
    :param standby_of: the source of a standby cluster, which takes no backups; None for a cluster of its own.
    """

    cluster: str
    stanza: str
    findings: tuple[Finding, ...]
    seen: tuple[str, ...]
    standby_of: str | None = None

    @property
    def works(self) -> bool:
        """Whether backups and archiving work, which a standby cluster has none of: there may be warnings."""
        return all(finding.severity is not Severity.ERROR for finding in self.findings)


def error(code: str, where: tuple[str, ...] | str, what: str, *cures: Cure) -> Finding:
    """Shorthand for a finding that is an error."""
    return Finding(code=code, severity=Severity.ERROR, where=_places(where), what=what, cures=cures)


def warning(code: str, where: tuple[str, ...] | str, what: str, *cures: Cure) -> Finding:
    """Shorthand for a finding that is a warning."""
    return Finding(code=code, severity=Severity.WARNING, where=_places(where), what=what, cures=cures)


def _places(where: tuple[str, ...] | str) -> tuple[str, ...]:
    return (where,) if isinstance(where, str) else where
