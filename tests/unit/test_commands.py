"""The commands that run on nodes, word for word; and the restore_command's own logic, in a real shell."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import subprocess
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgdolly.domain.cluster import Member, Node, ServiceManager
from pgdolly.domain.command import Command
from pgdolly.domain.errors import InvalidInput
from pgdolly.domain.lsn import LSN, WalSegment
from pgdolly.domain.target import RecoveryTarget, TargetType
from pgdolly.drivers import pgbackrest, postgres, services, store
from pgdolly.drivers.pgbackrest import RestoreSource
from pgdolly.drivers.postgres import Instance
from pgdolly.transport.units import in_unit

MEMBER = Member(
    name="pg-test-1",
    cluster="pg-test",
    sequence=1,
    role="primary",
    node=Node(name="pg-test-1", address="10.10.10.11"),
    patroni="/opt/bin/patroni",
    service_manager=ServiceManager.SUPERVISOR,
    service="pg-test-1",
    supervisor_config=PurePosixPath("/etc/supervisord.conf"),
)
INSTANCE = Instance(
    member=MEMBER,
    data_directory=MEMBER.data_directory,
    bin_directory=PurePosixPath("/usr/lib/postgresql/18/bin"),
    port=5432,
    superuser="dba",
)
SOURCE = RestoreSource(stanza="pg-meta", repo_key=2, backup_set="20251227-120000F")
PIN = WalSegment.parse("0000000100000001000000FF")
DATA = MEMBER.data_directory


def configured(member: Member) -> Member:
    return dataclasses.replace(member, pgbackrest_config=PurePosixPath("/etc/own.conf"))


def test_a_restore_leaves_nothing_for_pgbackrest_to_choose() -> None:
    assert pgbackrest.restore_command(MEMBER, SOURCE, DATA).argv == (
        "pgbackrest",
        "--stanza=pg-meta",
        "--repo=2",
        "--set=20251227-120000F",
        "--pg1-path=/pg/data",
        "--lock-path=/pg/pgdolly/lock",
        "--spool-path=/pg/pgdolly/spool",
        "--log-level-console=detail",
        "--log-level-file=off",
        "--delta",
        "--type=default",
        "--archive-mode=off",
        "--recovery-option=restore_command=pgbackrest --stanza=pg-meta --repo=2 --pg1-path=/pg/data "
        "--lock-path=/pg/pgdolly/lock --no-archive-async --log-level-console=warn "
        'archive-get %f "%p" || { [ $? -eq 1 ] && exit 1; exit 254; }',
        "restore",
    )


def test_every_option_of_a_restore_reaches_pgbackrest() -> None:
    source = dataclasses.replace(
        SOURCE,
        delta=False,
        keep_archiving=True,
        process_max=4,
        db_include=("app", "crm"),
        db_exclude=("logs",),
        link_map=(("pg_wal", "/wal"),),
        archive_async=True,
    )
    argv = pgbackrest.restore_command(configured(MEMBER), source, PurePosixPath("/pg/other")).argv
    assert argv == (
        "pgbackrest",
        "--config=/etc/own.conf",
        "--stanza=pg-meta",
        "--repo=2",
        "--set=20251227-120000F",
        "--pg1-path=/pg/other",
        "--lock-path=/pg/pgdolly/lock",
        "--spool-path=/pg/pgdolly/spool",
        "--log-level-console=detail",
        "--log-level-file=off",
        "--process-max=4",
        "--db-include=app",
        "--db-include=crm",
        "--db-exclude=logs",
        "--link-map=pg_wal=/wal",
        "--type=default",
        "--recovery-option=restore_command=pgbackrest --config=/etc/own.conf --stanza=pg-meta --repo=2 "
        "--pg1-path=/pg/other --lock-path=/pg/pgdolly/lock --spool-path=/pg/pgdolly/spool --archive-async "
        '--log-level-console=warn archive-get %f "%p" || { [ $? -eq 1 ] && exit 1; exit 254; }',
        "restore",
    )


def test_the_commands_of_a_stanza() -> None:
    assert pgbackrest.stanza_command(MEMBER, "pg-test", "stanza-upgrade", "--no-online").argv == (
        "pgbackrest",
        "--stanza=pg-test",
        "--log-level-console=info",
        "--no-online",
        "stanza-upgrade",
    )
    assert pgbackrest.backup_command(configured(MEMBER), "pg-test", "full").argv == (
        "pgbackrest",
        "--config=/etc/own.conf",
        "--stanza=pg-test",
        "--log-level-console=detail",
        "--type=full",
        "backup",
    )


@pytest.mark.parametrize(
    ("output", "percent"),
    [
        ("", None),
        ("P01 INFO: restore command begin\n", None),
        (
            "2026-01-01 00:00:00.000 P01 DETAIL: restore file /pg/data/base/5/1 (8KB, 12.50%) checksum a1\n"
            "2026-01-01 00:00:01.000 P02 DETAIL: restore file /pg/data/base/5/2 - exists and matches backup "
            "(1.2MB, 99.31%) checksum b2\n",
            99.31,
        ),
        ("P01 DETAIL: restore zeroed file /pg/data/base/5/3 (8KB, 100.00%)\n", 100.0),
    ],
)
def test_how_far_a_restore_is(output: str, percent: float | None) -> None:
    assert pgbackrest.restored_percent(output) == percent


def fetches(
    pin: WalSegment | None, files: list[str], tmp_path: Path, *, archive: int = 0, said: int = 0
) -> dict[str, int]:
    """The exit status of the restore_command for each file, with an archive-get that answers `archive`.

    :param said: what the restore_command makes of that answer.
    """
    (tmp_path / "bin").mkdir(exist_ok=True)
    program = tmp_path / "bin" / "pgbackrest"
    program.write_text(
        f'#!/bin/sh\nfor word; do last=$word; done\necho "$last" >>{tmp_path}/asked\nexit {archive}\n'
    )
    program.chmod(0o755)
    (tmp_path / "asked").unlink(missing_ok=True)
    words = pgbackrest.archive_get(MEMBER, dataclasses.replace(SOURCE, pinned_segment=pin), DATA)
    # PostgreSQL, BuildRestoreCommand: %f and %p are replaced, then system() runs it. One shell for all is quicker.
    script = "\n".join(
        f"( {words.replace('%f', name).replace('%p', f'pg_wal/{name}')}\n); echo {name} $?" for name in files
    )
    done = subprocess.run(
        ["sh", "-c", script],
        env={**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    answers = dict(line.split() for line in done.stdout.splitlines())
    asked = (tmp_path / "asked").read_text().split() if (tmp_path / "asked").exists() else []
    found = {name: int(answers[name]) for name in files}
    assert asked == [f"pg_wal/{name}" for name in files if found[name] == said], (
        "asked for what was not fetched"
    )
    return found


def test_nothing_past_the_pin_is_fetched_on_any_timeline(tmp_path: Path) -> None:
    """With the last segment of a log as the pin, the next one is in the next log."""
    assert fetches(
        PIN,
        [
            "000000010000000100000000",
            "0000000100000001000000FE",
            "0000000100000001000000FF",
            "0000000F00000001000000FF",
            "000000010000000200000000",
            "000000020000000200000000",
            "0000000100000002000000FF",
            "00000001000000100000000A",
            "00000002.history",
            "FFFFFFFF.history",
        ],
        tmp_path,
    ) == {
        "000000010000000100000000": 0,
        "0000000100000001000000FE": 0,
        "0000000100000001000000FF": 0,
        "0000000F00000001000000FF": 0,
        "000000010000000200000000": 1,
        "000000020000000200000000": 1,
        "0000000100000002000000FF": 1,
        "00000001000000100000000A": 1,
        "00000002.history": 0,
        "FFFFFFFF.history": 0,
    }


def test_without_a_pin_everything_is_fetched(tmp_path: Path) -> None:
    files = ["000000010000000100000000", "00000001FFFFFFFF000000FF", "00000002.history"]
    assert fetches(None, files, tmp_path) == dict.fromkeys(files, 0)


@pytest.mark.parametrize("pin", [PIN, None])
def test_an_error_of_the_archive_does_not_pass_for_its_end(pin: WalSegment | None, tmp_path: Path) -> None:
    """PostgreSQL takes 1 to 125 for "no such file", and pgBackRest's errors are 25 to 125."""
    files = ["0000000100000001000000FF", "00000002.history"]
    for status, said in (
        (1, 1),
        (2, 254),
        (25, 254),
        (82, 254),
        (103, 254),
        (125, 254),
        (126, 254),
        (143, 254),
    ):
        assert fetches(pin, files, tmp_path, archive=status, said=said) == dict.fromkeys(files, said)


