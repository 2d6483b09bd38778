"""The shell of this machine: real processes, real users."""

from __future__ import annotations

import asyncio
import os
import pwd
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgdolly.domain.command import Command, Completed, RunAs
from pgdolly.domain.errors import CommandFailed, Unreachable
from pgdolly.transport.local import LocalShell
from pgdolly.transport.shell import last_lines, run_checked

ME = pwd.getpwuid(os.geteuid()).pw_name
# Another user where this one may change to it: the way that a database superuser's commands go.
USERS = ("login", "dbsu") if ME == "root" else ("login",)
DBSU = "nobody" if ME == "root" else ME


def run(
    *argv: str,
    run_as: RunAs = "login",
    stdin: str | None = None,
    environment: tuple[tuple[str, str], ...] = (),
    timeout_seconds: float = 20,
) -> Completed:
    command = Command(argv=argv, run_as=run_as, stdin=stdin, environment=environment)
    return asyncio.run(LocalShell("here", DBSU).run(command, timeout_seconds=timeout_seconds))


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every user may write; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def await_end(pid: int) -> bool:
    """Whether a process is gone within 5 s."""
    until = time.monotonic() + 5
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not alive(pid)


@pytest.mark.parametrize("run_as", USERS)
def test_a_command_runs_as_its_user_in_its_environment(run_as: RunAs) -> None:
    done = run(
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
def test_arguments_arrive_as_they_are(run_as: RunAs) -> None:
    words = ("a b", "", "$HOME", "`id`", "'quoted\"", "line\nbreak", "*", "--", "-x=1")
    done = run("printf", r"%s\037", *words, run_as=run_as)
    assert tuple(done.stdout.split("\x1f")[:-1]) == words


def test_output_that_is_no_utf_8_is_no_reason_to_fail() -> None:
    done = run("printf", r"gr\374n\n")
    assert done.stdout == "gr�n\n"


def test_without_input_a_command_reads_nothing_and_does_not_wait() -> None:
    assert run("cat").stdout == ""


def test_much_output_on_both_ways_blocks_nobody() -> None:
    text = "x" * 3_000_000
    done = run("sh", "-c", "tee /dev/stderr", stdin=text)
    assert (len(done.stdout), len(done.stderr)) == (3_000_000, 3_000_000)


@pytest.mark.parametrize("run_as", USERS)
def test_the_exit_status_is_the_commands(run_as: RunAs) -> None:
    assert run("sh", "-c", "exit 37", run_as=run_as).status == 37


def test_a_command_that_fails_says_what_for_and_how_it_ended() -> None:
    shell = LocalShell("pg-test-1", DBSU)
    command = Command(argv=("sh", "-c", "echo out; seq 1 40 >&2; exit 3"), run_as="login")
    with pytest.raises(CommandFailed, match="pg-test-1: could not stop Patroni") as raised:
        asyncio.run(run_checked(shell, command, doing="stop Patroni"))
    assert raised.value.status == 3
    assert raised.value.argv == command.argv
    assert raised.value.stderr_end.splitlines() == [str(number) for number in range(26, 41)]


def test_what_was_sent_to_standard_input_stands_in_no_error() -> None:
    command = Command(argv=("false",), run_as="login", stdin="password", summary="set the passwords")
    with pytest.raises(CommandFailed) as raised:
        asyncio.run(run_checked(LocalShell("here", DBSU), command))
    assert raised.value.argv == ("set the passwords",)
    assert "password" not in str(raised.value).replace("set the passwords", "")


def test_the_last_lines_are_those_with_something_in_them() -> None:
    assert last_lines("one\n\ntwo\n \nthree\n\n", 2) == "two\nthree"
    assert last_lines("") == ""


@pytest.mark.parametrize("run_as", USERS)
def test_a_command_past_its_deadline_is_ended_with_its_children(run_as: RunAs, open_directory: Path) -> None:
    """Ended alone, `runuser` would leave the command itself running."""
    script = f"cd {open_directory}; sleep 300 & echo $! $$ >pids.new; mv pids.new pids; wait; echo late"
    began = time.monotonic()
    with pytest.raises(CommandFailed, match="did not end within 1 s and was ended") as raised:
        run("sh", "-c", script, run_as=run_as, timeout_seconds=1)
    assert time.monotonic() - began < 10
    assert raised.value.status == 124
    pids = [int(pid) for pid in (open_directory / "pids").read_text().split()]
    assert len(pids) == 2
    assert [await_end(pid) for pid in pids] == [True, True]


def test_a_command_that_is_cancelled_is_ended(tmp_path: Path) -> None:
    async def cancelled() -> None:
        command = Command(argv=("sh", "-c", f"echo $$ >{tmp_path}/pid; exec sleep 300"), run_as="login")
        task = asyncio.create_task(LocalShell("here", DBSU).run(command))
        until = time.monotonic() + 10
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
            assert time.monotonic() < until, "it did not start"
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert await_end(int((tmp_path / "pid").read_text()))


def test_a_server_that_a_command_leaves_behind_does_not_hold_it_up() -> None:
    """pg_ctl start: the server has its output elsewhere, and lives on."""
    done = run("sh", "-c", "setsid sleep 30 >/dev/null 2>&1 </dev/null & echo $!", timeout_seconds=10)
    pid = int(done.stdout)
    try:
        assert done.status == 0
        assert alive(pid)
    finally:
        os.kill(pid, 9)


def test_what_is_not_installed_is_said_so() -> None:
    with pytest.raises(Unreachable, match="no-such-program is not installed") as raised:
        run("no-such-program")
    assert raised.value.where == "here"


def test_an_account_that_is_not_there_is_named() -> None:
    with pytest.raises(Unreachable, match="no account nobody-at-all"):
        asyncio.run(LocalShell("here", "nobody-at-all").run(Command(argv=("true",))))


def test_the_administrators_own_settings_do_not_reach_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is started here would hand PGBACKREST_STANZA on to its archive command."""
    monkeypatch.setenv("PGHOST", "elsewhere")
    monkeypatch.setenv("PGBACKREST_STANZA", "pg-meta")
    monkeypatch.setenv("PATRONI_SCOPE", "pg-meta")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    shell = LocalShell("here", ME)
    completed = asyncio.run(shell.run(Command(argv=("env",), run_as="login")))
    names = {line.partition("=")[0] for line in completed.stdout.splitlines()}
    assert "LC_ALL" in names
    assert not [name for name in names if name.startswith(("PG", "PATRONI"))]
