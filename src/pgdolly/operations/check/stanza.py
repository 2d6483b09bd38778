"""Findings about the stanza: whether it is there, and of this cluster's system. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from pgdolly.domain.backup import DatabaseSystem
from pgdolly.domain.errors import CommandFailed
from pgdolly.drivers.catalogue_format import (
    STATUS_MISSING_STANZA_DATA,
    STATUS_MISSING_STANZA_PATH,
    RepositoryStatus,
)
from pgdolly.operations.check.finding import Cure, Finding, error
from pgdolly.operations.check.observe import CheckFacts


def stanza_findings(facts: CheckFacts) -> Iterator[Finding]:
    """What keeps the stanza from taking this cluster's WAL and backups."""
    if facts.stanza.problem is not None:
        problem = facts.stanza.problem
        said = (
            f": {problem.stderr_end.splitlines()[0]}"
            if isinstance(problem, CommandFailed) and problem.stderr_end
            else ""
        )
        yield error("repository_unreadable", facts.name, f"{problem.what}{said}", _look(facts))
    for repository in facts.stanza.repositories:
        yield from _repository(facts, repository)
    yield from _systems(facts)


def present_systems(facts: CheckFacts) -> tuple[DatabaseSystem, ...]:
    """The generation that accepts WAL, in each repository. Repositories count generations on their own."""
    newest: dict[int, DatabaseSystem] = {}
    for system in facts.stanza.catalogue.systems if facts.stanza.catalogue else ():
        known = newest.get(system.repo_key)
        if known is None or system.history_id > known.history_id:
            newest[system.repo_key] = system
    return tuple(newest[repo_key] for repo_key in sorted(newest))


def accepts(facts: CheckFacts, system: DatabaseSystem) -> bool:
    """Whether a generation is of the system that the cluster is now."""
    leader = facts.leader
    return (
        leader is not None
        and system.system_identifier == leader.facts.system_identifier
        and system.version == stanza_version(leader.facts.postgres_version)
    )


def stanza_version(postgres_version: str) -> str:
    """The version as pgBackRest writes it: `15` for 15.18, `9.6` for 9.6.24."""
    words = postgres_version.split(".")
    return words[0] if int(words[0]) >= 10 else ".".join(words[:2])


def _repository(facts: CheckFacts, repository: RepositoryStatus) -> Iterator[Finding]:
    name = f"repo{repository.repo_key}"
    if repository.code in (STATUS_MISSING_STANZA_PATH, STATUS_MISSING_STANZA_DATA):
        unfinished = repository.code == STATUS_MISSING_STANZA_DATA
        yield error(
            "stanza_missing",
            facts.name,
            f"stanza {facts.stanza.name!r} {'is not whole' if unfinished else 'does not exist'} in {name}: "
            "archive-push and backup say [055]",
            Cure(command=f"pgdolly cleanup {facts.name}"),
        )
    elif not repository.readable:
        wrong = " (cipher type or passphrase are not the stanza's)" if repository.wrongly_deciphered else ""
        yield error(
            "repository_unreadable",
            facts.name,
            f"{name} cannot be read{wrong}: {repository.message}",
            _look(facts),
        )


def _systems(facts: CheckFacts) -> Iterator[Finding]:
    leader = facts.leader
    if leader is None or leader.facts.system_identifier is None:
        return
    for system in present_systems(facts):
        if accepts(facts, system):
            continue
        identifier, version = leader.facts.system_identifier, stanza_version(leader.facts.postgres_version)
        same_system = system.system_identifier == identifier
        yield error(
            "stanza_other_version" if same_system else "stanza_other_system",
            facts.name,
            f"in repo{system.repo_key} stanza {facts.stanza.name!r} is of PostgreSQL {system.version}, system "
            f"{system.system_identifier}; the cluster is PostgreSQL {version}, system {identifier}: "
            "backup says [051], archive-push [044]",
            Cure(command=f"pgdolly cleanup {facts.name}"),
        )


def _look(facts: CheckFacts) -> Cure:
    return Cure(command="pb info", on=facts.leader.name if facts.leader else None)
