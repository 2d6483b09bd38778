"""The plans of a reset: golden ones, word for word, and what holds for every one of them.

After a change that is meant: `PGDOLLY_WRITE_GOLDEN=1 pytest tests/unit/test_plan_reset.py`, then read the difference.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
from pathlib import Path
from typing import Any

import click
import pytest

from pgdolly.cli.plan_view import plan_lines
from pgdolly.domain.lsn import LSN
from pgdolly.domain.target import RecoveryTarget, TargetAction, TargetType
from pgdolly.engine.plan import Plan, outline
from pgdolly.operations.reset.blueprint import ResetBlueprint
from pgdolly.operations.reset.plan import moved_on, plan_finish, plan_move_on, plan_reset
from pgdolly.steps.copy import CopyLeader
from pgdolly.steps.handover import HandOverLeader, StartLeader
from pgdolly.steps.join import JoinReplica
from pgdolly.steps.member import KeepDataDirectory, StopMember
from pgdolly.steps.promote import PromoteLeader, StopRecovered
from pgdolly.steps.recover import HoldReplica, PrepareRecovery, Recover
from pgdolly.steps.registry import STEPS
from pgdolly.steps.restore import RestoreDataDirectory
from pgdolly.steps.stanza import CheckStanza, MendStanza, TakeBackup
from pgdolly.steps.store import ResetStore
from pgdolly.steps.verify import VerifyCluster
from reset_blueprints import LATEST, TIME, blueprint, resolved

GOLDEN = Path(__file__).parents[1] / "data" / "plans"
LATER = RecoveryTarget(type=TargetType.LSN, lsn=LSN.parse("0/7000028"))
SHUT_DOWN = blueprint(action=TargetAction.SHUTDOWN)
PLANS = {
    "time": plan_reset(blueprint(placeholders=(2, 3))),
    "latest": plan_reset(blueprint(LATEST, pinned=True)),
    "latest-in-place": plan_reset(blueprint(LATEST, in_place=True, timeline=2)),
    "pause": plan_reset(blueprint(action=TargetAction.PAUSE)),
    "pause-move-on": plan_move_on(moved_on(blueprint(action=TargetAction.PAUSE), resolved(LATER))),
    "shutdown": plan_reset(SHUT_DOWN),
    "shutdown-finish": plan_finish(SHUT_DOWN),
    "cleanup-upgrade": plan_reset(blueprint(cleanup=True, stanza_need="upgrade")),
    "cleanup-create": plan_reset(blueprint(cleanup=True, stanza_need="create")),
    "cleanup-nothing": plan_reset(blueprint(cleanup=True, stanza_need="nothing", in_place=True)),
    "backup": plan_reset(blueprint(kept="data.20251227-100000")),
    "data": plan_reset(blueprint(beside="/backup/look", kept="look.20251227-100000")),
    "unreadable": plan_reset(
        blueprint(kept="data.20251227-100000", unreadable=("pg-test-3",), placeholders=(2,))
    ),
    "single-member": plan_reset(blueprint(members=1)),
}
JOURNALED = (
    "time",
    "shutdown-finish",
    "cleanup-upgrade",
    "unreadable",
)  # each step's fields; together all kinds of a reset
KINDS = (
    "begin_store",
    "check_stanza",
    "configure_member",
    "copy_leader",
    "delete_stanza",
    "enable_archiving",
    "end_delay",
    "fence_store",
    "follow_upstream",
    "found_standby",
    "hand_over_leader",
    "hold_replica",
    "join_replica",
    "join_standby",
    "keep_data_directory",
    "keep_slot",
    "leave_archive",
    "make_passwords",
    "mend_stanza",
    "place_repository",
    "prepare_recovery",
    "promote_leader",
    "promote_standby",
    "recover",
    "reload_patroni",
    "remove_data",
    "remove_made",
    "remove_store",
    "reset_store",
    "restore_data_directory",
    "set_own_roles",
    "set_roles",
    "start_leader",
    "start_standby",
    "start_stanza",
    "stop_member",
    "stop_recovered",
    "stop_server",
    "take_backup",
    "take_base_backup",
    "use_own_passwords",
    "verify_cluster",
)


def golden(name: str, text: str) -> str:
    """What the file says; it is written first if the environment asks for it."""
    path = GOLDEN / name
    if os.environ.get("PGDOLLY_WRITE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return path.read_text()


@pytest.mark.parametrize("name", PLANS)
def test_the_plan_that_a_person_reads(name: str) -> None:
    text = click.unstyle("\n".join(plan_lines(outline(PLANS[name])))) + "\n"
    assert text == golden(f"{name}.txt", text)


@pytest.mark.parametrize("name", JOURNALED)
def test_the_plan_that_is_journaled(name: str) -> None:
    text = json.dumps(STEPS.encode_plan(PLANS[name]), indent=1, ensure_ascii=False) + "\n"
    assert text == golden(f"{name}.json", text)
    assert STEPS.decode_plan(json.loads(golden(f"{name}.json", text))) == PLANS[name]


def test_no_golden_file_is_left_over() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {f"{n}.txt" for n in PLANS} | {
        f"{n}.json" for n in JOURNALED
    }


def test_kinds_of_steps_stand_in_journals_and_are_never_renamed() -> None:
    assert STEPS.kinds == KINDS


# How many there are, and who of them cannot read the backup set.
MEMBERS: tuple[tuple[int, tuple[str, ...]], ...] = (
    (1, ()),
    (2, ()),
    (2, ("pg-test-2",)),
    (3, ()),
    (3, ("pg-test-3",)),
    (3, ("pg-test-2", "pg-test-3")),
)


def every_blueprint() -> list[Any]:
    """Every combination that a request can ask for."""
    targets = (
        LATEST,
        RecoveryTarget(type=TargetType.IMMEDIATE),
        TIME,
        dataclasses.replace(TIME, exclusive=True),
        RecoveryTarget(type=TargetType.XID, xid=770),
        RecoveryTarget(type=TargetType.NAME, name='it\'s "here"'),
        LATER,
    )
    made = []
    for target, (members, unreadable), timeline, kept, in_place in itertools.product(
        targets, MEMBERS, (1, 2), (None, "data.old"), (False, True)
    ):
        common: dict[str, Any] = {
            "members": members,
            "unreadable": unreadable,
            "timeline": timeline,
            "kept": kept,
            "in_place": in_place,
            "pinned": target is LATEST and not in_place,
            "placeholders": (3, 4) if timeline == 2 else (),
        }
        for action in TargetAction:
            if target is LATEST and action is not TargetAction.PROMOTE:
                continue
            made.append(blueprint(target, action=action, **common))
        for need in ("nothing", "create", "upgrade"):
            made.append(blueprint(target, cleanup=True, stanza_need=need, **common))
        made.append(blueprint(target, archive=True, stanza_need="nothing", **common))
        made.append(blueprint(target, beside="/backup/look", **common))
    return [
        pytest.param(each, id=f"{number}-{each.target.type.value}-{each.action.value}")
        for number, each in enumerate(made)
    ]


BLUEPRINTS = [param.values[0] for param in every_blueprint()]


def whole(made: ResetBlueprint) -> list[tuple[int, str, Any]]:
    """All steps until the cluster is its own, by hand of a person if it pauses: (stage, member, step) in order."""
    plans = [plan_reset(made)]
    if made.action is not TargetAction.PROMOTE:
        plans.append(plan_finish(made))
    found = []
    for number, plan in enumerate(plans):
        for step_id, _, lane, step in plan.steps(number + 1):
            stage = number * 100 + int(step_id.split("/")[1])
            found.append((stage, lane.name, step))
    return found


def positions(steps: list[tuple[int, str, Any]], kind: type) -> list[int]:
    return [number for number, (_, _, step) in enumerate(steps) if isinstance(step, kind)]


def stages(steps: list[tuple[int, str, Any]], kind: type) -> set[int]:
    return {stage for stage, _, step in steps if isinstance(step, kind)}


def test_every_member_is_recovered_to_the_very_same_point() -> None:
    for made in BLUEPRINTS:
        steps = whole(made)
        recoveries = [step for _, _, step in steps if isinstance(step, Recover)]
        assert {(step.target, step.timeline) for step in recoveries} == {
            (made.target, recoveries[0].timeline)
        }
        assert {lane for _, lane, step in steps if isinstance(step, Recover)} == {
            each.member.name for each in made.restored
        }
        restores = [step for _, _, step in steps if isinstance(step, RestoreDataDirectory)]
        assert len({dataclasses.replace(step.source) for step in restores}) == 1
        assert len(restores) == len(made.restored)
        assert len(stages(steps, RestoreDataDirectory)) == 1, "restored side by side"


def test_the_timeline_is_pinned_by_its_number_where_that_can_be_said() -> None:
    for made in BLUEPRINTS:
        for _, _, step in whole(made):
            if isinstance(step, Recover):
                assert step.timeline == str(made.resolved.timeline)
    unarchived = dataclasses.replace(resolved(timeline=2), history_archived=False)
    plan = plan_reset(dataclasses.replace(blueprint(timeline=2), resolved=unarchived))
    assert {step.timeline for _, _, _, step in plan.steps() if isinstance(step, Recover)} == {"current"}


def test_nothing_is_restored_before_every_member_is_down() -> None:
    for made in BLUEPRINTS:
        steps = whole(made)
        if made.beside:
            assert not positions(steps, StopMember), "the cluster runs on"
            continue
        stopped = [(stage, lane) for stage, lane, step in steps if isinstance(step, StopMember)]
        assert {lane for _, lane in stopped} == {each.member.name for each in made.members}
        assert max(stage for stage, _ in stopped) < min(stages(steps, RestoreDataDirectory))
        assert stopped[-1][1] == made.leader.member.name, "stopped first, its replicas would hold an election"
        assert sum(lane == made.leader.member.name for _, lane in stopped) == 1


def test_patroni_gets_the_leader_only_after_postgresql_promoted_and_stopped() -> None:
    for made in BLUEPRINTS:
        steps = whole(made)
        if made.beside:
            assert not positions(steps, StartLeader)
            assert not positions(steps, ResetStore)
            continue
        [promote], [start] = positions(steps, PromoteLeader), positions(steps, StartLeader)
        [reset], [hand_over] = positions(steps, ResetStore), positions(steps, HandOverLeader)
        stop = max(positions(steps, StopRecovered))
        assert max(positions(steps, Recover)) < promote < stop < hand_over < reset < start
        assert steps[stop][1] == made.leader.member.name
        for hold in positions(steps, HoldReplica):
            assert promote < hold < reset, "Patroni starts when nobody replays any more"


def test_replicas_join_a_leader_that_leads_and_the_end_is_verified() -> None:
    for made in BLUEPRINTS:
        steps = whole(made)
        if made.beside:
            assert not positions(steps, JoinReplica)
            continue
        joined = {lane for _, lane, step in steps if isinstance(step, JoinReplica)}
        copied = {lane for _, lane, step in steps if isinstance(step, CopyLeader)}
        assert joined == {each.member.name for each in made.restored[1:]}
        assert copied == {each.member.name for each in made.replicas} - joined
        for join in stages(steps, JoinReplica) | stages(steps, CopyLeader):
            assert max(stages(steps, StartLeader)) < join
        [verify] = positions(steps, VerifyCluster)
        begun = positions(steps, StartLeader) + positions(steps, JoinReplica) + positions(steps, CopyLeader)
        assert verify > max(begun)
        assert len(steps[verify][2].replicas) == len(made.replicas)
        assert steps[verify][2].archive is made.archives


def test_what_archives_has_a_stanza_that_accepts_it_first() -> None:
    for made in BLUEPRINTS:
        steps = whole(made)
        mends = positions(steps, MendStanza)
        assert bool(mends) is (made.cleanup and made.stanza_need != "nothing")
        for mend in mends:
            assert mend < positions(steps, StartLeader)[0]
            assert steps[mend][2].stanza == made.stanza
        assert len(positions(steps, TakeBackup)) == len(positions(steps, CheckStanza)) == int(made.cleanup)
        for _, _, step in steps:
            if isinstance(step, HandOverLeader | JoinReplica):
                assert step.archive is made.archives
            if isinstance(step, RestoreDataDirectory):
                assert step.source.keep_archiving is made.archives


def test_old_data_is_moved_before_anything_is_written_over_it() -> None:
    for made in BLUEPRINTS:
        steps = whole(made)
        kept = {lane: n for n, (_, lane, step) in enumerate(steps) if isinstance(step, KeepDataDirectory)}
        assert set(kept) == {each.member.name for each in made.members if each.kept}
        for number, (_, lane, step) in enumerate(steps):
            if isinstance(step, RestoreDataDirectory | CopyLeader) and lane in kept:
                assert kept[lane] < number
        for _, _, step in steps:
            if isinstance(step, KeepDataDirectory):
                assert step.kept.parent == step.instance.data_directory.parent
                assert step.kept != step.instance.data_directory


def test_who_cannot_read_the_backup_set_is_waited_for_by_nobody_and_led_nowhere() -> None:
    for made in BLUEPRINTS:
        copied = {each.member.name for each in made.members if each.unreadable}
        for _, lane, step in whole(made):
            if lane in copied:
                assert isinstance(step, StopMember | KeepDataDirectory | CopyLeader)
            if isinstance(step, PromoteLeader):
                assert set(step.replicas) == {each.member.name for each in made.restored[1:]}
            if isinstance(step, CopyLeader):
                assert step.leader == made.leader.instance
        moved = plan_move_on(moved_on(made, resolved(LATER)))
        assert not copied & {lane.name for _, _, lane, _ in moved.steps()}


def test_only_the_leader_is_steered_and_only_replicas_wait_for_more() -> None:
    for made in BLUEPRINTS:
        for _, lane, step in whole(made):
            leads = lane == made.leader.member.name
            if isinstance(step, PrepareRecovery):
                assert step.placeholders == (made.placeholders if leads else ())
                assert step.wait_for_more is (not leads and made.target.type is TargetType.DEFAULT)
            if isinstance(step, Recover):
                allowed = {"end", "pause", "shutdown"} if leads else {"wait", "shutdown"}
                assert step.mode in allowed
                assert (step.mode in ("end", "wait")) is (made.target.type is TargetType.DEFAULT)


def every_plan() -> list[Plan]:
    plans = [plan_reset(made) for made in BLUEPRINTS]
    plans += [plan_finish(made) for made in BLUEPRINTS if made.action is not TargetAction.PROMOTE]
    plans += [
        plan_move_on(moved_on(made, resolved(LATER)))
        for made in BLUEPRINTS
        if made.action is not TargetAction.PROMOTE
    ]
    return plans


def test_every_step_survives_its_journal() -> None:
    steps = {step for plan in every_plan() for _, _, _, step in plan.steps()}
    assert len(steps) > 100
    for step in steps:
        assert STEPS.decode(json.loads(json.dumps(STEPS.encode(step)))) == step


def test_every_recovery_starts_without_archiving_and_without_the_network() -> None:
    starts = [
        step.commands()
        for plan in every_plan()
        for _, _, _, step in plan.steps()
        if isinstance(step, Recover)
    ]
    for [_, command] in starts:
        [options] = [word for word in command.argv if word.startswith("--options=")]
        assert "-c archive_mode=off " in options
        assert "-c listen_addresses= " in options
        assert "-c primary_conninfo= " in options
        assert command.argv[-1] == "start"
    assert starts


def test_no_restore_trusts_size_and_time() -> None:
    for plan in every_plan():
        for _, _, _, step in plan.steps():
            for command in step.commands():
                assert "--force" not in command.argv or command.argv[0] != "pgbackrest"
                assert "--delta --force" not in command.shown()


def test_the_sources_stanza_is_only_read_from() -> None:
    """Every command that names it is a restore or an archive-get; the clone's own are the target's."""
    for plan in every_plan():
        for _, _, _, step in plan.steps():
            for command in step.commands():
                words = " ".join(command.argv)
                if "--stanza=pg-meta" in words:
                    assert command.argv[-1] == "restore"
                    assert words.count("--stanza=pg-meta") == 2, "the restore and its restore_command"
                    assert "archive-get" in words
                for writing in ("archive-push", "stanza-", " backup", "expire", " check"):
                    assert not (writing in words and "--stanza=pg-meta" in words), words


def test_moving_on_restores_nothing_and_lets_everybody_stand_at_the_later_target() -> None:
    moved = moved_on(SHUT_DOWN, resolved(LATER))
    plan = plan_move_on(moved)
    kinds = {step.kind for _, _, _, step in plan.steps()}
    assert kinds == {"stop_recovered", "prepare_recovery", "recover"}
    modes = {lane.name: step.mode for _, _, lane, step in plan.steps() if isinstance(step, Recover)}
    assert modes == {"pg-test-1": "pause", "pg-test-2": "shutdown", "pg-test-3": "shutdown"}
    assert {step.target for _, _, _, step in plan.steps() if isinstance(step, Recover)} == {LATER}
    assert str(LATER) in plan.summary[0]
