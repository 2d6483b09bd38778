"""The shell of a node that is reached by SSH: a real sshd, real processes, a network that can be cut."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import pwd
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import TypeVar

import pytest

from pgdolly.domain.cluster import Member, Node, ServiceManager
from pgdolly.domain.command import Command, Completed, RunAs
from pgdolly.domain.errors import CommandFailed, ConnectionLost, Refused, Unreachable
from pgdolly.transport import ssh_connection
from pgdolly.transport.jobs import JobState, look_at_job, start_job
from pgdolly.transport.ssh import SshShell
from pgdolly.transport.ssh_connection import Connection, control_directory, end_connections
from pgdolly.transport.ssh_destination import Destination
from sshd import Sshd, running_sshd, wait_until

T = TypeVar("T")
ME = pwd.getpwuid(os.geteuid()).pw_name
# Another user where sudo lets this one become it without a password: the way that a database superuser's commands go.
USERS: tuple[RunAs, ...] = ("login", "dbsu") if ME == "root" else ("login",)
DBSU = "nobody" if ME == "root" else ME


@pytest.fixture(scope="module")
def sshd() -> Iterator[Sshd]:
    with tempfile.TemporaryDirectory() as name, running_sshd(Path(name)) as sshd:
        yield sshd


@pytest.fixture(autouse=True)
def no_connection_is_left() -> Iterator[None]:
    yield
    end_connections()


@pytest.fixture
def shell(sshd: Sshd) -> SshShell:
    return SshShell("pg-test-1", DBSU, Connection(sshd.destination()))


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every user may write; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


def run(
    shell: SshShell,
    *argv: str,
    run_as: RunAs = "login",
    stdin: str | None = None,
    environment: tuple[tuple[str, str], ...] = (),
    timeout_seconds: float = 20,
) -> Completed:
    command = Command(argv=argv, run_as=run_as, stdin=stdin, environment=environment)
    return asyncio.run(shell.run(command, timeout_seconds=timeout_seconds))


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def pids(file: Path) -> list[int]:
    wait_until(file.exists, f"{file.name} to be written")
    return [int(pid) for pid in file.read_text().split()]


def script_with_a_child(directory: Path, first: str = "") -> str:
    """Both go on for long; their numbers are in the file `pids`."""
    return (
        f"{first} cd {directory}; sleep 300 & echo $! $$ >pids.new; mv pids.new pids; wait; wait; sleep 300"
    )


# ---- what a command is given, and gives ------------------------------------------------------------------------------


@pytest.mark.parametrize("run_as", USERS)
def test_a_command_runs_as_its_user_in_its_environment(shell: SshShell, run_as: RunAs) -> None:
    done = run(
        shell,
        "sh",
        "-c",
        'id -un; pwd; echo "$ONE|$TWO"; cat',
        run_as=run_as,
        environment=(("ONE", "a b"), ("TWO", "$HOME 'x'")),
        stdin="grüße\n",
    )
    user = ME if run_as == "login" else DBSU
    assert (done.status, done.stdout, done.stderr) == (0, f"{user}\n/\na b|$HOME 'x'\ngrüße\n", "")


@pytest.mark.parametrize("run_as", USERS)
def test_arguments_arrive_as_they_are(shell: SshShell, run_as: RunAs) -> None:
    words = (
        "a b",
        "",
        "$HOME",
        "`id`",
        "'quoted\"",
        "line\nbreak\n",
        "*",
        "--",
        "-x=1",
        "back\\slash",
        "!!",
        "ü",
    )
    done = run(shell, "printf", r"%s\037", *words, run_as=run_as)
    assert tuple(done.stdout.split("\x1f")[:-1]) == words


@pytest.mark.parametrize("run_as", USERS)
def test_output_is_the_commands_own_to_the_byte(shell: SshShell, run_as: RunAs) -> None:
    done = run(shell, "sh", "-c", r"printf 'a\000b\n\n'; printf 'no newline' >&2", run_as=run_as)
    assert (done.stdout, done.stderr) == ("a\0b\n\n", "no newline")


def test_output_that_is_no_utf_8_is_no_reason_to_fail(shell: SshShell) -> None:
    assert run(shell, "printf", r"gr\374n\n").stdout == "gr�n\n"


def test_without_input_a_command_reads_nothing_and_does_not_wait(shell: SshShell) -> None:
    assert run(shell, "cat").stdout == ""


def test_input_that_nobody_reads_is_no_reason_to_fail(shell: SshShell) -> None:
    assert run(shell, "true", stdin="x" * 3_000_000).status == 0


@pytest.mark.parametrize("run_as", USERS)
def test_much_output_on_both_ways_blocks_nobody(shell: SshShell, run_as: RunAs) -> None:
    text = "x" * 3_000_000
    done = run(
        shell, "sh", "-c", 'text=$(cat); printf %s "$text"; printf %s "$text" >&2', stdin=text, run_as=run_as
    )
    assert (len(done.stdout), len(done.stderr)) == (3_000_000, 3_000_000)


@pytest.mark.parametrize("status", [1, 37, 124, 137, 255])
def test_the_exit_status_is_the_commands(shell: SshShell, status: int) -> None:
    """255 is what ssh itself says when it fails, 124 and 137 what timeout(1) says."""
    assert run(shell, "sh", "-c", f"exit {status}", run_as=USERS[-1]).status == status


def test_a_command_that_is_killed_has_its_signals_status(shell: SshShell) -> None:
    assert run(shell, "sh", "-c", "kill -KILL $$").status == 128 + signal.SIGKILL


def test_a_program_that_is_not_there_is_the_commands_failure(shell: SshShell) -> None:
    done = run(shell, "no-such-program")
    assert done.status == 127
    assert "no-such-program" in done.stderr


def test_a_server_that_a_command_leaves_behind_does_not_hold_it_up(shell: SshShell) -> None:
    done = run(shell, "sh", "-c", "setsid sleep 30 >/dev/null 2>&1 </dev/null & echo $!", timeout_seconds=10)
    pid = int(done.stdout)
    try:
        assert done.status == 0
        assert alive(pid)
    finally:
        os.kill(pid, signal.SIGKILL)


# ---- deadlines -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run_as", USERS)
def test_a_command_past_its_deadline_is_ended_on_the_node(
    shell: SshShell, run_as: RunAs, open_directory: Path
) -> None:
    with pytest.raises(CommandFailed, match="pg-test-1: the command did not end within 1 s") as raised:
        run(shell, "sh", "-c", script_with_a_child(open_directory), run_as=run_as, timeout_seconds=1)
    assert raised.value.status == 124
    assert [alive(pid) for pid in pids(open_directory / "pids")] == [False, False]


def test_a_command_that_does_not_heed_a_signal_is_ended_by_force(
    shell: SshShell, open_directory: Path
) -> None:
    script = script_with_a_child(open_directory, first="trap '' TERM;")
    with pytest.raises(CommandFailed, match="did not end within 1 s and was ended") as raised:
        run(shell, "sh", "-c", script, run_as=USERS[-1], timeout_seconds=1)
    assert raised.value.status == 124
    assert [alive(pid) for pid in pids(open_directory / "pids")] == [False, False]


@pytest.mark.parametrize("run_as", USERS)
def test_a_command_that_is_cancelled_is_ended_on_the_node(
    shell: SshShell, run_as: RunAs, open_directory: Path
) -> None:
    async def cancelled() -> None:
        command = Command(argv=("sh", "-c", script_with_a_child(open_directory)), run_as=run_as)
        task = asyncio.create_task(shell.run(command))
        await asyncio.to_thread(pids, open_directory / "pids")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert [alive(pid) for pid in pids(open_directory / "pids")] == [False, False]
    assert run(shell, "true").status == 0


def test_a_command_is_ended_that_is_cancelled_before_the_node_was_heard(
    shell: SshShell, open_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def deaf(*_: object) -> None:
        await asyncio.Event().wait()

    async def cancelled() -> None:
        monkeypatch.setattr("pgdolly.transport.ssh_session._gather", deaf)
        command = Command(argv=("sh", "-c", script_with_a_child(open_directory)), run_as="login")
        task = asyncio.create_task(shell.run(command))
        await asyncio.to_thread(pids, open_directory / "pids")
        monkeypatch.undo()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(shell, "true")
    asyncio.run(cancelled())
    assert [alive(pid) for pid in pids(open_directory / "pids")] == [False, False]


# ---- one connection --------------------------------------------------------------------------------------------------


def test_all_commands_share_one_login(sshd: Sshd, shell: SshShell) -> None:
    before = sshd.logins
    other = SshShell("pg-test-2", DBSU, shell._connection)

    async def all_at_once() -> list[Completed]:
        commands = [Command(argv=("sh", "-c", f"sleep 0.2; echo {n}"), run_as="login") for n in range(12)]
        return await asyncio.gather(*((shell, other)[n % 2].run(c) for n, c in enumerate(commands)))

    done = asyncio.run(all_at_once())
    assert [each.stdout for each in done] == [f"{n}\n" for n in range(12)]
    assert run(shell, "echo", "again").stdout == "again\n"  # in an event loop of its own
    assert sshd.logins == before + 1


def test_a_node_that_grants_few_sessions_at_once_is_served_all_the_same(tmp_path: Path) -> None:
    with running_sshd(tmp_path, "MaxSessions 2") as sshd:
        shell = SshShell("pg-test-1", DBSU, Connection(sshd.destination()))

        async def all_at_once() -> list[Completed]:
            command = Command(argv=("sh", "-c", "sleep 0.3; echo done"), run_as="login")
            return await asyncio.gather(*(shell.run(command) for _ in range(6)))

        assert [each.stdout for each in asyncio.run(all_at_once())] == ["done\n"] * 6
        assert sshd.logins == 1
        end_connections()


def test_a_connection_that_has_ended_is_made_again(sshd: Sshd, shell: SshShell) -> None:
    """It ends by itself after a minute without commands."""
    before = sshd.logins
    assert run(shell, "echo", "one").stdout == "one\n"
    end_connections()
    assert run(shell, "echo", "two").stdout == "two\n"
    assert sshd.logins == before + 2


def test_a_connection_whose_master_was_killed_is_made_again(sshd: Sshd, shell: SshShell) -> None:
    """Its socket is left behind then."""
    assert run(shell, "echo", "one").stdout == "one\n"
    socket = shell._connection._socket
    assert socket is not None
    said = subprocess.run(
        shell._connection.destination.control_argv(socket, "check"),
        capture_output=True,
        text=True,
        check=True,
    )
    os.kill(int(said.stderr.partition("pid=")[2].partition(")")[0]), signal.SIGKILL)
    assert socket.exists()
    assert run(shell, "echo", "two").stdout == "two\n"
    assert not socket.exists()


def test_connections_end_with_the_program(sshd: Sshd, shell: SshShell) -> None:
    run(shell, "true")
    assert sshd.sessions()
    end_connections()
    wait_until(lambda: not sshd.sessions(), "the connection to end")


def test_the_sockets_are_nobody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as short:  # pytest's own directories can be too deep for a socket
        monkeypatch.setenv("XDG_RUNTIME_DIR", short)
        directory = control_directory()
        assert (directory.parent, directory.stat().st_mode & 0o777) == (Path(short), 0o700)
        directory.chmod(0o755)
        with pytest.raises(Refused, match="not a directory of this user's alone"):
            control_directory()


def test_a_runtime_directory_that_is_too_deep_for_a_socket_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sshd: Sshd, shell: SshShell
) -> None:
    deep = tmp_path / ("d" * 80)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    assert run(shell, "echo", "one").stdout == "one\n"
    assert not list(deep.iterdir())


# ---- what goes wrong -------------------------------------------------------------------------------------------------


def unreachable(shell: SshShell, *argv: str, run_as: RunAs = "login") -> Unreachable:
    with pytest.raises(Unreachable) as raised:
        run(shell, *(argv or ("true",)), run_as=run_as)
    assert raised.value.where == "pg-test-1"
    return raised.value


def test_a_key_that_the_node_does_not_take_is_named_as_ssh_does(sshd: Sshd) -> None:
    config = sshd.directory / "ssh_config_wrong"
    config.write_text((sshd.directory / "ssh_config").read_text().replace("/login\n", "/other_host\n"))
    destination = Destination(address="node", arguments=("-F", str(config)))
    error = unreachable(SshShell("pg-test-1", DBSU, Connection(destination)))
    assert "node cannot be reached by SSH" in error.what
    assert "Permission denied (publickey)" in error.what
    assert error.untouched == "nothing was changed there"
    assert error.next_command is not None
    by_hand = subprocess.run(
        shlex.split(error.next_command), capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    assert "Permission denied (publickey)" in by_hand.stderr


def test_another_host_key_than_the_known_one_is_an_error(sshd: Sshd, shell: SshShell) -> None:
    sshd.trust("other_host")
    try:
        assert "Host key verification failed." in unreachable(shell).what
    finally:
        sshd.trust("host")


def test_a_host_that_is_not_known_is_an_error(sshd: Sshd, shell: SshShell) -> None:
    (sshd.directory / "known_hosts").write_text("")
    try:
        assert "Host key verification failed." in unreachable(shell).what
        assert (sshd.directory / "known_hosts").read_text() == ""
    finally:
        sshd.trust("host")


def test_a_port_where_nobody_listens_fails_at_once(sshd: Sshd) -> None:
    destination = dataclasses.replace(sshd.destination(), port=1)
    began = time.monotonic()
    error = unreachable(SshShell("pg-test-1", DBSU, Connection(destination)))
    assert "Connection refused" in error.what
    assert not isinstance(error, ConnectionLost)
    assert time.monotonic() - began < 5


def test_a_node_that_does_not_answer_fails_soon(sshd: Sshd) -> None:
    shell = SshShell("pg-test-1", DBSU, Connection(sshd.destination("-o", "ConnectTimeout=1")))
    sshd.relay.cut()
    try:
        began = time.monotonic()
        error = unreachable(shell)
        assert "timed out" in error.what
        assert time.monotonic() - began < 5
    finally:
        sshd.relay.mend()


def test_an_account_that_sudo_does_not_know_is_told_apart_from_ssh(sshd: Sshd) -> None:
    shell = SshShell("pg-test-1", "no-such-account", Connection(sshd.destination()))
    error = unreachable(shell, run_as="dbsu")
    assert "may not run commands as no-such-account" in error.what
    assert "docs/how-to/fleet.md" in (error.next_command or "")
    assert run(shell, "echo", "login").stdout == "login\n"


# As root, somebody for whom sudo wants a password; else an account that no sudo knows.
_REFUSED = [("postgres", "nobody", "dbsu"), ("postgres", "nobody", "root")]


@pytest.mark.parametrize(
    ("login", "dbsu", "run_as"), _REFUSED if ME == "root" else [(ME, "no-such-account", "dbsu")]
)
def test_a_rule_of_sudo_that_is_missing_is_named(
    open_directory: Path, login: str, dbsu: str, run_as: RunAs
) -> None:
    with running_sshd(open_directory, user=login) as sshd:
        shell = SshShell("pg-test-1", dbsu, Connection(sshd.destination()))
        error = unreachable(shell, run_as=run_as)
        user = "root" if run_as == "root" else dbsu
        assert f"may not run commands as {user}: sudo: " in error.what
        assert f"ALL=({user}) NOPASSWD" in (error.next_command or "")
        assert run(shell, "id", "-un").stdout == f"{login}\n"
        end_connections()


def test_a_connection_that_breaks_during_a_command_is_told_and_made_again(
    sshd: Sshd, shell: SshShell, open_directory: Path
) -> None:
    async def broken() -> None:
        command = Command(argv=("sh", "-c", script_with_a_child(open_directory)), run_as=USERS[-1])
        task = asyncio.create_task(shell.run(command))
        await asyncio.to_thread(pids, open_directory / "pids")
        sshd.kill_sessions()
        with pytest.raises(ConnectionLost, match="the connection to node was lost during: sh -c") as raised:
            await task
        assert raised.value.where == "pg-test-1"

    asyncio.run(broken())
    assert [alive(pid) for pid in pids(open_directory / "pids")] == [True, True]
    assert run(shell, "echo", "again").stdout == "again\n"
    # What was cut off is ended before anything else is done there.
    assert [alive(pid) for pid in pids(open_directory / "pids")] == [False, False]


def test_a_network_that_is_cut_is_noticed_and_waited_for(sshd: Sshd, shell: SshShell) -> None:
    async def cut() -> None:
        command = Command(argv=("sleep", "30"), run_as="login")
        task = asyncio.create_task(shell.run(command))
        await asyncio.sleep(0.5)
        sshd.relay.cut()
        began = time.monotonic()
        with pytest.raises(ConnectionLost):
            await task
        assert time.monotonic() - began < 6
        with pytest.raises(Unreachable):
            await shell.reconnect(deadline_seconds=0.1)
        asyncio.get_running_loop().call_later(1, sshd.relay.mend)
        await shell.reconnect(deadline_seconds=30)

    before = ssh_connection.LOGIN_SECONDS
    ssh_connection.LOGIN_SECONDS = 2
    try:
        asyncio.run(cut())
    finally:
        ssh_connection.LOGIN_SECONDS = before
        sshd.relay.mend()
    assert run(shell, "echo", "back").stdout == "back\n"


def test_a_command_that_is_killed_with_its_script_is_no_lost_connection(shell: SshShell) -> None:
    """By the kernel, for want of memory, say."""
    with pytest.raises(CommandFailed, match="killed on the node"):
        run(shell, "sh", "-c", 'kill -KILL "$(cut -d " " -f 4 /proc/$PPID/stat)"')


# ---- jobs ------------------------------------------------------------------------------------------------------------


MEMBER = Member(
    name="pg-test-1",
    cluster="pg-test",
    sequence=1,
    role="primary",
    node=Node(name="pg-test-1", address="127.0.0.1"),
    service_manager=ServiceManager.SUPERVISOR,
)


@pytest.mark.parametrize("user", sorted({ME, DBSU}))
def test_a_detached_job_outlives_the_connection(sshd: Sshd, open_directory: Path, user: str) -> None:
    shell = SshShell("pg-test-1", user, Connection(sshd.destination()))
    job, go = PurePosixPath(open_directory / "job"), open_directory / "go"

    def call(work: Callable[[], Awaitable[T]]) -> T:
        async def here() -> T:
            return await work()

        return asyncio.run(here())

    wait = Command(
        argv=("sh", "-c", f"echo begun; until [ -e {go} ]; do sleep 0.05; done; echo ended; exit 7")
    )
    assert call(lambda: look_at_job(shell, job)).state is JobState.ABSENT
    call(lambda: start_job(shell, MEMBER, job, wait))
    wait_until(lambda: call(lambda: look_at_job(shell, job)).stdout_end == "begun\n", "the job's output")
    end_connections()
    sshd.kill_sessions()
    assert call(lambda: look_at_job(shell, job)).state is JobState.RUNNING
    go.touch()
    wait_until(lambda: call(lambda: look_at_job(shell, job)).state is JobState.FINISHED, "the job to end")
    view = call(lambda: look_at_job(shell, job))
    assert (view.status, view.stdout_end) == (7, "begun\nended\n")
