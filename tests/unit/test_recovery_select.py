"""What is chosen for a target leads to what the cluster held then; what cannot be proven is refused with the window.

The worlds are random pasts of a cluster: see `recovery_worlds`.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pgdolly.domain.backup import BackupSet
from pgdolly.domain.errors import PgdollyError, Refused
from pgdolly.domain.lsn import LSN, WalSegment
from pgdolly.domain.target import RecoveryTarget, TargetType
from pgdolly.recovery.select import ResolvedRecovery, resolve
from pgdolly.recovery.window import recovery_window
from recovery_worlds import SIZE, SYSTEM, Commit, World, at, replay

LATER = at(10_000_000)
THE_END = RecoveryTarget()


@st.composite
def worlds(draw: st.DrawFn, *, losses: bool = False) -> World:
    """A cluster that wrote, backed up, failed over and was recovered in place, in any order."""
    world = World()
    world.write()
    world.backup()
    for _ in range(draw(st.integers(1, 14))):
        match draw(
            st.sampled_from(
                ["write", "write", "write", "backup", "idle", "fail over", "recover", "cut", "bad"]
            )
        ):
            case "write":
                world.write()
            case "backup":
                world.backup()
            case "bad":
                world.backup(error=True)
            case "idle":
                world.idle()
            case "fail over":
                world.fail_over()
            case "recover":
                world.recover(draw(st.sampled_from(world.commits)))
            case "cut":
                own = [
                    (timeline, number)
                    for timeline, number in sorted(world.archived)
                    if not world.histories[timeline] or LSN(number * SIZE) >= world.histories[timeline][-1].at
                ]
                world.recover_to_boundary(*draw(st.sampled_from(own)))
    if losses:
        world.lost = set(draw(st.lists(st.sampled_from(sorted(world.archived)), max_size=3)))
    return world


def to_time(seconds: float) -> RecoveryTarget:
    return RecoveryTarget(type=TargetType.TIME, time=at(0) + timedelta(seconds=seconds))


def to_lsn(position: int) -> RecoveryTarget:
    return RecoveryTarget(type=TargetType.LSN, lsn=LSN(position))


def usable(world: World, timeline: int) -> list[BackupSet]:
    """By brute force: backups from which PostgreSQL comes to consistency along a timeline."""
    history = world.history(timeline)
    files = world.files()
    found = []
    for backup in world.backups:
        on_path = any(
            fork.parent == backup.timeline and backup.stop_lsn <= fork.at for fork in history.forks
        ) or (backup.timeline == timeline)
        number = backup.start_segment.number
        needed = (history.timeline_at(LSN((number + 1) * SIZE - 1)), number)
        if on_path and not backup.error and needed in files:
            found.append(backup)
    return found


def proven(world: World, resolved: ResolvedRecovery) -> None:
    """What holds of every choice, whatever the target."""
    history = world.history(resolved.timeline)
    files = world.files()
    assert resolved.history == history
    assert resolved.backup in usable(world, resolved.timeline)
    numbers = range(resolved.first_segment.number, resolved.reachable_segment.number + 1)
    for number in numbers:
        assert (history.timeline_at(LSN((number + 1) * SIZE - 1)), number) in files
    assert resolved.first_segment.number == resolved.backup.start_segment.number
    assert resolved.first_segment.number <= resolved.last_segment.number <= resolved.reachable_segment.number
    assert resolved.wal_segments == resolved.last_segment.number - resolved.first_segment.number + 1
    assert resolved.wal_size == resolved.wal_segments * 10
    assert resolved.highest_timeline == max(world.histories)
    read = replay(world, resolved.backup, resolved.timeline, pinned=resolved.pinned_segment).read
    strayed = [file for file in read if file != (history.timeline_at(LSN((file[1] + 1) * SIZE - 1)), file[1])]
    assert not strayed, "PostgreSQL would leave the path"


def names_the_window(refusal: PgdollyError) -> None:
    assert "LSNs" in refusal.what or "nothing can be restored" in refusal.what or "neither" in refusal.what
    assert refusal.untouched == "nothing was changed"
    assert refusal.next_command


@given(worlds(losses=True), st.data())
def test_a_time_leads_to_what_the_cluster_held_then(world: World, data: st.DataObject) -> None:
    moment = data.draw(st.integers(0, world.clock + 5), label="moment")
    target = to_time(moment)
    try:
        resolved = resolve(world.catalogue(), target=target, now=LATER)
    except Refused as refusal:
        names_the_window(refusal)
        return
    proven(world, resolved)
    assert resolved.backup.stop_at < at(moment)
    newer = [b for b in usable(world, resolved.timeline) if resolved.backup.stop_at < b.stop_at < at(moment)]
    assert not newer, "a newer backup would have done"
    outcome = replay(world, resolved.backup, resolved.timeline, until=moment, pinned=resolved.pinned_segment)
    live = max((begun, timeline) for begun, timeline in world.epochs if begun <= moment)[1]
    if any(timeline == live for timeline, _ in world.lost):
        return  # what is lost may have been the only trace that the timeline went on
    if outcome.met:
        assert outcome.state == world.state_at(moment)
    else:  # PostgreSQL refuses to open: nobody saw from the outside that no transaction follows
        end = resolved.reachable_segment.end.position
        line = [commit for commit in world.line(resolved.timeline) if commit.position < end]
        assert not [commit for commit in line if commit.time > moment]
        if resolved.last_segment == resolved.reachable_segment:
            assert any("recovery ends before the target is reached" in note for note in resolved.notes)


@given(worlds(), st.data())
def test_a_time_is_accepted_where_the_wal_of_that_time_and_a_backup_before_it_are_there(
    world: World, data: st.DataObject
) -> None:
    moment = data.draw(st.integers(0, world.clock), label="moment")
    live = max((begun, timeline) for begun, timeline in world.epochs if begun <= moment)[1]
    written_on = any(t == live and archived_at >= moment for (t, _), archived_at in world.archived.items())
    begun = [backup for backup in usable(world, live) if backup.stop_at < at(moment)]
    assume(written_on and begun)
    resolve(world.catalogue(), target=to_time(moment), now=LATER)


@given(worlds(losses=True), st.data())
def test_a_fraction_of_a_second_does_not_make_a_backup_older(world: World, data: st.DataObject) -> None:
    """pgBackRest compares whole seconds: a backup that stopped at :07 does not lie before :07.9."""
    backup = data.draw(st.sampled_from(world.backups))
    moment = (backup.stop_at - at(0)).total_seconds() + 0.9
    try:
        resolved = resolve(world.catalogue(), target=to_time(moment), now=LATER)
    except Refused:
        return
    assert resolved.backup_set != backup.label


@given(worlds(losses=True), st.data())
def test_an_lsn_is_reached_from_the_newest_backup_before_it(world: World, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, (world.number + 1) * SIZE), label="position")
    timeline = data.draw(st.sampled_from([None, *world.histories]), label="timeline")
    try:
        resolved = resolve(world.catalogue(), target=to_lsn(position), timeline=timeline, now=LATER)
    except Refused as refusal:
        names_the_window(refusal)
        return
    proven(world, resolved)
    assert timeline in (None, resolved.timeline)
    before = [b for b in usable(world, resolved.timeline) if b.stop_lsn <= LSN(position)]
    assert resolved.backup == max(before, key=lambda backup: backup.stop_at)
    assert resolved.last_segment.number == position // SIZE
    if timeline is None:
        assert not [t for t in world.histories if t > resolved.timeline and usable(world, t)]


@given(worlds(losses=True))
def test_the_end_is_that_of_the_newest_timeline_and_the_same_for_every_member(world: World) -> None:
    try:
        resolved = resolve(world.catalogue(), target=THE_END, now=LATER)
    except Refused as refusal:
        names_the_window(refusal)
        return
    proven(world, resolved)
    assert not [t for t in world.histories if t > resolved.timeline and usable(world, t)]
    assert resolved.backup == max(usable(world, resolved.timeline), key=lambda backup: backup.stop_at)
    assert resolved.pinned_segment == resolved.last_segment == resolved.reachable_segment
    line = {
        commit
        for commit in world.line(resolved.timeline)
        if commit.position < resolved.last_segment.end.position
    }
    outcome = replay(world, resolved.backup, resolved.timeline, pinned=resolved.pinned_segment)
    assert outcome.state == line
    history = world.history(resolved.timeline)
    beyond = [
        number
        for timeline, number in world.files()
        if number > resolved.last_segment.number
        and history.timeline_at(LSN((number + 1) * SIZE - 1)) == timeline
    ]
    assert not beyond, "there is more WAL on the path"
    if history.forks:
        begun = history.forks[-1].at.position // SIZE
        assert resolved.last_segment.number + 1 >= begun, "WAL from before the newest timeline is missing"


def test_what_a_failover_shows_to_be_missing_does_not_pass_for_the_end() -> None:
    """The new leader had read it all, and its archive does not: no segment of its own need be there to tell."""
    world = World()
    world.write()
    world.backup()
    for _ in range(3):
        world.write()
    last = WalSegment(1, world.number - 1, SIZE)
    world.fail_over()
    resolved = resolve(world.catalogue(), target=THE_END, now=LATER)
    assert resolved.timeline == 2 and resolved.last_segment == last
    world.lost = {(1, last.number), (1, last.number - 1)}
    with pytest.raises(Refused) as refusal:
        resolve(world.catalogue(), target=THE_END, now=LATER)
    first = WalSegment(1, last.number - 1, SIZE)
    assert f"WAL is missing: {first.name} to {last.name} (2)" in refusal.value.what
    names_the_window(refusal.value)
    before = resolve(world.catalogue(), target=to_lsn(first.number * SIZE - 1), now=LATER)
    assert before.last_segment.number == first.number - 1


@given(worlds())
def test_without_losses_the_present_can_always_be_restored(world: World) -> None:
    assume(usable(world, world.timeline))
    resolved = resolve(world.catalogue(), target=THE_END, now=LATER)
    outcome = replay(world, resolved.backup, resolved.timeline, pinned=resolved.pinned_segment)
    unarchived = {c for c in world.line(world.timeline) if c.position >= resolved.last_segment.end.position}
    assert outcome.state == set(world.line(world.timeline)) - unarchived


@given(worlds(losses=True))
def test_immediate_takes_the_newest_backup_along_its_own_timeline(world: World) -> None:
    target = RecoveryTarget(type=TargetType.IMMEDIATE)
    try:
        resolved = resolve(world.catalogue(), target=target, now=LATER)
    except Refused as refusal:
        names_the_window(refusal)
        return
    proven(world, resolved)
    assert resolved.last_segment.number == resolved.backup.stop_segment.number
    assert resolved.timeline == resolved.backup.timeline or resolved.crosses_timelines


@given(worlds(losses=True))
def test_without_a_backup_on_the_way_to_the_present_the_past_does_not_pass_for_it(world: World) -> None:
    assume(not usable(world, world.timeline))
    with pytest.raises(Refused):
        resolve(world.catalogue(), target=THE_END, now=LATER)


@given(worlds(losses=True), st.data())
def test_a_named_set_is_taken_or_refused_never_replaced(world: World, data: st.DataObject) -> None:
    backup = data.draw(st.sampled_from(world.backups))
    target = data.draw(
        st.one_of(
            st.just(THE_END),
            st.integers(0, world.clock).map(to_time),
            st.integers(0, world.number * SIZE).map(to_lsn),
            st.just(RecoveryTarget(type=TargetType.XID, xid=1000)),
        ),
        label="target",
    )
    try:
        resolved = resolve(world.catalogue(), target=target, backup_set=backup.label, now=LATER)
    except Refused as refusal:
        names_the_window(refusal)
        return
    proven(world, resolved)
    assert resolved.backup == backup
    assert target.time is None or backup.stop_at < target.time
    assert target.lsn is None or backup.stop_lsn <= target.lsn


@given(worlds(losses=True))
def test_for_a_transaction_one_set_is_taken_and_several_are_asked_about(world: World) -> None:
    target = RecoveryTarget(type=TargetType.XID, xid=1000)
    try:
        resolved = resolve(world.catalogue(), target=target, now=LATER)
    except Refused as refusal:
        names_the_window(refusal)
        if "--set" in (refusal.next_command or ""):
            oldest = (refusal.next_command or "").rpartition(" ")[2]
            again = resolve(world.catalogue(), target=target, backup_set=oldest, now=LATER)
            assert again.backup_set == oldest
            assert oldest == min(label for label in refusal.what.split() if label.endswith("F"))
        return
    proven(world, resolved)


@given(worlds(losses=True), st.data())
def test_a_time_within_the_window_is_accepted_along_its_timeline(world: World, data: st.DataObject) -> None:
    (archive,) = recovery_window(world.catalogue()).archives
    spans = [(t.timeline, span) for t in archive.timelines for span in t.spans if span.holds_times]
    assume(spans)
    timeline, span = data.draw(st.sampled_from(spans))
    seconds = int((span.last_at - span.first_at).total_seconds())
    moment = span.first_at + timedelta(seconds=data.draw(st.integers(0, seconds)))
    target = RecoveryTarget(type=TargetType.TIME, time=moment)
    resolved = resolve(world.catalogue(), target=target, timeline=timeline, now=LATER)
    proven(world, resolved)
    assert resolved.timeline == timeline


@given(worlds(losses=True), st.data())
def test_a_position_within_the_window_is_accepted_along_its_timeline(
    world: World, data: st.DataObject
) -> None:
    (archive,) = recovery_window(world.catalogue()).archives
    spans = [(t.timeline, span) for t in archive.timelines for span in t.spans]
    assume(spans)
    timeline, span = data.draw(st.sampled_from(spans))
    position = data.draw(st.integers(span.first_lsn.position, span.last_lsn.position - 1))
    resolved = resolve(world.catalogue(), target=to_lsn(position), timeline=timeline, now=LATER)
    proven(world, resolved)


def test_a_moment_that_a_recovery_undid_is_looked_for_where_it_was() -> None:
    """ "Recover to 11:00, look, then to 11:30": the second lies on the timeline that the first one left."""
    world = World()
    world.write()
    world.backup()
    for _ in range(4):
        world.write()
    undone = world.clock - 4
    world.recover(Commit(1, 3 * SIZE + 0x20000, 0))
    world.write()
    world.write()
    resolved = resolve(world.catalogue(), target=to_time(undone), now=LATER)
    assert resolved.timeline == 1
    assert "timeline 2 (begun" in resolved.notes[0]
    along_2 = resolve(world.catalogue(), target=to_time(undone), timeline=2, now=LATER)
    assert "--timeline 1" in " ".join(along_2.notes)


def test_after_a_recovery_in_place_the_end_never_lies_on_the_timeline_that_was_left() -> None:
    """The new timeline's first segment is not archived yet, and the former's is there, whole."""
    world = World()
    world.write()
    world.backup()
    for _ in range(3):
        world.write()
    undone = world.commits[-1]
    world.recover(world.commits[3])
    resolved = resolve(world.catalogue(), target=THE_END, now=LATER)
    assert resolved.timeline == 2
    assert resolved.pinned_segment is not None
    assert "PostgreSQL would go on into the timeline that was left" in " ".join(resolved.notes)
    assert undone in replay(world, resolved.backup, 2).state, "the danger that is guarded against"
    assert undone not in replay(world, resolved.backup, 2, pinned=resolved.pinned_segment).state


def test_a_stray_promotion_does_not_pass_for_the_end() -> None:
    """A test restore promoted with archiving on (pgbackrest issue 2669); the cluster went on along timeline 1."""
    world = World()
    world.write()
    world.backup()
    world.write()
    number, stray = world.number, World.fail_over
    stray(world)
    world.write()
    world.timeline, world.number = 1, number
    world.epochs.append((world.clock, 1))
    world.write()
    world.write()
    with pytest.raises(Refused, match="where the archive ends is not clear") as caught:
        resolve(world.catalogue(), target=THE_END, now=LATER)
    assert caught.value.next_command == "the same command with --timeline 1"
    assert resolve(world.catalogue(), target=THE_END, timeline=1, now=LATER).timeline == 1
    assert resolve(world.catalogue(), target=THE_END, timeline=2, now=LATER).timeline == 2


def test_the_generation_of_the_source_is_taken() -> None:
    world = World()
    world.write()
    world.backup()
    resolved = resolve(world.catalogue(), target=THE_END, system_identifier=SYSTEM, now=LATER)
    assert resolved.system_identifier == SYSTEM
    with pytest.raises(Refused, match="not of the system that the source runs now"):
        resolve(world.catalogue(), target=THE_END, system_identifier=SYSTEM + 1, now=LATER)


def test_a_backup_with_broken_pages_is_passed_over_and_said_so() -> None:
    world = World()
    world.write()
    good = world.backup()
    world.write()
    bad = world.backup(error=True)
    world.write()
    resolved = resolve(world.catalogue(), target=THE_END, now=LATER)
    assert resolved.backup == good
    assert any(bad.label in note and "checksums" in note for note in resolved.notes)
    with pytest.raises(Refused, match="wrong checksums"):
        resolve(world.catalogue(), target=THE_END, backup_set=bad.label, now=LATER)


def test_the_future_is_no_target() -> None:
    world = World()
    world.write()
    world.backup()
    with pytest.raises(Refused, match="lies in the future") as caught:
        resolve(world.catalogue(), target=to_time(100), now=at(99))
    names_the_window(caught.value)
