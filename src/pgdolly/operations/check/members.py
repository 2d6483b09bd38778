"""Findings about the members: a run that holds them, silence, no leader, no PostgreSQL. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from pgdolly.domain.cluster import Member
from pgdolly.domain.errors import InvalidInput, NoCluster
from pgdolly.drivers import services
from pgdolly.operations.check.finding import Cure, Finding, error
from pgdolly.operations.check.observe import CheckFacts
from pgdolly.operations.locking import promotion_given_up
from pgdolly.operations.look import MemberLook

STANZA_OPTION = re.compile(r"--stanza[= ]['\"]?([^\s'\"]+)")


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
            f"run {run_id} ({lock.operation}, begun {lock.began_at} on {lock.controller}) is under way or paused, "
            "or failed or was interrupted"
            + (": nothing else is judged before it has ended" if is_half_made(facts) else ""),
            Cure(command=f"pgdolly resume {run_id}"),
        )


def is_half_made(facts: CheckFacts) -> bool:
    """Whether a run holds the cluster that replaces its data; a clean-up leaves every member as it is."""
    return any(
        look.facts.lock is not None and look.facts.lock.operation != "cleanup" for look in facts.look.members
    )


def is_unmade(facts: CheckFacts) -> bool:
    """Whether all that there is of the cluster is what a clone left that was given up: nothing of it is in use."""
    looks, silent = facts.look.members, facts.look.facts.silent
    return (
        facts.leader is None
        and any(
            look.facts.abandoned is not None and look.facts.abandoned.operation == "clone" for look in looks
        )
        and all(look.private or not look.facts.running for look in looks)
        and not any(look.facts.cluster is not None and look.facts.cluster.paused for look in looks)
        and all(isinstance(problem, NoCluster) for _, problem in silent)
    )


def unmade_findings(facts: CheckFacts) -> Iterator[Finding]:
    """The one thing to say of such a cluster: what else it lacks, it has never had."""
    left = [(look.name, look.facts.abandoned) for look in facts.look.members]
    [run_id, *_] = [abandoned.run_id for _, abandoned in left if abandoned is not None]
    yield error(
        "half_made",
        tuple(name for name, abandoned in left if abandoned is not None),
        f"run {run_id}, a clone, was given up half way: what lies there is a part of a cluster, of which no server is "
        "in use",
        Cure(command=f"pgdolly drop {facts.name}, then the clone again"),
    )


def unreachable_findings(facts: CheckFacts) -> Iterator[Finding]:
    """Members whose nodes cannot be looked at, whatever goes on with the cluster."""
    for member, problem in facts.look.facts.silent:
        if isinstance(problem, NoCluster):
            continue
        next_command = problem.next_command or f"pgdolly status {facts.name}"
        yield error(
            "member_unreachable",
            member.name,
            f"it cannot be looked at ({problem}): nobody knows whether it would archive",
            Cure(command=next_command),
        )


def empty_findings(facts: CheckFacts) -> Iterator[Finding]:
    """Members whose nodes were looked at and hold nothing, unless that is a run's to change, or a part of its ruin."""
    empty = [(m, problem) for m, problem in facts.look.facts.silent if isinstance(problem, NoCluster)]
    if not empty or is_half_made(facts) or is_unmade(facts):
        return
    addresses = ", ".join(member.node.address for member, _ in empty)
    cure = f"add it as the others were added, or take {addresses} out of {facts.name} in the inventory"
    if not facts.look.members:
        cure = empty[0][1].next_command or f"pgdolly status {facts.name}"
    yield error("member_empty", tuple(m.name for m, _ in empty), empty[0][1].what, Cure(command=cure))


def member_findings(facts: CheckFacts) -> Iterator[Finding]:
    """What keeps a member from being what Patroni and the inventory say it is."""
    for look in facts.look.members:
        if not look.private or look.facts.abandoned is not None:
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
    given_up = promotion_given_up(facts.look.facts)
    if given_up is not None and facts.leader is not None:
        yield error(
            "promotion_given_up",
            facts.name,
            f"run {given_up.run_id} ({given_up.operation}) was given up before this was a cluster of its own: its "
            "passwords and its way to the source's archive may be the source's still, which may keep WAL for it, too",
            Cure(command=f"pgdolly promote {facts.name}"),
        )
    yield from _stanza_names(facts)


def patronictl(look: MemberLook, words: str) -> str:
    """A patronictl command line for this member's cluster."""
    member = look.facts.member
    program = PurePosixPath(member.patroni)
    name = program.with_name("patronictl") if program.is_absolute() else "patronictl"
    return f"{name} -c {member.patroni_config} {words}"


def _one_member(facts: CheckFacts, look: MemberLook) -> Iterator[Finding]:
    view, abandoned = look.facts.cluster, look.facts.abandoned
    if abandoned is not None and (look.private or not look.facts.running):
        # Never "start Patroni": it would replay past the target, and promote there.
        yield error(
            "half_made",
            look.name,
            f"run {abandoned.run_id} was given up half way: the data is neither the old nor the new one",
            Cure(command=f"pgdolly reset {facts.name}, with the source and target that it is to have"),
        )
        return
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
        start = services.start_command(member)
    except InvalidInput:  # the service manager is one that pgdolly does not drive
        return Cure(command=f"sudo systemctl start {member.service}", on=member.name)
    sudo = "sudo " if start.run_as == "root" else ""
    return Cure(command=f"{sudo}{start.shown()}", on=member.name)


def _stanza_names(facts: CheckFacts) -> Iterator[Finding]:
    """Members' pgBackRest configurations that name another stanza than the rest, or than archive_command does."""
    names = {look.name: look.facts.stanza for look in facts.look.members}
    if len(set(names.values())) > 1:
        listed = ", ".join(f"{stanza!r} on {member}" for member, stanza in names.items())
        what = f"the members' pgBackRest configurations name different stanzas: {listed}"
    else:
        commands = {
            look.server.archive_command.value for look in facts.look.members if look.server is not None
        }
        if facts.name in names.values() or facts.name not in {pushed_stanza(command) for command in commands}:
            return
        what = (
            f"pgBackRest's configuration names stanza {facts.stanza.name!r}, archive_command pushes into "
            f"{facts.name!r}"
        )
    wrong = [look for look in facts.look.members if look.facts.stanza != facts.name]
    yield error(
        "stanza_differs",
        tuple(look.name for look in wrong),
        what,
        *(rename_stanza(look, facts.name) for look in wrong),
    )


def rename_stanza(look: MemberLook, name: str) -> Cure:
    """The sections of a member's stanza in pgBackRest's configuration get another name."""
    config = look.facts.member.pgbackrest_config or "/etc/pgbackrest/pgbackrest.conf"
    return Cure(
        command=f"sed -i 's/^\\[{look.facts.stanza}\\(:.*\\)\\?\\]/[{name}\\1]/' {config}", on=look.name
    )


def pushed_stanza(archive_command: str) -> str | None:
    """The stanza that an archive_command names, if it names one."""
    found = STANZA_OPTION.search(archive_command)
    return found[1] if found is not None else None
