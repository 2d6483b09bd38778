"""The plan of a reset, and of going on with a paused one. Pure."""

from __future__ import annotations

import dataclasses

from pgdolly.domain.target import TargetAction, TargetType
from pgdolly.drivers.postgres import Instance
from pgdolly.engine.plan import Lane, Plan, Stage
from pgdolly.engine.step import Step
from pgdolly.operations.reset.blueprint import MemberBlueprint, ResetBlueprint
from pgdolly.recovery.select import ResolvedRecovery
from pgdolly.steps.copy import CopyLeader
from pgdolly.steps.handover import HandOverLeader, StartLeader
from pgdolly.steps.join import JoinReplica
from pgdolly.steps.member import KeepDataDirectory, StopMember
from pgdolly.steps.passwords import MakePasswords, UseOwnPasswords
from pgdolly.steps.place import PlaceRepository
from pgdolly.steps.promote import PromoteLeader, SetRoles, StopRecovered
from pgdolly.steps.recover import HoldReplica, Mode, PrepareRecovery, Recover
from pgdolly.steps.restore import RestoreDataDirectory
from pgdolly.steps.stanza import CheckStanza, MendStanza, TakeBackup
from pgdolly.steps.store import BeginStore, FenceStore, ResetStore
from pgdolly.steps.verify import VerifyCluster


def plan_reset(blueprint: ResetBlueprint) -> Plan:
    """From a running target to its new life; with action pause or shutdown, to the target and no further."""
    return _plan(blueprint, reset_stages(blueprint))


def reset_stages(blueprint: ResetBlueprint, *, fresh: bool = False) -> tuple[Stage, ...]:
    """The stages. :param fresh: the target's nodes hold nothing that could be stopped."""
    stages = _place_repository(blueprint)
    if not blueprint.beside and not fresh:
        stages += _stop(blueprint)
    if blueprint.own_passwords:
        members = tuple(member.instance for member in blueprint.members)
        stages += own_passwords_stages(blueprint.leader.instance, members)
    stages.append(_recover(blueprint, restore=True))
    if blueprint.action is TargetAction.PROMOTE:
        stages += _finish(blueprint, fresh=fresh)
    return tuple(stages)


def own_passwords_stages(keeper: Instance, members: tuple[Instance, ...]) -> list[Stage]:
    """Choose them and write them down; the roles get them once the leader is promoted.

    :param keeper: keeps them until the run ends.
    """
    return [
        Stage("choose passwords", (Lane(keeper.member.name, (MakePasswords(instance=keeper),)),)),
        Stage(
            "use its own passwords",
            tuple(
                Lane(member.member.name, (UseOwnPasswords(instance=member, keeper=keeper),))
                for member in members
            ),
        ),
    ]


def plan_finish(blueprint: ResetBlueprint) -> Plan:
    """Promote a run that stands at its target, and finish it."""
    stages = []
    if blueprint.action is TargetAction.SHUTDOWN:
        # It was to be down; to be promoted it has to stand at the target again.
        stages.append(Stage("start the leader at the target", (_leader_again(blueprint),)))
    return _plan(blueprint, (*stages, *_finish(blueprint, fresh=False)))


def plan_move_on(moved: ResetBlueprint) -> Plan:
    """Go on to a later target, on the data that is there, and stand there again.

    `pg_wal_replay_resume()` would end the recovery; a restart with the new target goes on with it.
    """
    return _plan(moved, (_recover(moved, restore=False),))


def moved_on(blueprint: ResetBlueprint, resolved: ResolvedRecovery) -> ResetBlueprint:
    """The same reset with a later target; it stands there, paused, even if it was shut down before."""
    target = resolved.target
    return dataclasses.replace(
        blueprint,
        resolved=resolved,
        action=TargetAction.PAUSE,
        summary=(
            f"{blueprint.target_cluster} goes on to {target}, without a new restore",
            *blueprint.summary[1:],
        ),
    )


def _plan(blueprint: ResetBlueprint, stages: tuple[Stage, ...]) -> Plan:
    return Plan(
        operation="reset",
        target=blueprint.target_cluster,
        summary=blueprint.summary,
        warnings=blueprint.warnings,
        facts=blueprint.facts,
        stages=stages,
    )


def _lane(member: MemberBlueprint, *steps: Step) -> Lane:
    return Lane(member.member.name, steps)


def _place_repository(blueprint: ResetBlueprint) -> list[Stage]:
    """Before anything is stopped: it is the one step whose secrets no journal holds."""
    if not blueprint.repository:
        return []
    lanes = tuple(
        _lane(
            member,
            PlaceRepository(instance=member.instance, stanza=blueprint.stanza, options=blueprint.repository),
        )
        for member in blueprint.restored
    )
    return [Stage("lead the members to the source's repository", lanes)]


def _stop(blueprint: ResetBlueprint) -> list[Stage]:
    """Replicas first: stopped after the leader they would hold an election."""
    stages = []
    if blueprint.replicas:
        lanes = tuple(_lane(replica, StopMember(instance=replica.instance)) for replica in blueprint.replicas)
        stages.append(Stage("stop the replicas", lanes))
    stages.append(
        Stage(
            "stop the leader",
            (
                _lane(
                    blueprint.leader,
                    StopMember(instance=blueprint.leader.instance),
                    FenceStore(instance=blueprint.leader.instance),
                ),
            ),
        )
    )
    return stages