@settings(max_examples=8, deadline=None)
@given(
    pin=st.integers(0, 2**40 - 1),
    distances=st.lists(st.sampled_from([-(2**33), -257, -256, -255, -1, 0, 1, 255, 256, 257, 2**33])),
    size=st.sampled_from([1, 16, 64, 1024]),
)
def test_a_pin_cuts_exactly_behind_its_segment(
    pin: int, distances: list[int], size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    segment_size = size * 1024 * 1024
    numbers = sorted({min(max(pin + distance, 0), 2**42 - 1) for distance in (0, 1, *distances)})
    segments = [WalSegment(3, number % (2**64 // segment_size), segment_size) for number in numbers]
    pinned = WalSegment(1, pin % (2**64 // segment_size), segment_size)
    expected = {s.name: 1 if s.number > pinned.number else 0 for s in segments}
    assert fetches(pinned, list(expected), tmp_path_factory.mktemp("pin")) == expected


def started(target: RecoveryTarget, timeline: str = "1", action: str = "pause") -> dict[str, str]:
    """The settings of a recovery start, split as pg_ctl's shell splits them."""
    command = postgres.start_recovery_command(INSTANCE, target, timeline=timeline, action=action)
    [options] = [word for word in command.argv if word.startswith("--options=")]
    of_the_node, settings_ = options.removeprefix("--options=").split(")", 1)
    assert of_the_node == "$(cat /pg/pgdolly/private/options"
    words = shlex.split(settings_)
    assert words[::2] == ["-c"] * (len(words) // 2)
    return dict(word.split("=", 1) for word in words[1::2])


def test_the_recovery_is_started_where_nobody_sees_it() -> None:
    target = RecoveryTarget(type=TargetType.LSN, lsn=LSN.parse("0/5000028"), exclusive=True)
    assert postgres.start_recovery_command(INSTANCE, target, timeline="3", action="pause") == Command(
        argv=(
            "/usr/lib/postgresql/18/bin/pg_ctl",
            "--pgdata=/pg/data",
            "--log=/pg/pgdolly/private/recovery.log",
            "--no-wait",
            "--options=$(cat /pg/pgdolly/private/options) "
            "-c config_file=/pg/pgdolly/private/postgresql.conf "
            "-c hba_file=/pg/pgdolly/private/pg_hba.conf -c ident_file=/pg/pgdolly/private/pg_ident.conf "
            "-c listen_addresses= -c unix_socket_directories=/pg/pgdolly/private -c port=5432 -c archive_mode=off "
            "-c primary_conninfo= -c hot_standby=on -c recovery_min_apply_delay=0 -c recovery_end_command= "
            "-c archive_cleanup_command= -c max_logical_replication_workers=0 -c wal_keep_size=1GB -c fsync=on "
            "-c synchronous_standby_names= -c shared_preload_libraries= -c session_preload_libraries= "
            "-c local_preload_libraries= -c ssl=off -c logging_collector=off "
            "-c log_destination=stderr -c lc_messages=C -c log_min_messages=warning -c log_error_verbosity=default "
            "-c update_process_title=on -c external_pid_file= "
            "-c track_commit_timestamp=on -c recovery_target_timeline=3 "
            "-c recovery_target_lsn=0/5000028 -c recovery_target_inclusive=off -c recovery_target_action=pause",
            "start",
        )
    )


def test_without_a_target_no_action_is_asked_for() -> None:
    """recovery_target_action means nothing then; what counts is whether the server waits for more."""
    settings_ = started(RecoveryTarget(), timeline="current")
    assert settings_["recovery_target_timeline"] == "current"
    assert not [name for name in settings_ if name.startswith("recovery_target") and name[-8:] != "timeline"]


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1))
def test_a_restore_points_name_survives_the_shells_on_its_way(name: str) -> None:
    target = RecoveryTarget(type=TargetType.NAME, name=name)
    assert started(target)["recovery_target_name"] == name


def test_sql_goes_through_a_socket_and_nobodys_psqlrc() -> None:
    command = postgres.private_sql_command(INSTANCE, "SELECT 1")
    assert command.argv == (
        "/usr/lib/postgresql/18/bin/psql",
        "-XAtq",
        "--field-separator=\t",
        "--host=/pg/pgdolly/private",
        "--port=5432",
        "--username=dba",
        "--dbname=postgres",
        "--set=ON_ERROR_STOP=1",
        "--command=SELECT 1",
    )
    assert command.environment == (("PGCONNECT_TIMEOUT", "10"),)


def test_a_directory_beside_the_cluster_has_a_private_directory_beside_it() -> None:
    beside = dataclasses.replace(INSTANCE, data_directory=PurePosixPath("/backup/look"))
    assert beside.private_directory == PurePosixPath("/backup/look.private")
    assert INSTANCE.private_directory == PurePosixPath("/pg/pgdolly/private")


def arguments(command: Command) -> dict[str, object]:
    """What a program on the node is given."""
    assert command.argv[:2] == ("sh", "-c")
    assert command.argv[4] == MEMBER.patroni
    found: dict[str, object] = json.loads(command.argv[5])
    return found


def test_a_replica_is_cut_at_the_fork() -> None:
    fork = LSN.parse("1/2A000158")
    command = postgres.hand_over_command(
        INSTANCE,
        archive=False,
        histories={"00000003.history": "1\t1/2A000158\twhy\n"},
        cut_at=(WalSegment.holding(1, fork), fork),
    )
    found = arguments(command)
    assert found["data_directory"] == "/pg/data"
    assert found["archive"] is False
    assert found["histories"] == {"00000003.history": "1\t1/2A000158\twhy\n"}
    assert found["cut"] == {"position": "000000010000002A", "offset": 0x158}
    assert command.shown() == (
        "take the source's and the recovery's settings out of postgresql.auto.conf; archive_mode = 'off'; "
        "remove the WAL past 1/2A000158, in 00000001000000010000002A and after it; write 00000003.history"
    )


def test_the_next_timeline_is_steered_past_those_that_are_taken() -> None:
    command = postgres.prepare_recovery_command(INSTANCE, placeholders=(2, 3), wait_for_more=True)
    assert arguments(command) == {
        "data_directory": "/pg/data",
        "bin_directory": "/usr/lib/postgresql/18/bin",
        "private_directory": "/pg/pgdolly/private",
        "port": 5432,
        "superuser": "dba",
        "placeholders": [2, 3],
        "wait_for_more": True,
    }
    assert command.shown().endswith("next timeline after 3")


def test_no_password_stands_in_a_command() -> None:
    for command in (postgres.set_roles_command(INSTANCE), store.reset_command(MEMBER)):
        assert arguments(command)["patroni_config"] == "/etc/patroni/patroni.yml"
        assert "password" not in command.argv[5].lower()


def test_supervisor_is_asked_from_patronis_own_environment() -> None:
    stop, start = services.stop_command(MEMBER), services.start_command(MEMBER)
    assert stop.shown() == "/opt/bin/supervisorctl -c /etc/supervisord.conf stop pg-test-1"
    assert start.shown() == "/opt/bin/supervisorctl -c /etc/supervisord.conf start pg-test-1"
    assert stop.argv[4] == MEMBER.patroni, "whose interpreter runs the program"
    asked = {"config": "/etc/supervisord.conf", "program": "pg-test-1"}
    assert arguments(stop) == {**asked, "action": "stop"}
    assert arguments(start) == {**asked, "action": "start"}


SYSTEMD = dataclasses.replace(MEMBER, service_manager=ServiceManager.SYSTEMD, service="patroni")


def test_systemd_is_asked_as_root() -> None:
    assert services.start_command(SYSTEMD) == Command(argv=("systemctl", "start", "patroni"), run_as="root")
    assert services.stop_command(SYSTEMD) == Command(argv=("systemctl", "stop", "patroni"), run_as="root")


def test_long_work_on_a_systemd_node_is_a_unit_of_the_dbsu() -> None:
    """systemd puts its own variables where it sees a dollar sign, unless that is doubled."""
    command = Command(argv=("sh", "-c", 'echo "$1"', "it"), environment=(("A", "b c"),))
    assert in_unit(SYSTEMD, command) == Command(
        argv=(
            "systemd-run",
            "--quiet",
            "--collect",
            "--uid=postgres",
            "--service-type=exec",
            "--description=pgdolly: pg-test-1",
            "--setenv=A=b c",
            "--",
            "sh",
            "-c",
            'echo "$$1"',
            "it",
        ),
        run_as="root",
    )
    assert in_unit(SYSTEMD, command, forking=True).argv[4] == "--service-type=forking"
    assert in_unit(MEMBER, command) is command


@pytest.mark.parametrize(
    ("member", "what"),
    [
        (dataclasses.replace(MEMBER, service_manager=None), "systemd does not know a service 'pg-test-1'"),
        (dataclasses.replace(MEMBER, supervisor_config=None), "pgdolly_supervisor_config is not set"),
    ],
)
def test_a_service_manager_that_is_not_there_is_refused(member: Member, what: str) -> None:
    with pytest.raises(InvalidInput, match=what) as raised:
        services.start_command(member)
    assert raised.value.untouched == "nothing was changed"
