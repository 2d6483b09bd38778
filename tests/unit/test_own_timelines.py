"""The timelines that a clone may not begin again: its members' present ones are in no archive before a clean-up."""

from __future__ import annotations

import dataclasses

from pgdolly.operations.reset.decide import own_timelines
from reset_blueprints import SOURCE_SYSTEM, TARGET_SYSTEM, member_facts, reset_facts, resolved


def on_timeline(control_timeline: int, seen_timeline: int, *, system: int) -> tuple[int, ...]:
    """For a target whose first member is there by pg_control, and is seen there by Patroni."""
    facts = reset_facts()
    first = facts.target.members[0]
    assert first.cluster is not None
    view = dataclasses.replace(
        first.cluster,
        members=tuple(dataclasses.replace(each, timeline=seen_timeline) for each in first.cluster.members),
    )
    control = {
        "Database system identifier": str(system),
        "Latest checkpoint's TimeLineID": str(control_timeline),
    }
    changed = member_facts(first.member, system=system, control=control, cluster=view)
    target = dataclasses.replace(facts.target, members=(changed, *facts.target.members[1:]))
    return own_timelines(dataclasses.replace(facts, target=target, leader=changed), resolved())


def test_a_clone_of_the_same_source_is_on_a_timeline_that_is_taken() -> None:
    """A member that is down now has that timeline's WAL: on the same number it would join with other data."""
    assert max(on_timeline(7, 7, system=SOURCE_SYSTEM)) == 7
    # pg_control says so only after the first checkpoint on a new timeline.
    assert max(on_timeline(7, 8, system=SOURCE_SYSTEM)) == 8


def test_the_timelines_of_another_system_do_not_count() -> None:
    assert on_timeline(7, 7, system=TARGET_SYSTEM) == ()
