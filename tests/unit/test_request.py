"""`pg_pitr`: every key, what contradicts what, and times with and without a zone."""

from __future__ import annotations

import json
import time as clock
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pgdolly.domain.errors import InvalidInput
from pgdolly.domain.lsn import LSN
from pgdolly.domain.target import RecoveryTarget, TargetAction, TargetType
from pgdolly.operations.request import PitrRequest, parse_request, parse_time

SHANGHAI = timezone(timedelta(hours=8))
HIDDEN = "hidden-from-all"
WHEN = "2025-12-27 17:50:00+08"
EVERY_KEY: dict[str, Any] = {
    "cluster": "pg-meta",
    "type": "time",
    "time": WHEN,
    "set": "20251227-120000F",
    "timeline": "latest",
    "exclusive": True,
    "action": "pause",
    "archive": True,
    "backup": True,
    "db_include": ["app", "crm"],
    "db_exclude": "logs, tmp",
    "link_map": {"pg_wal": "/wal"},
    "process": 4,
    "repo": 2,
    "port": 5433,
}
KEYS = {
    "cluster",
    "type",
    "time",
    "xid",
    "name",
    "lsn",
    "set",
    "timeline",
    "exclusive",
    "action",
    "archive",
    "backup",
    "db_include",
    "db_exclude",
    "link_map",
    "process",
    "repo",
    "data",
    "port",
    "cleanup",
}


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Put the process into another time zone, as an administrator's TZ does."""

    def into(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        clock.tzset()

    yield into
    monkeypatch.undo()
    clock.tzset()


def refused(given: dict[str, Any] | None) -> InvalidInput:
    """The error for a request, which names what was left untouched: everything."""
    with pytest.raises(InvalidInput) as raised:
        parse_request(given).target()
    assert raised.value.untouched == "nothing was changed"
    return raised.value


def test_pg_pitr_has_the_keys_of_the_manual_and_no_others() -> None:
    assert sorted(PitrRequest.model_fields) == sorted(KEYS)


def test_every_key_is_understood() -> None:
    request = parse_request(EVERY_KEY)
    assert request == PitrRequest(
        cluster="pg-meta",
        type=TargetType.TIME,
        time=WHEN,
        set="20251227-120000F",
        timeline="latest",
        exclusive=True,
        action=TargetAction.PAUSE,
        archive=True,
        backup=True,
        db_include=("app", "crm"),
        db_exclude=("logs", "tmp"),
        link_map={"pg_wal": "/wal"},
        process=4,
        repo=2,
        port=5433,
    )
    assert request.target() == RecoveryTarget(
        type=TargetType.TIME, time=datetime(2025, 12, 27, 17, 50, tzinfo=SHANGHAI), exclusive=True
    )


def test_a_request_survives_the_journal() -> None:
    request = parse_request(EVERY_KEY)
    assert parse_request(json.loads(request.model_dump_json(exclude_defaults=True))) == request


@pytest.mark.parametrize("given", [None, {}])
def test_nothing_at_all_is_recovery_in_place_to_the_end_of_the_archive(given: dict[str, Any] | None) -> None:
    request = parse_request(given)
    assert request.cluster is None
    assert request.target() == RecoveryTarget(type=TargetType.DEFAULT)
    assert (request.archive, request.cleanup, request.backup) == (False, False, False)
    assert request.action is TargetAction.PROMOTE


@pytest.mark.parametrize(
    ("given", "target"),
    [
        (
            {"time": WHEN},
            RecoveryTarget(type=TargetType.TIME, time=datetime(2025, 12, 27, 9, 50, tzinfo=UTC)),
        ),
        ({"xid": 770}, RecoveryTarget(type=TargetType.XID, xid=770)),
        ({"xid": "770"}, RecoveryTarget(type=TargetType.XID, xid=770)),
        ({"name": "before"}, RecoveryTarget(type=TargetType.NAME, name="before")),
        ({"lsn": "0/5000028"}, RecoveryTarget(type=TargetType.LSN, lsn=LSN(0x5000028))),
        ({"type": "immediate"}, RecoveryTarget(type=TargetType.IMMEDIATE)),
        ({"type": "default"}, RecoveryTarget(type=TargetType.DEFAULT)),
        (
            {"type": "xid", "xid": 770, "exclusive": True},
            RecoveryTarget(type=TargetType.XID, xid=770, exclusive=True),
        ),
    ],
)
def test_the_type_follows_from_the_key(given: dict[str, Any], target: RecoveryTarget) -> None:
    assert parse_request(given).target() == target


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"tiem": WHEN}, ("unknown key 'tiem'", "pg_pitr has cluster, type, time")),
        ({"tiem": WHEN, "clustre": "pg-meta"}, ("unknown key 'tiem'", "unknown key 'clustre'")),
        ({"time": WHEN, "xid": 770}, ("time and xid", "contradict")),
        ({"db_include": ["app", "b"], "db_exclude": ["app"]}, ("both name app", "contradict")),
        ({"db_exclude": "app,postgres"}, ("db_exclude names postgres", "Patroni")),
        (
            {"time": WHEN, "xid": 770, "name": "a", "lsn": "0/1"},
            ("time and xid and name and lsn", "contradict"),
        ),
        ({"type": "time", "xid": 770}, ("type 'time' and xid", "contradict")),
        ({"type": "immediate", "time": WHEN}, ("type 'immediate' and time", "contradict")),
        ({"type": "default", "lsn": "0/1"}, ("type 'default' and lsn", "contradict")),
        ({"type": "time"}, ("type 'time' needs time",)),
        ({"type": "xid"}, ("type 'xid' needs xid",)),
        ({"type": "name"}, ("type 'name' needs name",)),
        ({"type": "lsn"}, ("type 'lsn' needs lsn",)),
        ({"type": "standby"}, ("type: ", "'standby'")),
        ({"exclusive": True}, ("exclusive needs", "'default'")),
        ({"exclusive": True, "type": "immediate"}, ("exclusive needs", "'immediate'")),
        ({"exclusive": True, "name": "before"}, ("exclusive needs", "'name'")),
        ({"action": "pause"}, ("action 'pause' needs a target",)),
        ({"action": "shutdown"}, ("action 'shutdown' needs a target",)),
        ({"action": "stop", "time": WHEN}, ("action: ", "'stop'")),
        ({"action": "pause", "time": WHEN, "cleanup": True}, ("cleanup needs a promoted leader", "'pause'")),
        ({"action": "shutdown", "time": WHEN, "cleanup": True}, ("cleanup needs a promoted leader",)),
        ({"data": "/pg/other", "cleanup": True}, ("beside the cluster", "never archives")),
        ({"data": "/pg/other", "archive": True}, ("beside the cluster", "never archives")),
        ({"xid": 2}, ("xid: ", "got 2")),
        ({"xid": 2**64}, ("xid: ", "18446744073709551616")),
        ({"xid": 2**32 + 1}, ("xid: ", "4294967297")),
        ({"xid": "many"}, ("xid: ", "'many'")),
        ({"lsn": "5000028"}, ("'5000028' is not an LSN",)),
        ({"lsn": ""}, ("'' is not an LSN",)),
        ({"name": ""}, ("name: ",)),
        ({"name": "n" * 64}, ("name: ",)),
        ({"time": "yesterday"}, ("time 'yesterday' is not of the form",)),
        ({"time": "2025-13-01 00:00:00+00"}, ("is not of the form",)),
        ({"process": 0}, ("process: ",)),
        ({"repo": 0}, ("repo: ",)),
        ({"port": 65536}, ("port: ", "65536")),
        ({"archive": "perhaps"}, ("archive: ", "'perhaps'")),
        ({"link_map": "pg_wal=/wal"}, ("link_map: ", "'pg_wal=/wal'")),
        ({"timeline": [2]}, ("timeline",)),
    ],
)
def test_what_cannot_be_is_refused_by_name(given: dict[str, Any], words: tuple[str, ...]) -> None:
    error = refused(given)
    for word in words:
        assert word in str(error)


