"""Each kind of target, each from one real restore, each compared with what the source held at that point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from member import SOURCE, TARGET
from scenario import Scenario
from servers import Rows
from world import World

FROM = ("--from", SOURCE)


@dataclass(frozen=True, slots=True)
class Case:
    """Options of a reset, what it must bring, and what was dropped right after its target."""

    options: Callable[[Scenario], tuple[str, ...]]
    rows: Callable[[Scenario], Rows]
    saved: str | None = None


CASES = {
    "latest": Case(lambda s: (), lambda s: s.end),
    "time": Case(lambda s: ("--time", s.early.time), lambda s: s.early.rows, "doomed_early"),
    "xid": Case(
        lambda s: ("--xid", str(s.middle.xid), "--set", s.backups[1]),
        lambda s: s.middle.rows,
        "doomed_middle",
    ),
    "xid exclusive": Case(
        lambda s: ("--xid", str(s.middle.xid), "--exclusive", "--set", s.backups[0]),
        lambda s: s.middle.before,
        "doomed_middle",
    ),
    "name": Case(lambda s: ("--name", "late", "--set", s.backups[2]), lambda s: s.late.rows, "doomed_late"),
    "lsn": Case(lambda s: ("--lsn", s.late.lsn), lambda s: s.late.rows, "doomed_late"),
    "immediate": Case(lambda s: ("--immediate",), lambda s: s.at_backup[-1]),
    "an older set": Case(
        lambda s: ("--time", s.late.time, "--set", s.backups[0]), lambda s: s.late.rows, "doomed_late"
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_target(world: World, scenario: Scenario, case: Case) -> None:
    taken = world.archived_timelines(TARGET) | world.archived_timelines(SOURCE)

    result = world.reset(*FROM, *case.options(scenario))

    assert result.outcome["state"] == "finished"
    timeline = world.assert_cluster_whole(rows=case.rows(scenario), archiving=False)
    assert timeline > max(taken)
    assert result.step_result("verify_cluster")["timeline"] == timeline
    for member in world.members(TARGET):
        undated = "SELECT count(*) FROM ledger WHERE pg_xact_commit_timestamp(xmin) IS NULL"
        assert world.value(member, undated) == 0, "the commit timestamps of the source are there"
    # Said apart from the comparison, because it is what a person resets for.
    if case.saved is not None:
        for member in world.members(TARGET):
            assert world.value(member, f"SELECT count(*) FROM {case.saved}") == 500
    assert not [note for note in result.outcome["notes"] if "rebuilt" in note]


def test_the_clone_takes_writes_and_replicates(world: World, scenario: Scenario) -> None:
    """And fails over, because it is a cluster like any other."""
    world.reset(*FROM, "--lsn", scenario.early.lsn)
    timeline = world.assert_cluster_whole(rows=scenario.early.rows, archiving=False)
    old = world.leader(TARGET)
    world.psql(old, "INSERT INTO ledger (said) VALUES ('by the clone')")
    rows = world.rows(old)
    assert rows != scenario.early.rows
    candidate = next(member for member in world.members(TARGET) if member != old)

    world.execute(
        old,
        "patronictl",
        "switchover",
        TARGET,
        "--leader",
        old.name,
        "--candidate",
        candidate.name,
        "--force",
    )

    after = world.assert_cluster_whole(rows=rows, archiving=False)
    assert after > timeline
    assert world.leader(TARGET) == candidate
