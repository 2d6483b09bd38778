"""The programs that remove a cluster from a node, run for real on real files: what goes, and what never does."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pgdolly.domain.cluster import Member, Node
from pgdolly.domain.draft import MARK
from pgdolly.drivers.node_program import node_program

MEMBER = Member(
    name="here", cluster="here", sequence=1, role="primary", node=Node(name="here", address="127.0.0.1")
)
NO_CONFIG = "/nowhere/patroni.yml"


def start(name: str, arguments: dict[str, Any], *, before: str = "") -> subprocess.Popen[str]:
    """Begin a program as a node does; `before` are lines of ours in front of it."""
    command = node_program(MEMBER, name, {}, name)
    process = subprocess.Popen(
        [sys.executable, "-", json.dumps(arguments, default=str)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
    )
    assert process.stdin is not None and command.stdin is not None
    process.stdin.write(before + command.stdin)
    process.stdin.close()
    process.stdin = None
    return process


def run(name: str, arguments: dict[str, Any], *, before: str = "") -> tuple[int, str, str]:
    process = start(name, arguments, before=before)
    stdout, stderr = process.communicate(timeout=60)
    return process.returncode, stdout, stderr


def remove(data: Path | str, *, before: str = "", **changed: Any) -> dict[str, Any]:
    """Remove a data directory, with the rest that a test names."""
    status, stdout, stderr = run("remove", removal(data, **changed), before=before)
    assert status == 0, stderr
    answer: dict[str, Any] = json.loads(stdout)
    return answer


def removal(data: Path | str, **changed: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "data_directory": data,
        "real_directory": os.path.realpath(data),
        "tablespaces": [],
        "wal_directory": None,
        "spool": None,
        "work_directory": None,
        "patroni_config": NO_CONFIG,
    }
    return {**arguments, **changed}


def refused(data: Path | str, *said: str, **changed: Any) -> None:
    """Demand that nothing is removed."""
    status, _, stderr = run("remove", removal(data, **changed))
    assert status == 1 and "nothing was removed" in stderr, stderr
    assert "Traceback" not in stderr
    assert [word for word in said if word not in stderr] == [], stderr


def look(data: Path | str, **changed: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "data_directory": data,
        "bin_directory": "",
        "socket_directory": None,
        "port": None,
        "superuser": "postgres",
        "patroni_config": NO_CONFIG,
        "work_directory": "/nowhere/pgdolly",
        "files": [],
        "mark": MARK,
    }
    status, stdout, stderr = run("remains", {**arguments, **changed})
    assert status == 0, stderr
    found: dict[str, Any] = json.loads(stdout)
    return found


def fill(data: Path, *, version: bool = True) -> Path:
    """A data directory with a few of its files."""
    for name in ("base/1", "base/5", "global", "pg_wal/archive_status", "pg_tblspc", "pg_replslot"):
        (data / name).mkdir(parents=True, exist_ok=True)
    for name in ("base/1/1259", "base/5/1259", "global/pg_control", "postgresql.conf", "pg_wal/0000000100"):
        (data / name).write_text("x")
    if version:
        (data / "PG_VERSION").write_text("18\n")
    return data


def everything_below(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


@pytest.fixture
def bystander(tmp_path: Path) -> Iterator[Path]:
    """A directory that nobody may touch."""
    directory = tmp_path / "bystander"
    (directory / "inner").mkdir(parents=True)
    (directory / "inner" / "precious").write_text("kept")
    before = everything_below(directory)
    yield directory
    assert everything_below(directory) == before


# -- what goes


def test_the_directory_goes_with_all_that_is_in_it(tmp_path: Path) -> None:
    data = fill(tmp_path / "data")
    (data / "read-only").mkdir()
    (data / "read-only" / ".hidden").touch()
    assert remove(data) == {"kept": [], "ended": []}
    assert not data.exists()
    assert remove(data) == {"kept": [], "ended": []}, "what is gone is gone"


def test_a_directory_that_a_restore_was_killed_in_goes_too(tmp_path: Path) -> None:
    data = fill(tmp_path / "data", version=False)
    remove(data)
    empty = tmp_path / "empty"
    empty.mkdir()
    remove(empty)
    assert everything_below(tmp_path) == set()


def test_links_are_removed_and_not_followed(tmp_path: Path, bystander: Path) -> None:
    data = fill(tmp_path / "data")
    (data / "log").symlink_to(bystander)
    (data / "base" / "link").symlink_to(bystander / "inner" / "precious")
    (data / "pg_tblspc" / "16400").symlink_to(bystander)
    remove(data)
    assert not data.exists()


def test_of_a_data_directory_that_is_a_link_the_link_and_its_empty_target_stay(tmp_path: Path) -> None:
    real, data = fill(tmp_path / "real"), tmp_path / "data"
    data.symlink_to(real)
    [kept] = remove(data)["kept"]
    assert str(data) in kept and "link" in kept
    assert data.is_symlink() and list(real.iterdir()) == []


def test_of_a_mount_point_the_contents_go(tmp_path: Path) -> None:
    """What mount(2) would say is put in the program's mouth: the tests need no right to mount."""
    data = fill(tmp_path / "data")
    (data / "lost+found").mkdir()
    before = f"import os\nos.path.ismount = lambda path: path == {str(data)!r}\n"
    [kept] = remove(data, before=before)["kept"]
    assert "mount point" in kept
    assert [path.name for path in data.iterdir()] == ["lost+found"]