@pytest.mark.parametrize("key", ["cluster", "set", "data", "time", "timeline"])
def test_a_variable_that_is_empty_is_not_the_same_as_none(key: str) -> None:
    """`cluster: "{{ source }}"` with an empty source would recover the target itself, in place."""
    assert key in str(refused({key: " "}))


@pytest.mark.parametrize("given", ["pg-meta", ["time"], 7, False, "", []])
def test_only_a_mapping_is_a_request(given: Any) -> None:
    assert str(refused(given)).startswith("pg_pitr: ")
    assert ": : " not in str(refused(given))


def test_an_error_names_a_key_as_the_person_wrote_it() -> None:
    """Not as the union that reads it: `timeline.int`."""
    assert "timeline: " in str(refused({"timeline": [2]}))


@pytest.mark.parametrize(
    ("written", "key", "value"),
    [
        ("time: 2025-12-27 17:50:00+08:00", "time", datetime(2025, 12, 27, 9, 50, tzinfo=UTC)),
        ("time: 2025-12-27T09:50:00Z", "time", datetime(2025, 12, 27, 9, 50, tzinfo=UTC)),
        ("time: '2025-12-27 17:50:00+08'", "time", datetime(2025, 12, 27, 9, 50, tzinfo=UTC)),
        ("name: 20251227", "name", "20251227"),
        ("lsn: 0/5000028", "lsn", LSN(0x5000028)),
        ("xid: 770", "xid", 770),
        ("xid: '770'", "xid", 770),
    ],
)
def test_what_yaml_makes_of_unquoted_values_is_understood(written: str, key: str, value: object) -> None:
    assert getattr(parse_request(yaml.safe_load(written)).target(), key) == value


