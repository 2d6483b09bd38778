"""Findings about the members: a run that holds them, silence, no leader, no PostgreSQL. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from pgdolly.domain.cluster import Member
from pgdolly.domain.errors import InvalidInput
from pgdolly.drivers import services
from pgdolly.operations.check.finding import Cure, Finding, error
from pgdolly.operations.check.observe import CheckFacts
from pgdolly.operations.look import MemberLook


def run_findings(facts: CheckFacts) -> Iterator[Finding]:
    """Runs of pgdolly's that hold members."""
    held: dict[str, list[MemberLook]] = {}
    for look in facts.look.members:
        if look.facts.lock is not None:
            held.setdefault(look.facts.lock.run_id, []).append(look)
    for run_id, looks in held.items():
        lock = looks[0].facts.lock
        assert lock is not None
        yield error(
            "run_open",
            tuple(look.name for look in looks),
            f"run {run_id} ({lock.operation}, begun {lock.began_at} on {lock.controller}) is under way, paused or "
            "was interrupted"
            + (": nothing else is judged before it has ended" if is_half_made(facts) else ""),
            Cure(command=f"pgdolly resume {run_id}"),
        )


def is_half_made(facts: CheckFacts) -> bool:
    """Whether a run holds the cluster that replaces its data; a clean-up leaves every member as it is."""
    return any(
        look.facts.lock is not None and look.facts.lock.operation != "cleanup" for look in facts.look.members
    )


def member_findings(facts: CheckFacts) -> Iterator[Finding]:
    """What keeps a member from being what Patroni and the inventory say it is."""
    for member, problem in facts.look.facts.silent:
        next_command = problem.next_command or f"pgdolly status {facts.name}"
        yield error(
            "member_unreachable",
            member.name,
            f"it cannot be looked at ({problem}): nobody knows whether it would archive",
            Cure(command=next_command),
        )
    for look in facts.look.members:
        if not look.private:
            yield from _one_member(facts, look)
    if facts.look.members and facts.leader is None:
        yield error(
            "no_leader",
            facts.name,
            "no member leads: nothing is archived, and nothing can be backed up",
            Cure(
                command=patronictl(facts.look.members[0], f"list {facts.name}"), on=facts.look.members[0].name
            ),
        )
    yield from _stanza_names(facts)


def patronictl(look: MemberLook, words: str) -> str:
    """A patronictl command line for this member's cluster."""
    member = look.facts.member
    program = PurePosixPath(member.patroni)
    name = program.with_name("patronictl") if program.is_absolute() else "patronictl"
    return f"{name} -c {member.patroni_config} {words}"


def _one_member(facts: CheckFacts, look: MemberLook) -> Iterator[Finding]:
    view = look.facts.cluster
    if view is None:
        yield error("patroni_down", look.name, "Patroni does not answer", _start(look.facts.member))
    elif not look.facts.running:
        paused = " (the cluster is paused)" if view.paused else ""
        yield error(
            "postgres_down",
            look.name,
            f"PostgreSQL does not run{paused}",
            Cure(
                command=patronictl(look, f"restart {facts.name} {look.facts.patroni_name} --force"),
                on=look.name,
            ),
        )
    if look.problem is not None:
        yield error(
            "postgres_silent",
            look.name,
            f"PostgreSQL runs but does not answer: {look.problem.what}",
            Cure(command=patronictl(look, f"list {facts.name}"), on=look.name),
        )


def _start(member: Member) -> Cure:
    try:
        return Cure(command=services.start_command(member).shown(), on=member.name)
    except InvalidInput:  # the service manager is one that pgdolly does not drive
        return Cure(command=f"systemctl start {member.service}", on=member.name)


def _stanza_names(facts: CheckFacts) -> Iterator[Finding]:
    names = {look.name: look.facts.stanza for look in facts.look.members}
    if len(set(names.values())) > 1:
        listed = ", ".join(f"{stanza!r} on {member}" for member, stanza in names.items())
        member = next(iter(facts.look.members)).facts.member
        config = member.pgbackrest_config or "/etc/pgbackrest/pgbackrest.conf"
        yield error(
            "stanza_differs",
            tuple(names),
            f"the members' pgBackRest configurations name different stanzas: {listed}",
            Cure(command=f"edit {config}: one section with pg1-path, of one name on every member"),
        )