def test_a_directory_whose_parent_is_somebody_elses_is_left_empty(tmp_path: Path) -> None:
    data = fill(tmp_path / "data")
    before = (
        "import errno, os\nreal = os.rmdir\n"
        "def rmdir(path):\n"
        f"    if path == {str(data)!r}: raise PermissionError(errno.EACCES, 'Permission denied')\n"
        "    real(path)\n"
        "os.rmdir = rmdir\n"
    )
    [kept] = remove(data, before=before)["kept"]
    assert kept == f"{data}: Permission denied"
    assert list(data.iterdir()) == []


def test_tablespaces_and_wal_outside_go_but_for_what_is_anothers(tmp_path: Path, bystander: Path) -> None:
    data = fill(tmp_path / "data")
    location, wal = tmp_path / "fast", tmp_path / "wal"
    own, other = location / "PG_18_202506291", location / "PG_17_202406281"
    for directory in (own / "5", other / "5", wal / "archive_status"):
        directory.mkdir(parents=True)
        (directory / "16401").touch()
    (own / "5" / "link").symlink_to(bystander)
    for name in ("000000010000000000000004", "00000002.history", "notes.txt", ".bashrc"):
        (wal / name).touch()
    (data / "pg_tblspc" / "16400").symlink_to(location)
    shutil.rmtree(data / "pg_wal")
    (data / "pg_wal").symlink_to(wal)

    found = look(data)
    assert (found["tablespaces"], found["wal_directory"]) == ([str(own)], str(wal))

    remove(data, tablespaces=found["tablespaces"], wal_directory=found["wal_directory"])
    assert not data.exists()
    assert [path.name for path in location.iterdir()] == [other.name]
    assert (other / "5" / "16401").exists()
    assert {path.name for path in wal.iterdir()} == {"notes.txt", ".bashrc"}


def test_the_spool_and_the_work_directory_go_but_for_the_lock(tmp_path: Path, bystander: Path) -> None:
    data, work, spool = fill(tmp_path / "data"), tmp_path / "pgdolly", tmp_path / "spool" / "archive" / "here"
    for path in (work / "20251227-100000-x-7f3a" / "restore", work / "private", spool / "out"):
        path.mkdir(parents=True)
    (spool.parent / "there").mkdir()
    for path in (work / "run.lock", work / "run.abandoned", work / "repository.conf", spool / "out" / "x.ok"):
        path.touch()
    (work / "lock").symlink_to(bystander)
    remove(data, work_directory=work, spool=spool)
    assert everything_below(tmp_path) - everything_below(bystander.parent / "bystander") >= {
        "pgdolly/run.lock"
    }
    assert {path.name for path in work.iterdir()} == {"run.lock"}
    assert {path.name for path in spool.parent.iterdir()} == {"there"}