def test_a_set_that_yaml_takes_for_a_number_stays_a_label() -> None:
    assert parse_request(yaml.safe_load("set: 20251227")).set == "20251227"


def test_a_date_alone_is_no_time() -> None:
    """YAML makes a date of it; midnight of whose zone nobody knows."""
    assert "2025-12-27" in str(refused({"time": date(2025, 12, 27)}))
    assert "has no zone" in str(refused({"time": "2025-12-27"}))


def test_a_name_that_yaml_takes_for_a_truth_value_is_refused() -> None:
    """`name: yes` would otherwise wait for a restore point called True."""
    assert "name: " in str(refused(yaml.safe_load("name: yes")))


@pytest.mark.parametrize("given", ["", ",", " , ", []])
def test_an_empty_list_of_databases_is_none(given: object) -> None:
    """`--db-include=` would leave every database out."""
    assert parse_request({"db_include": given}).db_include == ()


moments = st.builds(
    lambda microseconds, zone: datetime.fromtimestamp(0, zone) + timedelta(microseconds=microseconds),
    st.integers(0, 2**52),
    st.sampled_from([UTC, SHANGHAI]),
)


@given(moments)
def test_a_time_with_its_zone_is_read_exactly(moment: datetime) -> None:
    assert parse_time(moment.isoformat(sep=" ")) == moment
    assert parse_time(moment.isoformat()) == moment


@pytest.mark.parametrize("text", ["2025-12-27 17:50:00+08", "2025-12-27T09:50:00Z", "2025-12-27 09:50+00"])
def test_the_zone_of_this_machine_does_not_matter_to_a_time_that_has_one(
    text: str, zone: Callable[[str], None]
) -> None:
    for name in ("UTC", "America/New_York", "Asia/Kathmandu"):
        zone(name)
        assert parse_time(text) == datetime(2025, 12, 27, 9, 50, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "text", "means", "abbreviation"),
    [
        ("UTC", "2025-12-27 17:50:00", "2025-12-27 17:50:00+00:00", "UTC"),
        ("Asia/Shanghai", "2025-12-27 17:50:00", "2025-12-27 17:50:00+08:00", "CST"),
        ("Asia/Kathmandu", "2025-12-27 17:50:00", "2025-12-27 17:50:00+05:45", "+0545"),
        ("Europe/Berlin", "2025-12-27 17:50:00", "2025-12-27 17:50:00+01:00", "CET"),
        ("Europe/Berlin", "2025-07-01 17:50:00", "2025-07-01 17:50:00+02:00", "CEST"),
        ("America/New_York", "2025-07-01 17:50:00.25", "2025-07-01 17:50:00.250000-04:00", "EDT"),
    ],
)
def test_a_time_without_a_zone_is_refused_and_said_in_this_machines_zone(
    name: str, text: str, means: str, abbreviation: str, zone: Callable[[str], None]
) -> None:
    """pgBackRest would read it in the host's zone, PostgreSQL in its own: pgBackRest issue 2452."""
    zone(name)
    error = refused({"time": text})
    assert f"({abbreviation}) it would be {means}" in str(error)
    assert f"in UTC {datetime.fromisoformat(text)}+00" in str(error)
    assert error.next_command == f"--time '{means}'"
    assert parse_time(means).isoformat(sep=" ") == means


