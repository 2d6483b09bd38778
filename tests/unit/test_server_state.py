"""What psql prints of a server's archiving, read: recorded from PostgreSQL 15 and 17."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

import pytest

from pgdolly.domain.lsn import LSN, WalSegment
from pgdolly.drivers.server_state import ArchiverState, Written, parse_server_state

DATA = PurePosixPath("/pg/data")
CONF = "/pg/data/postgresql.conf"
COMMAND = "pgbackrest --stanza=pg-test archive-push %p"
PRIMARY: dict[str, Any] = {
    "log": "log/postgresql.log",
    "lsn": "0/9003688",
    "system": "7711053889213225194",
    "waiting": 2,
    "written": [["archive_command", COMMAND, CONF], ["archive_mode", "on", CONF]],
    "archiver": {
        "last": "000000010000000000000007",
        "failed": "000000010000000000000008",
        "last_at": 1795369811.653915,
        "failed_at": 1795369852.996096,
        "failures": 3,
    },
    "settings": {
        "archive_mode": ["on", CONF, False],
        "archive_command": [COMMAND, CONF, False],
        "archive_library": ["", None, False],
    },
    "timeline": 1,
    "recovering": False,
}


def parsed(**changed: Any) -> Any:
    return parse_server_state(json.dumps({**PRIMARY, **changed}), DATA)


def test_a_primary() -> None:
    found = parsed()
    assert not found.in_recovery
    assert (found.system_identifier, found.timeline) == (7711053889213225194, 1)
    assert found.lsn == LSN.parse("0/9003688")
    assert found.archive_command == Written(value=COMMAND, file=PurePosixPath(CONF))
    assert found.archive_mode_written == Written(value="on", file=PurePosixPath(CONF))
    assert found.log_file == PurePosixPath("/pg/data/log/postgresql.log")
    assert found.archiver.last_archived_at == datetime(2026, 11, 22, 17, 50, 11, 653915, tzinfo=UTC)
    assert found.archiver.failing
    assert found.archiver.last_segment(16 * 1024**2) == WalSegment.parse("000000010000000000000007")


def test_a_replica_before_postgresql_15_without_a_log_of_its_own() -> None:
    settings = {name: value for name, value in PRIMARY["settings"].items() if name != "archive_library"}
    nothing = {"last": None, "failed": None, "last_at": None, "failed_at": None, "failures": 0}
    found = parsed(
        recovering=True, timeline=None, lsn=None, settings=settings, archiver=nothing, waiting=0, log=None
    )
    assert found.in_recovery
    assert (found.timeline, found.lsn, found.log_file, found.archive_library) == (None, None, None, "")
    assert found.archiver == ArchiverState()
    assert not found.archiver.failing
    assert found.archiver.last_segment(16 * 1024**2) is None


def test_the_last_line_of_the_files_counts_and_the_hidden_command_is_read_from_them() -> None:
    auto = "/pg/data/postgresql.auto.conf"
    found = parsed(
        settings={
            "archive_mode": ["off", auto, False],
            "archive_command": ["(disabled)", CONF, False],
            "archive_library": ["", None, False],
        },
        written=[*PRIMARY["written"], ["archive_mode", "off", auto]],
    )
    assert found.archive_mode == "off"
    assert found.archive_mode_written == Written(value="off", file=PurePosixPath(auto))
    assert found.archive_mode_written.by_alter_system
    assert found.archive_mode_configured == "on"
    assert not found.archive_command.by_alter_system
    assert found.archive_command.value == COMMAND


def test_what_no_file_sets_is_the_default_or_the_command_lines() -> None:
    settings = {
        "archive_mode": ["on", None, False],
        "archive_command": ["(disabled)", None, False],
        "archive_library": ["", None, False],
    }
    by_command_line = parsed(written=None, settings=settings)
    assert by_command_line.archive_mode_written == Written(value="on")
    assert by_command_line.archive_command == Written(value="")
    removed = parsed(written=[], settings={**settings, "archive_mode": ["on", CONF, False]})
    assert removed.archive_mode_written == Written(value="off")


@pytest.mark.parametrize(
    ("word", "mode"), [("False", "off"), ("'no'", "off"), ("TRUE", "on"), ("always", "always")]
)
def test_every_word_for_archive_mode(word: str, mode: str) -> None:
    assert parsed(written=[["archive_mode", word, CONF]]).archive_mode_written.value == mode


@pytest.mark.parametrize("answer", ["", "psql: error", "{}", '{"settings": {}}'])
def test_another_answer(answer: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        parse_server_state(answer, DATA)
