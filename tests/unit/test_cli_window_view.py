"""The recovery window on the screen and as JSON."""

from __future__ import annotations

import json

import click
from hypothesis import given
from hypothesis import strategies as st

from pgbackrest_recordings import recorded_catalogue
from pgdolly.cli.window_picture import DRAWN, PLAIN, Pen, picture
from pgdolly.cli.window_view import window_as_json, window_lines
from pgdolly.domain.target import RecoveryTarget, TargetType
from pgdolly.operations.request import parse_time
from pgdolly.recovery.select import resolve
from pgdolly.recovery.window import recovery_window
from recovery_worlds import World, at


def shown(
    stanza: str, recording: str, *, width: int = 140, drawn: bool = True, drop: tuple[str, ...] = ()
) -> str:
    window = recovery_window(recorded_catalogue(stanza, recording, drop=drop))
    return click.unstyle("\n".join(window_lines("pg-meta", window, width=width, drawn=drawn)))


def drawing(stanza: str, recording: str, width: int, *, drop: tuple[str, ...] = ()) -> list[str]:
    archive = recovery_window(recorded_catalogue(stanza, recording, drop=drop)).archives[0]
    return [click.unstyle(line) for line in picture(archive, width, DRAWN)]


def test_the_answer_comes_first_and_can_be_pasted() -> None:
    lines = shown("pg-forks", "forks").splitlines()
    assert lines[0] == "pg-meta: what can be restored out of stanza pg-forks"
    assert "--time '2026-11-22 17:39:48+00'" in lines[1]
    assert "before 2026-11-22 17:40:22+00" in lines[2]


def test_what_can_be_pasted_is_accepted() -> None:
    catalogue = recorded_catalogue("pg-forks", "forks")
    for line in shown("pg-forks", "forks").splitlines()[1:2]:
        target = RecoveryTarget(type=TargetType.TIME, time=parse_time(line.split("'")[1]))
        resolve(catalogue, target=target, now=at(100_000_000))


def test_every_fork_is_drawn_from_its_parent() -> None:
    one, two, three, four, *_ = drawing("pg-forks", "forks", 100)
    column = one.index("┯")
    assert two[column] == "├" and three[column] == "│" and four[column] == "╰"
    assert three[two.index("┯")] == "╰"
    assert one.count("▲") == 1 and one.count("△") == 2 and two.count("▲") == 1 and four.endswith("△")
    assert two.index("━") < three.index("━") < four.index("━")


def test_wal_before_the_first_backup_is_drawn_otherwise() -> None:
    one = drawing("pg-forks", "forks", 100)[0]
    assert one.index("─") < one.index("▲") < one.index("━")


def test_a_gap_of_one_segment_is_seen_whatever_the_scale() -> None:
    world = World()
    world.write()
    world.backup()
    for _ in range(500):
        world.write()
    world.lost = {(1, 300)}
    (archive,) = recovery_window(world.catalogue()).archives
    line = click.unstyle(next(iter(picture(archive, 60, DRAWN))))
    assert line.count("╳") >= 1
    assert line.index("╳") < len(line) - 5


def test_a_backup_without_its_wal_is_marked_and_explained() -> None:
    drop = ("000000010000000000000005",)
    text = shown("pg-forks", "forks", drop=drop)
    assert "NO" in text
    assert "WAL segment 000000010000000000000005, without which it is not consistent" in text
    assert "✗" in drawing("pg-forks", "forks", 100, drop=drop)[0]
    assert "GAP on the way to it: 000000010000000000000005" in text
    assert "but nothing from repo1 between 2026-11-22 17:39:49+00 (LSN 0/5000000)" in text


def test_a_pipe_gets_plain_characters_only() -> None:
    text = shown("pg-forks", "forks", drawn=False, drop=("000000010000000000000005",))
    assert text.isascii()
    assert "F" in text and "timeline 4" in text


def test_generations_and_repositories_are_told_apart() -> None:
    text = shown("pg-two", "two-repos")
    assert "repo1, archive 15-2: PostgreSQL 15" in text and "a former system of this stanza" in text
    assert "repo2, archive 15-2" in text and "no backup" in text
    assert "--immediate restores the backup itself" in text


def test_nothing_to_restore_names_the_cure() -> None:
    text = shown("pg-two", "upgraded")
    assert "nothing of the present system can be restored now" in text
    assert "pg-backup full" in text


def test_the_json_has_what_the_screen_has() -> None:
    window = recovery_window(recorded_catalogue("pg-forks", "forks", drop=("000000010000000000000005",)))
    found = json.loads(window_as_json("pg-meta", window))
    assert (found["cluster"], found["stanza"]) == ("pg-meta", "pg-forks")
    assert found["first_at"] == "2026-11-22T17:39:48+00:00"
    (archive,) = found["archives"]
    assert (archive["newest_timeline"], archive["segment_size"], archive["current"]) == (4, 16777216, True)
    assert [backup["usable"] for backup in archive["backups"]] == [True, False, True, True, True]
    assert archive["backups"][3]["leads_to"] == [2, 3]
    assert archive["timelines"][0]["gaps"] == [
        {
            "first": "000000010000000000000005",
            "last": "000000010000000000000005",
            "segments": 1,
            "stored_twice": False,
        }
    ]
    assert archive["timelines"][3]["forked_from"] == 1
    assert archive["timelines"][3]["forked_at"] == "0/9002FA0"
    assert len(archive["timelines"][3]["spans"]) == 2


@given(
    st.lists(st.sampled_from(["write", "backup", "bad", "fail over", "recover", "idle"]), max_size=15),
    st.integers(40, 200),
    st.sampled_from([DRAWN, PLAIN]),
    st.sets(st.integers(0, 20), max_size=3),
)
def test_any_past_fits_into_the_width(doings: list[str], width: int, pen: Pen, lost: set[int]) -> None:
    world = World()
    world.write()
    for doing in doings:
        match doing:
            case "write":
                world.write()
            case "backup":
                world.backup()
            case "bad":
                world.backup(error=True)
            case "fail over":
                world.fail_over()
            case "recover":
                world.recover(world.commits[len(world.commits) // 2])
            case "idle":
                world.idle()
    world.lost = {file for index, file in enumerate(sorted(world.archived)) if index in lost}
    (archive,) = recovery_window(world.catalogue()).archives
    lines = [click.unstyle(line) for line in picture(archive, width, pen)]
    written = [timeline for timeline in archive.timelines if timeline.ranges]
    assert all(len(line) <= width for line in lines)
    assert [line.split()[1] for line in lines[: len(written)]] == [str(each.timeline) for each in written]
