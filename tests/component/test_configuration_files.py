"""The files of a new member, written by the real commands and programs; its directory may be root's alone."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml
from test_node_programs import MEMBER, program

from pgdolly.domain.draft import MARK, Draft, DraftPath
from pgdolly.domain.secret import Secret
from pgdolly.drivers.configuration import write_drafts_commands

ME = pwd.getpwuid(os.geteuid())
# Root may write everywhere: its part is played by itself, the dbsu's by an account that may not.
DBSU = "nobody" if ME.pw_uid == 0 else None
OWNER = DBSU or ME.pw_name
BEFORE = {
    "scope": "pg-meta2",
    "postgresql": {
        "authentication": {
            "superuser": {"username": "dba", "password": "the source's"},
            "replication": {"username": "replicator", "password": "the source's"},
        },
        "recovery_conf": {
            "restore_command": "pgbackrest --config=/etc/pgbackrest/pgbackrest-upstream.conf …"
        },
    },
}
OWN = {"superuser": "own é", "replication": "own, too"}


@pytest.fixture
def place() -> Iterator[tuple[Path, Path]]:
    """A directory that the dbsu may look into, with a patroni.yml of the dbsu's in it; and a work directory of its."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        closed, work = Path(name) / "patroni", Path(name) / "work"
        closed.mkdir()
        work.mkdir(mode=0o700)
        config = closed / "patroni.yml"
        config.write_text(f"{MARK}\n{yaml.safe_dump(BEFORE)}")
        config.chmod(0o600)
        if DBSU is not None:
            os.chown(config, pwd.getpwnam(DBSU).pw_uid, -1)
            os.chown(work, pwd.getpwnam(DBSU).pw_uid, -1)
        closed.chmod(0o555)
        yield config, work
        closed.chmod(0o755)


def own(config: Path, work: Path) -> dict[str, Any]:
    return program(
        "passwords",
        user=DBSU,
        action="own",
        file=work / "passwords.json",
        patroni_config=config,
        mark=MARK,
        aside=work / "patroni.yml",
        upstream="/etc/pgbackrest/pgbackrest-upstream.conf",
        secrets=OWN,
    )


def assert_own(config: Path, work: Path) -> None:
    text = config.read_text()
    assert text.startswith(f"{MARK}\n")
    roles = {"superuser": ("dba", "own é"), "replication": ("replicator", "own, too")}
    assert yaml.safe_load(text) == {
        "scope": "pg-meta2",
        "postgresql": {
            "authentication": {
                role: {"username": username, "password": password}
                for role, (username, password) in roles.items()
            }
        },
    }
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert list(work.iterdir()) == [], "a copy with passwords stays behind"


def test_own_passwords_are_put_into_a_file_whose_directory_is_closed(place: tuple[Path, Path]) -> None:
    config, work = place
    inode = config.stat().st_ino
    assert own(config, work) == {"changed": True}
    assert_own(config, work)
    assert config.stat().st_ino == inode, "the directory was not closed"
    assert own(config, work) == {"changed": False}
    assert_own(config, work)


