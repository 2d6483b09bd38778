"""Reading a stanza with a pgBackRest that answers as a real one did."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import PurePosixPath

import pytest

from pgbackrest_recordings import RecordedPgbackrest, recorded_catalogue
from pgdolly.domain.command import Command, Completed
from pgdolly.domain.errors import CommandFailed, Refused
from pgdolly.drivers.catalogue import info_command, read_catalogue, repo_get_command, repo_ls_command
from pgdolly.drivers.repository import FROM_STDIN


def test_a_stanza_with_forks_is_read_whole() -> None:
    catalogue = recorded_catalogue("pg-forks", "forks")
    (archive,) = catalogue.archives
    assert len(catalogue.backups) == 5
    assert archive.timelines == (1, 2, 3, 4)
    assert archive.history_of(3).path == (1, 2, 3)
    assert archive.history_of(4).path == (1, 4)
    assert catalogue.remarks == ()


def test_both_repositories_and_generations_are_read_with_one_listing_each() -> None:
    run = RecordedPgbackrest("pg-two", "two-repos")
    catalogue = asyncio.run(read_catalogue(run, "pg-two"))
    assert [(archive.repo_key, archive.archive_id) for archive in catalogue.archives] == [
        (1, "15-1"),
        (1, "15-2"),
        (2, "15-1"),
        (2, "15-2"),
    ]
    assert len(run.asked) == 1 + 2 + 2  # info, a listing and a history file for each repository
    assert run.most_running > 1


def test_one_repository_alone_when_it_is_asked_for() -> None:
    run = RecordedPgbackrest("pg-forks", "forks")
    asyncio.run(read_catalogue(run, "pg-forks", repo_key=1))
    assert all("--repo=1" in argv for argv in run.asked)


def test_the_newest_history_tells_its_ancestors() -> None:
    """Forty failovers in a row: eight files are read, not forty, and never more than four calls run at once."""
    lines = [f"{timeline}\t0/{timeline:X}000000\tno recovery target specified" for timeline in range(1, 41)]
    run = _ManyTimelines(lines)
    catalogue = asyncio.run(read_catalogue(run, "pg-many"))
    (archive,) = catalogue.archives
    assert [len(archive.history_of(timeline).forks) for timeline in (2, 17, 41)] == [1, 16, 40]
    assert run.histories_read == 8
    assert run.most_running <= 4


def test_a_repository_with_the_wrong_passphrase_is_passed_over_with_a_remark() -> None:
    run = RecordedPgbackrest("pg-two", "two-repos", info="wrong-passphrase.info.json")
    catalogue = asyncio.run(read_catalogue(run, "pg-two"))
    assert {archive.repo_key for archive in catalogue.archives} == {1}
    assert "repo2-cipher-pass" in catalogue.remarks[0]
    assert catalogue.remarks[0].isprintable()


@pytest.mark.parametrize(
    ("stanza", "info", "said"),
    [
        ("nope", "missing-stanza.info.json", "it holds pg-two"),
        ("pg-forks", "unreadable.info.json", "Permission denied"),
        ("pg-forks", "wrong-cipher.info.json", "repo1-cipher-type"),
        ("pg-large", "missing-data.info.json", "stanza-create did not finish"),
    ],
)
def test_a_stanza_that_cannot_be_read_is_refused_with_the_reason(stanza: str, info: str, said: str) -> None:
    run = RecordedPgbackrest(stanza, "two-repos", info=info)
    with pytest.raises(Refused) as caught:
        asyncio.run(read_catalogue(run, stanza))
    assert said in caught.value.what
    assert caught.value.untouched == "nothing was changed"
    assert caught.value.next_command == "pgbackrest info"


def test_a_configuration_out_of_standard_input_is_not_to_be_typed() -> None:
    recorded = RecordedPgbackrest("nope", "two-repos", info="missing-stanza.info.json")

    async def run(command: Command) -> Completed:
        argv = tuple(each for each in command.argv if each != f"--config={FROM_STDIN}")
        return await recorded(dataclasses.replace(command, argv=argv))

    with pytest.raises(Refused) as caught:
        asyncio.run(read_catalogue(run, "nope", config=FROM_STDIN))
    assert str(caught.value.next_command).startswith("pgbackrest --stanza=nope info, on a node")


def test_an_upgraded_stanza_without_a_backup_is_readable() -> None:
    catalogue = recorded_catalogue("pg-two", "upgraded")
    assert catalogue.current is not None and catalogue.current.history_id == 2
    assert not [backup for backup in catalogue.backups if backup.history_id == 2]


@pytest.mark.parametrize(("stanza", "recording"), [("pg-forks", "forks"), ("pg-two", "two-repos")])
def test_a_store_that_names_no_folders_beside_files_is_read_all_the_same(stanza: str, recording: str) -> None:
    """s3rver does so; the archive ids are known from `info` then."""
    whole = asyncio.run(read_catalogue(RecordedPgbackrest(stanza, recording), stanza))
    assert asyncio.run(read_catalogue(RecordedPgbackrest(stanza, recording, flat=True), stanza)) == whole


def test_a_failing_pgbackrest_is_quoted() -> None:
    async def run(command: Command) -> Completed:
        stderr = "ERROR: [055]: unable to open missing file '/etc/pgbackrest.conf' for read\n"
        return Completed(command=command, status=55, stdout="", stderr=stderr)

    with pytest.raises(CommandFailed) as caught:
        asyncio.run(read_catalogue(run, "pg-forks", PurePosixPath("/etc/pgbackrest.conf")))
    assert "[055]: unable to open missing file" in caught.value.what
    assert caught.value.status == 55
    assert caught.value.argv[1] == "--config=/etc/pgbackrest.conf"


def test_an_answer_that_is_none_is_an_error_of_the_command() -> None:
    async def run(command: Command) -> Completed:
        return Completed(command=command, status=0, stdout="Welcome to db-1!\n[", stderr="")

    with pytest.raises(CommandFailed, match="not JSON"):
        asyncio.run(read_catalogue(run, "pg-forks"))


def test_the_commands_read_only_and_keep_warnings_out_of_the_json() -> None:
    config = PurePosixPath("/etc/pgbackrest.conf")
    for command in (
        info_command("pg-meta", config),
        repo_ls_command("pg-meta", 2, config, path="archive/pg-meta"),
        repo_get_command("pg-meta", 2, config, path="archive/pg-meta/15-1/00000002.history"),
    ):
        assert command.run_as == "dbsu"
        assert {"--log-level-console=off", "--log-level-file=off"} <= set(command.argv)
        assert {"info", "repo-ls", "repo-get"} & set(command.argv)
    assert info_command("pg-meta").shown() == (
        "pgbackrest --stanza=pg-meta --log-level-console=off --log-level-stderr=warn --log-level-file=off "
        "--output=json info"
    )


class _ManyTimelines:
    """A stanza whose cluster failed over again and again."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.histories_read = 0
        self.running = 0
        self.most_running = 0

    async def __call__(self, command: Command) -> Completed:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        return Completed(command=command, status=0, stdout=self._output(command.argv), stderr="")

    def _output(self, argv: tuple[str, ...]) -> str:
        if argv[-1] == "info":
            return (
                '[{"name":"pg-many","status":{"code":0,"message":"ok"},"backup":[],"archive":[],'
                '"db":[{"id":1,"repo-key":1,"system-id":7,"version":"17"}],'
                '"repo":[{"key":1,"cipher":"none","status":{"code":0,"message":"ok"}}]}]'
            )
        if "repo-ls" in argv:
            files = (
                f'"17-1/{number + 2:08X}.history":{{"type":"file","size":9,"time":{number}}}'
                for number in range(len(self.lines))
            )
            return "{" + ",".join(files) + "}"
        self.histories_read += 1
        timeline = int(argv[-1].rpartition("/")[2].removesuffix(".history"), 16)
        return "\n".join(self.lines[: timeline - 1]) + "\n"
