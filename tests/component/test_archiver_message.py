"""What archive-push said last, as a node's shell finds it: in pgBackRest's spool, or in PostgreSQL's log."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pgdolly.operations.check.observe import ARCHIVER_MESSAGE

SEGMENT = "00000001000000000000000A"
PLAIN = """\
2026-11-24 20:19:53.744 P00   INFO: archive-push command begin 2.55.1: [pg_wal/00000001000000000000000A]
2026-11-24 20:19:53.755 P00  ERROR: [062]: stop file exists for stanza pg-test
2026-11-24 20:19:53.757 P00   INFO: archive-push command end: aborted with exception [062]
"""
AS_CSV = '2026-11-24 20:19:53.76 UTC,,,8,,,2,,,,0,LOG,00000,"archive command failed with exit code 62",,,,,,,,,"",,,0\n'
STOPPED = "ERROR: [062]: stop file exists for stanza pg-test"


def message(spool: Path, log: Path) -> str:
    done = subprocess.run(
        ("sh", "-c", ARCHIVER_MESSAGE, "message", str(spool), SEGMENT, str(log)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert not done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("current", "plain"),
    [
        ("postgresql.log", "postgresql.log"),
        ("postgresql-Tue.csv", "postgresql-Tue.log"),
        ("postgresql-Tue.json", "postgresql-Tue.log"),
        ("pg.2026-11-24.csv", "pg.2026-11-24"),
    ],
)
def test_the_log_of_the_servers_children(tmp_path: Path, current: str, plain: str) -> None:
    (tmp_path / current).write_text(AS_CSV)
    (tmp_path / plain).write_text(PLAIN)
    assert message(tmp_path / "spool", tmp_path / current) == STOPPED


def test_the_spool_knows_more(tmp_path: Path) -> None:
    (tmp_path / f"{SEGMENT}.error").write_text("82\nunable to push\nHINT: none\n")
    log = tmp_path / "postgresql.log"
    log.write_text(PLAIN)
    assert message(tmp_path, log) == "ERROR: [82]: unable to push"
