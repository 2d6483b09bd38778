"""Decide a clone: from what its members are filled, what is written on their nodes; refuse what cannot be."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pgdolly.domain.cluster import Member
from pgdolly.domain.errors import PgdollyError
from pgdolly.domain.target import RecoveryTarget, TargetType
from pgdolly.drivers.observation import MemberFacts, observe_member
from pgdolly.drivers.pgbackrest import RestoreSource, archive_get
from pgdolly.drivers.postgres import Instance
from pgdolly.drivers.repository import upstream_path
from pgdolly.drivers.store import StoreView, read_store
from pgdolly.operations.clone.blank import Blank, look_at_blank
from pgdolly.operations.clone.blueprint import CloneBlueprint, NewMember, StandbyPlan
from pgdolly.operations.clone.describe import describe
from pgdolly.operations.clone.observe import CloneFacts
from pgdolly.operations.clone.patroni_yml import archive_command_of
from pgdolly.operations.clone.refusals import (
    refuse_former_stanza,
    refuse_living,
    refuse_other_history,
    refuse_too_small,
    refuse_unfit,
)
from pgdolly.operations.clone.request import CloneRequest
from pgdolly.operations.request import NOTHING
from pgdolly.operations.reset.decide import ASYNC_SAFE_SINCE, backup_set_fact
from pgdolly.operations.reset.decide import decide as decide_reset
from pgdolly.operations.reset.observe import ResetFacts
from pgdolly.operations.site import ClusterFacts, instance_of
from pgdolly.recovery.resolved import ResolvedRecovery
from pgdolly.recovery.select import resolve
from pgdolly.steps.promotion import slot_for
from pgdolly.steps.world import World
from pgdolly.transport.together import together


@dataclass(frozen=True, slots=True)
class Decided:
    """The blueprint, the world with the drafts that its plan writes, and what Patroni's store held."""

    blueprint: CloneBlueprint
    world: World
    store: StoreView


async def decide(facts: CloneFacts, world: World, *, resumed: str | None = None) -> Decided:
    """:param resumed: the run that holds the nodes already, and has written to some of them, perhaps.

    :raises Refused, InvalidInput: before anything is touched, with what stands in the way."""
    request = facts.request
    resolved, unused = (None, None) if request.to_a_point else filled_from(facts)
    blanks = await _look_at_blanks(facts, world, resolved, resumed)
    first = blanks[facts.first.name]
    store = await _look_into_store(facts, world, first)
    for blank in blanks.values():
        refuse_unfit(blank.facts, archive_command_of(blank.configuration), facts, resolved)
    if not request.to_a_point and resolved is None:
        await _refuse_too_small(facts, world, blanks.values())
    world = dataclasses.replace(
        world,
        repository=facts.repository if request.to_a_point else None,
        drafts={name: blank.drafts for name, blank in blanks.items()},
        passwords=facts.new.passwords,
    )
    others = tuple(blank for blank in blanks.values() if blank is not first)
    blueprint = CloneBlueprint(
        source_cluster=facts.source.cluster.name,
        new_cluster=facts.new.name,
        leader=_new_member(first, facts, resolved),
        replicas=tuple(_new_member(blank, facts, resolved) for blank in others),
        promote=not request.to_a_point and not request.standby,
        backup=request.backup,
    )
    if request.to_a_point:
        reset = await decide_reset(reset_facts(facts, blanks), _as_reset(request), world)
        blueprint = dataclasses.replace(
            blueprint, reset=dataclasses.replace(reset, backup_after=request.backup)
        )
    else:
        refuse_former_stanza(facts)
        blueprint = dataclasses.replace(blueprint, standby=_standby(facts, resolved))
    summary, warnings = describe(blueprint, facts, store, unused=unused)
    return Decided(
        dataclasses.replace(
            blueprint,
            summary=summary,
            warnings=warnings,
            facts=tuple(sorted(present_facts(facts, store, blueprint.resolved).items())),
        ),
        world,
        store,
    )


async def _look_into_store(facts: CloneFacts, world: World, first: Blank) -> StoreView:
    """What it holds by the new cluster's name, through the configuration that its first member is going to have.

    :raises Refused: if a cluster of that name lives, on whichever nodes.
    """
    try:
        store = await read_store(world.shell(first.member), first.member, first.configuration)
    except PgdollyError as error:
        error.untouched = NOTHING
        raise
    refuse_living(facts.new, store)
    return store


async def _refuse_too_small(facts: CloneFacts, world: World, blanks: Iterable[Blank]) -> None:
    """A base backup is as large as what it copies."""
    source = facts.source.leader or facts.source.members[0]
    measured = await observe_member(world.shell(source.member), source.member, measure=True)
    for blank in blanks:
        refuse_too_small(blank.facts, measured.data_bytes or 0)


def _as_reset(request: CloneRequest) -> Any:
    return request.pitr.model_copy(update={"cluster": request.source, "cleanup": True})


def reset_facts(facts: CloneFacts, blanks: dict[str, Blank]) -> ResetFacts:
    """The new cluster as a target that was never started."""
    assert facts.catalogue is not None
    members = [blank.facts for blank in blanks.values()]
    leader = blanks[facts.first.name].facts
    return ResetFacts(
        target=ClusterFacts(cluster=facts.new, members=tuple(members)),
        source=facts.source,
        source_stanza=facts.source_stanza,
        target_stanza=facts.new.name,
        catalogue=facts.catalogue,
        target_catalogue=facts.new_catalogue,
        leader=leader,
        repository=facts.repository,
    )