def test_a_file_that_was_half_filled_when_somebody_was_killed_is_made_whole(place: tuple[Path, Path]) -> None:
    config, work = place
    whole = config.read_text()
    with config.open("w") as half:  # in place: it is the dbsu's, and stays so
        half.write(whole[: len(whole) // 2])
    (work / "patroni.yml").write_text(whole)
    assert own(config, work)["changed"] is True
    assert_own(config, work)


def leave(config: Path, work: Path, *settings: str) -> dict[str, Any]:
    return program(
        "recovery_conf",
        user=DBSU,
        patroni_config=config,
        mark=MARK,
        aside=work / "patroni.yml",
        upstream="/etc/pgbackrest/pgbackrest-upstream.conf",
        settings=settings,
    )


def recovery_conf(config: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(config.read_text())["postgresql"].get("recovery_conf", {})
    return found


@pytest.fixture
def delayed(place: tuple[Path, Path]) -> tuple[Path, Path]:
    config, work = place
    found = yaml.safe_load(config.read_text())
    found["postgresql"]["recovery_conf"]["recovery_min_apply_delay"] = "1h"
    with config.open("w") as text:  # in place: it is the dbsu's, and stays so
        text.write(f"{MARK}\n{yaml.safe_dump(found)}")
    return config, work


def test_a_delay_and_the_sources_archive_are_left_one_by_one(delayed: tuple[Path, Path]) -> None:
    config, work = delayed
    for _ in range(2):
        assert leave(config, work, "recovery_min_apply_delay") == {"made": True}
        assert set(recovery_conf(config)) == {"restore_command"}
    leave(config, work, "restore_command")
    assert "recovery_conf" not in yaml.safe_load(config.read_text())["postgresql"]
    assert list(work.iterdir()) == []


def test_own_passwords_end_a_delay(delayed: tuple[Path, Path]) -> None:
    """A reset makes a cluster of its own out of a standby cluster, too."""
    own(*delayed)
    assert_own(*delayed)


def test_a_configuration_that_no_clone_made_keeps_its_delay(delayed: tuple[Path, Path]) -> None:
    config, work = delayed
    with config.open("r+") as text:
        text.write("#" * len(MARK))
    before = config.read_text()
    assert leave(config, work, "recovery_min_apply_delay", "restore_command") == {"made": False}
    assert config.read_text() == before


def test_root_installs_what_the_dbsu_cannot_write(tmp_path: Path) -> None:
    made = tmp_path / "patroni" / "patroni.yml"
    unit = tmp_path / "patroni.service"
    drafts = [
        Draft(
            to=DraftPath(path=PurePosixPath(made), about="Patroni's", owner=OWNER, as_root=True),
            text=Secret(f"{MARK}\npassword: 'é'\n"),
        ),
        Draft(
            to=DraftPath(path=PurePosixPath(unit), about="the service", mode=0o644, as_root=True),
            text=Secret(f"{MARK}\n[Unit]\n"),
        ),
    ]
    commands = write_drafts_commands(MEMBER, drafts)
    for _ in range(2):  # a step may be begun again
        for command in commands:
            assert command.run_as == "root"
            subprocess.run(command.argv, input=command.stdin, text=True, umask=0, timeout=10, check=True)
        assert made.read_text() == f"{MARK}\npassword: 'é'\n"
        assert unit.read_text() == f"{MARK}\n[Unit]\n"
        assert (made.owner(), stat.S_IMODE(made.stat().st_mode)) == (OWNER, 0o600)
        assert (unit.owner(), stat.S_IMODE(unit.stat().st_mode)) == (ME.pw_name, 0o644)
        assert [path.name for path in made.parent.iterdir()] == ["patroni.yml"]


def test_what_root_leaves_if_the_text_never_comes_may_be_written_again(tmp_path: Path) -> None:
    made = tmp_path / "patroni.yml"
    draft = Draft(
        to=DraftPath(path=PurePosixPath(made), about="Patroni's", owner=OWNER, as_root=True),
        text=Secret(f"{MARK}\nscope: pg-meta2\n"),
    )
    [command] = write_drafts_commands(MEMBER, [draft])

    def seen() -> Any:
        return program("files", look=[made], mark=MARK, directories=[])[str(made)]

    assert (seen()["exists"], seen()["made"]) == (False, False)
    subprocess.run(command.argv, input="", text=True, timeout=10, check=True)
    assert made.read_text() == "" and (seen()["exists"], seen()["made"]) == (True, True)
    made.write_text("scope: somebody's\n")
    assert (seen()["exists"], seen()["made"]) == (True, False)


def test_what_root_is_told_names_the_file_and_nothing_of_its_text() -> None:
    draft = Draft(
        to=DraftPath(
            path=PurePosixPath("/etc/patroni/patroni.yml"), about="Patroni's", owner="postgres", as_root=True
        ),
        text=Secret("a word that nobody may see"),
    )
    [command] = write_drafts_commands(MEMBER, [draft])
    line = "install -D -o postgres -m 0600 /dev/stdin /etc/patroni/patroni.yml"
    assert " ".join(command.argv) == line
    assert command.shown() == f"{line}  # Patroni's"
    assert command.secret
