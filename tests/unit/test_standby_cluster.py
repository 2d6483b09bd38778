"""A standby cluster: whom it follows, how far it is behind, and what is said of it."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

import click
import pytest

from check_worlds import NOW, catalogue, facts, look, server, view
from pgdolly.cli.check import as_document, report_lines
from pgdolly.cli.status import status_lines
from pgdolly.domain.cluster import Cluster
from pgdolly.domain.errors import Refused
from pgdolly.domain.lsn import LSN
from pgdolly.drivers.patroni import StandbyCluster, parse_standby_cluster
from pgdolly.drivers.replay import Replay, WalReceiver, parse_replay
from pgdolly.drivers.server_state import ServerState
from pgdolly.inventory.fleet import Fleet
from pgdolly.operations.check.diagnose import diagnose
from pgdolly.operations.cleanup import refuse_standby
from pgdolly.operations.following import Following, following
from pgdolly.operations.look import ClusterLook
from pgdolly.operations.reset.decide import present_facts
from pgdolly.operations.reset.describe import describe
from pgdolly.operations.standby import Upstream, upstream_of
from pgdolly.operations.status import status_of
from reset_blueprints import blueprint, cluster, reset_facts, resolved

SOURCE = cluster("pg-meta", 2)
FLEET = Fleet({"pg-meta": SOURCE, "pg-test": cluster("pg-test", 3)}, "inventory")
OF_META = StandbyCluster(host="10.10.10.1", port="5432")
META = Upstream(host="10.10.10.1", port=5432, member=SOURCE.members[0])
RECEIVER = WalReceiver(
    status="streaming", host="10.10.10.1", port=5432, latest_end_lsn=LSN.parse("0/A000100")
)
REPLAYED_AT = NOW - timedelta(seconds=90)


def replay(**changed: Any) -> Replay:
    made = Replay(
        receiver=RECEIVER,
        received_lsn=LSN.parse("0/A000100"),
        replayed_at=REPLAYED_AT,
        now=NOW,
        delay_seconds=0.0,
    )
    return dataclasses.replace(made, **changed)


def leader(**changed: Any) -> ServerState:
    """The standby cluster's leader; it has replayed to 0/A000060."""
    return server(leads=False, **{"replay": replay(), **changed})


def standby(configured: StandbyCluster | None = OF_META, **changed: Any) -> ClusterLook:
    """pg-test, as a standby cluster."""
    seen = view("pg-test", 3)
    led = dataclasses.replace(seen.members[0], role="standby_leader", state="streaming")
    return look(
        members={number: {"standby_cluster": configured, "standby": True} for number in (1, 2, 3)},
        servers={1: leader(**changed), **{n: server(leads=False, replay=replay()) for n in (2, 3)}},
        patroni=dataclasses.replace(seen, members=(led, *seen.members[1:])),
    )


# -- what is read


@pytest.mark.parametrize(
    ("found", "addresses"),
    [
        ({"host": "a", "port": 5433}, (("a", 5433),)),
        ({"host": "a", "port": "postgresql"}, (("a", 5432),)),
        ({"host": "a"}, (("a", 5432),)),
        ({"host": "a,b", "port": "5433"}, (("a", 5433), ("b", 5433))),
        ({"host": "a, b", "port": "5433,5434"}, (("a", 5433), ("b", 5434))),
        ({"restore_command": "pgbackrest …"}, ()),
    ],
)
def test_every_form_of_an_upstreams_address(
    found: dict[str, Any], addresses: tuple[tuple[str, int], ...]
) -> None:
    parsed = parse_standby_cluster(found)
    assert parsed is not None
    assert parsed.addresses == addresses


def test_the_slot_and_the_delay_of_the_configuration() -> None:
    found = {"host": "a", "primary_slot_name": "clone", "recovery_min_apply_delay": "5min"}
    assert parse_standby_cluster(found) == StandbyCluster(host="a", slot="clone", delay="5min")
    assert parse_standby_cluster(None) is None
    assert parse_standby_cluster({}) is None