def test_killed_at_any_moment_it_ends_the_same_when_it_runs_again(tmp_path: Path) -> None:
    """Half a directory is known for a data directory still: PG_VERSION goes last."""
    killed = 0
    for attempt in range(12):
        data = fill(tmp_path / f"data{attempt}")
        for number in range(60):
            (data / "base" / "5" / str(number)).touch()
        # It kills itself before its n-th removal, wherever that is.
        at = 1 + attempt * 6
        before = (
            f"import os, signal\ncount = {at}\nreal = os.unlink\n"
            "def unlink(path, **more):\n"
            "    global count\n"
            "    count -= 1\n"
            "    if not count: os.kill(os.getpid(), signal.SIGKILL)\n"
            "    real(path, **more)\n"
            "os.unlink = unlink\n"
        )
        status, _, _ = run("remove", removal(data), before=before)
        if status == -signal.SIGKILL:
            killed += 1
            assert (data / "PG_VERSION").exists()
            assert look(data)["objection"] is None
        remove(data)
        assert not data.exists()
    assert killed > 8


# -- what never does


@pytest.mark.parametrize("path", ["", ".", "data", "./data", "/", "//", "/nowhere/../data", "/nowhere/"])
def test_no_path_that_is_not_absolute_and_plain(path: str) -> None:
    refused(path)


@pytest.mark.parametrize(
    "path", ["/etc", "/usr", "/var", "/home", "/tmp", "/var/lib/../lib", "/proc", "/root"]
)
def test_no_directory_of_the_system(path: str) -> None:
    refused(path)


def test_no_home_and_nothing_that_holds_one(tmp_path: Path) -> None:
    home = Path(pwd.getpwuid(os.geteuid()).pw_dir)
    refused(home, str(home))
    through = tmp_path / "data"
    through.symlink_to("/etc")
    refused(through, "/etc")


def test_no_directory_without_a_sign_of_postgresql(tmp_path: Path, bystander: Path) -> None:
    refused(bystander, "PG_VERSION", "inner")
    assert "PG_VERSION" in look(bystander)["objection"]
    refused(bystander / "inner" / "precious", "no directory")


@pytest.mark.parametrize(
    "names", [("patroni.yml", "pgbackrest.conf"), ("base", "global"), ("postgresql.conf",)]
)
def test_no_directory_beside_a_data_directory(tmp_path: Path, names: tuple[str, ...]) -> None:
    """An inventory that names the directory above its data directory by mistake."""
    above = tmp_path / "here"
    fill(above / "data")
    for name in names:
        (above / name).touch()
    refused(above, "PG_VERSION")
    assert (above / "data" / "PG_VERSION").exists()


def test_no_directory_that_holds_the_configuration_that_leads_to_it(tmp_path: Path) -> None:
    data = fill(tmp_path / "data")
    refused(data, "patroni.yml", patroni_config=data / "etc" / "patroni.yml")
    assert "patroni.yml" in look(data, files=[data / "patroni.yml"])["objection"]


def test_no_directory_that_is_another_than_the_plan_saw(tmp_path: Path) -> None:
    one, other, data = fill(tmp_path / "one"), fill(tmp_path / "other"), tmp_path / "data"
    data.symlink_to(other)
    refused(data, str(one), str(other), real_directory=one)
    assert (other / "PG_VERSION").exists()


def test_no_tablespace_spool_or_work_directory_that_is_none(tmp_path: Path, bystander: Path) -> None:
    data = fill(tmp_path / "data")
    (tmp_path / "PG_18_202506291").symlink_to(bystander)
    for path in ("PG_18_1", "/", "", str(bystander), f"{tmp_path}/PG_18_202506291", "/x/../PG_18_1"):
        refused(data, tablespaces=[path])
    for path in ("/", "", "spool/archive/x", str(bystander), "/archive/x"):
        refused(data, spool=path)
    for path in ("/", "", "pgdolly", str(bystander)):
        refused(data, work_directory=path)
    for path in ("/", "", "/wal", "wal/x", f"{tmp_path}/PG_18_202506291"):
        refused(data, wal_directory=path)
    refused(data, "pgdolly", work_directory=data / "pgdolly")
    assert (data / "PG_VERSION").exists()


def test_nothing_while_patroni_runs_with_this_configuration(tmp_path: Path) -> None:
    data, config = fill(tmp_path / "data"), tmp_path / "patroni.yml"
    with patroni(tmp_path, config) as process:
        refused(data, "Patroni runs", str(process.pid), patroni_config=config)
        assert look(data, patroni_config=config)["patronis"] == [process.pid]
        assert look(data)["patronis"] == []
    remove(data, patroni_config=config)


def patroni(directory: Path, config: Path) -> subprocess.Popen[bytes]:
    """What looks like Patroni in the list of processes."""
    program = directory / "patroni"
    program.write_text("import sys\nsys.stdin.read()\n")
    return subprocess.Popen([sys.executable, str(program), str(config)], stdin=subprocess.PIPE)


