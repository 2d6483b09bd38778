"""Recovery targets as PostgreSQL's settings and as words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgdolly.domain.lsn import LSN
from pgdolly.domain.target import RecoveryTarget, TargetType

SHANGHAI = timezone(timedelta(hours=8))
MOMENT = datetime(2025, 12, 27, 17, 50, tzinfo=SHANGHAI)
zones = st.integers(-15 * 60, 15 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.builds(datetime.fromtimestamp, st.integers(0, 2**33), zones)

TARGETS = {
    TargetType.DEFAULT: RecoveryTarget(),
    TargetType.IMMEDIATE: RecoveryTarget(type=TargetType.IMMEDIATE),
    TargetType.TIME: RecoveryTarget(type=TargetType.TIME, time=MOMENT),
    TargetType.XID: RecoveryTarget(type=TargetType.XID, xid=770),
    TargetType.NAME: RecoveryTarget(type=TargetType.NAME, name="before the drop"),
    TargetType.LSN: RecoveryTarget(type=TargetType.LSN, lsn=LSN.parse("0/5000028")),
}


def test_every_kind_of_target_has_its_setting() -> None:
    assert {kind: target.settings() for kind, target in TARGETS.items()} == {
        TargetType.DEFAULT: (),
        TargetType.IMMEDIATE: (("recovery_target", "immediate"),),
        TargetType.TIME: (("recovery_target_time", "2025-12-27 09:50:00+00:00"),),
        TargetType.XID: (("recovery_target_xid", "770"),),
        TargetType.NAME: (("recovery_target_name", "before the drop"),),
        TargetType.LSN: (("recovery_target_lsn", "0/5000028"),),
    }


@given(moments)
def test_the_zone_always_travels_with_the_time(moment: datetime) -> None:
    """PostgreSQL would read a bare time in its own `timezone`, which is the source's."""
    [(name, value)] = RecoveryTarget(type=TargetType.TIME, time=moment).settings()
    assert name == "recovery_target_time"
    assert value.endswith("+00:00")
    assert datetime.fromisoformat(value) == moment


@given(moments)
def test_one_moment_is_one_target_in_every_zone(moment: datetime) -> None:
    """All members get the same words, wherever they stand."""
    here = RecoveryTarget(type=TargetType.TIME, time=moment)
    there = RecoveryTarget(type=TargetType.TIME, time=moment.astimezone(UTC))
    assert here.settings() == there.settings()
    assert str(here) == str(there)


@pytest.mark.parametrize("kind", [TargetType.TIME, TargetType.XID, TargetType.LSN])
def test_exclusive_stops_before_the_target(kind: TargetType) -> None:
    fields = {name: getattr(TARGETS[kind], name) for name in ("type", "time", "xid", "lsn")}
    exclusive = RecoveryTarget(**fields, exclusive=True)
    assert exclusive.settings() == (*TARGETS[kind].settings(), ("recovery_target_inclusive", "off"))
    assert str(exclusive) == f"before {TARGETS[kind]}"


@pytest.mark.parametrize("kind", list(TargetType))
def test_without_exclusive_postgresqls_default_counts(kind: TargetType) -> None:
    assert "recovery_target_inclusive" not in dict(TARGETS[kind].settings())


def test_targets_in_words() -> None:
    assert [str(target) for target in TARGETS.values()] == [
        "the end of the archive",
        "the end of the backup (immediate)",
        "time 2025-12-27 09:50:00+00:00",
        "transaction 770",
        "restore point 'before the drop'",
        "LSN 0/5000028",
    ]