def _recover(blueprint: ResetBlueprint, *, restore: bool) -> Stage:
    title = "restore and replay to the target" if restore else "replay on to the target"
    steps_of = {member: _recovery_of(blueprint, member, restore=restore) for member in blueprint.members}
    return Stage(title, tuple(_lane(member, *steps) for member, steps in steps_of.items() if steps))


def _recovery_of(blueprint: ResetBlueprint, member: MemberBlueprint, *, restore: bool) -> list[Step]:
    instance, steps = member.instance, list[Step]()
    if restore and member.kept is not None:
        steps.append(
            KeepDataDirectory(instance=instance, kept=instance.data_directory.with_name(member.kept))
        )
    if member.unreadable is not None:
        return steps
    steps.append(
        RestoreDataDirectory(
            instance=instance,
            source=member.source,
            database_size=blueprint.resolved.backup.database_size,
        )
        if restore
        else StopRecovered(instance=instance, rotate=True)
    )
    leads = member is blueprint.leader
    endless = blueprint.target.type is TargetType.DEFAULT
    steps.append(
        PrepareRecovery(
            instance=instance,
            placeholders=blueprint.placeholders if leads else (),
            wait_for_more=endless and not leads,
        )
    )
    steps.append(_recover_step(blueprint, member, _mode(blueprint, leads=leads)))
    return steps


def _mode(blueprint: ResetBlueprint, *, leads: bool) -> Mode:
    if blueprint.target.type is TargetType.DEFAULT:
        return "end" if leads else "wait"
    if leads and blueprint.action is not TargetAction.SHUTDOWN:
        return "pause"
    return "shutdown"


def _recover_step(blueprint: ResetBlueprint, member: MemberBlueprint, mode: Mode) -> Recover:
    return Recover(
        instance=member.instance,
        target=blueprint.target,
        timeline=_target_timeline(blueprint),
        mode=mode,
        first_segment=blueprint.resolved.first_segment,
        last_segment=blueprint.resolved.last_segment,
    )


def _target_timeline(blueprint: ResetBlueprint) -> str:
    """PostgreSQL refuses the number of a timeline whose history file it cannot find; timeline 1 has none."""
    resolved = blueprint.resolved
    return str(resolved.timeline) if resolved.history_archived or resolved.timeline == 1 else "current"


def _leader_again(blueprint: ResetBlueprint) -> Lane:
    leader = blueprint.leader
    return _lane(
        leader,
        StopRecovered(instance=leader.instance, rotate=True),
        _recover_step(blueprint, leader, "pause"),
    )


def _finish(blueprint: ResetBlueprint, *, fresh: bool) -> list[Stage]:
    leader, endless = blueprint.leader, blueprint.target.type is TargetType.DEFAULT
    restored = blueprint.restored[1:]
    recovered = _recover_step(blueprint, leader, "end" if endless else "pause")
    promote = PromoteLeader(
        recover=recovered,
        replicas=tuple(replica.member.name for replica in restored),
    )
    if blueprint.beside:
        return [Stage("promote", (_lane(leader, promote),))]
    stages = [
        Stage(
            "promote the leader",
            (_lane(leader, promote, SetRoles(recover=recovered)),),
        )
    ]
    if endless and restored:
        lanes = tuple(
            _lane(replica, HoldReplica(recover=_recover_step(blueprint, replica, "wait")))
            for replica in restored
        )
        stages.append(Stage("stop the replicas at the same point", lanes))
    handover: list[Step] = [
        StopRecovered(instance=leader.instance),
        HandOverLeader(
            instance=leader.instance,
            archive=blueprint.archives,
            placeholders=blueprint.placeholders,
            spool_directory=leader.spool_directory,
        ),
        BeginStore(instance=leader.instance) if fresh else ResetStore(instance=leader.instance),
    ]
    if blueprint.cleanup and blueprint.stanza_need != "nothing":
        # Before PostgreSQL archives its first segment; offline, because it is not up yet.
        handover.append(
            MendStanza(
                instance=leader.instance, stanza=blueprint.stanza, need=blueprint.stanza_need, online=False
            )
        )
    handover.append(StartLeader(instance=leader.instance, patroni_name=leader.patroni_name))
    stages.append(Stage("hand the leader to Patroni", (_lane(leader, *handover),)))
    if blueprint.replicas:
        lanes = tuple(_lane(replica, _join(blueprint, replica)) for replica in blueprint.replicas)
        stages.append(Stage("join the replicas", lanes))
    stages.append(
        Stage(
            "verify",
            (
                _lane(
                    leader,
                    VerifyCluster(
                        leader=leader.instance,
                        replicas=tuple(replica.instance for replica in blueprint.replicas),
                        archive=blueprint.archives,
                        left_out=blueprint.left_out,
                    ),
                ),
            ),
        )
    )
    if blueprint.cleanup:
        steps: list[Step] = [CheckStanza(instance=leader.instance, stanza=blueprint.stanza)]
        if blueprint.backup_after:
            steps.append(TakeBackup(instance=leader.instance, stanza=blueprint.stanza, backup_type="full"))
        stages.append(Stage("begin the clone's own backup history", (_lane(leader, *steps),)))
    return stages


def _join(blueprint: ResetBlueprint, replica: MemberBlueprint) -> Step:
    leader = blueprint.leader.instance
    if replica.unreadable is not None:
        return CopyLeader(instance=replica.instance, leader=leader, patroni_name=replica.patroni_name)
    return JoinReplica(
        instance=replica.instance,
        leader=leader,
        patroni_name=replica.patroni_name,
        archive=blueprint.archives,
        spool_directory=replica.spool_directory,
        segment_size=blueprint.segment_size,
        placeholders=blueprint.placeholders,
    )