def test_what_still_fills_the_directory_is_ended_first(tmp_path: Path) -> None:
    # A process that calls itself so, with words that lead to the directory as a restore's do.
    data, program = fill(tmp_path / "data"), tmp_path / "pgbackrest"
    script = tmp_path / "fill.py"
    script.write_text("import sys\nsys.stdin.read()\n")
    restore = subprocess.Popen(
        [str(program), str(script), f"--pg1-path={data}", "restore"],
        executable=sys.executable,
        stdin=subprocess.PIPE,
    )
    other = subprocess.Popen(
        [str(program), str(script), f"--pg1-path={data}2", "restore"],
        executable=sys.executable,
        stdin=subprocess.PIPE,
    )
    try:
        until = time.monotonic() + 10
        while look(data)["fillers"] != [f"pgbackrest (process {restore.pid})"]:
            assert time.monotonic() < until, "the restore is not seen"
        # Reaped by its parent, as an orphan is by init.
        process = start("remove", removal(data))
        assert restore.wait(30) == -signal.SIGTERM
        stdout, stderr = process.communicate(timeout=60)
        assert process.returncode == 0, stderr
        assert json.loads(stdout)["ended"] == ["pgbackrest"]
        assert not data.exists()
        assert other.poll() is None
    finally:
        for each in (restore, other):
            each.kill()
            each.communicate()


# -- files that pgdolly clone wrote


def made(path: Path, first: str = f"{MARK} pg-meta pg-meta2, 2025-12-27") -> Path:
    path.write_text(f"{first}\nscope: pg-meta2\n")
    return path


def test_only_files_of_pgdolly_clone_are_told_from_others(tmp_path: Path) -> None:
    mine, other = made(tmp_path / "patroni.yml"), made(tmp_path / "other.yml", "# Made by hand")
    later = made(tmp_path / "later.yml", f"# mine\n{MARK}")
    files = [mine, other, later, tmp_path / "absent.yml"]
    found = look(tmp_path / "data", files=files)["files"]
    assert {Path(file["path"]).name: file["made"] for file in found} == {
        "patroni.yml": True,
        "other.yml": False,
        "later.yml": False,
    }


def test_a_file_that_holds_nothing_is_as_good_as_pgdollys(tmp_path: Path) -> None:
    """Root's `install` leaves it so if the run is killed before the text has come; a masked unit is a link."""
    empty, masked = tmp_path / "patroni.yml", tmp_path / "patroni.service"
    empty.touch()
    masked.symlink_to("/dev/null")
    found = look(tmp_path / "data", files=[empty, masked])["files"]
    assert [(file["made"], file["empty"]) for file in found] == [(True, True), (False, False)]
    arguments = {"mark": MARK, "unlink": [empty], "leave": [], "patroni_config": empty, "pgpass": None}
    assert run("remove_made", {**arguments, "leave": [masked]})[0] == 1
    assert run("remove_made", arguments)[0] == 0
    assert everything_below(tmp_path) == {"patroni.service"}


def with_pgpass(
    directory: Path, *, first: str = MARK, line: str = "10.10.10.10:5432:*:replicator:a\\:b"
) -> Path:
    """A directory with a patroni.yml that names the pgpass beside it."""
    directory.mkdir()
    path = directory / "pgpass"
    path.write_text(f"{line}\n")
    settings = {"pgpass": str(path), "authentication": {"replication": {"username": "replicator"}}}
    (directory / "patroni.yml").write_text(f"{first}\n{json.dumps({'postgresql': settings})}\n")
    return path


def test_the_password_file_of_a_clones_patroni_goes_with_its_configuration(tmp_path: Path) -> None:
    path = with_pgpass(tmp_path / "clone")
    config = path.with_name("patroni.yml")
    assert look(tmp_path / "data", patroni_config=config)["pgpass"] == str(path)
    arguments = {"mark": MARK, "unlink": [config], "leave": [], "patroni_config": config, "pgpass": path}
    for _ in range(2):
        status, _, stderr = run("remove_made", arguments)
        assert status == 0, stderr
        assert everything_below(tmp_path) == {"clone"}


