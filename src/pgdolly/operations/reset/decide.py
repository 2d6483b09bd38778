"""Decide a reset: choose backup set and timeline, refuse what cannot be, and write the blueprint."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import PurePosixPath

from pgdolly.domain.backup import Catalogue
from pgdolly.domain.target import TargetType
from pgdolly.drivers.observation import MemberFacts, observe_member
from pgdolly.drivers.pgbackrest import RestoreSource
from pgdolly.drivers.repository import repository_file
from pgdolly.operations.request import PitrRequest
from pgdolly.operations.reset.beside import refuse_beside
from pgdolly.operations.reset.blueprint import MemberBlueprint, ResetBlueprint, StanzaNeed
from pgdolly.operations.reset.describe import describe, left_out, warnings_of
from pgdolly.operations.reset.links import refuse_links
from pgdolly.operations.reset.observe import ResetFacts
from pgdolly.operations.reset.readers import Readers, ask_for_set, refuse_copies
from pgdolly.operations.reset.refusals import (
    lacks_space,
    refuse_before_choosing,
    refuse_contents,
    refuse_full,
    refuse_unfit,
)
from pgdolly.operations.site import instance_of
from pgdolly.recovery.select import ResolvedRecovery, resolve
from pgdolly.steps.world import World
from pgdolly.transport.together import together

# An asynchronous archive-get can end a recovery early where the timeline switches: pgBackRest issue 2423,
# fixed in 2.59.
ASYNC_SAFE_SINCE = (2, 59)


async def decide(facts: ResetFacts, request: PitrRequest, world: World) -> ResetBlueprint:
    """:raises Refused, InvalidInput: before anything is touched, with what stands in the way."""
    target = request.target()
    refuse_before_choosing(facts, request)
    resolved = resolve(
        facts.catalogue,
        target=target,
        backup_set=request.set,
        timeline=request.timeline,
        repo_key=request.repo_key,
        system_identifier=_source_system(facts),
        now=datetime.now(UTC),
        cluster=facts.source.cluster.name,
    )
    if (
        facts.in_place
        and facts.repository is None
        and target.type is TargetType.DEFAULT
        and resolved.timeline == resolved.highest_timeline
    ):
        # Nobody else archives there, and the leader archives its last segment when it stops: nothing is to be held
        # back, and a pin would cut off what was committed since the last switch. If it cannot, the plan warns.
        resolved = dataclasses.replace(resolved, pinned_segment=None)
    refuse_unfit(facts, resolved, request)
    replicas = facts.target.members if request.data is None else ()
    readers = await ask_for_set(facts, resolved, world, replicas)
    refuse_contents(facts, readers.contents, request)
    refuse_copies(facts, readers, request)
    await refuse_links(facts, resolved, request, world)
    if request.data is not None:
        await refuse_beside(facts, resolved, PurePosixPath(request.data), world)
    else:
        await _refuse_full(facts, resolved, request, world)
    return _blueprint(facts, request, resolved, readers)


def _source_system(facts: ResetFacts) -> int | None:
    """The system that the source is now: its stanza may remember former ones."""
    leader = facts.source.leader or next(iter(facts.source.members), None)
    return leader.system_identifier if leader is not None else None


async def _refuse_full(
    facts: ResetFacts, resolved: ResolvedRecovery, request: PitrRequest, world: World
) -> None:
    async def check(member: MemberFacts) -> None:
        if lacks_space(member, resolved, keep=request.backup):
            if member.has_data:
                # Only now: to measure a large directory takes a while.
                member = await observe_member(world.shell(member.member), member.member, measure=True)
            refuse_full(member, resolved, keep=request.backup)

    await together(*(check(member) for member in facts.target.members))


def _blueprint(
    facts: ResetFacts, request: PitrRequest, resolved: ResolvedRecovery, readers: Readers
) -> ResetBlueprint:
    now = datetime.now(UTC)
    kept = f"{facts.leader.data_directory.name}.{now:%Y%m%d-%H%M%S}" if request.backup else None
    members = {
        member.member.name: dataclasses.replace(
            _member_blueprint(member, facts, request, resolved, kept),
            unreadable=readers.unreadable.get(member.member.name),
        )
        for member in facts.target.members
    }
    leader = members.pop(facts.leader.member.name)
    if request.data is not None:
        leader = _beside(leader, PurePosixPath(request.data), kept)
        members.clear()
    taken = max(
        resolved.highest_timeline,
        *own_timelines(facts, resolved),
        resolved.timeline,
    )
    blueprint = ResetBlueprint(
        target_cluster=facts.target.cluster.name,
        source_cluster=facts.source.cluster.name,
        stanza=facts.target_stanza,
        resolved=resolved,
        leader=leader,
        replicas=tuple(members.values()),
        action=request.action,
        archive=request.archive,
        cleanup=request.cleanup,
        stanza_need=_stanza_need(facts, resolved),
        placeholders=tuple(range(resolved.timeline + 1, taken + 1)),
        segment_size=resolved.first_segment.size,
        beside=request.data is not None,
        own_passwords=facts.borrowed and request.data is None,
        repository=facts.repository.masked() if facts.repository is not None else (),
        left_out=tuple(left_out(member) for member, _ in facts.target.silent if request.data is None),
        facts=tuple(sorted(present_facts(facts, resolved).items())),
    )
    return dataclasses.replace(
        blueprint, summary=describe(blueprint, facts), warnings=warnings_of(blueprint, facts)
    )


def _member_blueprint(
    member: MemberFacts,
    facts: ResetFacts,
    request: PitrRequest,
    resolved: ResolvedRecovery,
    kept: str | None,
) -> MemberBlueprint:
    version = tuple(int(part) for part in member.pgbackrest_version.split(".")[:2])
    return MemberBlueprint(
        instance=dataclasses.replace(
            instance_of(member, port=request.port), superuser=_superuser_of_source(member, facts)
        ),
        patroni_name=member.patroni_name,
        spool_directory=str(member.spool_path / "archive" / member.stanza),
        kept=kept if member.has_data else None,
        source=RestoreSource(
            stanza=resolved.stanza,
            repo_key=resolved.repo_key,
            backup_set=resolved.backup_set,
            keep_archiving=request.archive or request.cleanup,
            process_max=request.process,
            db_include=request.db_include,
            db_exclude=request.db_exclude,
            link_map=tuple(sorted(request.link_map.items())),
            pinned_segment=resolved.pinned_segment,
            config=repository_file(member.member) if facts.repository is not None else None,
            archive_async=not resolved.crosses_timelines or version >= ASYNC_SAFE_SINCE,
        ),
    )


def _beside(leader: MemberBlueprint, data: PurePosixPath, kept: str | None) -> MemberBlueprint:
    """The leader's node, with another directory: Patroni and the cluster never see it."""
    return dataclasses.replace(
        leader,
        instance=dataclasses.replace(leader.instance, data_directory=data),
        kept=kept and f"{data.name}.{kept.rpartition('.')[2]}",
    )