def filled_from(facts: CloneFacts) -> tuple[ResolvedRecovery | None, PgdollyError | None]:
    """The newest backup set; None for base backups, with what is wrong with the backups if none were asked for.

    :raises PgdollyError: what is wrong with the backups, if they were: nobody expects all of a running source to be
        read then.
    """
    if facts.request.via == "stream":
        return None, None
    if facts.catalogue is None:
        return None, facts.no_catalogue
    position = facts.position
    try:
        resolved = resolve(
            facts.catalogue,
            target=RecoveryTarget(type=TargetType.DEFAULT),
            backup_set=facts.request.pitr.set,
            repo_key=facts.request.pitr.repo_key,
            system_identifier=position.system_identifier if position is not None else None,
            now=datetime.now(UTC),
            cluster=facts.source.cluster.name,
        )
        if position is not None:
            refuse_other_history(facts, resolved, position)
    except PgdollyError as error:
        if not facts.request.names_backups:
            return None, error
        if "--timeline" in (error.next_command or ""):  # which a clone of now does not take
            error.next_command = "leave --via, --repo and --set out, for base backups of the running source"
        raise
    return resolved, None


async def _look_at_blanks(
    facts: CloneFacts, world: World, resolved: ResolvedRecovery | None, resumed: str | None
) -> dict[str, Blank]:
    template = facts.template_cluster.members[0]

    async def look(member: Member) -> Blank:
        try:
            return await look_at_blank(
                world,
                member,
                template=facts.template,
                template_facts=template,
                neighbours=facts.template_cluster.cluster,
                new=facts.new,
                restore_command=None
                if resolved is None
                else archive_get(
                    member,
                    # It may come to a switch of timelines at any time.
                    dataclasses.replace(_source(member, facts, resolved, "0"), archive_async=False),
                    member.data_directory,
                ),
                repository=None if resolved is None else facts.repository,
                delay=facts.request.delay,
                resumed=resumed,
            )
        except PgdollyError as error:
            error.where = error.where or member.name
            error.untouched = NOTHING
            raise

    found = await together(*(look(member) for member in facts.new.members))
    return {blank.member.name: blank for blank in found}


def _source(member: Member, facts: CloneFacts, resolved: ResolvedRecovery, version: str) -> RestoreSource:
    numbers = tuple(int(part) for part in version.split(".")[:2])
    return RestoreSource(
        stanza=facts.source_stanza,
        repo_key=resolved.repo_key,
        backup_set=resolved.backup_set,
        keep_archiving=True,
        process_max=facts.request.pitr.process,
        config=upstream_path(member),
        archive_async=not resolved.crosses_timelines or numbers >= ASYNC_SAFE_SINCE,
    )


def _new_member(blank: Blank, facts: CloneFacts, resolved: ResolvedRecovery | None) -> NewMember:
    member = blank.member
    superuser = facts.source.members[0].superuser if facts.source.members else blank.facts.superuser
    return NewMember(
        instance=dataclasses.replace(instance_of(blank.facts), superuser=superuser),
        files=blank.paths,
        directories=blank.directories,
        source=None if resolved is None else _source(member, facts, resolved, blank.facts.pgbackrest_version),
    )


def _standby(facts: CloneFacts, resolved: ResolvedRecovery | None) -> StandbyPlan:
    assert facts.upstream is not None and facts.position is not None
    request = facts.request
    slot = slot_for(facts.new.name) if request.slot else None
    configuration: dict[str, Any] = {
        "host": facts.upstream.host,
        "port": facts.upstream.ports[0],  # the same for all of them
        "create_replica_methods": ["basebackup"],
    }
    if slot is not None:
        configuration["primary_slot_name"] = slot
    if request.delay is not None:
        configuration["recovery_min_apply_delay"] = request.delay
    source = facts.source.leader or next(iter(facts.source.members), None)
    return StandbyPlan(
        upstream=facts.upstream,
        configuration=configuration,
        system_identifier=facts.position.system_identifier,
        resolved=resolved,
        slot=slot,
        source=_instance(source) if slot is not None and source is not None else None,
    )


def _instance(facts: MemberFacts) -> Instance:
    return instance_of(facts)


def present_facts(facts: CloneFacts, store: StoreView, resolved: ResolvedRecovery | None) -> dict[str, str]:
    """What the plan stands on: it is stale if one of these has changed when it is to be carried out.

    :param resolved: what the plan restores; None: base backups.
    """
    found = {f"entries of {facts.new.name} in Patroni's store": _left_by(store)}
    if facts.position is not None:
        found[f"system identifier of {facts.source.cluster.name}"] = str(facts.position.system_identifier)
    if resolved is not None and facts.catalogue is not None:
        system = facts.catalogue.system(resolved.history_id, resolved.repo_key)
        if system is not None:
            found[f"system identifier of stanza {resolved.stanza}"] = str(system.system_identifier)
        found |= backup_set_fact(facts.catalogue, resolved)
    return found


def _left_by(store: StoreView) -> str:
    return "none" if store.empty else f"those of a former cluster, of system {store.initialize or 'unknown'}"