def test_what_a_server_says_of_its_replay() -> None:
    """Recorded from PostgreSQL 15."""
    answer = {
        "now": 1795558957.240186,
        "delay_ms": "300000",
        "receiver": {
            "host": "127.10.32.10",
            "port": 5432,
            "slot": None,
            "status": "streaming",
            "latest_end": "0/D639588",
        },
        "received": "0/D639588",
        "replayed_at": 1795558950.5,
    }
    found = parse_replay(json.loads(json.dumps(answer)))
    assert found is not None and found.receiver is not None
    assert found.receiver.streaming
    assert (found.receiver.host, found.receiver.port, found.receiver.slot) == ("127.10.32.10", 5432, None)
    assert found.receiver.latest_end_lsn == found.received_lsn == LSN.parse("0/D639588")
    assert (found.delay_seconds, found.replayed_at) == (300.0, datetime.fromtimestamp(1795558950.5, UTC))
    alone = parse_replay({**answer, "receiver": None, "received": None, "replayed_at": None})
    assert alone is not None
    assert (alone.receiver, alone.received_lsn, alone.replayed_at) == (None, None, None)
    assert parse_replay(None) is None


# -- whom it follows


@pytest.mark.parametrize(
    ("configured", "named", "upstream", "name"),
    [
        (OF_META, None, META, "pg-meta"),
        (StandbyCluster(host="pg-meta-2"), None, None, "pg-meta"),
        (StandbyCluster(host="10.9.9.9,10.10.10.1"), None, META, "pg-meta"),
        (
            StandbyCluster(host="10.9.9.9", port="6432"),
            None,
            Upstream(host="10.9.9.9", port=6432),
            "10.9.9.9:6432",
        ),
        (
            StandbyCluster(host="10.10.10.1", port="9"),
            None,
            Upstream(host="10.10.10.1", port=9),
            "10.10.10.1:9",
        ),
        (StandbyCluster(), "10.10.10.1", META, "pg-meta"),
        (StandbyCluster(), "10.9.9.9", Upstream(host="10.9.9.9"), "10.9.9.9"),
        (StandbyCluster(), None, Upstream(), "a cluster that its configuration does not name"),
    ],
)
def test_the_upstream_by_the_inventorys_names(
    configured: StandbyCluster, named: str | None, upstream: Upstream | None, name: str
) -> None:
    seen = standby(configured).facts
    found = upstream_of(
        FLEET, dataclasses.replace(seen, cluster=dataclasses.replace(seen.cluster, upstream=named))
    )
    assert found is not None
    assert found.name == name
    if upstream is not None:
        assert found == upstream


def test_where_it_streams_from_now_goes_before_what_is_configured() -> None:
    """A server that holds commits back goes on with its old connection until they are replayed."""
    seen = standby(StandbyCluster(host="10.9.9.9,10.10.10.1")).facts
    elsewhere = dataclasses.replace(RECEIVER, host="10.10.10.2")
    assert upstream_of(FLEET, seen, elsewhere) == Upstream(
        host="10.10.10.2", port=5432, member=SOURCE.members[1]
    )
    unknown = dataclasses.replace(RECEIVER, host="10.9.9.9")
    assert upstream_of(FLEET, seen, unknown) == Upstream(host="10.9.9.9", port=5432)
    assert upstream_of(FLEET, seen, dataclasses.replace(elsewhere, status="waiting")) == META
    assert upstream_of(FLEET, look().facts, RECEIVER) is None


def test_patronis_word_is_enough_and_the_inventorys_is_not() -> None:
    assert upstream_of(FLEET, standby(None).facts) == Upstream()
    own = look().facts
    promoted = dataclasses.replace(own, cluster=dataclasses.replace(own.cluster, upstream="10.10.10.1"))
    assert upstream_of(FLEET, promoted) is None