@pytest.mark.parametrize("text", ["0001-01-01 00:00:00", "9999-12-31 23:59:59"])
@pytest.mark.parametrize("name", ["Asia/Shanghai", "America/New_York"])
def test_the_ends_of_the_calendar_are_refused_like_any_time_without_a_zone(
    text: str, name: str, zone: Callable[[str], None]
) -> None:
    zone(name)
    assert text in str(refused({"time": text}))


@pytest.mark.parametrize("text", ["9999-12-31 23:59:59-08", "0001-01-01 00:00:00+08"])
def test_a_time_beyond_the_calendar_in_utc_is_refused(text: str) -> None:
    assert text in str(refused({"time": text}))


# -- a repository that is described


def test_a_described_repository_is_read_with_pigstys_keys() -> None:
    request = parse_request(
        {
            "repo": {
                "type": "s3",
                "s3_endpoint": "store.fleet",
                "s3_key_secret": HIDDEN,
                "path": "/${pg_cluster}",
            }
        }
    )
    assert request.repo_key is None and request.repository is not None
    assert dict(request.repository.filled({"pg_cluster": "pg-meta"}).revealed()) == {
        "repo1-type": "s3",
        "repo1-s3-endpoint": "store.fleet",
        "repo1-s3-key-secret": HIDDEN,
        "repo1-path": "/pg-meta",
    }


@pytest.mark.parametrize("given", [2, "2", " 2 "])
def test_a_configured_repository_is_named_by_its_number(given: object) -> None:
    request = parse_request({"repo": given})
    assert (request.repo_key, request.repository) == (2, None)


def test_the_secrets_of_a_request_are_shown_nowhere() -> None:
    request = parse_request({"cluster": "pg-meta", "repo": {"path": "/b", "cipher_pass": HIDDEN}})
    assert HIDDEN not in f"{request!r} {request}" and HIDDEN not in request.model_dump_json()
    assert request.model_dump(mode="json", exclude_defaults=True) == {
        "cluster": "pg-meta",
        "repo": {"repo1-path": "/b", "repo1-cipher-pass": "***"},
    }
    assert HIDDEN not in repr(request.model_dump())


@pytest.mark.parametrize(
    ("repo", "said"),
    [
        ({"store": {"cipher_pass": HIDDEN}}, "repo: store is a dict, not a text"),
        ({"cipher_pass": f"{HIDDEN}\n"}, "repo: cipher_pass has a line feed"),
        ({"cipher_pass": f"{{{{ {HIDDEN} }}}}"}, "repo: cipher_pass is a template"),
        ({"s3_key": None, "cipher_pass": HIDDEN}, "repo: s3_key has no value"),
        ({"Cipher Pass": HIDDEN}, "repo: 'Cipher Pass' is no name of an option"),
        ([HIDDEN], "repo: a repository is a number from 1 on, or a mapping"),
        (f"{HIDDEN}", "repo: a repository is a number from 1 on, or a mapping"),
        (True, "repo: a repository is a number from 1 on, or a mapping"),
        (1.5, "repo: a repository is a number from 1 on, or a mapping"),
    ],
)
def test_what_is_no_repository_is_named_without_its_value(repo: object, said: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        parse_request({"repo": repo})
    assert raised.value.what.startswith(said)
    assert HIDDEN not in f"{raised.value} {raised.value.__cause__}"