@pytest.mark.parametrize(
    "changed",
    [
        {"first": "# mine"},
        {"line": "db.example:5432:app:me:secret"},
        {"line": "10.10.10.10:5432:*:me:secret"},
    ],
)
def test_no_password_file_that_a_clones_patroni_has_not_written(
    tmp_path: Path, changed: dict[str, str]
) -> None:
    path = with_pgpass(tmp_path / "clone", **changed)
    assert look(tmp_path / "data", patroni_config=path.with_name("patroni.yml"))["pgpass"] is None


def test_no_password_file_that_another_patroni_writes_too(tmp_path: Path) -> None:
    path = with_pgpass(tmp_path / "clone")
    other = tmp_path / "other.yml"
    shutil.copy(path.with_name("patroni.yml"), other)
    program = tmp_path / "patroni"
    program.write_text("#!/bin/sh\nread line\n")
    program.chmod(0o755)
    patroni = subprocess.Popen([program, other], stdin=subprocess.PIPE)
    try:
        assert look(tmp_path / "data", patroni_config=path.with_name("patroni.yml"))["pgpass"] is None
    finally:
        patroni.communicate(timeout=60)


def test_made_files_go_and_may_be_gone_already(tmp_path: Path) -> None:
    mine, roots = made(tmp_path / "patroni.yml"), made(tmp_path / "patroni.service")
    arguments = {"mark": MARK, "unlink": [mine, tmp_path / "absent"], "leave": [roots], "pgpass": None}
    assert run("remove_made", arguments)[0] == 0
    assert everything_below(tmp_path) == {"patroni.service"}
    assert run("remove_made", arguments)[0] == 0


def test_one_file_that_is_not_pgdollys_keeps_them_all(tmp_path: Path) -> None:
    mine, other = made(tmp_path / "patroni.yml"), made(tmp_path / "pgbackrest.conf", "# Mine now")
    for unlink, leave in (([mine, other], []), ([mine], [other])):
        arguments = {"mark": MARK, "unlink": unlink, "leave": leave, "pgpass": None}
        status, _, stderr = run("remove_made", arguments)
        assert status == 1 and str(other) in stderr and "nothing was removed" in stderr
        assert mine.exists() and other.exists()


# -- what a look says


def test_slots_are_read_from_the_directory_but_for_those_of_a_base_backup(tmp_path: Path) -> None:
    data = fill(tmp_path / "data")
    for name in ("pg_meta2_2", "for_debezium", "pg_basebackup_4711"):
        (data / "pg_replslot" / name).mkdir()
    assert look(data)["slots"] == ["for_debezium", "pg_meta2_2"]


def test_a_node_that_holds_nothing(tmp_path: Path) -> None:
    found = look(tmp_path / "data")
    assert found["empty"] and found["objection"] is None and not found["stays"]
    (tmp_path / "data").mkdir()
    assert look(tmp_path / "data")["empty"]
    work = tmp_path / "pgdolly"
    work.mkdir()
    (work / "run.lock").touch()
    assert look(tmp_path / "data", work_directory=work)["work"] == []
    (work / "run.abandoned").touch()
    (tmp_path / "data.failed").mkdir()
    found = look(tmp_path / "data", work_directory=work)
    assert found["work"] == ["run.abandoned"] and found["beside"] == [str(tmp_path / "data.failed")]


def test_a_tablespace_of_another_running_server_is_named(tmp_path: Path) -> None:
    data, other, location = fill(tmp_path / "data"), fill(tmp_path / "other"), tmp_path / "fast"
    (location / "PG_18_202506291").mkdir(parents=True)
    for directory in (data, other):
        (directory / "pg_tblspc" / "16400").symlink_to(location)
    assert look(data)["shared_tablespaces"] == []
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, cwd=other):
        [shared] = look(data)["shared_tablespaces"]
    assert str(location) in shared and str(other) in shared


def test_the_lock_of_a_dropped_cluster_takes_the_empty_work_directory_with_it(tmp_path: Path) -> None:
    def lock(work: Path, action: str) -> None:
        arguments = {"work_directory": work, "action": action, "run_id": "one", "holder": {}}
        assert run("lock", arguments)[0] == 0

    gone, kept = tmp_path / "gone", tmp_path / "kept"
    for work in (gone, kept):
        lock(work, "take")
    (kept / "run.abandoned.by.hand").touch()
    for work in (gone, kept, gone):
        lock(work, "leave")
    assert not gone.exists()
    assert [path.name for path in kept.iterdir()] == ["run.abandoned.by.hand"]