# -- how far it is behind


def source(lsn: str, **changed: Any) -> ServerState:
    return server("pg-meta", lsn=LSN.parse(lsn), **changed)


@pytest.mark.parametrize(
    ("own", "source_server", "lag_bytes", "lag_seconds"),
    [
        (leader(), source("0/A000060"), 0, 0.0),
        (leader(), source("0/A000160"), 256, 90.0),
        (leader(), source("0/9000000"), 0, 0.0),  # asked a moment before
        (leader(), None, 0xA0, 90.0),  # what the walreceiver was told
        (
            leader(),
            source("0/F000000", system_identifier=1),
            0xA0,
            90.0,
        ),  # another cluster has that address now
        (leader(replay=replay(receiver=None)), source("0/A000160"), 256, 90.0),
        (leader(replay=replay(receiver=None)), None, None, None),
        (leader(replay=replay(replayed_at=None)), source("0/A000160"), 256, None),
        (None, source("0/A000160"), None, None),
    ],
)
def test_lag(
    own: ServerState | None,
    source_server: ServerState | None,
    lag_bytes: int | None,
    lag_seconds: float | None,
) -> None:
    found = following(META, OF_META, own, source_server)
    assert (found.lag_bytes, found.lag_seconds) == (lag_bytes, lag_seconds)


def test_a_connection_that_does_not_stream_tells_of_no_end() -> None:
    waiting = dataclasses.replace(RECEIVER, status="waiting")
    found = following(META, OF_META, leader(replay=replay(receiver=waiting)), None)
    assert (found.streaming, found.lag_bytes) == (False, None)


# -- status


def lines(found: Following) -> list[str]:
    """What stands between the name and the table."""
    shown = [click.unstyle(line) for line in status_lines(status_of(standby(), found), NOW)]
    return shown[1 : next(n for n, line in enumerate(shown) if line.startswith("  member"))]


def test_a_standby_cluster_is_shown_as_one() -> None:
    found = following(META, OF_META, leader(), source("0/A000060"))
    assert lines(found) == [
        "  standby cluster of pg-meta, streams from pg-meta-1 (10.10.10.1:5432); lag 0 B, 0.0 s"
    ]
    status = status_of(standby(), found)
    assert status.members[0].role == "standby_leader"
    assert status.standby == found


def test_a_delay_and_a_slot() -> None:
    own = leader(replay=replay(delay_seconds=600.0, receiver=dataclasses.replace(RECEIVER, slot="clone")))
    assert lines(following(META, OF_META, own, source("0/B000060"))) == [
        "  standby cluster of pg-meta, streams from pg-meta-1 (10.10.10.1:5432), slot clone; lag 16.8 MB, 1 min 30 s",
        "  commits are held back for 10 min 00 s (recovery_min_apply_delay)",
    ]


def test_one_that_does_not_stream() -> None:
    own = leader(replay=replay(receiver=None, received_lsn=LSN.parse("0/B000060")))
    unknown = Upstream(host="10.9.9.9", port=6432)
    assert lines(following(unknown, OF_META, own, None)) == [
        "  standby cluster, does NOT stream from 10.9.9.9:6432 now; lag unknown, replayed to 0/A000060, "
        "16.8 MB received and not replayed"
    ]
    assert lines(following(META, StandbyCluster(host="10.10.10.1", delay="1h"), None, None)) == [
        "  standby cluster of pg-meta, does NOT stream from pg-meta-1 (10.10.10.1:5432) now; lag unknown, "
        "its leader does not answer",
        "  commits are held back for 1h (recovery_min_apply_delay)",
    ]


def test_one_out_of_an_archive() -> None:
    [line] = lines(
        following(Upstream(), StandbyCluster(), leader(replay=replay(receiver=None, received_lsn=None)), None)
    )
    assert line == "  standby cluster, out of an archive; lag unknown, replayed to 0/A000060"


