"""The plan of a clone. Pure."""

from __future__ import annotations

from pgdolly.domain.target import RecoveryTarget, TargetType
from pgdolly.engine.plan import Lane, Plan, Stage
from pgdolly.engine.step import Step
from pgdolly.operations.clone.blueprint import CloneBlueprint, NewMember, StandbyPlan
from pgdolly.operations.promote.stages import Promotion, promotion_stages
from pgdolly.operations.reset.plan import own_passwords_stages, reset_stages
from pgdolly.steps.basebackup import TakeBaseBackup
from pgdolly.steps.configure import ConfigureMember
from pgdolly.steps.handover import HandOverLeader
from pgdolly.steps.promote import StopRecovered
from pgdolly.steps.promotion import KeepSlot
from pgdolly.steps.recover import PrepareRecovery, Recover
from pgdolly.steps.restore import RestoreDataDirectory
from pgdolly.steps.standby import FollowUpstream, FoundStandby, JoinStandby, StartStandby


def plan_clone(blueprint: CloneBlueprint) -> Plan:
    """From nodes that hold nothing to a cluster."""
    stages = [_configure(blueprint)]
    if blueprint.standby is not None:
        stages += _standby(blueprint, blueprint.standby)
        if blueprint.promote:
            stages += promotion_stages(_promotion(blueprint, blueprint.standby))
    if blueprint.reset is not None:
        members = tuple(member.instance for member in blueprint.members)
        stages += own_passwords_stages(blueprint.leader.instance, members)
        stages += reset_stages(blueprint.reset, fresh=True)
    return Plan(
        operation="clone",
        target=blueprint.new_cluster,
        summary=blueprint.summary,
        warnings=blueprint.warnings,
        facts=blueprint.facts,
        stages=tuple(stages),
    )


def _configure(blueprint: CloneBlueprint) -> Stage:
    return Stage(
        "configure the nodes",
        tuple(
            _lane(
                member,
                ConfigureMember(
                    instance=member.instance,
                    files=member.files,
                    directories=member.directories,
                    unit=member.unit,
                ),
            )
            for member in blueprint.members
        ),
    )


def _standby(blueprint: CloneBlueprint, standby: StandbyPlan) -> list[Stage]:
    leader, delayed = blueprint.leader, "recovery_min_apply_delay" in standby.configuration
    stages = []
    if standby.slot is not None and standby.source is not None:
        keep = KeepSlot(instance=standby.source, slot=standby.slot, kept=True)
        stages.append(Stage("have the source keep its WAL", (Lane(standby.source.member.name, (keep,)),)))
    stages.append(
        Stage(
            "fill the data directories",
            tuple(_lane(member, *_fill(member, standby)) for member in blueprint.members),
        )
    )
    follow = FollowUpstream(instance=leader.instance, upstream=standby.upstream, delayed=delayed)
    stages.append(
        Stage(
            "begin the standby cluster",
            (
                _lane(
                    leader,
                    _hand_over(leader),
                    FoundStandby(
                        instance=leader.instance,
                        standby_cluster=standby.configuration,
                        system_identifier=standby.system_identifier,
                    ),
                    StartStandby(instance=leader.instance, patroni_name=leader.name, leads=True),
                ),
            ),
        )
    )
    if blueprint.replicas:
        stages.append(
            Stage(
                "start the replicas",
                tuple(
                    _lane(
                        replica,
                        _hand_over(replica),
                        StartStandby(instance=replica.instance, patroni_name=replica.name, leads=False),
                    )
                    for replica in blueprint.replicas
                ),
            )
        )
    stages.append(Stage("catch up with the source", (_lane(leader, follow),)))
    if blueprint.replicas:
        stages.append(
            Stage(
                "see that all stream",
                tuple(
                    _lane(
                        replica,
                        JoinStandby(
                            instance=replica.instance,
                            leader=leader.instance,
                            patroni_name=replica.name,
                            delayed=delayed,
                        ),
                    )
                    for replica in blueprint.replicas
                ),
            )
        )
    return stages


def _fill(member: NewMember, standby: StandbyPlan) -> list[Step]:
    """Data, brought to a consistent state by a server that nobody sees.

    Patroni 4.0 would take a copy that was never started for a crashed primary.
    """
    instance, resolved = member.instance, standby.resolved
    steps: list[Step]
    if resolved is None or member.source is None:
        steps = [TakeBaseBackup(instance=instance, upstream=standby.upstream)]
    else:
        steps = [
            RestoreDataDirectory(
                instance=instance, source=member.source, database_size=resolved.backup.database_size
            )
        ]
    return [
        *steps,
        PrepareRecovery(instance=instance, wait_for_more=True),
        Recover(
            instance=instance,
            target=RecoveryTarget(type=TargetType.DEFAULT),
            timeline="latest",
            mode="wait",
            first_segment=resolved.first_segment if resolved is not None else None,
            last_segment=resolved.last_segment if resolved is not None else None,
        ),
        StopRecovered(instance=instance),
    ]


def _hand_over(member: NewMember) -> HandOverLeader:
    """A standby archives nothing, whatever its archive_mode says; once it is promoted, it is to archive at once."""
    return HandOverLeader(
        instance=member.instance, archive=True, placeholders=(), spool_directory=None, standby=True
    )


def _promotion(blueprint: CloneBlueprint, standby: StandbyPlan) -> Promotion:
    return Promotion(
        leader=blueprint.leader.instance,
        replicas=tuple(replica.instance for replica in blueprint.replicas),
        stanza=blueprint.new_cluster,
        upstream=standby.upstream,
        slot=standby.slot,
        source=standby.source,
        backup=blueprint.backup,
    )


def _lane(member: NewMember, *steps: Step) -> Lane:
    return Lane(member.name, steps)
