"""What pgBackRest printed, as values. The texts under tests/data/pgbackrest are real."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import pytest

from pgbackrest_recordings import RECORDINGS
from pgdolly.domain.lsn import LSN, WalSegment
from pgdolly.drivers.catalogue_format import (
    parse_info,
    parse_repo_ls,
    parse_stanza_names,
    size_by_names,
    size_by_positions,
)

MB = 1024 * 1024


def recorded(name: str) -> str:
    return (RECORDINGS / name).read_text(errors="replace")


def test_backups_have_their_positions_sizes_and_times() -> None:
    info = parse_info(recorded("forks/info.json"), "pg-forks")
    full, diff = info.backups[:2]
    assert [backup.type for backup in info.backups] == ["full", "diff", "incr", "full", "incr"]
    assert (full.label, diff.label) == ("20261122-173946F", "20261122-173946F_20261122-173949D")
    assert diff.start_at == datetime(2026, 11, 22, 17, 39, 49, tzinfo=UTC)
    assert diff.stop_at == datetime(2026, 11, 22, 17, 39, 51, tzinfo=UTC)
    assert (diff.start_lsn, diff.stop_lsn) == (LSN.parse("0/4000028"), LSN.parse("0/5000050"))
    assert (diff.start_segment.name, diff.stop_segment.name) == (
        "000000010000000000000004",
        "000000010000000000000005",
    )
    assert [backup.timeline for backup in info.backups] == [1, 1, 1, 2, 4]
    assert 20 * MB < full.database_size < 30 * MB
    assert 2 * MB < full.repository_size < 3 * MB
    assert not full.error


def test_a_stanza_upgrade_adds_a_generation_in_every_repository() -> None:
    info = parse_info(recorded("two-repos/info.json"), "pg-two")
    assert [(system.repo_key, system.archive_id) for system in info.systems] == [
        (1, "15-1"),
        (1, "15-2"),
        (2, "15-1"),
        (2, "15-2"),
    ]
    assert len({system.system_identifier for system in info.systems}) == 2
    assert [(backup.history_id, backup.repo_key) for backup in info.backups] == [
        (1, 1),
        (1, 2),
        (1, 2),
        (2, 1),
    ]
    assert info.cipher == "mixed"
    assert [repository.cipher for repository in info.repositories] == ["none", "aes-256-cbc"]


def test_a_stanza_stays_ok_after_an_upgrade_although_it_has_no_backup_of_the_new_system() -> None:
    info = parse_info(recorded("upgraded/info.json"), "pg-two")
    assert info.status == "ok"
    assert {backup.history_id for backup in info.backups} == {1}
    assert max(system.history_id for system in info.systems) == 2


def test_undeciphered_bytes_in_the_answer_do_not_hide_the_other_repository() -> None:
    info = parse_info(recorded("wrong-passphrase.info.json"), "pg-two")
    good, bad = info.repositories
    assert good.readable
    assert bad.wrongly_deciphered and not bad.readable
    assert bad.message.isprintable() and bad.message.endswith("backup.info.copy'")
    assert {backup.repo_key for backup in info.backups} == {1}


@pytest.mark.parametrize(
    ("name", "stanza", "readable"),
    [
        ("missing-stanza", "nope", False),
        ("no-backup", "pg-forks", True),
        ("unreadable", "pg-forks", False),
        ("missing-data", "pg-large", False),
        ("wrong-cipher", "pg-forks", False),
    ],
)
def test_the_status_of_a_repository(name: str, stanza: str, readable: bool) -> None:
    repositories = parse_info(recorded(f"{name}.info.json"), stanza).repositories
    assert {repository.readable for repository in repositories} == {readable}
    assert {repository.wrongly_deciphered for repository in repositories} == {name == "wrong-cipher"}


@pytest.mark.parametrize("text", ["", "[]", "{}", "ERROR: [055]", '[{"name": "other"}]'])
def test_what_is_no_answer_about_the_stanza_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"JSON|said nothing"):
        parse_info(text, "pg-forks")


def test_a_field_of_the_wrong_kind_is_named() -> None:
    answer = json.loads(recorded("forks/info.json"))
    answer[0]["backup"][0]["timestamp"]["stop"] = "yesterday"
    with pytest.raises(ValueError, match=r"backup\.0\.timestamp\.stop"):
        parse_info(json.dumps(answer), "pg-forks")


def test_fields_that_other_versions_add_or_leave_out() -> None:
    """2.41 adds annotations, 2.46 leaves out the size of block-incremental sets, old backups have no LSN."""
    answer = json.loads(recorded("forks/info.json"))
    new, old = answer[0]["backup"][0], answer[0]["backup"][1]
    new["annotation"] = {"key": "value"}
    new["info"]["repository"] = {"delta": 17, "delta-map": 12, "size-map": 100}
    del old["lsn"], old["error"]
    answer[0]["status"]["lock"]["restore"] = {"held": False}
    info = parse_info(json.dumps(answer), "pg-forks")
    assert info.backups[0].repository_size == 17
    assert info.backups[1].start_lsn == LSN.parse("0/4000000")
    assert info.backups[1].stop_lsn == LSN.parse("0/6000000")
    assert not info.backups[1].error


def test_a_backup_made_offline_is_passed_over_with_a_remark() -> None:
    answer = json.loads(recorded("forks/info.json"))
    answer[0]["backup"][0]["archive"] = {"start": None, "stop": None}
    del answer[0]["backup"][0]["lsn"]
    info = parse_info(json.dumps(answer), "pg-forks")
    assert info.backups[0].label == "20261122-173946F_20261122-173949D"
    assert "20261122-173946F was made offline" in info.remarks[0]


def test_archive_info_may_count_otherwise_than_backup_info() -> None:
    answer = json.loads(recorded("forks/info.json"))
    answer[0]["archive"][0]["id"] = "15-3"
    (system,) = parse_info(json.dumps(answer), "pg-forks").systems
    assert (system.history_id, system.archive_id) == (1, "15-3")


def test_only_whole_segments_are_listed() -> None:
    first, second = parse_repo_ls(recorded("two-repos/repo-ls.1.json"))
    assert (first.archive_id, second.archive_id) == ("15-1", "15-2")
    names = [archived.segment.name for archived in first.segments]
    assert names == sorted(names)
    assert names[-1] == "000000020000000000000009"
    assert names.count("000000010000000000000007") == 1  # the whole one; it is there as .partial too
    assert [timeline for timeline, _ in first.history_files] == [2]
    assert first.segments[0].archived_at == datetime(2026, 11, 22, 17, 40, 25, tzinfo=UTC)
    assert second.history_files == ()


def test_a_segment_with_two_contents_is_not_among_those_that_can_be_had() -> None:
    listing = json.loads(recorded("forks/repo-ls.1.json"))
    name = next(name for name in listing if "/000000010000000000000006-" in name)
    listing[re.sub(r"-[0-9a-f]{40}", "-" + "0" * 40, name)] = listing[name]
    (found,) = parse_repo_ls(json.dumps(listing))
    assert found.duplicates == (WalSegment.parse("000000010000000000000006"),)
    assert "000000010000000000000006" not in [archived.segment.name for archived in found.segments]


def test_the_segment_size_is_proven_by_a_backup() -> None:
    info = parse_info(recorded("wal-64mb/info.json"), "pg-large")
    assert info.segment_sizes == {"15-1": 64 * MB}
    (listing,) = parse_repo_ls(recorded("wal-64mb/repo-ls.1.json"), info.segment_sizes)
    assert listing.segments[-1].segment.end == LSN.parse("0/10000000")
    assert (
        info.backups[0].start_segment.start <= info.backups[0].start_lsn < info.backups[0].start_segment.end
    )


@pytest.mark.parametrize("size", [1 * MB, 4 * MB, 16 * MB, 64 * MB, 1024 * MB])
def test_positions_tell_the_segment_size(size: int) -> None:
    lsn = LSN.parse("1F/F5000028")
    assert size_by_positions([(lsn, WalSegment.holding(1, lsn, size).name)]) == size


def test_the_first_segments_of_a_log_tell_no_size() -> None:
    assert size_by_positions([(LSN.parse("0/28"), "000000010000000000000000")]) is None
    assert size_by_positions([]) is None


@pytest.mark.parametrize(
    ("counters", "size"),
    [
        ([(1, 0, 0xFF), (1, 1, 0)], 16 * MB),
        ([(1, 0, 0x3F), (1, 1, 0)], 64 * MB),
        ([(1, 0, 0x3FF)], 4 * MB),
        ([(1, 0, 0xFFF)], 1 * MB),
        ([(1, 0, 0x20)], 16 * MB),
        ([], 16 * MB),
    ],
)
def test_names_tell_the_segment_size(counters: list[tuple[int, int, int]], size: int) -> None:
    assert size_by_names(counters) == size


def test_the_stanzas_of_a_repository() -> None:
    assert parse_stanza_names(recorded("stanzas.repo-ls.json")) == ("pg-two",)


@pytest.mark.parametrize("text", ["[]", "nothing", '{"15-1/00000002.history": {"type": "file"}}'])
def test_what_is_no_listing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"JSON|listing|time"):
        parse_repo_ls(text)