def _superuser_of_source(member: MemberFacts, facts: ResetFacts) -> str:
    """Who can be asked as before the roles are the target's: the source's superuser, if the source answers."""
    return facts.source.members[0].superuser if facts.source.members else member.superuser


def own_timelines(facts: ResetFacts, resolved: ResolvedRecovery) -> tuple[int, ...]:
    """Every timeline that the target has seen, in any generation of its stanza and on its members: none may come again.

    A member's present timeline is in no archive if the target is a clone that was never cleaned up. If it came again,
    a member that is down now could later join the new one with the old one's data.
    """
    catalogue = facts.target_catalogue
    archived = [t for archive in catalogue.archives for t in archive.timelines] if catalogue else []
    present = [
        timeline
        for member in facts.target.members
        if member.system_identifier == resolved.system_identifier
        for timeline in _seen_by(member)
    ]
    return (*archived, *present)


def _seen_by(member: MemberFacts) -> tuple[int, ...]:
    """The timelines of a member, and of the others as its Patroni sees them."""
    others = member.cluster.members if member.cluster is not None else ()
    return (member.timeline or 1, *(other.timeline or 1 for other in others))


def _stanza_need(facts: ResetFacts, resolved: ResolvedRecovery) -> StanzaNeed:
    current = facts.target_catalogue.current if facts.target_catalogue else None
    if current is None:
        return "create"
    return "nothing" if current.system_identifier == resolved.system_identifier else "upgrade"


def present_facts(facts: ResetFacts, resolved: ResolvedRecovery) -> dict[str, str]:
    """What the plan stands on: it is stale if one of these has changed when it is to be carried out."""
    found = {f"leader of {facts.target.cluster.name}": facts.leader.member.name}
    # One fact, because one that is new makes no plan stale: a member that was left out and is back by now would be
    # neither locked nor stopped, and its Patroni might take the lead with the old data.
    answering = sorted(member.member.name for member in facts.target.members)
    found[f"members of {facts.target.cluster.name} that answer"] = ", ".join(answering)
    if facts.upstream is not None:
        found[f"upstream of {facts.target.cluster.name}"] = facts.upstream.name
    # Not each member's own: while a former leader comes back, and whenever a replica has replayed a checkpoint, its
    # control file tells of another timeline, and the newest one is the same.
    seen = [timeline for member in facts.target.members for timeline in _seen_by(member)]
    found[f"newest timeline of {facts.target.cluster.name}"] = str(max(seen))
    for member in facts.target.members:
        name = member.member.name
        found[f"system identifier of {name}"] = str(member.system_identifier or "none")
        found[f"data directory of {name}"] = str(member.data_directory)
        found[f"version of PostgreSQL on {name}"] = member.postgres_version
    return found | backup_set_fact(facts.catalogue, resolved)


def backup_set_fact(catalogue: Catalogue, resolved: ResolvedRecovery) -> dict[str, str]:
    """Whether the one set that is restored is there: others may come and go."""
    used = (resolved.repo_key, resolved.backup_set)
    if used not in {(backup.repo_key, backup.label) for backup in catalogue.backups}:
        return {}
    return {f"backup set {resolved.backup_set} of {resolved.stanza} in repo{resolved.repo_key}": "there"}