def test_an_inventory_that_names_the_upstream_of_a_promoted_cluster() -> None:
    seen = look()
    of = dataclasses.replace(seen.facts.cluster, upstream="10.10.10.1")
    found = status_of(dataclasses.replace(seen, facts=dataclasses.replace(seen.facts, cluster=of)))
    assert found.standby is None
    assert found.remarks == (
        "by the inventory (pg_upstream) a standby cluster of 10.10.10.1, and it is a cluster of its own",
    )


# -- check


@pytest.mark.parametrize(
    "stanza",
    [None, catalogue(), catalogue(system=1)],
    ids=["no stanza", "no backup", "a stanza of another system"],
)
def test_nothing_is_wrong_with_a_standby_cluster_that_has_no_backups(stanza: Any) -> None:
    report = diagnose(facts(standby(archive_mode="off"), history=None, stanza=stanza, upstream=META))
    assert report.findings == ()
    assert report.works
    assert [click.unstyle(line) for line in report_lines(report)] == [
        "pg-test: a standby cluster of pg-meta, without backups of its own (stanza pg-test)",
        "  it follows pg-meta and writes no WAL of its own: no backups of its own before it is promoted",
        "  to make it a cluster of its own: pgdolly promote pg-test",
    ]
    assert as_document(report)["standby_of"] == "pg-meta"


def test_a_standby_cluster_that_receives_nothing_is_warned_of() -> None:
    report = diagnose(facts(standby(replay=replay(receiver=None)), history=None, upstream=META))
    assert [(f.code, f.severity, f.where) for f in report.findings] == [
        ("standby_not_streaming", "warning", ("pg-test-1",))
    ]
    assert "10.10.10.1:5432" in report.findings[0].what
    assert report.works
    out_of_an_archive = facts(standby(replay=replay(receiver=None)), history=None, upstream=Upstream())
    assert diagnose(out_of_an_archive).findings == ()


def test_what_would_write_into_another_stanza_once_it_is_promoted_is_found() -> None:
    from check_worlds import push

    foreign = standby(archive_command=push("pg-meta", PurePosixPath("/pg/data/postgresql.conf")))
    report = diagnose(facts(foreign, history=None, upstream=META))
    assert [finding.code for finding in report.findings] == ["archive_command_foreign"]
    [head, *_] = report_lines(report)
    assert "and something is WRONG" in head


# -- clean-up and reset


def test_a_clean_up_is_refused_until_it_is_promoted() -> None:
    with pytest.raises(Refused) as raised:
        refuse_standby("pg-test", META)
    assert "standby cluster of pg-meta" in raised.value.what
    assert raised.value.untouched == "nothing was changed"
    assert raised.value.next_command == "pgdolly promote pg-test"
    refuse_standby("pg-test", None)


def test_the_plan_of_a_reset_says_that_it_follows_nobody_any_more() -> None:
    own, following_meta = reset_facts(), dataclasses.replace(reset_facts(), upstream=META)
    line = "pg-test, a standby cluster now, no longer follows pg-meta: it becomes a cluster of its own"
    assert line in describe(blueprint(), following_meta)
    assert line not in describe(blueprint(), own)
    assert line not in describe(blueprint(beside="/pg/beside"), following_meta)
    assert present_facts(following_meta, resolved())["upstream of pg-test"] == "pg-meta"
    assert "upstream of pg-test" not in present_facts(own, resolved())


def test_a_member_is_found_by_its_address_and_its_port() -> None:
    two = Cluster(
        name="pg-meta",
        members=tuple(
            dataclasses.replace(member, port=port, node=SOURCE.members[0].node)
            for member, port in zip(SOURCE.members, (5432, 5433), strict=True)
        ),
    )
    fleet = Fleet({"pg-meta": two}, "inventory")
    assert fleet.member_at("10.10.10.1", 5433) is two.members[1]
    assert fleet.member_at("10.10.10.1", 5434) is None
