"""In place to the end: what the leader cannot archive when it is stopped is lost, and the plan says so."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pgdolly.domain.target import RecoveryTarget, TargetType
from pgdolly.drivers.server_state import ArchiverState, ServerState
from pgdolly.operations.reset.describe import warnings_of
from pgdolly.operations.reset.observe import ResetFacts
from reset_blueprints import TIME, archiving_server, blueprint, reset_facts

LATEST = RecoveryTarget(type=TargetType.DEFAULT)
NOW = datetime(2025, 12, 27, 9, 30, tzinfo=UTC)
ARCHIVES = archiving_server()
FAILING = ArchiverState(
    last_archived="000000020000000000000008",
    last_archived_at=NOW - timedelta(hours=3),
    last_failed="000000020000000000000009",
    last_failed_at=NOW,
    failures=180,
    waiting=7,
)


def in_place(state: ServerState | None = ARCHIVES, **leader: Any) -> ResetFacts:
    facts = dataclasses.replace(reset_facts(in_place=True), server=state)
    changed = dataclasses.replace(facts.leader, **leader)
    target = dataclasses.replace(facts.target, members=(changed, *facts.target.members[1:]))
    return dataclasses.replace(facts, target=target, source=target, leader=changed)


def lost(facts: ResetFacts, **changed: Any) -> list[str]:
    made = blueprint(**{"target": LATEST, "in_place": True, **changed})
    return [warning for warning in warnings_of(made, facts) if "LOST" in warning]


def test_a_leader_that_archives_loses_nothing() -> None:
    assert lost(in_place()) == []


@pytest.mark.parametrize(
    ("facts", "why", "cure"),
    [
        (
            in_place(dataclasses.replace(ARCHIVES, archive_mode="off")),
            "archive_mode is off on pg-test-1",
            "pgdolly cleanup pg-test",
        ),
        (
            in_place(dataclasses.replace(ARCHIVES, archiver=FAILING)),
            "pg-test-1 fails to archive 000000020000000000000009",
            "pgdolly check pg-test",
        ),
        (
            in_place(stop_files=("/tmp/pgbackrest/pg-test.stop",)),
            "pgBackRest is stopped on pg-test-1 by /tmp/pgbackrest/pg-test.stop",
            "pb start, on pg-test-1",
        ),
        (
            in_place(stop_files=("/tmp/pgbackrest/all.stop",)),
            "pgBackRest is stopped on pg-test-1",
            "pgbackrest start, on pg-test-1",
        ),
        (in_place(None), "pg-test-1 does not answer", "pgdolly check pg-test"),
    ],
    ids=["off", "failing", "stopped", "all stopped", "down"],
)
def test_what_a_leader_cannot_archive_is_lost(facts: ResetFacts, why: str, cure: str) -> None:
    [warning] = lost(facts)
    assert why in warning and cure in warning
    assert "after segment 000000010000000000000008" in warning


def test_only_an_end_that_is_the_archives_own_is_meant() -> None:
    off = in_place(dataclasses.replace(ARCHIVES, archive_mode="off"))
    assert lost(off, target=TIME) == []
    assert lost(off, pinned=True) == []
    assert lost(off, beside="/pg/beside") == []
